package cardtest

import (
	"context"
	"fmt"

	"mcim/card"
)

// Kind is a way in which a card misbehaves.
type Kind int

// Faults.
const (
	// Mute: the command reaches the card and no answer comes; ErrTimeout.
	Mute Kind = iota
	// Lost: the command does not reach the card, no answer comes; ErrTimeout.
	Lost
	// Removed: the card is pulled out before the command; ErrRemoved from there on.
	Removed
	// Answer: the card is not asked, the bytes of Answer come.
	Answer
	// Short: the answer of the card is cut to one byte.
	Short
)

// Fault is one misbehaviour.
type Fault struct {
	At     int // the command that it happens to, from 0
	Kind   Kind
	Answer []byte // of Kind Answer
	// Always repeats the fault for all commands from At on.
	Always bool
}

// Faulty is a card.Card with faults.
type Faulty struct {
	card    card.Card
	faults  []Fault
	sent    int
	removed bool
}

// NewFaulty puts faults on a card.
func NewFaulty(c card.Card, faults ...Fault) *Faulty {
	return &Faulty{card: c, faults: faults}
}

// Sent counts the commands so far, those with a fault included.
func (f *Faulty) Sent() int { return f.sent }

// Transmit implements card.Card.
func (f *Faulty) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if f.removed {
		return nil, fmt.Errorf("pulled out by the test: %w", card.ErrRemoved)
	}
	fault := f.next()
	if fault == nil {
		return f.card.Transmit(ctx, command)
	}
	switch fault.Kind {
	case Answer:
		return fault.Answer, nil
	case Lost:
		return nil, fmt.Errorf("lost by the test: %w", card.ErrTimeout)
	case Removed:
		f.removed = true
		return nil, fmt.Errorf("pulled out by the test: %w", card.ErrRemoved)
	}
	answer, err := f.card.Transmit(ctx, command)
	if err != nil {
		return nil, err
	}
	if fault.Kind == Short {
		return answer[:1], nil
	}
	return nil, fmt.Errorf("muted by the test: %w", card.ErrTimeout)
}

func (f *Faulty) next() *Fault {
	n := f.sent
	f.sent++
	for i, fault := range f.faults {
		if n == fault.At || fault.Always && n > fault.At {
			return &f.faults[i]
		}
	}
	return nil
}

// Reset implements card.Card. A card that was pulled out stays out.
func (f *Faulty) Reset(ctx context.Context) ([]byte, error) {
	if f.removed {
		return nil, fmt.Errorf("pulled out by the test: %w", card.ErrRemoved)
	}
	return f.card.Reset(ctx)
}

// Close implements card.Card.
func (f *Faulty) Close() error { return f.card.Close() }
