package ef

import (
	"bytes"
	"fmt"
	"strconv"

	"mcim/apdu/tlv"
)

// Tag is the tag of a BER-TLV data object; in a document it is hexadecimal.
type Tag uint32

// MarshalText gives hexadecimal digits.
func (t Tag) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%02x", uint32(t)), nil }

// UnmarshalText reads hexadecimal digits.
func (t *Tag) UnmarshalText(text []byte) error {
	v, err := strconv.ParseUint(string(text), 16, 32)
	if err != nil || v == 0 {
		return fmt.Errorf("%w: a tag is 1 to 4 bytes of hexadecimal digits", ErrContent)
	}
	*t = Tag(v)
	return nil
}

// Object is a data object that its file gives no name.
type Object struct {
	Tag   Tag `json:"tag"`
	Value Hex `json:"value"`
}

// objects are BER-TLV data objects in the order of their clause, being read or
// written.
type objects struct {
	c    *coder
	list []tlv.TLV
}

// objects reads or writes data objects up to the end of a file or record, which
// FF may fill.
func (c *coder) objects(f func(o *objects)) { c.sequence(tlv.DecodeFilled, f) }

// nested is objects for the value of a constructed data object.
func (c *coder) nested(f func(o *objects)) { c.sequence(tlv.Decode, f) }

func (c *coder) sequence(decode func([]byte) ([]tlv.TLV, error), f func(o *objects)) {
	o := &objects{c: c}
	if c.writing {
		f(o)
		c.put(tlv.Encode(o.list...)...)
		return
	}
	list, err := decode(c.take(len(c.in)))
	if err != nil {
		c.adopt(fmt.Errorf("%w: %w", ErrContent, err))
		return
	}
	o.list = list
	f(o)
	if len(o.list) > 0 {
		c.fail("tag %02X out of place", o.list[0].Tag)
	}
}

// next takes the value of the next object if it has the tag.
func (o *objects) next(tag uint32) ([]byte, bool) {
	if o.c.err != nil || len(o.list) == 0 || o.list[0].Tag != tag {
		return nil, false
	}
	b := o.list[0].Value
	o.list = o.list[1:]
	return b, true
}

// write adds an object with what f writes as its value.
func (o *objects) write(tag uint32, f func(c *coder)) {
	in := &coder{writing: true, size: open}
	f(in)
	o.c.adopt(in.err)
	o.list = append(o.list, tlv.New(tag, in.out))
}

// optional is an object that may be absent: *p is nil.
func optional[T any](o *objects, tag uint32, p **T, f func(c *coder, v *T)) {
	if o.c.writing {
		if *p != nil {
			o.write(tag, func(c *coder) { f(c, *p) })
		}
		return
	}
	if b, ok := o.next(tag); ok {
		*p = new(T)
		o.c.inside(b, func(c *coder) { f(c, *p) })
	}
}

// required is an object that must be there.
func required[T any](o *objects, tag uint32, p *T, f func(c *coder, v *T)) {
	if o.c.writing {
		o.write(tag, func(c *coder) { f(c, p) })
		return
	}
	b, ok := o.next(tag)
	if !ok {
		o.c.fail("no tag %02X where it has to be", tag)
		return
	}
	o.c.inside(b, func(c *coder) { f(c, p) })
}

// repeated is any number of objects with the same tag.
func repeated[T any](o *objects, tag uint32, p *[]T, f func(c *coder, v *T)) {
	if o.c.writing {
		for i := range *p {
			o.write(tag, func(c *coder) { f(c, &(*p)[i]) })
		}
		return
	}
	*p = []T{}
	for {
		b, ok := o.next(tag)
		if !ok {
			return
		}
		var v T
		o.c.inside(b, func(c *coder) { f(c, &v) })
		*p = append(*p, v)
	}
}

// others are the objects behind those that have a name.
func (o *objects) others(p *[]Object) {
	if o.c.writing {
		for _, t := range *p {
			o.list = append(o.list, tlv.New(uint32(t.Tag), t.Value))
		}
		return
	}
	for _, t := range o.list {
		*p = append(*p, Object{Tag: Tag(t.Tag), Value: bytes.Clone(t.Value)})
	}
	o.list = nil
}

// Fields of data objects.
func byteField(c *coder, p *uint8)   { c.u8(p) }
func wordField(c *coder, p *uint16)  { c.u16(p) }
func countField(c *coder, p *uint32) { c.u32(p) }
func textField(c *coder, p *string)  { c.allText(p) }

// bytesField is bytes up to the end of the object.
func bytesField(c *coder, p *Hex) {
	if c.writing {
		c.hex(p, len(*p))
		return
	}
	c.hex(p, len(c.in))
}

// keyField is a key up to the end of the object.
func keyField(c *coder, p *Key) {
	if c.writing {
		c.key(p, p.Len())
		return
	}
	c.key(p, len(c.in))
}
