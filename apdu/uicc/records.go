package uicc

import (
	"bytes"
	"fmt"

	"mcim/apdu"
)

// Instruction bytes of records beyond reading and updating (TS 102 221, 10.1.2).
const (
	INSIncrease     byte = 0x32
	INSSearchRecord byte = 0xA2
)

// SearchFrom says where a search begins and which way it goes (TS 102 221, 11.1.7.2).
type SearchFrom byte

// Ways to search.
const (
	// ForwardFrom: from Record up.
	ForwardFrom SearchFrom = 4
	// BackwardFrom: from Record down.
	BackwardFrom SearchFrom = 5
	// ForwardFromNext: from the record behind Record up.
	ForwardFromNext SearchFrom = 6
	// BackwardFromPrevious: from the record before Record down.
	BackwardFromPrevious SearchFrom = 7
)

const (
	searchEnhanced  = 0x06
	searchAfterByte = 0x08
	maxIncrease     = 127 // bytes of the value (11.1.8.2)
	gsmIncrease     = 3   // bytes of the value in class A0 (TS 51.011, 9.2.16)
)

// SearchRecord is SEARCH RECORD (TS 102 221, 11.1.7). The answer is the numbers of
// the records that hold Pattern, a byte each, in the order of the search; without
// any it is 6282.
type SearchRecord struct {
	SFI    byte       // 1 to 30; 0 searches the current EF
	Record byte       // number from 1; 0 is the current record
	From   SearchFrom // 0 is ForwardFrom
	// Offset is the byte of the record from which it is searched; with After it is
	// a value, and the search of a record begins behind its first occurrence. Where
	// one of them is set, or From needs it, the search is an enhanced one.
	Offset  byte
	After   bool
	Pattern []byte // 1 byte or more, up to the length of a record
}

// Command encodes the command.
func (s SearchRecord) Command() apdu.Command {
	from := s.From
	if from == 0 {
		from = ForwardFrom
	}
	enhanced := s.After || s.Offset != 0 || from > BackwardFrom
	most := apdu.MaxShortData
	if enhanced {
		most -= 2
	}
	switch {
	case from < ForwardFrom || from > BackwardFromPrevious:
		return invalid("SEARCH RECORD", "direction %d, want 4 to 7", from)
	case s.SFI > MaxSFI || s.Record > MaxRecord:
		return invalid("SEARCH RECORD", "SFI %d, record %d, want up to %d and %d", s.SFI, s.Record, MaxSFI, MaxRecord)
	case len(s.Pattern) < 1 || len(s.Pattern) > most:
		return invalid("SEARCH RECORD", "%d bytes to search for, want 1 to %d", len(s.Pattern), most)
	}
	c := apdu.Command{
		CLA: classBasic, INS: INSSearchRecord, P1: s.Record, P2: s.SFI<<recordSFIShift | byte(from),
		Data: bytes.Clone(s.Pattern), Ne: apdu.MaxShortNe,
	}
	if !enhanced {
		return c
	}
	indication := byte(from)
	if s.After {
		indication |= searchAfterByte
	}
	c.P2, c.Data = s.SFI<<recordSFIShift|searchEnhanced, append([]byte{indication, s.Offset}, s.Pattern...)
	return c
}

// ParseSearchRecord is the command in the form SearchRecord gives it; it is for the
// card's side. The error wraps ErrField.
func ParseSearchRecord(c apdu.Command) (SearchRecord, error) {
	bad := func(why string) (SearchRecord, error) {
		return SearchRecord{}, fmt.Errorf("SEARCH RECORD: %w: %s", ErrField, why)
	}
	s := SearchRecord{SFI: c.P2 >> recordSFIShift, Record: c.P1, From: SearchFrom(c.P2 & 0x07), Pattern: c.Data}
	if s.SFI > MaxSFI || s.Record > MaxRecord {
		return bad("SFI or record number")
	}
	switch s.From {
	case ForwardFrom, BackwardFrom:
	case searchEnhanced:
		if len(c.Data) < 2 || c.Data[0]&^0x0F != 0 {
			return bad("search indication")
		}
		s.From, s.After, s.Offset = SearchFrom(c.Data[0]&0x07), c.Data[0]&searchAfterByte != 0, c.Data[1]
		s.Pattern = c.Data[2:]
	default:
		return bad("mode")
	}
	if s.From < ForwardFrom || len(s.Pattern) == 0 {
		return bad("direction or pattern")
	}
	return s, nil
}

// Find reports whether a record holds the pattern where the search looks for it.
func (s SearchRecord) Find(record []byte) bool {
	start := int(s.Offset)
	if s.After {
		i := bytes.IndexByte(record, s.Offset)
		if i < 0 {
			return false
		}
		start = i + 1
	}
	return start < len(record) && bytes.Contains(record[start:], s.Pattern)
}

// Increase is INCREASE of a cyclic EF (TS 102 221, 11.1.8): the newest record, a number,
// plus Value becomes the new record 1. The answer is that record and the value.
type Increase struct {
	SFI   byte   // 1 to 30; 0 is the current EF
	Value []byte // big-endian, 1 to 127 bytes; 3 in class A0
}

// Command encodes the command, of class 80.
func (i Increase) Command() apdu.Command {
	switch {
	case i.SFI > MaxSFI:
		return invalid("INCREASE", "SFI %d, want 0 to %d", i.SFI, MaxSFI)
	case len(i.Value) < 1 || len(i.Value) > maxIncrease:
		return invalid("INCREASE", "value of %d bytes, want 1 to %d", len(i.Value), maxIncrease)
	}
	c := apdu.Command{CLA: classETSI, INS: INSIncrease, Data: i.Value, Ne: apdu.MaxShortNe}
	if i.SFI != 0 {
		c.P1 = sfiFlag | i.SFI
	}
	return c
}

// GSM encodes the command of class A0 (TS 51.011, 9.2.16), about the current EF.
func (i Increase) GSM() apdu.Command {
	if i.SFI != 0 || len(i.Value) != gsmIncrease {
		return invalid("INCREASE", "class A0 knows no SFI, and values of %d bytes", gsmIncrease)
	}
	return apdu.Command{CLA: classGSM, INS: INSIncrease, Data: i.Value, Ne: apdu.MaxShortNe}
}
