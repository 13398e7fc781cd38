package card

import (
	"context"
	"crypto/subtle"
	"errors"
	"sync"

	"mcim/apdu/secret"
)

// ErrRefusedBefore is the cause of a *RefusalError: the card has refused this very
// PIN already, so that another try with it would only be lost.
var ErrRefusedBefore = errors.New("the card has refused this PIN before")

// Refused remembers which PINs which cards have refused, for as many Guards as
// share it. The zero value is ready, and safe for concurrent use.
type Refused struct {
	mu   sync.Mutex
	list []refusal
}

type refusal struct {
	iccid string // empty where the card did not tell: then of any card
	ref   byte   // key reference
	pin   secret.Bytes
}

// matching are the cards that have refused a PIN.
func (r *Refused) matching(ref byte, pin secret.Bytes) (iccids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.list {
		if e.ref == ref && subtle.ConstantTimeCompare(e.pin.Reveal(), pin.Reveal()) == 1 {
			iccids = append(iccids, e.iccid)
		}
	}
	return iccids
}

func (r *Refused) add(e refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, e)
}

// refusedBefore refuses a PIN that this card has refused, before the counter is
// read. Which card this is, is asked only where some card has refused it.
func (g *Guard) refusedBefore(ctx context.Context, what string, ref byte, pin secret.Bytes) error {
	iccids := g.config.Refused.matching(ref, pin)
	if len(iccids) == 0 {
		return nil
	}
	this := g.identify(ctx)
	for _, iccid := range iccids {
		if iccid == this || iccid == "" || this == "" {
			return &RefusalError{what, "a second try with it would be lost too", "correct the PIN where it comes from, and start again", ErrRefusedBefore}
		}
	}
	return nil
}

// identify is the card's ICCID, empty where it does not tell. The application that
// was current is current again afterwards.
func (g *Guard) identify(ctx context.Context) string {
	before := g.session.files.current
	iccid, err := g.session.ICCID(ctx)
	if err == nil && before != "" {
		err = g.session.enter(ctx, []byte(before))
	}
	if err != nil {
		return ""
	}
	return iccid
}
