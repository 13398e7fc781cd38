package uicc

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrGSMResponse is returned for bytes that are no answer to SELECT of class A0.
var ErrGSMResponse = errors.New("malformed answer to SELECT of class A0")

// GSMType is the type of a file in class A0 (TS 51.011, 9.3).
type GSMType byte

// Types of files in class A0.
const (
	GSMMF GSMType = 0x01
	GSMDF GSMType = 0x02
	GSMEF GSMType = 0x04
)

// GSMStructure is the structure of an EF in class A0 (TS 51.011, 9.3).
type GSMStructure byte

// Structures of an EF in class A0.
const (
	GSMTransparent GSMStructure = 0x00
	GSMLinearFixed GSMStructure = 0x01
	GSMCyclic      GSMStructure = 0x03
)

// Sizes of the fixed parts (TS 51.011, 9.2.1), in bytes.
const (
	gsmHead    = 13 // up to the length byte, of every file
	gsmMinDF   = 22 // up to the status of UNBLOCK CHV2
	gsmMinEF   = 14 // up to the structure
	gsmCHV1Off = 0x80
	gsmCHVInit = 0x80
)

// GSMResponse is the answer to SELECT of class A0 (TS 51.011, 9.2.1). Reserved
// bytes are kept, so that Bytes gives what ParseGSMResponse took.
type GSMResponse struct {
	RFU1 [2]byte // bytes 1 and 2
	// Size is the memory not allocated below an MF or DF, the body of an EF, in
	// bytes.
	Size uint16
	FID  uint16
	Type GSMType
	DF   *GSMDirectory // of MF and DF
	EF   *GSMFile      // of EF
}

// GSMDirectory is the part of the answer for an MF or DF.
type GSMDirectory struct {
	RFU             [5]byte // bytes 8 to 12
	Characteristics byte    // byte 14; CHV1Disabled is its highest bit
	DFs, EFs        byte    // children
	Codes           byte    // number of CHVs, UNBLOCK CHVs and administrative codes
	RFU18           byte    // byte 18
	CHV1, Unblock1  CHVStatus
	CHV2, Unblock2  CHVStatus
	Rest            []byte // bytes 23 and up
}

// CHV1Disabled reports that CHV1, which is PIN1, need not be verified.
func (d GSMDirectory) CHV1Disabled() bool { return d.Characteristics&gsmCHV1Off != 0 }

// GSMFile is the part of the answer for an EF.
type GSMFile struct {
	Increase     byte    // byte 8; 40 where INCREASE is allowed on a cyclic EF
	Access       [3]byte // bytes 9 to 11: a half-byte for each operation
	Status       byte    // byte 12; bit 1 is 0 where the file is invalidated
	Structure    GSMStructure
	RecordLength byte   // byte 15, 0 for a transparent EF; there with HasRecord
	HasRecord    bool   // byte 15 is there
	Rest         []byte // bytes 16 and up
}

// CHVStatus is the status byte of a CHV or UNBLOCK CHV (TS 51.011, 9.3).
type CHVStatus byte

// NewCHVStatus is the status of an initialized code with tries left, 0 to 15.
func NewCHVStatus(tries int) CHVStatus { return gsmCHVInit | CHVStatus(tries&0x0F) }

// Initialized reports that the code has been set.
func (s CHVStatus) Initialized() bool { return s&gsmCHVInit != 0 }

// Tries is the number of false presentations left, 0 to 15; 0 is blocked.
func (s CHVStatus) Tries() int { return int(s & 0x0F) }

// Bytes encodes the answer.
func (g GSMResponse) Bytes() []byte {
	b := append([]byte{}, g.RFU1[:]...)
	b = binary.BigEndian.AppendUint16(b, g.Size)
	b = binary.BigEndian.AppendUint16(b, g.FID)
	b = append(b, byte(g.Type))
	if d := g.DF; d != nil {
		b = append(b, d.RFU[:]...)
		b = append(b, byte(gsmMinDF-gsmHead+len(d.Rest)), d.Characteristics, d.DFs, d.EFs, d.Codes, d.RFU18)
		b = append(b, byte(d.CHV1), byte(d.Unblock1), byte(d.CHV2), byte(d.Unblock2))
		return append(b, d.Rest...)
	}
	if f := g.EF; f != nil {
		tail := []byte{byte(f.Structure)}
		if f.HasRecord {
			tail = append(append(tail, f.RecordLength), f.Rest...)
		}
		b = append(b, f.Increase, f.Access[0], f.Access[1], f.Access[2], f.Status, byte(len(tail)))
		return append(b, tail...)
	}
	return b
}

// ParseGSMResponse decodes the answer. It is strict: Bytes of the result is b.
// The error wraps ErrGSMResponse.
func ParseGSMResponse(b []byte) (GSMResponse, error) {
	if len(b) < gsmMinEF {
		return GSMResponse{}, fmt.Errorf("%w: %d bytes, want %d or more", ErrGSMResponse, len(b), gsmMinEF)
	}
	if n := int(b[gsmHead-1]); n != len(b)-gsmHead {
		return GSMResponse{}, fmt.Errorf("%w: length byte says %d, %d bytes follow", ErrGSMResponse, n, len(b)-gsmHead)
	}
	g := GSMResponse{
		RFU1: [2]byte(b[0:2]), Size: binary.BigEndian.Uint16(b[2:]), FID: binary.BigEndian.Uint16(b[4:]), Type: GSMType(b[6]),
	}
	switch g.Type {
	case GSMMF, GSMDF:
		if len(b) < gsmMinDF {
			return GSMResponse{}, fmt.Errorf("%w: %d bytes for a directory, want %d or more", ErrGSMResponse, len(b), gsmMinDF)
		}
		g.DF = &GSMDirectory{
			RFU: [5]byte(b[7:12]), Characteristics: b[13], DFs: b[14], EFs: b[15], Codes: b[16], RFU18: b[17],
			CHV1: CHVStatus(b[18]), Unblock1: CHVStatus(b[19]), CHV2: CHVStatus(b[20]), Unblock2: CHVStatus(b[21]),
			Rest: b[gsmMinDF:],
		}
	case GSMEF:
		g.EF = &GSMFile{Increase: b[7], Access: [3]byte(b[8:11]), Status: b[11], Structure: GSMStructure(b[13])}
		if len(b) > gsmMinEF {
			g.EF.RecordLength, g.EF.HasRecord, g.EF.Rest = b[gsmMinEF], true, b[gsmMinEF+1:]
		}
	default:
		return GSMResponse{}, fmt.Errorf("%w: file type %02X", ErrGSMResponse, b[6])
	}
	return g, nil
}

// Half-bytes of access conditions (TS 51.011, 9.3): 0 always, 1 CHV1, 2 CHV2, 4 to E
// administrative codes, F never.
const (
	gsmAlways = 0x0
	gsmADM1   = 0x4
	gsmADM5   = 0x8
)

// FCP gives the answer in the form of a UICC: kind, sizes, life cycle, which PINs are on,
// and the access conditions as rules. Codes that have no key reference
// in a UICC stand for never.
func (g GSMResponse) FCP() FCP {
	f := FCP{Descriptor: FileDescriptor{Type: Directory}, FID: g.FID, LifeCycle: LifeCycleActivated}
	if d := g.DF; d != nil {
		refs := []byte{RefPIN1}
		if d.CHV2.Initialized() {
			refs = append(refs, RefPIN2)
		}
		f.PINs = NewPINStatus(refs, func(ref byte) bool { return ref != RefPIN1 || !d.CHV1Disabled() })
		return f
	}
	if g.EF == nil {
		return f
	}
	e := *g.EF
	f.Size = NewSize(int(g.Size))
	f.Descriptor.Type = Transparent
	if e.Structure != GSMTransparent && e.RecordLength != 0 {
		f.Descriptor.Type = LinearFixed
		if e.Structure == GSMCyclic {
			f.Descriptor.Type = Cyclic
		}
		f.Descriptor.RecordLength = uint16(e.RecordLength)
		f.Descriptor.Records = byte(int(g.Size) / int(e.RecordLength))
	}
	if e.Status&1 == 0 {
		f.LifeCycle = LifeCycleDeactivated
	}
	f.Rules = []AccessRule{
		{Access: AccessRead, Conditions: []Condition{gsmCondition(e.Access[0] >> 4)}},
		{Access: AccessUpdate, Conditions: []Condition{gsmCondition(e.Access[0] & 0x0F)}},
		{HeaderTag: HeaderINS, Header: []byte{INSIncrease}, Conditions: []Condition{gsmCondition(e.Access[1] >> 4)}},
		{Access: AccessActivate, Conditions: []Condition{gsmCondition(e.Access[2] >> 4)}},
		{Access: AccessDeactivate, Conditions: []Condition{gsmCondition(e.Access[2] & 0x0F)}},
	}
	return f
}

func gsmCondition(half byte) Condition {
	switch {
	case half == gsmAlways:
		return Condition{Kind: Always}
	case half == chv1:
		return KeyCondition(RefPIN1)
	case half == chv2:
		return KeyCondition(RefPIN2)
	case half >= gsmADM1 && half <= gsmADM5:
		return KeyCondition(RefADM1 + half - gsmADM1)
	}
	return Condition{Kind: Never}
}
