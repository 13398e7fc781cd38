package tlv

import (
	"errors"
	"fmt"
)

// ErrMalformed is returned for bytes that are no sequence of data objects.
var ErrMalformed = errors.New("malformed TLV")

// maxLength is the longest value that three bytes of length tell (TS 101 220,
// 7.1.2).
const maxLength = 1<<24 - 1

// TLV is a BER-TLV data object.
type TLV struct {
	// Tag is the tag field as a big-endian number: 0x62, 0x7F21, 0xBF2E01.
	Tag   uint32
	Value []byte
	// LengthBytes is the size of the length field where it is not the shortest
	// one, 2 to 4 bytes; 0 means the shortest. Only DecodeLenient sets it.
	LengthBytes int
}

// New is a data object with a copy of each part behind the other as its value.
func New(tag uint32, parts ...[]byte) TLV {
	t := TLV{Tag: tag, Value: []byte{}}
	for _, p := range parts {
		t.Value = append(t.Value, p...)
	}
	return t
}

// Nest is a constructed data object with the children as its value. The tag
// should be a constructed one.
func Nest(tag uint32, children ...TLV) TLV {
	return TLV{Tag: tag, Value: Encode(children...)}
}

// Constructed reports whether the value consists of data objects: bit 6 of the
// first tag byte (ISO/IEC 7816-4, 5.2.2.1).
func (t TLV) Constructed() bool {
	return TagBytes(t.Tag)[0]&0x20 != 0
}

// Children decodes the value strictly, whether the tag says constructed or not.
func (t TLV) Children() ([]TLV, error) {
	list, err := Decode(t.Value)
	if err != nil {
		return nil, fmt.Errorf("in tag %X: %w", t.Tag, err)
	}
	return list, nil
}

// Append encodes the data object behind dst. A value longer than 16777215 bytes
// gets a length field that Decode refuses.
func (t TLV) Append(dst []byte) []byte {
	dst = append(dst, TagBytes(t.Tag)...)
	dst = appendLength(dst, len(t.Value), t.LengthBytes)
	return append(dst, t.Value...)
}

// Encode encodes data objects one behind the other.
func Encode(list ...TLV) []byte {
	dst := []byte{}
	for _, t := range list {
		dst = t.Append(dst)
	}
	return dst
}

// Find gives the first data object with the tag.
func Find(list []TLV, tag uint32) (TLV, bool) {
	for _, t := range list {
		if t.Tag == tag {
			return t, true
		}
	}
	return TLV{}, false
}

// Decode decodes data objects one behind the other up to the end of b. It is
// strict: Encode of the result is b. The error wraps ErrMalformed.
func Decode(b []byte) ([]TLV, error) {
	list := []TLV{}
	for rest := b; len(rest) > 0; {
		t, n, err := decodeOne(rest, true)
		if err != nil {
			return nil, fmt.Errorf("at byte %d: %w", len(b)-len(rest), err)
		}
		list = append(list, t)
		rest = rest[n:]
	}
	return list, nil
}

// DecodeFilled is Decode for a record of fixed length, in which FF fills the
// bytes behind the last data object.
func DecodeFilled(b []byte) ([]TLV, error) {
	n := len(b)
	for rest := b; len(rest) > 0; {
		if leadingFF(rest) == len(rest) {
			n = len(b) - len(rest)
			break
		}
		_, size, err := decodeOne(rest, true)
		if err != nil {
			break // Decode finds it again and says where it is
		}
		rest = rest[size:]
	}
	return Decode(b[:n:n])
}

// DecodeLenient is Decode that passes over padding with 00 or FF before,
// between and behind data objects, and takes tags and lengths that are not in
// the shortest form. A lone FF before 1F to 7F begins a two-byte tag, any other FF
// is padding. Encode of the result is b without the padding.
func DecodeLenient(b []byte) ([]TLV, error) {
	list := []TLV{}
	for rest := b; len(rest) > 0; {
		if n := padding(rest); n > 0 {
			rest = rest[n:]
			continue
		}
		t, n, err := decodeOne(rest, false)
		if err != nil {
			return nil, fmt.Errorf("at byte %d: %w", len(b)-len(rest), err)
		}
		list = append(list, t)
		rest = rest[n:]
	}
	return list, nil
}

// padding is the number of padding bytes at the start of b.
func padding(b []byte) int {
	if b[0] == 0x00 {
		return 1
	}
	n := leadingFF(b)
	if n == 1 && n < len(b) && b[1] >= 0x1F && b[1] < 0x80 {
		return 0
	}
	return n
}

// leadingFF is the number of bytes FF at the start of b.
func leadingFF(b []byte) int {
	n := 0
	for n < len(b) && b[n] == 0xFF {
		n++
	}
	return n
}

// decodeOne decodes the first data object of b and gives its size.
func decodeOne(b []byte, strict bool) (TLV, int, error) {
	tag, nt, err := decodeTag(b, strict)
	if err != nil {
		return TLV{}, 0, err
	}
	length, nl, err := decodeLength(b[nt:])
	if err != nil {
		return TLV{}, 0, fmt.Errorf("tag %X: %w", tag, err)
	}
	t := TLV{Tag: tag}
	if nl != lengthSize(length) {
		if strict {
			return TLV{}, 0, fmt.Errorf("tag %X: %w: length %d in %d bytes", tag, ErrMalformed, length, nl)
		}
		t.LengthBytes = nl
	}
	start := nt + nl
	if length > len(b)-start {
		return TLV{}, 0, fmt.Errorf("tag %X: %w: length says %d bytes, %d follow", tag, ErrMalformed, length, len(b)-start)
	}
	end := start + length
	t.Value = b[start:end:end]
	return t, end, nil
}

// decodeTag decodes a tag field of 1 to 3 bytes (ISO/IEC 7816-4, 5.2.2.1).
func decodeTag(b []byte, strict bool) (tag uint32, size int, err error) {
	tag = uint32(b[0])
	if b[0] == 0 {
		return 0, 0, fmt.Errorf("%w: tag 00", ErrMalformed)
	}
	if b[0]&0x1F != 0x1F {
		return tag, 1, nil
	}
	for size = 1; size < len(b) && size < 3; size++ {
		tag = tag<<8 | uint32(b[size])
		if b[size]&0x80 == 0 {
			break
		}
	}
	switch {
	case size == len(b):
		return 0, 0, fmt.Errorf("%w: tag field cut after %d bytes", ErrMalformed, size)
	case size == 3:
		return 0, 0, fmt.Errorf("%w: tag field longer than 3 bytes", ErrMalformed)
	case strict && (b[1] <= 0x1E || b[1] == 0x80):
		return 0, 0, fmt.Errorf("%w: tag %02X%02X is not in its shortest form", ErrMalformed, b[0], b[1])
	}
	return tag, size + 1, nil
}

// decodeLength decodes a length field of 1 to 4 bytes (TS 101 220, 7.1.2).
func decodeLength(b []byte) (length, size int, err error) {
	if len(b) == 0 {
		return 0, 0, fmt.Errorf("%w: no length field", ErrMalformed)
	}
	if b[0] < 0x80 {
		return int(b[0]), 1, nil
	}
	more := int(b[0] & 0x7F)
	if more < 1 || more > 3 {
		return 0, 0, fmt.Errorf("%w: length field starts with %02X, want 00 to 83 without 80", ErrMalformed, b[0])
	}
	if len(b) <= more {
		return 0, 0, fmt.Errorf("%w: length field cut after %d bytes", ErrMalformed, len(b))
	}
	for _, v := range b[1 : 1+more] {
		length = length<<8 | int(v)
	}
	return length, 1 + more, nil
}

// lengthSize is the size of the shortest length field.
func lengthSize(length int) int {
	switch {
	case length < 0x80:
		return 1
	case length <= 0xFF:
		return 2
	case length <= 0xFFFF:
		return 3
	case length <= maxLength:
		return 4
	default:
		return 5
	}
}

func appendLength(dst []byte, length, size int) []byte {
	size = max(min(size, 4), lengthSize(length))
	if size == 1 {
		return append(dst, byte(length))
	}
	dst = append(dst, 0x80|byte(size-1))
	for i := size - 2; i >= 0; i-- {
		dst = append(dst, byte(length>>(8*i)))
	}
	return dst
}

// DecodeTag decodes the tag field at the beginning of b, strictly as Decode does, and
// gives its size, 1 to 3 bytes. The error wraps ErrMalformed.
func DecodeTag(b []byte) (tag uint32, size int, err error) {
	if len(b) == 0 {
		return 0, 0, fmt.Errorf("%w: no tag", ErrMalformed)
	}
	return decodeTag(b, true)
}

// DecodeHeader decodes tag and length of the data object at the beginning of b, strictly
// as Decode does; size is that of the two fields. The value need not be there. The error
// wraps ErrMalformed.
func DecodeHeader(b []byte) (tag uint32, length, size int, err error) {
	tag, nt, err := DecodeTag(b)
	if err != nil {
		return 0, 0, 0, err
	}
	length, nl, err := decodeLength(b[nt:])
	if err == nil && nl != lengthSize(length) {
		err = fmt.Errorf("%w: length %d in %d bytes", ErrMalformed, length, nl)
	}
	return tag, length, nt + nl, err
}

// TagBytes is the tag field without leading zero bytes.
func TagBytes(tag uint32) []byte {
	b := []byte{byte(tag >> 24), byte(tag >> 16), byte(tag >> 8), byte(tag)}
	for len(b) > 1 && b[0] == 0 {
		b = b[1:]
	}
	return b
}
