package card

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"mcim/apdu"
	"mcim/apdu/secret"
	"mcim/apdu/uicc"
)

// presentation is a command that presents a PIN, PUK or ADM, and so can cost a try.
type presentation struct {
	name    string // as in "CHANGE PIN"
	ref     byte   // key reference of the PIN
	puk     bool   // it is the PUK of that PIN that is presented
	code    secret.Bytes
	command apdu.Command // in class 00
	gsm     apdu.Command // in class A0
	length  int          // bytes of data
}

func (p *presentation) what() string { return fmt.Sprintf("%s %02X", p.name, p.ref) }

// pinCommand is a command about a PIN in both classes.
type pinCommand interface {
	Command() apdu.Command
	GSM() apdu.Command
}

func newPresentation(name string, ref byte, code secret.Bytes, c pinCommand) *presentation {
	p := &presentation{name: name, ref: ref, code: code, command: c.Command(), gsm: c.GSM()}
	p.length = len(p.command.Data)
	return p
}

// Verify verifies a PIN or key of 8 bytes (uicc.PadPIN) if the counter is at
// the floor or above. It sends no VERIFY where the card says that none is
// needed. Errors are *RefusalError, *PINError, *CommandError, and those of the
// card.
func (g *Guard) Verify(ctx context.Context, ref byte, pin secret.Bytes) error {
	p := newPresentation("VERIFY PIN", ref, pin, uicc.Verify{Ref: ref, PIN: pin})
	_, err := g.spend(ctx, p, g.tries)
	return err
}

// Change gives a PIN or key a new value, 8 bytes as the old one, by the rule of Verify,
// and asks for the counter afterwards. An administrative code is a thing of the issuer:
// it is changed on a card of a known model and on the allow list only. The errors are
// those of Verify, ErrPINState for a disabled PIN, and ErrReadBack.
func (g *Guard) Change(ctx context.Context, ref byte, old, fresh secret.Bytes) error {
	p := newPresentation("CHANGE PIN", ref, old, uicc.ChangePIN{Ref: ref, Old: old, New: fresh})
	if err := g.ready(ctx, p, true); err != nil {
		return err
	}
	before, err := g.spend(ctx, p, g.knownTries)
	if err != nil || g.config.DryRun {
		return err
	}
	return g.proveTries(ctx, p, before)
}

// Disable switches a PIN off, so that no rule asks for it any more, by the rule of
// Verify; with replacement the universal PIN is asked for instead. That it is off is
// read from the PIN status afterwards, where the card tells it. The errors are those
// of Change.
func (g *Guard) Disable(ctx context.Context, ref byte, pin secret.Bytes, replacement bool) error {
	c := uicc.DisablePIN{Ref: ref, PIN: pin}
	if replacement {
		c.Replacement = uicc.RefUniversalPIN
	}
	p := newPresentation("DISABLE PIN", ref, pin, c)
	if err := g.ready(ctx, p, true); err != nil {
		return err
	}
	if _, err := g.spend(ctx, p, g.knownTries); err != nil || g.config.DryRun {
		return err
	}
	return g.proveSwitch(ctx, p, false, replacement)
}

// Enable switches a PIN on, like Disable. Where an empty VERIFY does not tell the
// counter of a PIN1 that is off, class A0 is asked for it: PIN1 and CHV1 are one code
// with one counter on a card that has both.
func (g *Guard) Enable(ctx context.Context, ref byte, pin secret.Bytes) error {
	p := newPresentation("ENABLE PIN", ref, pin, uicc.EnablePIN{Ref: ref, PIN: pin})
	if err := g.ready(ctx, p, false); err != nil {
		return err
	}
	if _, err := g.spend(ctx, p, g.disabledTries); err != nil || g.config.DryRun {
		return err
	}
	return g.proveSwitch(ctx, p, true, false)
}

// Unblock gives a PIN a new value and its tries back, by its PUK. The counter and the
// floor are those of the PUK. The errors are those of Change.
func (g *Guard) Unblock(ctx context.Context, ref byte, puk, fresh secret.Bytes) error {
	p := newPresentation("UNBLOCK PIN", ref, puk, uicc.UnblockPIN{Ref: ref, PUK: puk, NewPIN: fresh})
	p.puk = true
	if err := g.allow(ctx, p); err != nil {
		return err
	}
	if _, err := g.spend(ctx, p, g.pukTries); err != nil || g.config.DryRun {
		return err
	}
	return g.proveTries(ctx, p, 1)
}

// ready checks whether a PIN may be changed, and is on or off as the command wants it.
func (g *Guard) ready(ctx context.Context, p *presentation, wantOn bool) error {
	if err := g.allow(ctx, p); err != nil {
		return err
	}
	s, err := g.switches(ctx)
	if err != nil {
		return err
	}
	on, known := s.enabled(p.ref)
	switch {
	case !known || on == wantOn:
		return nil
	case on:
		return &RefusalError{p.what(), "the PIN is enabled already", "there is nothing to do", ErrPINState}
	case p.command.INS == uicc.INSDisablePIN:
		return &RefusalError{p.what(), "the PIN is disabled already", "there is nothing to do", ErrPINState}
	}
	return &RefusalError{p.what(), "the PIN is disabled", "enable it first", ErrPINState}
}

// allow lets commands that change an administrative code pass only to a card that may
// be written.
func (g *Guard) allow(ctx context.Context, p *presentation) error {
	if p.command.Err != nil {
		return p.command.Err
	}
	if !isADM(p.ref) {
		return nil
	}
	before := g.session.files.current
	if err := g.authorize(ctx, p.what()); err != nil {
		return err
	}
	if before == "" {
		return nil
	}
	return g.session.enter(ctx, []byte(before))
}

// isADM tells an administrative code by its key reference (TS 102 221, 9.5.1).
func isADM(ref byte) bool { return strings.HasPrefix(KeyName(ref), "ADM") }

// spend is the one way of every code to the card: not refused before, tries enough by
// the counter, then the command. It gives the tries before. noPINNeeded of the counter
// means that nothing is to be sent.
func (g *Guard) spend(ctx context.Context, p *presentation, counter func(context.Context, string, byte) (int, error)) (int, error) {
	if p.code.Len() == 0 {
		return 0, &RefusalError{p.what(), "the code has 0 bytes", "give it in a file", ErrNoPIN}
	}
	if p.command.Err != nil {
		return 0, p.command.Err
	}
	if err := g.askKind(ctx); err != nil {
		return 0, err
	}
	if err := g.refusedBefore(ctx, p); err != nil {
		return 0, err
	}
	tries, err := counter(ctx, p.what(), p.ref)
	if err == nil && tries == noPINNeeded {
		return tries, nil
	}
	if tries, err = g.enough(ctx, p, tries, err); err != nil {
		return tries, err
	}
	command := p.command
	if g.kind == kindGSM {
		command = p.gsm
	}
	if command.Err != nil {
		return tries, command.Err
	}
	g.plan = append(g.plan, Step{Command: p.name, Ref: p.ref, Tries: tries, Length: p.length})
	if g.config.DryRun {
		return tries, nil
	}
	err = g.present(ctx, p, command)
	if errors.Is(err, ErrWrongPIN) {
		g.config.Refused.add(refusal{g.identify(ctx), p.ref, p.puk, p.code})
	}
	return tries, err
}

// triesUnknown is the counter that the card does not tell, in a Step.
const triesUnknown = -1

// enough judges what the counter said, err included: the floor, but for the card whose
// last try may be spent.
func (g *Guard) enough(ctx context.Context, p *presentation, tries int, err error) (int, error) {
	unknown := errors.Is(err, ErrTriesUnknown)
	switch {
	case err != nil && !unknown:
		return 0, err
	case err == nil && tries == 0:
		return 0, g.blocked(ctx, p)
	case err == nil && tries >= g.config.Floor:
		return tries, nil
	}
	why := fmt.Sprintf("%d left, the floor is %d", tries, g.config.Floor)
	if named := g.config.SpendLastTry; named != "" {
		this := g.identify(ctx)
		switch {
		case this == named && unknown:
			return triesUnknown, nil
		case this == named:
			return tries, nil
		case this == "":
			this = "not known"
		}
		why += fmt.Sprintf(", and the last try may be spent on the card with ICCID %s; that of this card is %s", named, this)
	}
	if unknown {
		return 0, err
	}
	return 0, &RefusalError{p.what(), why, "make sure of it; --spend-last-try ICCID of this card lets the last try be spent", ErrTriesLow}
}

// blocked is the refusal of a code that has no try left.
func (g *Guard) blocked(ctx context.Context, p *presentation) error {
	refuse := func(why, try string) error { return &RefusalError{p.what(), why, try, apdu.ErrBlocked} }
	if p.puk {
		return refuse("no try of the PUK is left", "only the issuer of the card can help")
	}
	n, err := g.pukTries(ctx, p.what(), p.ref)
	switch {
	case errors.Is(err, ErrTriesUnknown):
		return refuse("no try is left, and the card tells no PUK of it", "ask the issuer of the card")
	case err != nil:
		return err
	case n == 0:
		return refuse("no try is left, and none of its PUK", "only the issuer of the card can help")
	}
	return refuse("no try is left; its PUK has "+countTries(n), "unblock it with the PUK first")
}

// present sends the command and reads what it did to the counter.
func (g *Guard) present(ctx context.Context, p *presentation, c apdu.Command) error {
	r, err := g.session.Send(ctx, c)
	switch {
	case errors.Is(err, ErrBudget):
		return err
	case err != nil:
		return fmt.Errorf("the try may be spent: %w", err)
	}
	tries, told := r.SW.Retries()
	switch {
	case r.SW.OK():
		return nil
	case told:
		return &PINError{p.ref, p.puk, tries, r.SW}
	case g.kind == kindGSM && r.SW == swGSMBlocked:
		return &PINError{p.ref, p.puk, 0, r.SW}
	case g.kind == kindGSM && r.SW == swGSMWrong:
		return &PINError{p.ref, p.puk, g.chvLeft(ctx, p), r.SW}
	default:
		return &CommandError{Command: p.name, SW: r.SW}
	}
}

// chvLeft is the counter after a wrong CHV, -1 where the card does not tell.
func (g *Guard) chvLeft(ctx context.Context, p *presentation) int {
	mf, err := g.selectGSM(ctx)
	if err != nil {
		return triesUnknown
	}
	n, err := chvTries(mf, p.what(), p.ref, p.puk)
	if err != nil {
		return triesUnknown
	}
	return n
}

// knownTries is tries of a PIN that the card is asked to compare: one that it does not
// ask for has no counter that could be read.
func (g *Guard) knownTries(ctx context.Context, what string, ref byte) (int, error) {
	n, err := g.tries(ctx, what, ref)
	if err == nil && n == noPINNeeded {
		return 0, unknownTries(what, "the card says that no PIN is needed")
	}
	return n, err
}

// disabledTries is the counter of a PIN that is off.
func (g *Guard) disabledTries(ctx context.Context, what string, ref byte) (int, error) {
	n, err := g.knownTries(ctx, what, ref)
	if !errors.Is(err, ErrTriesUnknown) || ref != uicc.RefPIN1 || g.session.channel != 0 || g.kind == kindNone {
		return n, err
	}
	before := g.session.files.current
	mf, gsmErr := g.selectGSM(ctx)
	if gsmErr == nil && before != "" {
		gsmErr = g.session.enter(ctx, []byte(before))
	}
	switch {
	case gsmErr != nil:
		return 0, gsmErr
	case mf == nil || !mf.CHV1Disabled():
		return 0, err
	}
	return chvTries(mf, what, ref, false)
}

// pukTries reads the counter of a PUK.
func (g *Guard) pukTries(ctx context.Context, what string, ref byte) (int, error) {
	if err := g.askKind(ctx); err != nil {
		return 0, err
	}
	switch g.kind {
	case kindGSM:
		mf, err := g.selectGSM(ctx)
		if err != nil {
			return 0, err
		}
		return chvTries(mf, what, ref, true)
	case kindUICC:
		r, err := g.session.Send(ctx, uicc.UnblockPIN{Ref: ref}.Command())
		if err != nil {
			return 0, err
		}
		if n, ok := r.SW.Retries(); ok {
			return n, nil
		}
		return 0, unknownTries(what, "the card answers "+r.SW.Error())
	}
	return 0, unknownTries(what, "the card is no known UICC and no SIM; an empty UNBLOCK PIN could cost a try")
}
