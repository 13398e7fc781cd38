package usim

import (
	"bytes"
	"fmt"
)

// UpdateStatus is the last byte of EF.LOCI, EF.PSLOCI and EF.EPSLOCI: how the
// last location update ended (TS 31.102, 4.2.17, 4.2.23, 4.2.91).
type UpdateStatus byte

// Update statuses. The higher bits are reserved and kept as they are.
const (
	Updated    UpdateStatus = 0x00
	NotUpdated UpdateStatus = 0x01
	// NotAllowed: the network is not allowed, in EF.EPSLOCI roaming is not.
	NotAllowed UpdateStatus = 0x02
	// AreaNotAllowed: not in EF.EPSLOCI.
	AreaNotAllowed UpdateStatus = 0x03
)

// areaDeleted is the area code of an area that has been deleted (TS 24.008,
// 10.5.1.3 and 10.5.5.15; TS 24.301, 9.9.3.32). Annex E of TS 31.102 begins a
// card's life with 0000 instead, which says the same.
var areaDeleted = [2]byte{0xFF, 0xFE}

// Area is a location or tracking area, or what a routing area begins with.
type Area struct {
	PLMN PLMN
	Code [2]byte // LAC or TAC, big-endian; 0000 and FFFE stand for no area
}

func (a Area) append(dst []byte) ([]byte, error) {
	plmn, err := a.PLMN.Encode()
	if err != nil {
		return nil, err
	}
	return append(append(dst, plmn[:]...), a.Code[:]...), nil
}

func decodeArea(b []byte) (Area, error) {
	plmn, err := DecodePLMN([3]byte(b))
	return Area{PLMN: plmn, Code: [2]byte(b[3:])}, err
}

// Sizes of the files in bytes.
const (
	lociBytes    = 11
	pslociBytes  = 14
	epslociBytes = 18
	keysBytes    = 33
)

// LOCI is the content of EF.LOCI (TS 31.102, 4.2.17).
type LOCI struct {
	TMSI   [4]byte
	LAI    Area
	RFU    byte // FF on a new card; older cards keep a time here
	Status UpdateStatus
}

// DefaultLOCI is EF.LOCI of a subscription that has not been used: no TMSI, no
// area, not updated (TS 31.102, annex E).
func DefaultLOCI() LOCI {
	return LOCI{
		TMSI: [4]byte{0xFF, 0xFF, 0xFF, 0xFF}, LAI: Area{Code: areaDeleted}, RFU: 0xFF, Status: NotUpdated,
	}
}

// Encode encodes the content of EF.LOCI, 11 bytes.
func (l LOCI) Encode() ([]byte, error) {
	b, err := l.LAI.append(l.TMSI[:])
	if err != nil {
		return nil, fmt.Errorf("EF.LOCI: %w", err)
	}
	return append(b, l.RFU, byte(l.Status)), nil
}

// DecodeLOCI decodes the content of EF.LOCI.
func DecodeLOCI(b []byte) (LOCI, error) {
	if len(b) != lociBytes {
		return LOCI{}, fmt.Errorf("%w: EF.LOCI of %d bytes, want %d", ErrContent, len(b), lociBytes)
	}
	lai, err := decodeArea(b[4:])
	if err != nil {
		return LOCI{}, fmt.Errorf("EF.LOCI: %w", err)
	}
	return LOCI{TMSI: [4]byte(b), LAI: lai, RFU: b[9], Status: UpdateStatus(b[10])}, nil
}

// PSLOCI is the content of EF.PSLOCI (TS 31.102, 4.2.23).
type PSLOCI struct {
	PTMSI     [4]byte
	Signature [3]byte // P-TMSI signature
	RAI       Area    // without its last byte
	RAC       byte    // routing area code, last byte of the RAI
	Status    UpdateStatus
}

// DefaultPSLOCI is EF.PSLOCI of a subscription that has not been used (TS 31.102,
// annex E).
func DefaultPSLOCI() PSLOCI {
	return PSLOCI{
		PTMSI: [4]byte{0xFF, 0xFF, 0xFF, 0xFF}, Signature: [3]byte{0xFF, 0xFF, 0xFF},
		RAI: Area{Code: areaDeleted}, RAC: 0xFF, Status: NotUpdated,
	}
}

// Encode encodes the content of EF.PSLOCI, 14 bytes.
func (p PSLOCI) Encode() ([]byte, error) {
	b, err := p.RAI.append(append(p.PTMSI[:], p.Signature[:]...))
	if err != nil {
		return nil, fmt.Errorf("EF.PSLOCI: %w", err)
	}
	return append(b, p.RAC, byte(p.Status)), nil
}

// DecodePSLOCI decodes the content of EF.PSLOCI.
func DecodePSLOCI(b []byte) (PSLOCI, error) {
	if len(b) != pslociBytes {
		return PSLOCI{}, fmt.Errorf("%w: EF.PSLOCI of %d bytes, want %d", ErrContent, len(b), pslociBytes)
	}
	rai, err := decodeArea(b[7:])
	if err != nil {
		return PSLOCI{}, fmt.Errorf("EF.PSLOCI: %w", err)
	}
	return PSLOCI{PTMSI: [4]byte(b), Signature: [3]byte(b[4:]), RAI: rai, RAC: b[12], Status: UpdateStatus(b[13])}, nil
}

// EPSLOCI is the content of EF.EPSLOCI (TS 31.102, 4.2.91).
type EPSLOCI struct {
	GUTI   [12]byte // as in TS 24.301, 9.9.3.12, from octet 2; all FF: none
	TAI    Area     // last visited registered tracking area
	Status UpdateStatus
}

// DefaultEPSLOCI is EF.EPSLOCI of a subscription that has not been used
// (TS 31.102, annex E).
func DefaultEPSLOCI() EPSLOCI {
	e := EPSLOCI{TAI: Area{Code: areaDeleted}, Status: NotUpdated}
	for i := range e.GUTI {
		e.GUTI[i] = 0xFF
	}
	return e
}

// Encode encodes the content of EF.EPSLOCI, 18 bytes.
func (e EPSLOCI) Encode() ([]byte, error) {
	b, err := e.TAI.append(e.GUTI[:])
	if err != nil {
		return nil, fmt.Errorf("EF.EPSLOCI: %w", err)
	}
	return append(b, byte(e.Status)), nil
}

// DecodeEPSLOCI decodes the content of EF.EPSLOCI.
func DecodeEPSLOCI(b []byte) (EPSLOCI, error) {
	if len(b) != epslociBytes {
		return EPSLOCI{}, fmt.Errorf("%w: EF.EPSLOCI of %d bytes, want %d", ErrContent, len(b), epslociBytes)
	}
	tai, err := decodeArea(b[12:])
	if err != nil {
		return EPSLOCI{}, fmt.Errorf("EF.EPSLOCI: %w", err)
	}
	return EPSLOCI{GUTI: [12]byte(b), TAI: tai, Status: UpdateStatus(b[17])}, nil
}

// noKey is the key set identifier that says that there is no key (TS 24.008,
// 10.5.1.2).
const noKey = 0x07

// DefaultKeys is the content of EF.Keys and EF.KeysPS, 33 bytes, with no keys:
// identifier 07, FF in the place of CK and IK (TS 31.102, 4.2.3, 4.2.4 and annex
// E).
func DefaultKeys() []byte {
	return append([]byte{noKey}, bytes.Repeat([]byte{0xFF}, keysBytes-1)...)
}

// KeysCleared reports whether the content of EF.Keys or EF.KeysPS holds no key
// material.
func KeysCleared(b []byte) bool { return bytes.Equal(b, DefaultKeys()) }

// Unused is the content of a file of size bytes that lists nothing: FF. It is
// the default of EF.FPLMN, 3 bytes a network (TS 31.102, 4.2.16), and of
// EF.EPSNSC (TS 31.102, 4.2.92 and annex E).
func Unused(size int) []byte { return bytes.Repeat([]byte{0xFF}, size) }
