package trace

import (
	"context"
	"errors"
	"fmt"

	"mcim/card"
)

// ErrNoATR is returned for a recording without an answer to reset, which no reader
// would take for a card.
var ErrNoATR = errors.New("the recording has no reset, so that the answer to one is not known; record a session from its reset on")

// Player is a Cassette for a reader: one that is never at a loss for an answer. Resets
// are the reader's business. One at a place where none is recorded begins the recording
// anew, and one that is recorded where none comes is passed over. A command that is not
// the recorded one is answered 6F00 (TS 102 221, 10.2.1.5), and the recording waits
// where it is.
type Player struct {
	tape *Cassette
	atr  []byte // where the recording does not begin with a reset
	tell func(error)
}

// NewPlayer makes a Player of a Cassette. It calls tell with each *DifferenceError, and
// where a card gave no answer when the recording was made. The error is ErrNoATR.
func NewPlayer(c *Cassette, tell func(error)) (*Player, error) {
	for _, l := range c.rec.Lines {
		if l.Kind == "reset" && l.Err == nil {
			return &Player{c, l.ATR, tell}, nil
		}
	}
	return nil, ErrNoATR
}

// Transmit implements card.Card.
func (p *Player) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	for p.at("reset") {
		p.tape.advance()
	}
	line := p.tape.next
	answer, err := p.tape.Transmit(ctx, command)
	if err == nil || ctx.Err() != nil || errors.Is(err, card.ErrCommand) {
		return answer, err
	}
	if p.tape.failed == nil { // it is recorded that the card did not answer
		err = fmt.Errorf("line %d, %s: recorded is %w", p.tape.rec.Lines[line].Number, name(command), err)
	}
	p.tape.failed = nil
	p.tell(err)
	return []byte{0x6F, 0x00}, nil
}

// Reset implements card.Card.
func (p *Player) Reset(ctx context.Context) ([]byte, error) {
	if !p.at("reset") {
		p.tape.rewind()
	}
	if !p.at("reset") {
		return p.atr, nil
	}
	atr, err := p.tape.Reset(ctx)
	if err != nil && ctx.Err() == nil { // a reset that the card did not answer
		return p.atr, nil
	}
	return atr, err
}

// Close implements card.Card.
func (p *Player) Close() error { return p.tape.Close() }

// at says whether the next line is of this kind.
func (p *Player) at(kind string) bool {
	return p.tape.next < len(p.tape.rec.Lines) && p.tape.rec.Lines[p.tape.next].Kind == kind
}
