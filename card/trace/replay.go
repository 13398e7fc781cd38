package trace

import (
	"context"
	"errors"
	"fmt"

	"mcim/card"
)

// ErrSpends says that a recording writes or spends, which no card in a reader is
// asked to do.
var ErrSpends = errors.New("the recording has commands that write or spend; replay it to emul: or replay: cards only")

// Replayed is what came of a replay.
type Replayed struct {
	Commands int `json:"commands"` // that were sent
	Resets   int `json:"resets"`
	// Withheld counts the commands that were not sent: their secret bytes are not in
	// the file, or no answer to them is.
	Withheld int `json:"withheld"`
	// Hidden counts the answers of which bytes are not in the file; the others were
	// compared.
	Hidden int `json:"hidden_answers"`
}

// Replay sends the recorded commands to a card and compares the answers. The first
// difference is a *DifferenceError. A card that is a Cassette itself is moved on
// over commands with secret bytes, in which the two must have the same. With
// inReader, a recording that writes or spends is ErrSpends, and nothing is sent.
func (rec *Recording) Replay(ctx context.Context, to card.Card, inReader bool) (Replayed, error) {
	var done Replayed
	for i := range rec.Lines {
		l := &rec.Lines[i]
		if inReader && l.Kind == "apdu" && card.Spends(l.Command) {
			return done, fmt.Errorf("line %d, %s: %w", l.Number, l.Name, ErrSpends)
		}
	}
	for i := range rec.Lines {
		var err error
		switch l := &rec.Lines[i]; l.Kind {
		case "apdu":
			err = l.send(ctx, to, &done)
		case "reset":
			err = l.reset(ctx, to, &done)
		}
		if err != nil {
			return done, err
		}
	}
	if other, ok := to.(*Cassette); ok && other.Left() > 0 {
		return done, &DifferenceError{Line: len(rec.Lines) + 2, What: "the end",
			Why: fmt.Sprintf("the card goes on with %s", other.rec.Lines[other.next].Name)}
	}
	return done, nil
}

// send sends the command of the line and compares the answer.
func (l *Line) send(ctx context.Context, to card.Card, done *Replayed) error {
	hidden := l.InResponse
	var answer []byte
	var err error
	other, cassette := to.(*Cassette)
	switch {
	case cassette:
		var theirs *Line
		if theirs, err = other.pass(l); err == nil {
			answer, hidden = theirs.Response, merge(append(append([]Range(nil), hidden...), theirs.InResponse...))
		}
		if l.Hidden() || l.Err != nil {
			done.Withheld++
		} else {
			done.Commands++
		}
	case l.Hidden() || l.Err != nil:
		done.Withheld++
		return nil
	default:
		answer, err = to.Transmit(ctx, l.Command)
		done.Commands++
	}
	if err != nil {
		return l.failed(err)
	}
	if len(hidden) > 0 {
		done.Hidden++
	}
	if at := firstDifference(l.Response, answer, hidden); at >= 0 {
		return difference(l.Number, "answer to "+l.Name, at, l.Response, answer)
	}
	return nil
}

// pass compares a command with the next one of the cassette, but for the bytes that
// neither has, and moves on.
func (c *Cassette) pass(l *Line) (*Line, error) {
	theirs, err := c.expect("apdu", l.Name)
	if err != nil {
		return nil, err
	}
	if at := firstDifference(theirs.Command, l.Command, merge(append(append([]Range(nil), l.InCommand...), theirs.InCommand...))); at >= 0 {
		return nil, difference(theirs.Number, theirs.Name, at, theirs.Command, l.Command)
	}
	c.advance()
	return theirs, nil
}

func (l *Line) reset(ctx context.Context, to card.Card, done *Replayed) error {
	if _, cassette := to.(*Cassette); l.Err != nil && !cassette {
		done.Withheld++
		return nil
	}
	done.Resets++
	atr, err := to.Reset(ctx)
	switch {
	case err != nil && l.Err != nil:
		return nil
	case err != nil:
		return l.failed(err)
	}
	if at := firstDifference(l.ATR, atr, nil); at >= 0 {
		return difference(l.Number, "ATR", at, l.ATR, atr)
	}
	return nil
}

// failed says at which line the card had an error; a difference says so itself.
func (l *Line) failed(err error) error {
	var different *DifferenceError
	if errors.As(err, &different) {
		return err
	}
	return fmt.Errorf("line %d, %s: %w", l.Number, l.Name, err)
}
