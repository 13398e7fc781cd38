package uicc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"mcim/apdu/tlv"
)

// Tags of the FCP template (TS 102 221, 11.1.1.3 and 11.1.1.4).
const (
	TagFCP             uint32 = 0x62
	TagFileSize        uint32 = 0x80
	TagTotalSize       uint32 = 0x81
	TagFileDescriptor  uint32 = 0x82
	TagFID             uint32 = 0x83
	TagDFName          uint32 = 0x84
	TagSFI             uint32 = 0x88
	TagLifeCycle       uint32 = 0x8A
	TagSecurityARR     uint32 = 0x8B
	TagSecurityCompact uint32 = 0x8C
	TagProprietary     uint32 = 0xA5
	TagSecurityRules   uint32 = 0xAB
	TagPINStatus       uint32 = 0xC6
)

// Tags inside the proprietary template A5 (TS 102 221, 11.1.1.4.6).
const (
	TagUICCCharacteristics uint32 = 0x80
	TagAvailableMemory     uint32 = 0x83
)

// fcpOrder is the order of data objects in which Bytes writes them unless Order
// says otherwise: that of the tables in 11.1.1.3.
var fcpOrder = []uint32{
	TagFileDescriptor, TagFID, TagDFName, TagProprietary, TagLifeCycle, TagSecurityARR, TagSecurityCompact,
	TagSecurityRules, TagPINStatus, TagFileSize, TagTotalSize, TagSFI,
}

// ErrFCP is returned for bytes that are no FCP template.
var ErrFCP = errors.New("malformed FCP")

// FCP is what a UICC says of a file: the file control parameters (TS 102 221,
// 11.1.1.3). A field of value zero or nil is a data object that is not there,
// but for Descriptor and LifeCycle, which every file has.
type FCP struct {
	Descriptor FileDescriptor
	FID        uint16 // 0: none, as an ADF may have
	AID        []byte // DF name, of an ADF only
	// Proprietary is the content of template A5 as it is. Empty but not nil, the
	// template is there and empty.
	Proprietary []tlv.TLV
	LifeCycle   LifeCycle
	// ARR, Compact and Rules are the three forms of security attributes; a file
	// has one of them. Compact is data object 8C as it is, Rules the content of
	// template AB.
	ARR       ARRReference
	Compact   []byte
	Rules     []AccessRule
	PINs      *PINStatus // of an MF, DF or ADF
	Size      Size       // of the body of an EF
	TotalSize Size       // with what the card needs around it
	SFI       SFI
	// Unknown are data objects with other tags, in the order of the card.
	Unknown []tlv.TLV
	// Order are the tags in the order of the card where it is not that of
	// 11.1.1.3 with the unknown ones behind; nil otherwise.
	Order []uint32
}

// Size is a length in bytes, with the size of the field that tells it.
type Size struct {
	N     int // bytes
	Width int // 2 to 4 bytes of field; 0: not there
}

// NewSize is the size n in the shortest field, which has 2 bytes at least.
func NewSize(n int) Size {
	s := Size{N: n, Width: 2}
	for s.Width < 4 && n>>(8*s.Width) != 0 {
		s.Width++
	}
	return s
}

// SFI says which short file identifier an EF has (TS 102 221, 11.1.1.4.8).
type SFI byte

// Values of SFI other than the identifiers 1 to 30.
const (
	// SFIFromFID: not told, the five lower bits of the FID are the SFI.
	SFIFromFID SFI = 0x00
	// NoSFI: the EF has none.
	NoSFI SFI = 0xFF
)

// ShortID gives the SFI of an EF, 1 to 30; ok is false where it has none.
func (f FCP) ShortID() (sfi byte, ok bool) {
	switch f.SFI {
	case NoSFI:
		return 0, false
	case SFIFromFID:
		sfi = byte(f.FID & 0x1F)
		return sfi, sfi >= 1 && sfi <= MaxSFI
	}
	return byte(f.SFI), true
}

// LifeCycle is the life cycle status integer (TS 102 221, 11.1.1.4.9).
type LifeCycle byte

// Life cycle states. Where one is told in several ways, the methods know all.
const (
	LifeCycleUnknown        LifeCycle = 0x00
	LifeCycleCreation       LifeCycle = 0x01
	LifeCycleInitialization LifeCycle = 0x03
	LifeCycleDeactivated    LifeCycle = 0x04
	LifeCycleActivated      LifeCycle = 0x05
	LifeCycleTerminated     LifeCycle = 0x0C
)

// Activated reports the operational state, activated.
func (l LifeCycle) Activated() bool { return l&^2 == LifeCycleActivated }

// Deactivated reports the operational state, deactivated.
func (l LifeCycle) Deactivated() bool { return l&^2 == LifeCycleDeactivated }

// Terminated reports the termination state.
func (l LifeCycle) Terminated() bool { return l&^3 == LifeCycleTerminated }

// String names the state, or is its value as in "0x0e".
func (l LifeCycle) String() string {
	switch {
	case l.Activated():
		return "activated"
	case l.Deactivated():
		return "deactivated"
	case l.Terminated():
		return "terminated"
	case l == LifeCycleCreation:
		return "creation"
	case l == LifeCycleInitialization:
		return "initialization"
	default:
		return fmt.Sprintf("0x%02x", byte(l))
	}
}

// FileType is the kind of a file: the six lower bits of the file descriptor byte
// (TS 102 221, 11.1.1.4.3).
type FileType byte

// Kinds of files. An internal EF is one of the EF values with bit 4.
const (
	Transparent FileType = 0x01
	LinearFixed FileType = 0x02
	Cyclic      FileType = 0x06
	Directory   FileType = 0x38 // MF, DF or ADF
	BERTLV      FileType = 0x39

	internalEF    FileType = 0x08
	structureBits FileType = 0x07
)

// HasRecords reports a linear fixed or cyclic EF.
func (t FileType) HasRecords() bool {
	return t != Directory && t != BERTLV && (t&structureBits == LinearFixed || t&structureBits == Cyclic)
}

func (t FileType) valid() bool {
	switch t &^ internalEF {
	case 0, Transparent, LinearFixed, Cyclic:
		return true
	}
	return t == Directory || t == BERTLV
}

// String names the file type.
func (t FileType) String() string {
	switch t {
	case Directory:
		return "directory"
	case BERTLV:
		return "BER-TLV EF"
	}
	name := "EF"
	switch t & structureBits {
	case Transparent:
		name = "transparent EF"
	case LinearFixed:
		name = "linear fixed EF"
	case Cyclic:
		name = "cyclic EF"
	}
	if t&internalEF != 0 {
		return "internal " + name
	}
	return name
}

// dataCoding is the data coding byte of every file of a UICC: write behaviour
// proprietary, data unit of two quartets (TS 102 221, 11.1.1.4.3).
const dataCoding = 0x21

const shareable = 0x40

// FileDescriptor is data object 82 (TS 102 221, 11.1.1.4.3).
type FileDescriptor struct {
	Type      FileType
	Shareable bool
	// DataCoding is the data coding byte; 0 stands for 21, the one of TS 102 221.
	DataCoding   byte
	RecordLength uint16 // bytes, of an EF with records
	Records      byte   // number of records, 1 to 254; 0: not told, as in CREATE FILE
}

// Append encodes the value of the data object behind dst.
func (d FileDescriptor) Append(dst []byte) []byte {
	b, coding := byte(d.Type), d.DataCoding
	if d.Shareable {
		b |= shareable
	}
	if coding == 0 {
		coding = dataCoding
	}
	dst = append(dst, b, coding)
	if d.Type.HasRecords() {
		dst = binary.BigEndian.AppendUint16(dst, d.RecordLength)
		if d.Records != 0 {
			dst = append(dst, d.Records)
		}
	}
	return dst
}

func parseFileDescriptor(b []byte) (FileDescriptor, error) {
	if len(b) < 2 {
		return FileDescriptor{}, fmt.Errorf("%w: file descriptor of %d bytes, want 2 or 5", ErrFCP, len(b))
	}
	d := FileDescriptor{Type: FileType(b[0] & 0x3F), Shareable: b[0]&shareable != 0, DataCoding: b[1]}
	switch {
	case b[0]&0x80 != 0 || !d.Type.valid():
		return d, fmt.Errorf("%w: file descriptor byte %02X is reserved", ErrFCP, b[0])
	case d.DataCoding == 0:
		return d, fmt.Errorf("%w: data coding byte 00", ErrFCP)
	case d.DataCoding == dataCoding:
		d.DataCoding = 0
	}
	if !d.Type.HasRecords() {
		if len(b) != 2 {
			return d, fmt.Errorf("%w: file descriptor of %d bytes for a %s, want 2", ErrFCP, len(b), d.Type)
		}
		return d, nil
	}
	if len(b) != 4 && (len(b) != 5 || b[4] == 0) {
		return d, fmt.Errorf("%w: file descriptor of %d bytes for a %s, want 4, or 5 with a number of records", ErrFCP, len(b), d.Type)
	}
	if d.RecordLength = binary.BigEndian.Uint16(b[2:]); len(b) == 5 {
		d.Records = b[4]
	}
	return d, nil
}

// ARRReference is data object 8B: the record of EF.ARR with the access rules
// (TS 102 221, 11.1.1.4.7.3 and 9.2.7).
type ARRReference struct {
	FID    uint16     // file identifier of EF.ARR; 0: data object not there
	Record byte       // number of the record; 0 where BySE tells it
	BySE   []SERecord // a record for each security environment
}

// SERecord is a record of EF.ARR for one security environment.
type SERecord struct{ SE, Record byte }

// value encodes the value of the data object.
func (a ARRReference) value() []byte {
	b := binary.BigEndian.AppendUint16(nil, a.FID)
	if len(a.BySE) == 0 {
		return append(b, a.Record)
	}
	for _, s := range a.BySE {
		b = append(b, s.SE, s.Record)
	}
	return b
}

func parseARRReference(b []byte) (ARRReference, error) {
	var a ARRReference
	if len(b) < 3 || len(b) != 3 && len(b)%2 != 0 {
		return a, fmt.Errorf("%w: reference to EF.ARR of %d bytes, want 3, or 2 and 2 for each environment", ErrFCP, len(b))
	}
	a.FID = binary.BigEndian.Uint16(b)
	if a.FID == 0 {
		return a, fmt.Errorf("%w: reference to EF.ARR with file identifier 0000", ErrFCP)
	}
	if len(b) == 3 {
		a.Record = b[2]
		return a, nil
	}
	for pair := range slices.Chunk(b[2:], 2) {
		a.BySE = append(a.BySE, SERecord{SE: pair[0], Record: pair[1]})
	}
	return a, nil
}
