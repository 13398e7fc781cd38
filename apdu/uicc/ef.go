package uicc

import (
	"errors"
	"fmt"

	"mcim/apdu/tlv"
)

// File identifiers below the MF (TS 102 221, 8.4 and 13).
const (
	FIDMF    uint16 = 0x3F00
	FIDEFDIR uint16 = 0x2F00
	FIDEFPL  uint16 = 0x2F05
	FIDEFARR uint16 = 0x2F06
	// FIDEFICCID is EF.ICCID, readable without a PIN.
	FIDEFICCID uint16 = 0x2FE2
	// FIDCurrentADF stands for the current application at the head of a path.
	FIDCurrentADF uint16 = 0x7FFF
)

// Short file identifiers below the MF (TS 102 221, 13).
const (
	SFIEFICCID byte = 0x02
	SFIEFARR   byte = 0x06
	SFIEFDIR   byte = 0x1E
)

// Errors of the files below the MF; neither text repeats the input.
var (
	// ErrICCID: not 18 to 20 digits, or bytes that are no ICCID.
	ErrICCID = errors.New("malformed ICCID")
	// ErrDirRecord: not a record of EF.DIR.
	ErrDirRecord = errors.New("malformed EF.DIR record")
	// ErrEmptyRecord: a record without use, all FF.
	ErrEmptyRecord = errors.New("the record is empty")
)

// iccidBytes is the size of EF.ICCID (TS 102 221, 13.2).
const iccidBytes = 10

// EncodeICCID encodes 18 to 20 digits as the content of EF.ICCID, 10 bytes: two
// digits a byte, the first in the lower half, F behind the last (TS 102 221,
// 13.2). The check digit is taken as it is, see LuhnOK.
func EncodeICCID(digits string) ([]byte, error) {
	if len(digits) < 18 || len(digits) > 2*iccidBytes || !isDigits(digits) {
		return nil, fmt.Errorf("%w: want 18 to 20 digits, most cards have 19", ErrICCID)
	}
	b := make([]byte, iccidBytes)
	for i := range b {
		b[i] = 0xFF
	}
	for i := range len(digits) {
		d := digits[i] - '0'
		if i%2 == 0 {
			b[i/2] = b[i/2]&0xF0 | d
		} else {
			b[i/2] = b[i/2]&0x0F | d<<4
		}
	}
	return b, nil
}

// DecodeICCID decodes the content of EF.ICCID. It is the inverse of EncodeICCID.
func DecodeICCID(b []byte) (string, error) {
	if len(b) != iccidBytes {
		return "", fmt.Errorf("%w: %d bytes, EF.ICCID has %d", ErrICCID, len(b), iccidBytes)
	}
	digits := make([]byte, 0, 2*iccidBytes)
	ended := false
	for i := range 2 * iccidBytes {
		d := b[i/2] >> (4 * (i % 2)) & 0x0F
		switch {
		case d == 0x0F:
			ended = true
		case ended || d > 9:
			return "", fmt.Errorf("%w: digit %d is %X", ErrICCID, i+1, d)
		default:
			digits = append(digits, '0'+d)
		}
	}
	if len(digits) < 18 {
		return "", fmt.Errorf("%w: %d digits, want 18 to 20", ErrICCID, len(digits))
	}
	return string(digits), nil
}

// LuhnOK reports whether the last digit is the check digit of the others (ITU-T
// E.118, annex B). Cards of 20 digits do not always keep to it.
func LuhnOK(digits string) bool {
	if digits == "" || !isDigits(digits) {
		return false
	}
	sum := 0
	for i := range len(digits) {
		d := int(digits[len(digits)-1-i] - '0')
		if i%2 == 1 {
			d *= 2
			if d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

// Tags of a record of EF.DIR (TS 102 221, 13.1).
const (
	tagApplication uint32 = 0x61
	tagAID         uint32 = 0x4F
	tagLabel       uint32 = 0x50
)

// DirRecord is a record of EF.DIR: an application on the card (TS 102 221, 13.1).
type DirRecord struct {
	AID []byte // 1 to 16 bytes
	// Label is the name of the application, up to 32 bytes, UTF-8 as a rule. It
	// is "" where data object 50 is not the second one.
	Label string
	// Other are the data objects behind, as they are.
	Other []tlv.TLV
}

// Encode encodes the record with length bytes, FF behind. It fails with
// ErrDirRecord where the application does not fit.
func (d DirRecord) Encode(length int) ([]byte, error) {
	if len(d.AID) < 1 || len(d.AID) > maxAID {
		return nil, fmt.Errorf("%w: AID of %d bytes, want 1 to 16", ErrDirRecord, len(d.AID))
	}
	list := []tlv.TLV{{Tag: tagAID, Value: d.AID}}
	if d.Label != "" {
		list = append(list, tlv.TLV{Tag: tagLabel, Value: []byte(d.Label)})
	}
	b := tlv.Encode(tlv.Nest(tagApplication, append(list, d.Other...)...))
	if len(b) > length {
		return nil, fmt.Errorf("%w: %d bytes do not fit a record of %d", ErrDirRecord, len(b), length)
	}
	return pad(b, length), nil
}

// DecodeDirRecord decodes a record of EF.DIR. It is strict: Encode with the same
// length gives b. A record all FF is ErrEmptyRecord, any other error wraps
// ErrDirRecord.
func DecodeDirRecord(b []byte) (DirRecord, error) {
	outer, err := tlv.DecodeFilled(b)
	if err != nil {
		return DirRecord{}, fmt.Errorf("%w: %w", ErrDirRecord, err)
	}
	if len(outer) == 0 {
		return DirRecord{}, ErrEmptyRecord
	}
	if len(outer) != 1 || outer[0].Tag != tagApplication {
		return DirRecord{}, fmt.Errorf("%w: not one application template 61", ErrDirRecord)
	}
	list, err := outer[0].Children()
	if err != nil {
		return DirRecord{}, fmt.Errorf("%w: %w", ErrDirRecord, err)
	}
	if len(list) == 0 || list[0].Tag != tagAID || len(list[0].Value) < 1 || len(list[0].Value) > maxAID {
		return DirRecord{}, fmt.Errorf("%w: does not begin with an AID of 1 to 16 bytes", ErrDirRecord)
	}
	d := DirRecord{AID: list[0].Value}
	list = list[1:]
	if len(list) > 0 && list[0].Tag == tagLabel && len(list[0].Value) > 0 {
		d.Label, list = string(list[0].Value), list[1:]
	}
	if len(list) > 0 {
		d.Other = list
	}
	return d, nil
}
