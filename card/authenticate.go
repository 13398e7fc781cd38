package card

import (
	"context"
	"fmt"

	"mcim/apdu"
	"mcim/apdu/usim"
	"mcim/card/aka"
)

// Authenticate sends AUTHENTICATE in the 3G or GSM context to the application whose AID
// begins with app. The status word of the response is not judged here: 9862 is an
// answer too. A dry run refuses with ErrDryRun.
func (g *Guard) Authenticate(ctx context.Context, app []byte, a usim.Authenticate) (apdu.Response, error) {
	name := "3G"
	if a.Context == usim.ContextGSM {
		name = "GSM"
	}
	return g.authenticate(ctx, app, name, a.Command())
}

// authenticate is the way of every AUTHENTICATE: into the plan, and on to the card
// unless this is a dry run. Without app the command goes where the session is.
func (g *Guard) authenticate(ctx context.Context, app []byte, name string, c apdu.Command) (apdu.Response, error) {
	what := CommandName(c)
	if c.Err != nil {
		return apdu.Response{}, c.Err
	}
	g.plan = append(g.plan, Step{Command: what, File: InApp(app).String(), Length: len(c.Data), Context: name})
	if g.config.DryRun {
		return apdu.Response{}, &RefusalError{what, "nothing was sent", "run it without --dry-run", ErrDryRun}
	}
	if app != nil {
		if err := g.session.enter(ctx, app); err != nil {
			return apdu.Response{}, err
		}
	}
	return g.session.Send(ctx, c)
}

// challenge is authenticate for a context in which the card checks MAC-A: 9862 is
// aka.ErrMAC, any other refusal a *CommandError.
func (g *Guard) challenge(ctx context.Context, app []byte, name string, c apdu.Command) ([]byte, error) {
	response, err := g.authenticate(ctx, app, name, c)
	switch {
	case err != nil:
		return nil, err
	case response.SW == apdu.SWAuthenticationMAC:
		return nil, fmt.Errorf("%w: %w", aka.ErrMAC, response.SW)
	case !response.SW.OK():
		return nil, &CommandError{Command: CommandName(c), SW: response.SW}
	}
	return response.Data, nil
}

// AKA lets the application app answer the challenge of v in the 3G context, which is
// that of EPS, 5G and IMS too. The result is the card's and not yet compared with v; Kc is
// there where the card gives one. Errors are those of a USIM in software, aka.ErrMAC
// and *aka.SyncError, beside those of Guard.Authenticate, *CommandError for any other
// status word and usim.ErrAuthenticate.
func (g *Guard) AKA(ctx context.Context, app []byte, v aka.Vector) (r aka.Result, err error) {
	r, _, err = g.AKAWithKc(ctx, app, v)
	return r, err
}

// AKAWithKc is AKA that also gives Kc, nil where the card gives none (TS 31.102, 7.1.2.1:
// with service 27 only, and never from an ISIM).
func (g *Guard) AKAWithKc(ctx context.Context, app []byte, v aka.Vector) (r aka.Result, kc *[8]byte, err error) {
	data, err := g.challenge(ctx, app, "3G", usim.Authenticate{RAND: v.RAND, AUTN: v.AUTN}.Command())
	if err != nil {
		return r, nil, err
	}
	answer, err := usim.ParseAuthenticate(data)
	if err != nil {
		return r, nil, err
	}
	if answer.AUTS != nil {
		return r, nil, &aka.SyncError{AUTS: *answer.AUTS, Reason: errSyncByCard}
	}
	if r.RES, err = aka.NewRES(answer.RES); err != nil {
		return r, nil, err
	}
	r.CK, r.IK = answer.CK, answer.IK
	return r, answer.Kc, nil
}

// GSM lets the application app answer rand in the GSM context (TS 31.102, 7.1.2.1). Errors
// are those of Guard.Authenticate, *CommandError and usim.ErrAuthenticate.
func (g *Guard) GSM(ctx context.Context, app []byte, rand [16]byte) (usim.AuthenticateGSMResponse, error) {
	data, err := g.challenge(ctx, app, "GSM", usim.Authenticate{RAND: rand, Context: usim.ContextGSM}.Command())
	if err != nil {
		return usim.AuthenticateGSMResponse{}, err
	}
	return usim.ParseAuthenticateGSM(data)
}

// RunGSM lets the SIM in the card answer rand by RUN GSM ALGORITHM of class A0 (TS 51.011,
// 9.2.16), after CHV1. No application is selected afterwards. Errors are as of GSM.
func (g *Guard) RunGSM(ctx context.Context, rand [16]byte) (usim.AuthenticateGSMResponse, error) {
	if !g.config.DryRun {
		if _, err := g.session.Do(ctx, gsmSelect(usim.DFGSM)); err != nil {
			return usim.AuthenticateGSMResponse{}, err
		}
	}
	data, err := g.challenge(ctx, nil, "class A0", usim.RunGSM{RAND: rand}.Command())
	if err != nil {
		return usim.AuthenticateGSMResponse{}, err
	}
	return usim.ParseRunGSM(data)
}

// Bootstrap lets the application app answer the challenge of v in the GBA context,
// bootstrapping mode (TS 31.102, 7.1.2.3; TS 33.220, 5.3.2); v is as Vector.GBA makes it. Ks
// stays in the card, which is the last to have it until the next bootstrapping. Errors
// are those of AKA, and usim.ErrGBA.
func (g *Guard) Bootstrap(ctx context.Context, app []byte, v aka.Vector) (aka.RES, error) {
	data, err := g.challenge(ctx, app, "GBA", usim.GBABootstrap{RAND: v.RAND, AUTN: v.AUTN}.Command())
	if err != nil {
		return aka.RES{}, err
	}
	answer, err := usim.ParseGBABootstrap(data)
	if err != nil {
		return aka.RES{}, err
	}
	if answer.AUTS != nil {
		return aka.RES{}, &aka.SyncError{AUTS: *answer.AUTS, Reason: errSyncByCard}
	}
	return aka.NewRES(answer.RES)
}

// DeriveNAF asks the application app for Ks_ext_NAF out of the last bootstrapping (TS
// 31.102, 7.1.2.3), after the terminal has put the B-TID into EF.GBABP. Errors are those
// of Guard.Authenticate, *CommandError and usim.ErrGBA.
func (g *Guard) DeriveNAF(ctx context.Context, app []byte, d usim.GBADerive) ([32]byte, error) {
	data, err := g.challenge(ctx, app, "NAF", d.Command())
	if err != nil {
		return [32]byte{}, err
	}
	answer, err := usim.ParseGBADerive(data)
	return answer.KsExtNAF, err
}

// swResponseWaits says that AUTHENTICATE itself fetches the answer (TS 102 221,
// 11.1.16.2).
const swResponseWaits apdu.StatusWord = 0x62F3

// LocalKey makes the application app establish a local key (TS 31.102, 7.1.2.6; TS 33.110,
// 4.5.2), with the keys that a NAF derivation for the same server has left, and gives
// the card's MAC. A wrong MAC of the terminal is aka.ErrMAC; other errors are those of
// Guard.Authenticate, *CommandError and usim.ErrLocalKey.
func (g *Guard) LocalKey(ctx context.Context, app []byte, l usim.LocalKeyDerive) ([16]byte, error) {
	c := l.Command()
	response, err := g.authenticate(ctx, app, "local key", c)
	switch {
	case err != nil:
		return [16]byte{}, err
	case response.SW == apdu.SWAuthenticationMAC:
		return [16]byte{}, fmt.Errorf("%w: %w", aka.ErrMAC, response.SW)
	case response.SW != swResponseWaits && !response.SW.OK():
		return [16]byte{}, &CommandError{Command: CommandName(c), SW: response.SW}
	}
	data, err := g.session.Do(ctx, usim.LocalKeyFetch())
	if err != nil {
		return [16]byte{}, err
	}
	answer, err := usim.ParseLocalKey(data)
	return answer.MAC, err
}

// HasLocalKey asks the application app whether it has the local key of that identifier,
// the terminal's MAC (TS 31.102, 7.1.2.6). It spends nothing.
func (s *Session) HasLocalKey(ctx context.Context, app, identifier []byte) (bool, error) {
	if err := s.enter(ctx, app); err != nil {
		return false, err
	}
	r, err := s.Send(ctx, usim.LocalKeyCheck{KeyIdentifier: identifier}.Command())
	switch {
	case err != nil:
		return false, err
	case r.SW == apdu.SWReferencedDataNotFound:
		return false, nil
	case !r.SW.OK():
		return false, &CommandError{Command: "AUTHENTICATE", SW: r.SW}
	}
	return true, nil
}

// Identity is the SUCI that the USIM app makes (GET IDENTITY; TS 31.102, 7.5), after PIN1. It
// spends nothing. A card without is a *CommandError; a malformed answer wraps
// usim.ErrContent.
func (s *Session) Identity(ctx context.Context, app []byte) (usim.SUCI, error) {
	if err := s.enter(ctx, app); err != nil {
		return usim.SUCI{}, err
	}
	data, err := s.Do(ctx, usim.GetIdentity{}.Command())
	if err != nil {
		return usim.SUCI{}, err
	}
	return usim.ParseIdentity(data)
}

// MaySpend tells whether sequence numbers of the card may be spent: it is spare, or its
// ICCID, which the Guard reads itself, is on the allow list. Otherwise the error is a
// *RefusalError with ErrNotAllowed. A dry run may.
func (g *Guard) MaySpend(ctx context.Context) error {
	if g.config.DryRun || g.config.Spare {
		return nil
	}
	return g.listed(ctx, "to spend sequence numbers")
}
