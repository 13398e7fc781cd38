package device

import (
	"context"
	"errors"
	"fmt"

	"mcim/card"
	"mcim/card/trace"
)

// Share gives the card to others, through a virtual reader say. What they send to a
// card that may be a physical one goes through a Guard: what writes or spends only if
// its ICCID, as digits, is in allow, and a PIN or PUK while two tries or more are left.
// What the Guard refuses is answered 6985 (conditions of use not satisfied). A recording
// is played as trace.Player does. tell gets what was refused, and where a recording has
// something else. The error is trace.ErrNoATR.
func (c *Card) Share(allow []string, tell func(error)) (card.Card, error) {
	if tape, ok := c.Card.(*trace.Cassette); ok {
		return trace.NewPlayer(tape, tell)
	}
	if !c.Real {
		return c, nil
	}
	return &shared{Card: c, session: card.NewSession(c, card.Options{}), allow: allow, tell: tell}, nil
}

// shared is a card in a reader that others use.
type shared struct {
	card.Card
	session *card.Session
	allow   []string
	tell    func(error)

	guard  *card.Guard // since the last reset
	denied error       // why nothing may be written to the card; nil where it may
}

// refusedAnswer is 6985, conditions of use not satisfied (TS 102 221, 10.2.1.5).
var refusedAnswer = [...]byte{0x69, 0x85}

// Reset implements card.Card. What the Guard has to select to know the card it selects
// now, and the second reset undoes that: between the commands of others it must not.
func (s *shared) Reset(ctx context.Context) ([]byte, error) {
	atr, err := s.session.Reset(ctx)
	if err != nil {
		return nil, err
	}
	s.guard = card.NewGuard(s.session, card.GuardConfig{ATR: atr, Allow: s.allow})
	s.denied = s.guard.MayWrite(ctx)
	if lost(s.denied) {
		return nil, s.denied
	}
	return s.Card.Reset(ctx)
}

func lost(err error) bool { return errors.Is(err, card.ErrRemoved) || errors.Is(err, card.ErrTimeout) }

// Transmit implements card.Card.
func (s *shared) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if s.denied != nil && card.Spends(command) {
		return s.refuse(s.denied)
	}
	answer, err := s.guard.Raw(ctx, command)
	var refusal *card.RefusalError
	if errors.As(err, &refusal) {
		return s.refuse(refusal)
	}
	return answer, err
}

func (s *shared) refuse(why error) ([]byte, error) {
	s.tell(fmt.Errorf("%w; answered %X", why, refusedAnswer))
	return refusedAnswer[:], nil
}
