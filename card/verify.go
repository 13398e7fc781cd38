package card

import (
	"context"
	"errors"
	"fmt"

	"mcim/apdu"
	"mcim/apdu/uicc"
)

// ErrWrongPIN says that the card compared the code and refused it: a try is gone.
var ErrWrongPIN = errors.New("wrong PIN")

// PINError is a PIN, PUK or ADM that the card refused. errors.Is finds ErrWrongPIN,
// and apdu.ErrBlocked where no try is left.
type PINError struct {
	Ref   byte // key reference
	PUK   bool // it is the PUK of that PIN that was refused
	Tries int  // left; -1 where the card does not tell
	SW    apdu.StatusWord
}

// Error says which code and what is left.
func (e *PINError) Error() string {
	what := fmt.Sprintf("wrong PIN %02X", e.Ref)
	if e.PUK {
		what = fmt.Sprintf("wrong PUK of PIN %02X", e.Ref)
	}
	switch {
	case e.Tries < 0:
		return fmt.Sprintf("%s (%v); tries left unknown", what, e.SW)
	case e.Tries == 0 && e.PUK:
		return what + ", it is blocked now, for good; only the issuer of the card can help"
	case e.Tries == 0:
		return what + ", it is blocked now; unblock it with the PUK"
	}
	return fmt.Sprintf("%s, %s left", what, countTries(e.Tries))
}

func countTries(n int) string {
	if n == 1 {
		return "1 try"
	}
	return fmt.Sprintf("%d tries", n)
}

// Is finds ErrWrongPIN, and apdu.ErrBlocked.
func (e *PINError) Is(target error) bool {
	return target == ErrWrongPIN || target == apdu.ErrBlocked && e.Tries == 0
}

// Unwrap gives the status word.
func (e *PINError) Unwrap() error { return e.SW }

// kind is how a card tells its retry counters.
type kind int

const (
	kindUnasked kind = iota
	kindUICC         // by an empty VERIFY
	kindGSM          // in the answer to SELECT of class A0
	kindNone         // not at all
)

// noPINNeeded is the counter of a PIN that the card does not ask for.
const noPINNeeded = -1

// Status words of class A0 (TS 51.011, 9.4.5): a wrong CHV, a blocked one.
const (
	swGSMWrong   apdu.StatusWord = 0x9804
	swGSMBlocked apdu.StatusWord = 0x9840
)

// Tries reads the retry counter of a PIN or key without spending anything. Where
// it cannot be read, or the card says that no PIN is needed, the error is a
// *RefusalError with ErrTriesUnknown.
func (g *Guard) Tries(ctx context.Context, ref byte) (int, error) {
	what := fmt.Sprintf("to tell the tries of PIN %02X", ref)
	tries, err := g.tries(ctx, what, ref)
	if err == nil && tries == noPINNeeded {
		return 0, unknownTries(what, "the card says that no PIN is needed")
	}
	return tries, err
}

func unknownTries(what, why string) error {
	return &RefusalError{what, why, "check with another tool what the card says", ErrTriesUnknown}
}

func (g *Guard) tries(ctx context.Context, what string, ref byte) (int, error) {
	if err := g.askKind(ctx); err != nil {
		return 0, err
	}
	switch g.kind {
	case kindUICC:
		return g.uiccTries(ctx, what, ref)
	case kindGSM:
		return g.gsmTries(ctx, what, ref)
	default:
		return 0, unknownTries(what, "the card is no known UICC and no SIM; an empty VERIFY could cost a try")
	}
}

// askKind finds out how the card tells its counters, by SELECT alone. A card of
// a model with applications is a UICC; any other card has to show a PIN status in its FCP, or to answer in
// class A0. The application that was current is current again afterwards.
func (g *Guard) askKind(ctx context.Context) error {
	if g.kind != kindUnasked {
		return nil
	}
	if g.session.IsSIM() {
		g.kind = kindGSM
		return nil
	}
	if g.model != nil && !g.model.SIM() {
		g.kind = kindUICC
		return nil
	}
	before := g.session.files.current
	found, err := g.probe(ctx)
	if err != nil {
		return err
	}
	g.kind = found
	if before == "" {
		return nil
	}
	return g.session.enter(ctx, []byte(before))
}

func (g *Guard) probe(ctx context.Context) (kind, error) {
	r, err := g.session.Send(ctx, uicc.SelectFID(uicc.FIDMF).Command())
	if err != nil {
		return kindUnasked, err
	}
	fcp, err := uicc.ParseFCP(r.Data)
	if r.SW.OK() && err == nil && fcp.PINs != nil {
		return kindUICC, nil
	}
	if g.session.channel != 0 {
		return kindNone, nil // class A0 knows the basic channel only
	}
	mf, err := g.selectGSM(ctx)
	if err != nil || mf == nil {
		return kindNone, err
	}
	return kindGSM, nil
}

// selectGSM selects the MF in class A0 and gives what it says, nil where the
// card does not speak that class.
func (g *Guard) selectGSM(ctx context.Context) (*uicc.GSMDirectory, error) {
	r, err := g.session.Send(ctx, gsmSelect(uicc.FIDMF))
	if err != nil {
		return nil, err
	}
	answer, err := uicc.ParseGSMResponse(r.Data)
	if err != nil || !r.SW.OK() {
		return nil, nil // no SIM
	}
	return answer.DF, nil
}

func (g *Guard) uiccTries(ctx context.Context, what string, ref byte) (int, error) {
	r, err := g.session.Send(ctx, uicc.Verify{Ref: ref}.Command())
	if err != nil {
		return 0, err
	}
	if n, ok := r.SW.Retries(); ok {
		return n, nil
	}
	if r.SW.OK() {
		return noPINNeeded, nil
	}
	return 0, unknownTries(what, "the card answers "+r.SW.Error())
}

// gsmTries reads the counter of CHV1 or CHV2; administrative codes have none
// that could be read.
func (g *Guard) gsmTries(ctx context.Context, what string, ref byte) (int, error) {
	mf, err := g.selectGSM(ctx)
	switch {
	case err != nil:
		return 0, err
	case mf != nil && ref == uicc.RefPIN1 && mf.CHV1Disabled():
		return noPINNeeded, nil
	}
	return chvTries(mf, what, ref, false)
}

// chvTries is the counter of a CHV, or of what unblocks it, in what a SIM says of
// itself; mf is nil where it says nothing.
func chvTries(mf *uicc.GSMDirectory, what string, ref byte, puk bool) (int, error) {
	if mf == nil {
		return 0, unknownTries(what, "the card does not tell the state of its CHVs any more")
	}
	var status uicc.CHVStatus
	switch {
	case ref == uicc.RefPIN1 && puk:
		status = mf.Unblock1
	case ref == uicc.RefPIN1:
		status = mf.CHV1
	case ref == uicc.RefPIN2 && puk:
		status = mf.Unblock2
	case ref == uicc.RefPIN2:
		status = mf.CHV2
	default:
		return 0, unknownTries(what, "a SIM of class A0 tells the counters of CHV1 and CHV2 only")
	}
	if !status.Initialized() {
		return 0, unknownTries(what, "the card says that this CHV is not initialized")
	}
	return status.Tries(), nil
}
