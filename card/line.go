package card

import (
	"time"

	"mcim/apdu"
)

// Line is the line between a reader and a card that speak T=0 (ISO/IEC 7816-3), as
// the first interface byte of the ATR has it.
type Line struct {
	Fi, Di int // clock rate conversion and baud rate adjustment integers, of TA1
	Clock  int // Hz
}

// FastLine is a modern card in a good reader: TA1 = 96 at 5 MHz, 312500 bit/s.
func FastLine() Line { return Line{Fi: 512, Di: 32, Clock: 5_000_000} }

// Etu of a character and, on top of it, of a change of direction (ISO/IEC 7816-3, 10.2;
// TS 102 221, 7.2.2.1): 12 from one start bit to the next, 16 where they are sent by
// different sides.
const (
	etuCharacter = 12
	etuTurn      = 4
)

// Floor is the least time that the characters of a command and its answer, status
// word included, take on the line, with one procedure byte before all data and GET
// RESPONSE for those of case 4 (ISO/IEC 7816-3, 12.2.2). What the card and the reader
// take comes on top. A command that is none takes no time.
func (l Line) Floor(command, answer []byte) time.Duration {
	const header, procedure, status = 5, 1, 2
	c, err := apdu.ParseCommand(command)
	if err != nil {
		return 0
	}
	sent, received := len(c.Data), max(len(answer)-status, 0)
	characters, turns := header+status, 2
	if sent > 0 {
		characters, turns = characters+procedure+sent, 4
	}
	switch {
	case sent > 0 && received > 0:
		characters, turns = characters+header+procedure+received+status, 6
	case received > 0:
		characters += procedure + received
	}
	etu := time.Duration(etuCharacter*characters + etuTurn*turns)
	return etu * time.Duration(l.Fi) * time.Second / time.Duration(l.Di*l.Clock)
}
