package uicc

import (
	"encoding/binary"
	"errors"
	"fmt"

	"mcim/apdu"
)

// Instruction bytes (TS 102 221, 10.1.2; AUTHENTICATE TS 31.102, 7.1.2).
const (
	INSVerify        byte = 0x20
	INSChangePIN     byte = 0x24
	INSDisablePIN    byte = 0x26
	INSEnablePIN     byte = 0x28
	INSUnblockPIN    byte = 0x2C
	INSManageChannel byte = 0x70
	INSAuthenticate  byte = 0x88
	INSSelect        byte = 0xA4
	INSReadBinary    byte = 0xB0
	INSReadRecord    byte = 0xB2
	INSGetResponse   byte = 0xC0
	INSUpdateBinary  byte = 0xD6
	INSUpdateRecord  byte = 0xDC
	INSStatus        byte = 0xF2
)

// Bounds of fields.
const (
	// MaxSFI is the highest short file identifier (8.5).
	MaxSFI = 0x1E
	// MaxOffset is the highest offset without SFI, 15 bits (11.1.3.2).
	MaxOffset = 0x7FFF
	// MaxRecord is the highest record number (8.2.2.2).
	MaxRecord = 0xFE
	// MaxChannel is the highest logical channel (10.1.1).
	MaxChannel = 19

	maxSFIOffset = 0xFF // highest offset with SFI
	maxPathFIDs  = 127  // what a short command has room for
	maxAID       = 16   // bytes (TS 101 220, 4)
	fidBytes     = 2
)

// Parts of command headers.
const (
	classBasic = 0x00
	classETSI  = 0x80

	p2ReturnFCP   = 0x04
	p2NoData      = 0x0C
	p2Termination = 0x40

	sfiFlag        = 0x80 // in P1 of READ and UPDATE BINARY
	recordSFIShift = 3    // in P2 of READ and UPDATE RECORD
	recordAbsolute = 0x04

	p1CloseChannel = 0x80
)

// ErrField is returned by the APDU of a command with a field out of bounds.
var ErrField = errors.New("field out of bounds")

func invalid(command, format string, args ...any) apdu.Command {
	return apdu.Command{Err: fmt.Errorf("%s: %w: %s", command, ErrField, fmt.Sprintf(format, args...))}
}

// SelectBy is P1 of SELECT: how ID names the file (TS 102 221, 11.1.1.2).
type SelectBy byte

// Ways to name a file.
const (
	// ByFID: ID is a file identifier, found by the rules of 8.4.1.
	ByFID SelectBy = 0x00
	// ByChild: ID is the file identifier of a DF in the current DF.
	ByChild SelectBy = 0x01
	// ParentDF: no ID, the parent of the current DF.
	ParentDF SelectBy = 0x03
	// ByAID: ID is the AID of an application, or its first bytes.
	ByAID SelectBy = 0x04
	// ByPathFromMF: ID is a path of file identifiers without the MF.
	ByPathFromMF SelectBy = 0x08
	// ByPathFromCurrent: ID is a path without the current DF.
	ByPathFromCurrent SelectBy = 0x09
)

// Occurrence chooses among the applications that a partial AID fits
// (TS 102 221, 11.1.1.2, table 11.2).
type Occurrence byte

// Occurrences of a partial AID.
const (
	FirstOrOnly Occurrence = 0
	Last        Occurrence = 1
	NextOne     Occurrence = 2
	PreviousOne Occurrence = 3
)

// Select is SELECT (TS 102 221, 11.1.1).
type Select struct {
	By SelectBy
	ID []byte // as By says
	// NoData asks for no FCP.
	NoData bool
	// Terminate ends the session of the application; only with ByAID.
	Terminate bool
	// Occurrence is FirstOrOnly but for a partial AID.
	Occurrence Occurrence
}

// SelectFID selects by file identifier.
func SelectFID(fid uint16) Select {
	return Select{By: ByFID, ID: binary.BigEndian.AppendUint16(nil, fid)}
}

// SelectAID selects an application by its AID, or by the first bytes of it.
func SelectAID(aid []byte) Select {
	return Select{By: ByAID, ID: aid}
}

// SelectPath selects by the path from the MF, without the MF itself. 7FFF in
// front stands for the current application (8.4.2).
func SelectPath(fids ...uint16) Select {
	s := Select{By: ByPathFromMF}
	for _, fid := range fids {
		s.ID = binary.BigEndian.AppendUint16(s.ID, fid)
	}
	return s
}

// Command encodes the command.
func (s Select) Command() apdu.Command {
	if problem := s.check(); problem != "" {
		return invalid("SELECT", "%s", problem)
	}
	c := apdu.Command{CLA: classBasic, INS: INSSelect, P1: byte(s.By), P2: p2ReturnFCP, Data: s.ID, Ne: apdu.MaxShortNe}
	if s.NoData {
		c.P2, c.Ne = p2NoData, 0
	}
	if s.Terminate {
		c.P2 |= p2Termination
	}
	c.P2 |= byte(s.Occurrence)
	return c
}

func (s Select) check() string {
	n := len(s.ID)
	switch {
	case s.By != ByAID && (s.Terminate || s.Occurrence != FirstOrOnly):
		return "termination and occurrence go with an AID only"
	case s.Occurrence > PreviousOne:
		return fmt.Sprintf("occurrence %d, want 0 to 3", s.Occurrence)
	}
	switch s.By {
	case ByFID, ByChild:
		if n != fidBytes {
			return fmt.Sprintf("file identifier of %d bytes, want 2", n)
		}
	case ParentDF:
		if n != 0 {
			return fmt.Sprintf("identifier of %d bytes, the parent has none", n)
		}
	case ByAID:
		if n < 1 || n > maxAID {
			return fmt.Sprintf("AID of %d bytes, want 1 to 16", n)
		}
	case ByPathFromMF, ByPathFromCurrent:
		if n == 0 || n%fidBytes != 0 || n/fidBytes > maxPathFIDs {
			return fmt.Sprintf("path of %d bytes, want 2 for each file", n)
		}
	default:
		return fmt.Sprintf("selection by %02X", byte(s.By))
	}
	return ""
}

// ReadBinary is READ BINARY (TS 102 221, 11.1.3).
type ReadBinary struct {
	SFI    byte   // 1 to 30; 0 reads the current EF
	Offset uint16 // in bytes; up to 7FFF, with SFI up to FF
	Ne     int    // bytes to read, 1 to 256
}

// Command encodes the command.
func (r ReadBinary) Command() apdu.Command {
	p1, p2, problem := binaryAddress(r.SFI, r.Offset)
	if problem == "" && (r.Ne < 1 || r.Ne > apdu.MaxShortNe) {
		problem = fmt.Sprintf("%d bytes to read, want 1 to 256", r.Ne)
	}
	if problem != "" {
		return invalid("READ BINARY", "%s", problem)
	}
	return apdu.Command{CLA: classBasic, INS: INSReadBinary, P1: p1, P2: p2, Ne: r.Ne}
}

// UpdateBinary is UPDATE BINARY (TS 102 221, 11.1.4).
type UpdateBinary struct {
	SFI    byte   // 1 to 30; 0 writes the current EF
	Offset uint16 // in bytes; up to 7FFF, with SFI up to FF
	Data   []byte // 1 to 255 bytes
}

// Command encodes the command.
func (u UpdateBinary) Command() apdu.Command {
	p1, p2, problem := binaryAddress(u.SFI, u.Offset)
	if problem == "" {
		problem = checkData(u.Data)
	}
	if problem != "" {
		return invalid("UPDATE BINARY", "%s", problem)
	}
	return apdu.Command{CLA: classBasic, INS: INSUpdateBinary, P1: p1, P2: p2, Data: u.Data}
}

func binaryAddress(sfi byte, offset uint16) (p1, p2 byte, problem string) {
	switch {
	case sfi > MaxSFI:
		return 0, 0, fmt.Sprintf("SFI %d, want 0 to %d", sfi, MaxSFI)
	case sfi != 0 && offset > maxSFIOffset:
		return 0, 0, fmt.Sprintf("offset %d with SFI, want up to %d", offset, maxSFIOffset)
	case sfi != 0:
		return sfiFlag | sfi, byte(offset), ""
	case offset > MaxOffset:
		return 0, 0, fmt.Sprintf("offset %d, want up to %d", offset, MaxOffset)
	}
	return byte(offset >> 8), byte(offset), ""
}

func checkData(data []byte) string {
	if len(data) < 1 || len(data) > apdu.MaxShortData {
		return fmt.Sprintf("%d bytes to write, want 1 to 255", len(data))
	}
	return ""
}

// RecordMode says which record a command means (TS 102 221, 11.1.5.2).
type RecordMode byte

// Ways to name a record.
const (
	// Absolute: the record with the number; number 0 is the current record.
	Absolute RecordMode = 0
	// Next: the one behind the record pointer; on a cyclic EF the next older.
	Next RecordMode = 2
	// Previous: the one before the record pointer; UPDATE of a cyclic EF knows
	// only this one, it overwrites the oldest.
	Previous RecordMode = 3
)

// ReadRecord is READ RECORD (TS 102 221, 11.1.5).
type ReadRecord struct {
	SFI    byte // 1 to 30; 0 reads the current EF
	Record byte // number from 1 with Absolute, 0 otherwise
	Mode   RecordMode
	Ne     int // record length in bytes, 1 to 256
}

// Command encodes the command.
func (r ReadRecord) Command() apdu.Command {
	p2, problem := recordAddress(r.SFI, r.Record, r.Mode)
	if problem == "" && (r.Ne < 1 || r.Ne > apdu.MaxShortNe) {
		problem = fmt.Sprintf("%d bytes to read, want 1 to 256", r.Ne)
	}
	if problem != "" {
		return invalid("READ RECORD", "%s", problem)
	}
	return apdu.Command{CLA: classBasic, INS: INSReadRecord, P1: r.Record, P2: p2, Ne: r.Ne}
}

// UpdateRecord is UPDATE RECORD (TS 102 221, 11.1.6).
type UpdateRecord struct {
	SFI    byte // 1 to 30; 0 writes the current EF
	Record byte // number from 1 with Absolute, 0 otherwise
	Mode   RecordMode
	Data   []byte // as long as the record, 1 to 255 bytes
}

// Command encodes the command.
func (u UpdateRecord) Command() apdu.Command {
	p2, problem := recordAddress(u.SFI, u.Record, u.Mode)
	if problem == "" {
		problem = checkData(u.Data)
	}
	if problem != "" {
		return invalid("UPDATE RECORD", "%s", problem)
	}
	return apdu.Command{CLA: classBasic, INS: INSUpdateRecord, P1: u.Record, P2: p2, Data: u.Data}
}

func recordAddress(sfi, record byte, mode RecordMode) (p2 byte, problem string) {
	switch {
	case sfi > MaxSFI:
		return 0, fmt.Sprintf("SFI %d, want 0 to %d", sfi, MaxSFI)
	case mode == Absolute && record > MaxRecord:
		return 0, fmt.Sprintf("record %d, want up to %d", record, MaxRecord)
	case mode == Absolute:
		return sfi<<recordSFIShift | recordAbsolute, ""
	case mode != Next && mode != Previous:
		return 0, fmt.Sprintf("record mode %d", mode)
	case record != 0:
		return 0, fmt.Sprintf("record %d, the next and the previous one have no number", record)
	}
	return sfi<<recordSFIShift | byte(mode), ""
}

// StatusData is P2 of STATUS: what the card answers (TS 102 221, 11.1.2.2).
type StatusData byte

// Answers to STATUS.
const (
	// StatusFCP: the FCP of the current DF, as SELECT gives it.
	StatusFCP StatusData = 0x00
	// StatusAID: data object 84 with the AID of the current application.
	StatusAID StatusData = 0x01
	// StatusNothing: no data.
	StatusNothing StatusData = p2NoData
)

// Status is STATUS (TS 102 221, 11.1.2). It has the class 80.
type Status struct {
	// Application is P1: 0 no word, 1 the current application is initialized in
	// the terminal, 2 the terminal begins its termination.
	Application byte
	Data        StatusData
}

// Command encodes the command.
func (s Status) Command() apdu.Command {
	if s.Application > 2 {
		return invalid("STATUS", "application word %d, want 0 to 2", s.Application)
	}
	c := apdu.Command{CLA: classETSI, INS: INSStatus, P1: s.Application, P2: byte(s.Data), Ne: apdu.MaxShortNe}
	switch s.Data {
	case StatusFCP, StatusAID:
	case StatusNothing:
		c.Ne = 0
	default:
		return invalid("STATUS", "answer %02X", byte(s.Data))
	}
	return c
}

// GetResponse is GET RESPONSE (TS 102 221, 12.1.1).
type GetResponse struct {
	Ne int // bytes that wait, 1 to 256
}

// Command encodes the command.
func (g GetResponse) Command() apdu.Command {
	if g.Ne < 1 || g.Ne > apdu.MaxShortNe {
		return invalid("GET RESPONSE", "%d bytes, want 1 to 256", g.Ne)
	}
	return apdu.Command{CLA: classBasic, INS: INSGetResponse, Ne: g.Ne}
}

// ManageChannel is MANAGE CHANNEL (TS 102 221, 11.1.17). The zero value opens
// the channel that the card chooses and expects its number, one byte.
type ManageChannel struct {
	Close   bool
	Channel byte // 1 to 19; 0 with Close false lets the card choose
}

// Command encodes the command.
func (m ManageChannel) Command() apdu.Command {
	switch {
	case m.Channel > MaxChannel:
		return invalid("MANAGE CHANNEL", "channel %d, want up to %d", m.Channel, MaxChannel)
	case m.Close && m.Channel == 0:
		return invalid("MANAGE CHANNEL", "the basic channel cannot be closed")
	case m.Close:
		return apdu.Command{CLA: classBasic, INS: INSManageChannel, P1: p1CloseChannel, P2: m.Channel}
	case m.Channel == 0:
		return apdu.Command{CLA: classBasic, INS: INSManageChannel, Ne: 1}
	}
	return apdu.Command{CLA: classBasic, INS: INSManageChannel, P2: m.Channel}
}
