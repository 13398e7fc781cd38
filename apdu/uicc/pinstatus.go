package uicc

import (
	"fmt"
	"slices"

	"mcim/apdu/tlv"
)

// Tags inside the PIN status template C6 (TS 102 221, 9.5.2).
const (
	tagPSByte       uint32 = 0x90
	tagUsage        uint32 = 0x95
	tagKeyReference uint32 = 0x83
)

// UsageVerify is the usage qualifier of a PIN that a terminal has to verify
// (TS 102 221, 9.5.2).
const UsageVerify = 0x08

// PINStatus is the PIN status template, tag C6: which PINs the directory knows
// and which of them are enabled (TS 102 221, 9.5.2 and 11.1.1.4.10).
type PINStatus struct {
	// Bits are the PS bytes: the highest bit of the first byte is for the first
	// key, 1 means enabled.
	Bits []byte
	Keys []KeyReference
}

// KeyReference is one PIN or key of a PINStatus.
type KeyReference struct {
	Ref byte // key reference: RefPIN1 and its like
	// Usage is the usage qualifier in front of the key, 08 to be verified, 00
	// not; HasUsage tells whether there is one. The universal PIN has it.
	Usage    byte
	HasUsage bool
}

// NewPINStatus is the template for PINs in the order of refs; enabled tells for
// each whether it is.
func NewPINStatus(refs []byte, enabled func(ref byte) bool) *PINStatus {
	p := &PINStatus{Bits: make([]byte, (len(refs)+7)/8)}
	for i, ref := range refs {
		if enabled(ref) {
			p.Bits[i/8] |= 0x80 >> (i % 8)
		}
		p.Keys = append(p.Keys, KeyReference{Ref: ref})
	}
	return p
}

// Enabled reports whether the PIN has to be verified where a rule asks for it;
// known is false where the directory does not name it.
func (p *PINStatus) Enabled(ref byte) (enabled, known bool) {
	if p == nil {
		return false, false
	}
	i := slices.IndexFunc(p.Keys, func(k KeyReference) bool { return k.Ref == ref })
	if i < 0 {
		return false, false
	}
	return p.Bits[i/8]&(0x80>>(i%8)) != 0, true
}

// Replaced reports whether the universal PIN stands in for PIN1: it is named
// with the usage qualifier that says so (TS 102 221, 9.5.1).
func (p *PINStatus) Replaced() bool {
	return p != nil && slices.Contains(p.Keys, KeyReference{Ref: RefUniversalPIN, Usage: UsageVerify, HasUsage: true})
}

func (p *PINStatus) value() []byte {
	if p == nil {
		return nil
	}
	list := []tlv.TLV{{Tag: tagPSByte, Value: p.Bits}}
	for _, k := range p.Keys {
		if k.HasUsage {
			list = append(list, tlv.TLV{Tag: tagUsage, Value: []byte{k.Usage}})
		}
		list = append(list, tlv.TLV{Tag: tagKeyReference, Value: []byte{k.Ref}})
	}
	return tlv.Encode(list...)
}

func parsePINStatus(b []byte) (*PINStatus, error) {
	list, err := tlv.Decode(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFCP, err)
	}
	if len(list) == 0 || list[0].Tag != tagPSByte {
		return nil, fmt.Errorf("%w: PIN status does not begin with tag 90", ErrFCP)
	}
	p := &PINStatus{Bits: list[0].Value}
	var next KeyReference
	for _, t := range list[1:] {
		switch {
		case len(t.Value) != 1:
			return nil, fmt.Errorf("%w: PIN status, tag %02X of %d bytes, want 1", ErrFCP, t.Tag, len(t.Value))
		case t.Tag == tagUsage && !next.HasUsage:
			next.Usage, next.HasUsage = t.Value[0], true
		case t.Tag == tagKeyReference:
			next.Ref = t.Value[0]
			p.Keys = append(p.Keys, next)
			next = KeyReference{}
		default:
			return nil, fmt.Errorf("%w: PIN status, tag %02X out of place", ErrFCP, t.Tag)
		}
	}
	switch {
	case next.HasUsage:
		return nil, fmt.Errorf("%w: PIN status, usage qualifier without a key", ErrFCP)
	case len(p.Bits)*8 < len(p.Keys):
		return nil, fmt.Errorf("%w: PIN status has %d bytes for %d keys", ErrFCP, len(p.Bits), len(p.Keys))
	}
	return p, nil
}
