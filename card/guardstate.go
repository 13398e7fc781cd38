package card

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"mcim/apdu/uicc"
	"mcim/apdu/usim"
)

// PINState is what a card says of one PIN or key. Nil is what it does not tell.
type PINState struct {
	Ref      byte   `json:"ref"` // key reference (TS 102 221, 9.5.1)
	Name     string `json:"name"`
	Enabled  *bool  `json:"enabled,omitempty"`
	Tries    *int   `json:"tries,omitempty"`     // left
	PUKTries *int   `json:"puk_tries,omitempty"` // left of the PUK
	// Replaced says of PIN1 that the universal PIN stands in for it.
	Replaced bool   `json:"replaced,omitempty"`
	Why      string `json:"why,omitempty"` // why Tries is not there
}

// PINs asks for the state of PINs and keys, without spending anything. Keys with
// uicc.LocalRef are those of the application that is selected. The errors are those of
// the card.
func (g *Guard) PINs(ctx context.Context, refs ...byte) ([]PINState, error) {
	s, err := g.switches(ctx)
	if err != nil {
		return nil, err
	}
	list := []PINState{}
	for _, ref := range refs {
		p := PINState{Ref: ref, Name: KeyName(ref), Replaced: ref == uicc.RefPIN1 && s.replaced}
		if on, known := s.enabled(ref); known {
			p.Enabled = &on
		}
		if err := g.countersOf(ctx, &p); err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// countersOf asks for the counters of a PIN.
func (g *Guard) countersOf(ctx context.Context, p *PINState) (err error) {
	if g.kind == kindUICC && isLocal(p.Ref) && g.session.files.current == "" {
		p.Why = "no application is selected, whose own key it is"
		return nil
	}
	const what = "to tell the tries"
	p.Tries, p.Why, err = told(g.disabledTries(ctx, what, p.Ref))
	if err == nil && p.Tries != nil && !isADM(p.Ref) {
		p.PUKTries, _, err = told(g.pukTries(ctx, what, p.Ref))
	}
	return err
}

// told tells a counter that the card does not give from a card that is lost.
func told(n int, err error) (tries *int, why string, lost error) {
	var refused *RefusalError
	switch {
	case err == nil:
		return &n, "", nil
	case errors.As(err, &refused):
		return nil, refused.Why, nil
	}
	return nil, "", err
}

// switches is what a card says of which PINs are on.
type switches struct {
	known    map[byte]bool // by key reference
	replaced bool          // the universal PIN stands in for PIN1
}

func (s switches) enabled(ref byte) (on, known bool) {
	on, known = s.known[ref]
	return on, known
}

// switches reads the PIN status of the MF and of the application that is selected,
// which is selected again by that; in class A0 what the MF says of CHV1.
func (g *Guard) switches(ctx context.Context) (switches, error) {
	s := switches{known: map[byte]bool{}}
	if err := g.askKind(ctx); err != nil {
		return s, err
	}
	switch g.kind {
	case kindGSM:
		mf, err := g.selectGSM(ctx)
		if err == nil && mf != nil {
			s.known[uicc.RefPIN1] = !mf.CHV1Disabled()
		}
		return s, err
	case kindUICC:
		err := g.readSwitches(ctx, &s)
		return s, err
	}
	return s, nil
}

func (g *Guard) readSwitches(ctx context.Context, s *switches) error {
	places := []File{InMF()}
	if app := g.session.files.current; app != "" {
		places = append(places, InApp([]byte(app)))
	}
	for _, place := range places {
		fcp, err := g.session.Select(ctx, place)
		switch {
		case errors.Is(err, uicc.ErrFCP):
			continue // a card may tell nothing here
		case err != nil:
			return err
		case fcp.PINs == nil:
			continue
		}
		s.replaced = s.replaced || fcp.PINs.Replaced()
		for _, k := range fcp.PINs.Keys {
			if _, known := s.known[k.Ref]; !known {
				s.known[k.Ref], _ = fcp.PINs.Enabled(k.Ref)
			}
		}
	}
	return nil
}

// proveSwitch reads whether a PIN is on or off now. Where the card does not tell, its
// word for the command has to do.
func (g *Guard) proveSwitch(ctx context.Context, p *presentation, want, replaced bool) error {
	s, err := g.switches(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrReadBack, err)
	}
	on, known := s.enabled(p.ref)
	if known && (on != want || replaced && !s.replaced) {
		return fmt.Errorf("%w: the card accepted %s, but its PIN status does not show it", ErrReadBack, p.what())
	}
	return nil
}

// proveTries reads whether a PIN has at least so many tries, as it has after its right
// value, or is verified.
func (g *Guard) proveTries(ctx context.Context, p *presentation, least int) error {
	n, err := g.tries(ctx, p.what(), p.ref)
	switch {
	case errors.Is(err, ErrTriesUnknown), err == nil && (n == noPINNeeded || n >= least):
		return nil
	case err != nil:
		return fmt.Errorf("%w: %w", ErrReadBack, err)
	}
	return fmt.Errorf("%w: the card accepted %s, but has %s left for the PIN", ErrReadBack, p.what(), countTries(n))
}

// SelectFor selects the application whose own keys are among refs, so that they can be
// asked for: the first USIM in EF.DIR, or the first application where there is no USIM.
// Nothing is done for other keys, and in class A0. ErrNoApplication says that EF.DIR
// has none.
func (g *Guard) SelectFor(ctx context.Context, refs ...byte) error {
	if err := g.askKind(ctx); err != nil {
		return err
	}
	if g.kind != kindUICC || !slices.ContainsFunc(refs, isLocal) {
		return nil
	}
	apps, err := g.session.Apps(ctx)
	if err != nil {
		return err
	}
	if len(apps) == 0 {
		return fmt.Errorf("%w: EF.DIR is empty", ErrNoApplication)
	}
	app := apps[0]
	for _, aid := range slices.Backward(apps) {
		if bytes.HasPrefix(aid, usim.AIDPrefix()) {
			app = aid
		}
	}
	return g.session.enter(ctx, app)
}

func isLocal(ref byte) bool { return ref&uicc.LocalRef != 0 }
