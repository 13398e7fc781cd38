package card

import (
	"context"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"sync"

	"mcim/apdu"
	"mcim/apdu/secret"
	"mcim/apdu/uicc"
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
	puk   bool   // it is the PUK of that PIN
	code  secret.Bytes
}

// matching are the cards that have refused a code.
func (r *Refused) matching(p *presentation) (iccids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.list {
		if e.ref == p.ref && e.puk == p.puk && subtle.ConstantTimeCompare(e.code.Reveal(), p.code.Reveal()) == 1 {
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

// refusedBefore refuses a code that this card has refused, before the counter is
// read. Which card this is, is asked only where some card has refused it.
func (g *Guard) refusedBefore(ctx context.Context, p *presentation) error {
	iccids := g.config.Refused.matching(p)
	if len(iccids) == 0 {
		return nil
	}
	this := g.identify(ctx)
	for _, iccid := range iccids {
		if iccid == this || iccid == "" || this == "" {
			return &RefusalError{p.what(), "a second try with it would be lost too", "correct it where it comes from, and start again", ErrRefusedBefore}
		}
	}
	return nil
}

// identify is the card's ICCID, empty where it does not tell. The application that
// was current is current again afterwards.
func (g *Guard) identify(ctx context.Context) string {
	if g.kind == kindGSM {
		return g.gsmICCID(ctx)
	}
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

// gsmICCID reads EF.ICCID in class A0 (TS 51.011, 10.1.1), empty where the card does
// not give it.
func (g *Guard) gsmICCID(ctx context.Context) string {
	for _, fid := range []uint16{uicc.FIDMF, uicc.FIDEFICCID} {
		c := apdu.Command{CLA: classGSM, INS: uicc.INSSelect, Data: binary.BigEndian.AppendUint16(nil, fid)}
		if r, err := g.session.Send(ctx, c); err != nil || !r.SW.OK() {
			return ""
		}
	}
	r, err := g.session.Send(ctx, apdu.Command{CLA: classGSM, INS: uicc.INSReadBinary, Ne: iccidBytes})
	if err != nil || !r.SW.OK() {
		return ""
	}
	iccid, err := uicc.DecodeICCID(r.Data)
	if err != nil {
		return ""
	}
	return iccid
}

// iccidBytes is the size of EF.ICCID (TS 51.011, 10.1.1).
const iccidBytes = 10
