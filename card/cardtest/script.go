package cardtest

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"mcim/card"
)

// Script is a card.Card that expects the commands of a written exchange, in
// that order, and gives the answers that stand there. Whatever else happens
// fails the test.
type Script struct {
	// ATR is what Reset answers; empty stands for 3B00.
	ATR []byte
	// Resets counts the resets so far.
	Resets int

	t     testing.TB
	steps []string
	next  int
}

// NewScript takes the exchange as hexadecimal lines, command and response in
// turn; spaces are allowed. The test fails at its end when some are left over.
func NewScript(t testing.TB, lines ...string) *Script {
	t.Helper()
	if len(lines)%2 != 0 {
		t.Fatal("script ends with a command that has no response")
	}
	s := &Script{t: t, steps: lines}
	t.Cleanup(func() {
		if s.next < len(s.steps) && !t.Failed() {
			t.Errorf("the script goes on with %s", s.steps[s.next])
		}
	})
	return s
}

// Transmit implements card.Card.
func (s *Script) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	s.t.Helper()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%w: %w", card.ErrTimeout, ctx.Err())
	}
	if len(command) < 4 {
		return nil, card.ErrCommand
	}
	got := hex.EncodeToString(command)
	if s.next >= len(s.steps) {
		s.t.Errorf("command %s behind the end of the script", got)
		return nil, card.ErrRemoved
	}
	want, answer := compact(s.steps[s.next]), compact(s.steps[s.next+1])
	if got != want {
		s.t.Errorf("command %d is %s, want %s", s.next/2, got, want)
		return nil, card.ErrRemoved
	}
	s.next += 2
	return hex.DecodeString(answer)
}

// Reset implements card.Card.
func (s *Script) Reset(ctx context.Context) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%w: %w", card.ErrTimeout, ctx.Err())
	}
	s.Resets++
	if len(s.ATR) == 0 {
		return []byte{0x3B, 0x00}, nil
	}
	return s.ATR, nil
}

// Close implements card.Card.
func (s *Script) Close() error { return nil }

func compact(line string) string {
	return strings.ToLower(strings.ReplaceAll(line, " ", ""))
}
