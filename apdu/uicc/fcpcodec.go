package uicc

import (
	"encoding/binary"
	"fmt"
	"slices"

	"mcim/apdu/tlv"
)

// Bytes encodes the template, tag 62 and all.
func (f FCP) Bytes() []byte {
	unknown := f.Unknown
	var list []tlv.TLV
	seen := map[uint32]bool{}
	for _, tag := range slices.Concat(f.Order, fcpOrder) {
		switch {
		case !slices.Contains(fcpOrder, tag):
			if len(unknown) > 0 {
				list, unknown = append(list, unknown[0]), unknown[1:]
			}
		case !seen[tag]:
			seen[tag] = true
			if value, ok := f.value(tag); ok {
				list = append(list, tlv.TLV{Tag: tag, Value: value})
			}
		}
	}
	return tlv.Encode(tlv.Nest(TagFCP, append(list, unknown...)...))
}

// value encodes one data object; ok is false where it is not there.
func (f FCP) value(tag uint32) (value []byte, ok bool) {
	switch tag {
	case TagFileDescriptor:
		return f.Descriptor.Append(nil), true
	case TagFID:
		return binary.BigEndian.AppendUint16(nil, f.FID), f.FID != 0
	case TagDFName:
		return f.AID, len(f.AID) > 0
	case TagProprietary:
		return tlv.Encode(f.Proprietary...), f.Proprietary != nil
	case TagLifeCycle:
		return []byte{byte(f.LifeCycle)}, true
	case TagSecurityARR:
		return f.ARR.value(), f.ARR.FID != 0
	case TagSecurityCompact:
		return f.Compact, len(f.Compact) > 0
	case TagSecurityRules:
		return appendRules(nil, f.Rules), len(f.Rules) > 0
	case TagPINStatus:
		return f.PINs.value(), f.PINs != nil
	case TagFileSize:
		return f.Size.value(), f.Size.Width != 0
	case TagTotalSize:
		return f.TotalSize.value(), f.TotalSize.Width != 0
	case TagSFI:
		return f.SFI.value(), f.SFI != SFIFromFID
	}
	return nil, false
}

// ParseFCP decodes an FCP template, from tag 62 to its end. It is strict: Bytes
// of the result is b. The error wraps ErrFCP.
func ParseFCP(b []byte) (FCP, error) {
	outer, err := tlv.Decode(b)
	if err != nil {
		return FCP{}, fmt.Errorf("%w: %w", ErrFCP, err)
	}
	if len(outer) != 1 || outer[0].Tag != TagFCP {
		return FCP{}, fmt.Errorf("%w: not one data object with tag 62", ErrFCP)
	}
	list, err := outer[0].Children()
	if err != nil {
		return FCP{}, fmt.Errorf("%w: %w", ErrFCP, err)
	}
	var f FCP
	var order []uint32
	for _, t := range list {
		if !slices.Contains(fcpOrder, t.Tag) {
			f.Unknown = append(f.Unknown, t)
		} else if slices.Contains(order, t.Tag) {
			return FCP{}, fmt.Errorf("%w: tag %02X twice", ErrFCP, t.Tag)
		} else if err := f.setValue(t); err != nil {
			return FCP{}, err
		}
		order = append(order, t.Tag)
	}
	for _, tag := range []uint32{TagFileDescriptor, TagLifeCycle} {
		if !slices.Contains(order, tag) {
			return FCP{}, fmt.Errorf("%w: no tag %02X, which every file has", ErrFCP, tag)
		}
	}
	if !slices.IsSortedFunc(order, compareFCPOrder) {
		f.Order = order
	}
	return f, nil
}

// compareFCPOrder compares the places of two tags in fcpOrder; unknown tags come
// behind all others.
func compareFCPOrder(a, b uint32) int {
	place := func(tag uint32) int {
		if i := slices.Index(fcpOrder, tag); i >= 0 {
			return i
		}
		return len(fcpOrder)
	}
	return place(a) - place(b)
}

// setValue decodes one data object with a known tag.
func (f *FCP) setValue(t tlv.TLV) (err error) {
	switch t.Tag {
	case TagFileDescriptor:
		f.Descriptor, err = parseFileDescriptor(t.Value)
	case TagFID:
		f.FID, err = parseFID(t.Value)
	case TagDFName:
		f.AID, err = parseAID(t.Value)
	case TagProprietary:
		f.Proprietary, err = parseProprietary(t)
	case TagLifeCycle:
		f.LifeCycle, err = parseLifeCycle(t.Value)
	case TagSecurityARR:
		f.ARR, err = parseARRReference(t.Value)
	case TagSecurityCompact:
		f.Compact, err = parseCompact(t.Value)
	case TagSecurityRules:
		f.Rules, err = parseExpanded(t.Value)
	case TagPINStatus:
		f.PINs, err = parsePINStatus(t.Value)
	case TagFileSize:
		f.Size, err = parseSize(t.Value)
	case TagTotalSize:
		f.TotalSize, err = parseSize(t.Value)
	case TagSFI:
		f.SFI, err = parseSFI(t.Value)
	}
	if err != nil {
		return fmt.Errorf("tag %02X: %w", t.Tag, err)
	}
	return nil
}

func parseFID(b []byte) (uint16, error) {
	if len(b) != fidBytes {
		return 0, fmt.Errorf("%w: file identifier of %d bytes, want 2", ErrFCP, len(b))
	}
	fid := binary.BigEndian.Uint16(b)
	if fid == 0 {
		return 0, fmt.Errorf("%w: file identifier 0000 is reserved", ErrFCP)
	}
	return fid, nil
}

func parseAID(b []byte) ([]byte, error) {
	if len(b) < 1 || len(b) > maxAID {
		return nil, fmt.Errorf("%w: AID of %d bytes, want 1 to 16", ErrFCP, len(b))
	}
	return b, nil
}

func parseLifeCycle(b []byte) (LifeCycle, error) {
	if len(b) != 1 {
		return 0, fmt.Errorf("%w: life cycle status of %d bytes, want 1", ErrFCP, len(b))
	}
	return LifeCycle(b[0]), nil
}

func parseCompact(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: security attributes are empty", ErrFCP)
	}
	return b, nil
}

func parseProprietary(t tlv.TLV) ([]tlv.TLV, error) {
	list, err := t.Children()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFCP, err)
	}
	return list, nil
}

func parseExpanded(b []byte) ([]AccessRule, error) {
	rules, err := parseRules(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFCP, err)
	}
	if len(rules) == 0 {
		return nil, fmt.Errorf("%w: security attributes are empty", ErrFCP)
	}
	return rules, nil
}

// Bytes is the size in its field, big-endian.
func (s Size) Bytes() []byte { return s.value() }

func (s Size) value() []byte {
	b := []byte{}
	for i := s.Width - 1; i >= 0; i-- {
		b = append(b, byte(s.N>>(8*i)))
	}
	return b
}

func parseSize(b []byte) (Size, error) {
	if len(b) < 2 || len(b) > 4 {
		return Size{}, fmt.Errorf("%w: size in %d bytes, want 2 to 4", ErrFCP, len(b))
	}
	s := Size{Width: len(b)}
	for _, v := range b {
		s.N = s.N<<8 | int(v)
	}
	return s, nil
}

const sfiShift = 3 // the SFI is in the five upper bits (11.1.1.4.8)

func (s SFI) value() []byte {
	if s == NoSFI {
		return []byte{}
	}
	return []byte{byte(s) << sfiShift}
}

func parseSFI(b []byte) (SFI, error) {
	switch {
	case len(b) == 0:
		return NoSFI, nil
	case len(b) > 1:
		return 0, fmt.Errorf("%w: SFI of %d bytes, want 0 or 1", ErrFCP, len(b))
	}
	sfi := b[0] >> sfiShift
	if b[0]&0x07 != 0 || sfi == 0 || sfi > MaxSFI {
		return 0, fmt.Errorf("%w: SFI byte %02X", ErrFCP, b[0])
	}
	return SFI(sfi), nil
}
