package uicc

import (
	"bytes"

	"mcim/apdu"
)

// SeekFrom says where SEEK begins and which way it goes (TS 51.011, 9.2.7).
type SeekFrom byte

// Ways to seek.
const (
	SeekFirst    SeekFrom = 0 // from the beginning forward
	SeekLast     SeekFrom = 1 // from the end backward
	SeekNext     SeekFrom = 2 // from the record behind the current one forward
	SeekPrevious SeekFrom = 3 // from the record before the current one backward
)

const (
	seekTell = 0x10 // type 2
	maxSeek  = 16   // bytes of the pattern
)

// Seek is SEEK of class A0 (TS 51.011, 8.7 and 9.2.7). The first record that begins with
// Pattern becomes the current one; without any it is 9404.
type Seek struct {
	From    SeekFrom
	Tell    bool   // type 2: the answer is the number of the record, one byte
	Pattern []byte // 1 to 16 bytes
}

// Command encodes the command.
func (s Seek) Command() apdu.Command {
	switch {
	case s.From > SeekPrevious:
		return invalid("SEEK", "direction %d, want 0 to 3", s.From)
	case len(s.Pattern) < 1 || len(s.Pattern) > maxSeek:
		return invalid("SEEK", "%d bytes to seek, want 1 to %d", len(s.Pattern), maxSeek)
	}
	c := apdu.Command{CLA: classGSM, INS: INSSearchRecord, P2: byte(s.From), Data: bytes.Clone(s.Pattern)}
	if s.Tell {
		c.P2 |= seekTell
	}
	return c
}
