package trace

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"mcim/card"
)

// ErrNoHash is the cause of a *DifferenceError: the recording does not keep what a
// secret has to be compared with.
var ErrNoHash = errors.New("the recording keeps no hash of the secret bytes, it was not made as a cassette")

// DifferenceError says where something is not as recorded. For who uses the card
// it is gone: errors.Is finds card.ErrRemoved.
type DifferenceError struct {
	Line   int    // of the file; one behind the last at the end of the recording
	What   string // as in "VERIFY PIN", "answer to SELECT 6F07", "ATR"
	Offset int    // of the first byte that differs, from 0
	// Want is the recorded byte, Got the other; -1 where a message has ended. Both
	// mean nothing where Why is not empty.
	Want, Got int
	Why       string // where it is no byte that differs, or a secret one
	Cause     error  // ErrNoHash, or nil
}

// Error tells line, offset and both bytes.
func (e *DifferenceError) Error() string {
	s := fmt.Sprintf("line %d, %s: ", e.Line, e.What)
	switch {
	case e.Why != "":
		return s + e.Why
	case e.Want < 0:
		return s + fmt.Sprintf("byte %d is %02X, where the recorded one has ended", e.Offset, e.Got)
	case e.Got < 0:
		return s + fmt.Sprintf("it ends before byte %d, which is %02X in the recording", e.Offset, e.Want)
	default:
		return s + fmt.Sprintf("byte %d is %02X, recorded is %02X", e.Offset, e.Got, e.Want)
	}
}

// Unwrap gives card.ErrRemoved, and the cause.
func (e *DifferenceError) Unwrap() []error {
	if e.Cause == nil {
		return []error{card.ErrRemoved}
	}
	return []error{card.ErrRemoved, e.Cause}
}

// Cassette is a card that answers as recorded, if it is asked as recorded: the
// same commands and resets in the same order. The first difference is a
// *DifferenceError, and every call from there on gives it again.
type Cassette struct {
	rec    *Recording
	next   int // index of the line that comes next
	failed error
	closed bool
}

// OpenCassette makes a card of a trace. Errors are those of ReadFile.
func OpenCassette(path string) (*Cassette, error) {
	r, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	return r.Cassette(), nil
}

// Cassette makes a card of the recording, at its beginning.
func (rec *Recording) Cassette() *Cassette {
	c := &Cassette{rec: rec}
	c.rewind()
	return c
}

// skip goes over what is not the card's.
func (c *Cassette) skip() {
	for c.next < len(c.rec.Lines) && c.rec.Lines[c.next].Kind == "tpm" {
		c.next++
	}
}

func (c *Cassette) advance() {
	c.next++
	c.skip()
}

// rewind goes back to the beginning.
func (c *Cassette) rewind() {
	c.next = 0
	c.skip()
}

// Left counts the commands and resets that were not asked for.
func (c *Cassette) Left() int {
	n := 0
	for _, l := range c.rec.Lines[c.next:] {
		if l.Kind != "tpm" {
			n++
		}
	}
	return n
}

// Transmit implements card.Card.
func (c *Cassette) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	l, err := c.expect("apdu", name(command))
	if err == nil {
		err = c.compare(l, command)
	}
	if early := c.early(ctx, l, err, len(command) < 4); early != nil {
		return nil, early
	}
	if err != nil {
		c.failed = err
		return nil, err
	}
	c.advance()
	return bytes.Clone(l.Response), l.Err
}

// Reset implements card.Card.
func (c *Cassette) Reset(ctx context.Context) ([]byte, error) {
	l, err := c.expect("reset", "RESET")
	if early := c.early(ctx, l, err, false); early != nil {
		return nil, early
	}
	if err != nil {
		c.failed = err
		return nil, err
	}
	c.advance()
	return bytes.Clone(l.ATR), l.Err
}

// Close implements card.Card.
func (c *Cassette) Close() error {
	c.closed = true
	return nil
}

// early is what a call ends with that no card sees: it is not compared, unless
// just that was recorded.
func (c *Cassette) early(ctx context.Context, l *Line, difference error, noCommand bool) error {
	recorded := func(cause error) bool { return difference == nil && errors.Is(l.Err, cause) }
	switch {
	case c.closed:
		return fmt.Errorf("%w: the recording was closed; open it again", card.ErrRemoved)
	case c.failed != nil:
		return c.failed
	case noCommand && !recorded(card.ErrCommand):
		return fmt.Errorf("%w: a command has at least 4 bytes", card.ErrCommand)
	case ctx.Err() != nil && !recorded(card.ErrTimeout):
		return fmt.Errorf("%w: %w before anything was compared", card.ErrTimeout, ctx.Err())
	}
	return nil
}

// expect gives the next line if it is of this kind.
func (c *Cassette) expect(kind, what string) (*Line, error) {
	if c.next >= len(c.rec.Lines) {
		return nil, &DifferenceError{Line: len(c.rec.Lines) + 2, What: what, Why: "the recording has ended"}
	}
	l := &c.rec.Lines[c.next]
	if l.Kind != kind {
		return l, &DifferenceError{Line: l.Number, What: what, Why: "recorded is " + l.Name}
	}
	return l, nil
}

// compare finds the first difference between a command and a recorded one.
func (c *Cassette) compare(l *Line, command []byte) error {
	at := firstDifference(l.Command, command, l.InCommand)
	for i, r := range l.InCommand {
		if r.To > len(command) || at >= 0 && at < r.From {
			break
		}
		secret := &DifferenceError{Line: l.Number, What: l.Name, Offset: r.From}
		if len(l.Hashes[i]) == 0 {
			secret.Why, secret.Cause = ErrNoHash.Error(), ErrNoHash
			return secret
		}
		if !c.rec.hasher.matches(command[r.From:r.To], l.Hashes[i]) {
			secret.Why = fmt.Sprintf("another secret than the recorded one in bytes %d to %d", r.From, r.To-1)
			return secret
		}
	}
	if at < 0 {
		return nil
	}
	return difference(l.Number, l.Name, at, l.Command, command)
}

// firstDifference is where two messages differ outside of ranges, -1 for nowhere.
func firstDifference(want, got []byte, hidden []Range) int {
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || want[i] != got[i] && !within(hidden, i) {
			return i
		}
	}
	return -1
}

func within(ranges []Range, i int) bool {
	for _, r := range ranges {
		if r.From <= i && i < r.To {
			return true
		}
	}
	return false
}

func difference(line int, what string, at int, want, got []byte) *DifferenceError {
	return &DifferenceError{Line: line, What: what, Offset: at, Want: byteAt(want, at), Got: byteAt(got, at)}
}

func byteAt(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	return int(b[i])
}
