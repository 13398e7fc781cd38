package ef

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"mcim/apdu/secret"
)

// coder reads the fields of a content from bytes, or writes them: the same walk
// over the fields does both, so that one cannot differ from the other. The first
// error ends it; reading past it gives zero values.
type coder struct {
	writing bool
	in      []byte // what is still to be read
	out     []byte // what has been written
	// size is that of the file or record; open inside a data object, which gets as
	// long as its fields.
	size  int
	clear bool // keys that are read marshal in the clear
	err   error
}

// open is the size of a data object.
const open = -1

func (c *coder) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: "+format, append([]any{ErrContent}, args...)...)
	}
}

// left is the number of bytes of a file or record behind those of the fields so
// far, 0 or more.
func (c *coder) left() int {
	if !c.writing {
		return len(c.in)
	}
	return max(c.size-len(c.out), 0)
}

// take reads n bytes.
func (c *coder) take(n int) []byte {
	if c.err != nil || n < 0 || n > len(c.in) {
		c.fail("%d bytes left, want %d", len(c.in), n)
		return make([]byte, max(n, 0))
	}
	b := c.in[:n:n]
	c.in = c.in[n:]
	return b
}

func (c *coder) put(b ...byte) { c.out = append(c.out, b...) }

// number is a big-endian number of n bytes.
func number[T ~uint8 | ~uint16 | ~uint32](c *coder, p *T, n int) {
	if c.writing {
		if uint64(*p)>>(8*n) != 0 {
			c.fail("%d does not fit %d bytes", *p, n)
		}
		for i := n - 1; i >= 0; i-- {
			c.put(byte(uint64(*p) >> (8 * i)))
		}
		return
	}
	v := uint64(0)
	for _, b := range c.take(n) {
		v = v<<8 | uint64(b)
	}
	*p = T(v)
}

// u8, u16, u24 and u32 are big-endian numbers.
func (c *coder) u8(p *uint8)   { number(c, p, 1) }
func (c *coder) u16(p *uint16) { number(c, p, 2) }
func (c *coder) u24(p *uint32) { number(c, p, 3) }
func (c *coder) u32(p *uint32) { number(c, p, 4) }

// Hex is bytes without further meaning; in a document they are hexadecimal.
type Hex []byte

// MarshalText gives hexadecimal digits.
func (h Hex) MarshalText() ([]byte, error) { return hex.AppendEncode([]byte{}, h), nil }

// UnmarshalText reads hexadecimal digits of either case.
func (h *Hex) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil {
		return fmt.Errorf("%w: want pairs of hexadecimal digits", ErrContent)
	}
	*h = b
	return nil
}

// hex is n bytes.
func (c *coder) hex(p *Hex, n int) {
	if c.writing {
		if len(*p) != n {
			c.fail("a field of %d bytes, want %d", len(*p), n)
		}
		c.put(*p...)
		return
	}
	*p = bytes.Clone(c.take(n))
}

// rest is what is left, without the FF that fill it.
func (c *coder) rest(p *Hex) {
	if c.writing {
		c.put(*p...)
		return
	}
	if b := used(c.take(len(c.in))); len(b) > 0 {
		*p = bytes.Clone(b)
	}
}

// Key is a key. It prints and marshals as "[redacted]"; one that DecodeClear gave
// marshals as hexadecimal digits, and only those can be read from a document.
type Key struct {
	secret.Bytes
	clear bool
}

// NewKey takes a copy of b.
func NewKey(b []byte) Key { return Key{Bytes: secret.New(b)} }

// MarshalText gives the digits of a key from DecodeClear, or "[redacted]".
func (k Key) MarshalText() ([]byte, error) {
	if !k.clear {
		return k.Bytes.MarshalText()
	}
	return Hex(k.Reveal()).MarshalText()
}

// UnmarshalText reads hexadecimal digits of either case. The error does not repeat
// them.
func (k *Key) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil {
		return fmt.Errorf("%w: a key is to be hexadecimal digits; is it redacted?", ErrContent)
	}
	*k = Key{Bytes: secret.New(b), clear: true}
	return nil
}

// key is a key of n bytes.
func (c *coder) key(p *Key, n int) {
	b := Hex(p.Reveal())
	c.hex(&b, n)
	if !c.writing {
		*p = Key{Bytes: secret.New(b), clear: c.clear}
	}
}

// names are the values of a code that its clause names.
type names map[uint8]string

// name is the name of a value, or "0x1e".
func (n names) name(v uint8) string {
	if s, ok := n[v]; ok {
		return s
	}
	return fmt.Sprintf("0x%02x", v)
}

// value is the value of a name.
func (n names) value(s string) (uint8, bool) {
	for v, name := range n {
		if name == s {
			return v, true
		}
	}
	digits, ok := strings.CutPrefix(s, "0x")
	v, err := strconv.ParseUint(digits, 16, 8)
	return uint8(v), ok && err == nil
}

// list names what there is to choose from.
func (n names) list() string {
	all := make([]string, 0, len(n))
	for _, name := range n {
		all = append(all, name)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// enum is a byte with named values.
func (c *coder) enum(p *string, n names) {
	var v uint8
	if c.writing {
		v = c.code(*p, n)
	}
	c.u8(&v)
	if !c.writing {
		*p = n.name(v)
	}
}

// code is the value of a name that is to be written.
func (c *coder) code(s string, n names) uint8 {
	v, ok := n.value(s)
	if !ok {
		c.fail("%q is none of %s, nor a byte as 0x1e", s, n.list())
	}
	return v
}

// flags is a bit field of n bytes, big-endian. The names begin with that of the
// lowest bit; a bit without one is "bit_7", counted from 0.
func (c *coder) flags(p *[]string, n int, bits ...string) {
	var v uint32
	if c.writing {
		v = c.mask(*p, n, bits)
	}
	number(c, &v, n)
	if !c.writing {
		*p = bitNames(v, n, bits)
	}
}

// present is a byte in which 0 says that something is there, and reserved bits
// are 1.
func (c *coder) present(p *[]string, bits ...string) {
	var v uint8
	if c.writing {
		v = ^uint8(c.mask(*p, 1, bits))
	}
	c.u8(&v)
	if !c.writing {
		*p = bitNames(uint32(^v), 1, bits)
	}
}

func bitNames(v uint32, n int, bits []string) []string {
	list := []string{}
	for i := range 8 * n {
		switch {
		case v>>i&1 == 0:
		case i < len(bits) && bits[i] != "":
			list = append(list, bits[i])
		default:
			list = append(list, fmt.Sprintf("bit_%d", i))
		}
	}
	return list
}

func (c *coder) mask(list []string, n int, bits []string) uint32 {
	v := uint32(0)
	for _, s := range list {
		i := slices.Index(bits, s)
		if i < 0 || s == "" {
			var err error
			if i, err = strconv.Atoi(strings.TrimPrefix(s, "bit_")); err != nil || !strings.HasPrefix(s, "bit_") {
				i = -1
			}
		}
		if i < 0 || i >= 8*n {
			c.fail("flag %q: want one of %s, or bit_0 to bit_%d", s, strings.Join(bits, ", "), 8*n-1)
			return 0
		}
		v |= 1 << i
	}
	return v
}

// text is n bytes of UTF-8 text.
func (c *coder) text(p *string, n int) {
	if c.writing {
		if len(*p) != n {
			c.fail("a text of %d bytes, want %d", len(*p), n)
		}
		c.put([]byte(*p)...)
		return
	}
	b := c.take(n)
	if !utf8.Valid(b) {
		c.fail("text that is not UTF-8")
	}
	*p = string(b)
}

// allText is UTF-8 text up to the end of a data object.
func (c *coder) allText(p *string) {
	if c.writing {
		c.text(p, len(*p))
		return
	}
	c.text(p, len(c.in))
}

// prefixed is a byte of length and what f reads or writes.
func (c *coder) prefixed(f func(c *coder)) {
	if c.writing {
		in := &coder{writing: true, size: open}
		f(in)
		if len(in.out) > 0xFE {
			in.fail("%d bytes, want 254 at most", len(in.out))
		}
		c.adopt(in.err)
		c.put(byte(len(in.out)))
		c.put(in.out...)
		return
	}
	var n uint8
	c.u8(&n)
	b := c.take(int(n))
	if c.err == nil {
		c.inside(b, f)
	}
}

// inside reads bytes to their end.
func (c *coder) inside(b []byte, f func(c *coder)) {
	in := &coder{in: b, size: open, clear: c.clear}
	f(in)
	if len(in.in) > 0 {
		in.fail("%d bytes behind the last field", len(in.in))
	}
	c.adopt(in.err)
}

func (c *coder) adopt(err error) {
	if c.err == nil {
		c.err = err
	}
}

// entries is a list of entries of the same size up to the end. In a file, entries
// like fill behind the last one are not in the list.
func entries[T any](c *coder, p *[]T, fill []byte, f func(c *coder, v *T)) {
	if c.writing {
		for i := range *p {
			f(c, &(*p)[i])
		}
		for c.size != open && c.err == nil && c.left() >= len(fill) {
			c.put(fill...)
		}
		return
	}
	all := c.in[:len(c.in)/len(fill)*len(fill)]
	list := all
	for c.size != open && bytes.HasSuffix(list, fill) {
		list = list[:len(list)-len(fill)]
	}
	rest := c.in[len(all):]
	*p = make([]T, len(list)/len(fill))
	c.in = list
	for i := range *p {
		f(c, &(*p)[i])
	}
	if c.err == nil {
		c.in = rest
	}
}

// whole is a field up to the end that another package decodes and encodes.
func whole[T any](c *coder, p *T, decode func([]byte) (T, error), encode func(T) ([]byte, error)) {
	var err error
	if c.writing {
		var b []byte
		b, err = encode(*p)
		c.put(b...)
	} else {
		*p, err = decode(c.take(len(c.in)))
	}
	if err != nil && !errors.Is(err, ErrContent) {
		err = fmt.Errorf("%w: %w", ErrContent, err)
	}
	c.adopt(err)
}
