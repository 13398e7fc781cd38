package dump

import (
	"encoding/hex"
	"fmt"

	"mcim/apdu/ef"
	"mcim/apdu/tlv"
	"mcim/apdu/uicc"
	"mcim/card"
)

// Structures that package ef does not have.
const (
	structureDirectory = "directory"
	// BERTLV is the structure of an EF with data objects (TS 102 221, 8.2.2.4).
	BERTLV = "BER-TLV"
)

// header is what is to be known of a file before it is read, in whichever class
// the card speaks.
type header struct {
	shown     *FCP
	structure string
	size      int // bytes, of a transparent EF
	length    int // bytes of a record
	records   int
	closed    string // why it cannot be read whoever asks; empty where it can
	pins      *uicc.PINStatus
	arr       uicc.ARRReference
	rules     []uicc.AccessRule // nil: in EF.ARR, or not known
}

// headerUICC understands an FCP template.
func headerUICC(b []byte) header {
	f, err := uicc.ParseFCP(b)
	if err != nil {
		return misunderstood(b, err)
	}
	d := f.Descriptor
	return header{
		shown: showFCP(b, f), structure: structureOf(d.Type), size: f.Size.N, length: int(d.RecordLength), records: int(d.Records),
		closed: closedUICC(f), pins: f.PINs, arr: f.ARR, rules: f.Rules,
	}
}

func misunderstood(b []byte, err error) header {
	return header{shown: &FCP{Raw: hex.EncodeToString(b), Error: err.Error()}}
}

// structureOf takes an internal EF for what it is built like; empty where the
// card does not say.
func structureOf(t uicc.FileType) string {
	const build = 0x07 // of the file descriptor byte
	switch {
	case t == uicc.Directory:
		return structureDirectory
	case t == uicc.BERTLV:
		return BERTLV
	case t&build == uicc.Transparent:
		return string(ef.Transparent)
	case t&build == uicc.LinearFixed:
		return string(ef.LinearFixed)
	case t&build == uicc.Cyclic:
		return string(ef.Cyclic)
	}
	return ""
}

// Special file information inside the proprietary template (TS 102 222, 6.3.2.2):
// the file can be read while it is deactivated.
const (
	tagSpecialInfo          = 0xC0
	readableWhenDeactivated = 0x40
)

func closedUICC(f uicc.FCP) string {
	switch {
	case f.LifeCycle.Terminated():
		return "the file is terminated, for good"
	case !f.LifeCycle.Deactivated():
		return ""
	}
	for _, t := range f.Proprietary {
		if t.Tag == tagSpecialInfo && len(t.Value) == 1 && t.Value[0]&readableWhenDeactivated != 0 {
			return ""
		}
	}
	return "the file is deactivated; ACTIVATE FILE opens it again"
}

func showFCP(b []byte, f uicc.FCP) *FCP {
	d := f.Descriptor
	s := &FCP{
		Raw: hex.EncodeToString(b), Type: d.Type.String(), Shareable: d.Shareable,
		Size: showSize(f.Size), TotalSize: showSize(f.TotalSize), RecordLength: int(d.RecordLength), Records: int(d.Records),
		AID: hex.EncodeToString(f.AID), LifeCycle: f.LifeCycle.String(), ARR: showARR(f.ARR), Compact: hex.EncodeToString(f.Compact),
		PINs: showPINs(f.PINs), Proprietary: objects(f.Proprietary), Unknown: objects(f.Unknown),
	}
	if d.DataCoding != 0 {
		s.DataCoding = fmt.Sprintf("%02x", d.DataCoding)
	}
	if f.FID != 0 {
		s.FID = fmt.Sprintf("%04x", f.FID)
	}
	if d.Type != uicc.Directory {
		s.SFI, _ = f.ShortID()
	}
	return s
}

func showSize(s uicc.Size) *int {
	if s.Width == 0 {
		return nil
	}
	return &s.N
}

func showARR(a uicc.ARRReference) *ARR {
	if a.FID == 0 {
		return nil
	}
	s := &ARR{FID: fmt.Sprintf("%04x", a.FID), Record: a.Record}
	for _, r := range a.BySE {
		if s.BySE == nil {
			s.BySE = map[string]byte{}
		}
		s.BySE[fmt.Sprintf("%02x", r.SE)] = r.Record
	}
	return s
}

func showPINs(p *uicc.PINStatus) []PIN {
	if p == nil {
		return nil
	}
	var list []PIN
	for _, k := range p.Keys {
		enabled, _ := p.Enabled(k.Ref)
		pin := PIN{Name: card.KeyName(k.Ref), Ref: fmt.Sprintf("%02x", k.Ref), Enabled: enabled}
		if k.HasUsage {
			pin.Usage = fmt.Sprintf("%02x", k.Usage)
		}
		list = append(list, pin)
	}
	return list
}

func objects(list []tlv.TLV) []ef.Object {
	var out []ef.Object
	for _, t := range list {
		out = append(out, ef.Object{Tag: ef.Tag(t.Tag), Value: append(ef.Hex{}, t.Value...)})
	}
	return out
}

// headerGSM understands the answer to SELECT of class A0.
func headerGSM(b []byte) header {
	g, err := uicc.ParseGSMResponse(b)
	if err != nil {
		return misunderstood(b, err)
	}
	shown := &FCP{Raw: hex.EncodeToString(b), FID: fmt.Sprintf("%04x", g.FID)}
	if g.DF != nil {
		on := func(ref byte) bool { return ref != uicc.RefPIN1 || !g.DF.CHV1Disabled() }
		pins := uicc.NewPINStatus([]byte{uicc.RefPIN1, uicc.RefPIN2}, on)
		shown.Type, shown.PINs = structureDirectory, showPINs(pins)
		return header{shown: shown, structure: structureDirectory, pins: pins}
	}
	return fileGSM(shown, g)
}

// Status of an EF of class A0 (TS 51.011, 9.3): not invalidated, readable also
// while it is.
const (
	gsmValid    = 0x01
	gsmReadable = 0x04
)

func fileGSM(shown *FCP, g uicc.GSMResponse) header {
	size, f := int(g.Size), g.EF
	h := header{shown: shown, size: size, length: int(f.RecordLength), rules: rulesGSM(f.Access)}
	switch f.Structure {
	case uicc.GSMTransparent:
		h.structure, h.length = string(ef.Transparent), 0
	case uicc.GSMLinearFixed:
		h.structure = string(ef.LinearFixed)
	case uicc.GSMCyclic:
		h.structure = string(ef.Cyclic)
	}
	if h.length > 0 {
		h.records = size / h.length
	}
	shown.Type, shown.Size, shown.RecordLength, shown.Records = h.structure+" EF", &size, h.length, h.records
	shown.LifeCycle = "activated"
	if f.Status&gsmValid == 0 {
		shown.LifeCycle = "deactivated"
		if f.Status&gsmReadable == 0 {
			h.closed = "the file is invalidated; REHABILITATE opens it again"
		}
	}
	return h
}

// rulesGSM turns the access conditions of class A0 into rules (TS 51.011, 9.3):
// half-bytes for READ, UPDATE, INCREASE, RFU, REHABILITATE, INVALIDATE.
func rulesGSM(access [3]byte) []uicc.AccessRule {
	var rules []uicc.AccessRule
	for _, r := range []struct {
		op   uicc.Access
		code byte
	}{
		{uicc.AccessRead, access[0] >> 4},
		{uicc.AccessUpdate, access[0] & 0x0F},
		{uicc.AccessActivate, access[2] >> 4},
		{uicc.AccessDeactivate, access[2] & 0x0F},
	} {
		rules = append(rules, uicc.AccessRule{Access: r.op, Conditions: []uicc.Condition{conditionGSM(r.code)}})
	}
	return rules
}

func conditionGSM(code byte) uicc.Condition {
	switch {
	case code == 0:
		return uicc.Condition{Kind: uicc.Always}
	case code == 1:
		return uicc.KeyCondition(uicc.RefPIN1)
	case code == 2:
		return uicc.KeyCondition(uicc.RefPIN2)
	case code >= 4 && code < 4+5:
		return uicc.KeyCondition(uicc.RefADM1 + code - 4)
	case code == 0x0F:
		return uicc.Condition{}
	default: // reserved, or an administrative code without a name
		return uicc.Condition{Kind: uicc.Other}
	}
}
