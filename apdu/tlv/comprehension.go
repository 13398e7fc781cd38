package tlv

import "fmt"

// maxComprehensionTag is the highest tag value, 15 bits (TS 101 220, 7.1.1.1).
const maxComprehensionTag = 0x7FFF

// Comprehension is a COMPREHENSION-TLV data object (TS 101 220, 7.1.1).
type Comprehension struct {
	// Tag is the tag value without the CR flag: 0001 to 7FFF.
	Tag uint16
	// CR is the comprehension required flag: a receiver that does not know the
	// tag must refuse the whole command.
	CR bool
	// Long asks for the three-byte form for a tag below 7F; a higher tag has no
	// other form.
	Long  bool
	Value []byte
}

// Append encodes the data object behind dst. A tag out of bounds and a value
// longer than 16777215 bytes get a form that DecodeComprehension refuses.
func (c Comprehension) Append(dst []byte) []byte {
	cr := byte(0)
	if c.CR {
		cr = 0x80
	}
	switch {
	case c.Long || c.Tag >= 0x7F:
		dst = append(dst, 0x7F, cr|byte(c.Tag>>8), byte(c.Tag))
	default:
		dst = append(dst, cr|byte(c.Tag))
	}
	dst = appendLength(dst, len(c.Value), 0)
	return append(dst, c.Value...)
}

// EncodeComprehension encodes data objects one behind the other.
func EncodeComprehension(list ...Comprehension) []byte {
	dst := []byte{}
	for _, c := range list {
		dst = c.Append(dst)
	}
	return dst
}

// DecodeComprehension decodes data objects one behind the other up to the end
// of b. It is strict: EncodeComprehension of the result is b. The error wraps
// ErrMalformed.
func DecodeComprehension(b []byte) ([]Comprehension, error) {
	list := []Comprehension{}
	for rest := b; len(rest) > 0; {
		c, n, err := decodeComprehension(rest)
		if err != nil {
			return nil, fmt.Errorf("at byte %d: %w", len(b)-len(rest), err)
		}
		list = append(list, c)
		rest = rest[n:]
	}
	return list, nil
}

func decodeComprehension(b []byte) (Comprehension, int, error) {
	c, nt, err := decodeComprehensionTag(b)
	if err != nil {
		return c, 0, err
	}
	length, nl, err := decodeLength(b[nt:])
	if err != nil {
		return c, 0, fmt.Errorf("tag %02X: %w", c.Tag, err)
	}
	start := nt + nl
	switch {
	case nl != lengthSize(length):
		return c, 0, fmt.Errorf("tag %02X: %w: length %d in %d bytes", c.Tag, ErrMalformed, length, nl)
	case length > len(b)-start:
		return c, 0, fmt.Errorf("tag %02X: %w: length says %d bytes, %d follow", c.Tag, ErrMalformed, length, len(b)-start)
	}
	end := start + length
	c.Value = b[start:end:end]
	return c, end, nil
}

func decodeComprehensionTag(b []byte) (Comprehension, int, error) {
	switch {
	case b[0] == 0x00 || b[0] == 0x80 || b[0] == 0xFF:
		return Comprehension{}, 0, fmt.Errorf("%w: tag byte %02X is not used", ErrMalformed, b[0])
	case b[0] != 0x7F:
		return Comprehension{Tag: uint16(b[0] & 0x7F), CR: b[0]&0x80 != 0}, 1, nil
	case len(b) < 3:
		return Comprehension{}, 0, fmt.Errorf("%w: tag field cut after %d bytes", ErrMalformed, len(b))
	}
	c := Comprehension{Tag: (uint16(b[1])<<8 | uint16(b[2])) & maxComprehensionTag, CR: b[1]&0x80 != 0}
	if c.Tag == 0 {
		return Comprehension{}, 0, fmt.Errorf("%w: tag value 0", ErrMalformed)
	}
	c.Long = c.Tag < 0x7F
	return c, 3, nil
}
