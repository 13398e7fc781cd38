package cat

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"mcim/apdu/ef"
)

// Errors of the package.
var (
	// ErrMalformed: the bytes are no proactive command, terminal response or envelope.
	ErrMalformed = errors.New("malformed toolkit message")
	// ErrValue: a field has a value that the data object cannot hold.
	ErrValue = errors.New("value does not fit the toolkit's data object")
)

// coder runs over the fields of a data object, to read or to write them. Writing does not
// touch the object: one may be encoded by several at once.
type coder struct {
	writing bool
	in, out []byte
	err     error
}

func (c *coder) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: %s", ErrValue, fmt.Sprintf(format, args...))
	}
}

// take gives the next n bytes, or zeros and an error where there are fewer.
func (c *coder) take(n int) []byte {
	if n > len(c.in) {
		c.fail("%d bytes, want %d", len(c.in), n)
		return make([]byte, n)
	}
	b := c.in[:n]
	c.in = c.in[n:]
	return b
}

func (c *coder) put(b ...byte) { c.out = append(c.out, b...) }

func (c *coder) u8(p *uint8) {
	if c.writing {
		c.put(*p)
		return
	}
	*p = c.take(1)[0]
}

func (c *coder) u16(p *uint16) {
	if c.writing {
		c.put(byte(*p>>8), byte(*p))
		return
	}
	b := c.take(2)
	*p = uint16(b[0])<<8 | uint16(b[1])
}

// rest is all that is left.
func (c *coder) rest(p *ef.Hex) {
	if c.writing {
		c.put(*p...)
		return
	}
	*p = bytes.Clone(c.take(len(c.in)))
}

// alpha is a text up to the end (TS 102 221, annex A).
func (c *coder) alpha(p *ef.Alpha) {
	if c.writing {
		b, err := p.Bytes()
		if err != nil {
			c.fail("%v", err)
		}
		c.put(b...)
		return
	}
	*p = ef.DecodeAlpha(c.take(len(c.in)))
}

// text is bytes of ASCII up to the end.
func (c *coder) text(p *string) {
	if c.writing {
		c.put([]byte(*p)...)
		return
	}
	b := c.take(len(c.in))
	if slices.ContainsFunc(b, func(x byte) bool { return x < 0x20 || x > 0x7E }) {
		c.fail("no text")
	}
	*p = string(b)
}

// semiOctet is two decimal digits in a byte, the first in the low half
// (TS 102 223, 8.38).
func (c *coder) semiOctet(p *uint8) {
	if c.writing {
		if *p > 99 {
			c.fail("%d, want 0 to 99", *p)
		}
		c.put(*p%10<<4 | *p/10)
		return
	}
	b := c.take(1)[0]
	if b>>4 > 9 || b&0x0F > 9 {
		c.fail("%02X is no decimal digits", b)
	}
	*p = b&0x0F*10 + b>>4
}

// digits are decimal digits, * and # up to the end, the first in the low half, an odd
// number of them with F behind (TS 31.102, 4.4.2.3).
func (c *coder) digits(p *string) {
	const alphabet = "0123456789*#abc"
	if !c.writing {
		var s strings.Builder
		b := c.take(len(c.in))
		for i, x := range b {
			for _, half := range []byte{x & 0x0F, x >> 4} {
				switch {
				case half != 0x0F:
					s.WriteByte(alphabet[half])
				case i < len(b)-1 || half != x>>4:
					c.fail("digit F within a number")
				}
			}
		}
		*p = s.String()
		return
	}
	halves := []byte{}
	for _, r := range *p {
		i := strings.IndexRune(alphabet, r)
		if i < 0 {
			c.fail("%q is no digit", r)
		}
		halves = append(halves, byte(i))
	}
	if len(halves)%2 != 0 {
		halves = append(halves, 0x0F)
	}
	for i := 0; i < len(halves); i += 2 {
		c.put(halves[i+1]<<4 | halves[i])
	}
}

// code is a byte with a name.
func code[T table](c *coder, p *Named[T]) {
	if c.writing {
		c.put(byte(*p))
		return
	}
	*p = Named[T](c.take(1)[0])
}

// codes are bytes with names up to the end.
func codes[T table](c *coder, p *[]Named[T]) {
	if c.writing {
		for _, v := range *p {
			c.put(byte(v))
		}
		return
	}
	*p = []Named[T]{}
	for _, b := range c.take(len(c.in)) {
		*p = append(*p, Named[T](b))
	}
}

// table gives names to the values of a byte.
type table interface{ names() map[byte]string }

// Named is a byte whose values have names; T says which. Its text is the name, or for a
// value without one 0x and two digits.
type Named[T table] byte

// String is the name.
func (n Named[T]) String() string {
	var t T
	if name, ok := t.names()[byte(n)]; ok {
		return name
	}
	return fmt.Sprintf("0x%02x", byte(n))
}

// MarshalText gives the name.
func (n Named[T]) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText reads a name, or 0x and two digits; ErrValue for another text.
func (n *Named[T]) UnmarshalText(text []byte) error {
	var t T
	for b, name := range t.names() {
		if name == string(text) {
			*n = Named[T](b)
			return nil
		}
	}
	if digits, ok := strings.CutPrefix(string(text), "0x"); ok && len(digits) == 2 {
		if b, err := strconv.ParseUint(digits, 16, 8); err == nil {
			*n = Named[T](b)
			return nil
		}
	}
	names := []string{}
	for _, name := range t.names() {
		names = append(names, name)
	}
	slices.Sort(names)
	return fmt.Errorf("%w: %q, want 0x and two digits, or one of: %s", ErrValue, text, strings.Join(names, ", "))
}
