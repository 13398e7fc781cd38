package card

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mcim/apdu/uicc"
)

// Errors of suspending a card.
var (
	// ErrSuspended: the card is suspended, and waits for Resume or Reset.
	ErrSuspended = errors.New("card is suspended")
	// ErrNotResumed: the card did not come back to the state in which it was suspended;
	// it is as after a reset.
	ErrNotResumed = errors.New("card was not resumed")
)

// Suspend suspends the card (TS 102 221, 11.1.22) for at least min and at most longest,
// each 1 second to 2550 days: it keeps what is selected, verified and open while it has
// no power. The answer tells for how long, which may be less than longest, and holds the
// token for Resume. Until Resume or Reset every command is refused with ErrSuspended. A
// card that cannot do it, or not now, answers a *CommandError and is not suspended.
func (s *Session) Suspend(ctx context.Context, min, longest time.Duration) (uicc.Suspension, error) {
	if err := s.usable(); err != nil {
		return uicc.Suspension{}, err
	}
	c := uicc.Suspend{Min: min, Max: longest}.Command()
	r, err := s.exchange(ctx, c) // the command is for the basic channel
	switch {
	case err != nil:
		return uicc.Suspension{}, err
	case !r.SW.OK():
		return uicc.Suspension{}, &CommandError{Command: CommandName(c), SW: r.SW}
	}
	suspension, err := uicc.ParseSuspension(r.Data)
	if err != nil {
		return uicc.Suspension{}, fmt.Errorf("%s: %w", CommandName(c), err)
	}
	s.link.suspended = true
	return suspension, nil
}

// Resume gives the suspended card its power back and shows it the token. All Sessions
// go on where they were, with what they remember. Where the card refuses, the error is
// ErrNotResumed with the *CommandError behind it, and the card is as after Reset.
func (s *Session) Resume(ctx context.Context, suspension uicc.Suspension) error {
	if !s.link.suspended {
		return fmt.Errorf("%w: it is not suspended", ErrNotResumed)
	}
	c := uicc.Resume{Token: suspension.Token}.Command()
	if c.Err != nil {
		return c.Err
	}
	if _, err := s.link.card.Reset(ctx); err != nil {
		s.link.reset()
		return fmt.Errorf("resume: reset: %w", err)
	}
	s.link.suspended = false
	r, err := s.exchange(ctx, c)
	if err == nil && !r.SW.OK() {
		err = &CommandError{Command: CommandName(c), SW: r.SW}
	}
	if err != nil {
		s.link.reset()
		return fmt.Errorf("%w: %w", ErrNotResumed, err)
	}
	return nil
}
