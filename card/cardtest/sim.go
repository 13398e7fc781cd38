package cardtest

import (
	"errors"
	"testing"

	"mcim/apdu"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/aka"
	"mcim/card/model"
)

// simCases are the cases about a card that knows class A0 only; Facts.SIM is set, and GSM
// the path of a file below DF.GSM that needs CHV1.
func (s suite) simCases() []suiteCase {
	return []suiteCase{
		{"what is no command is refused", true, s.refusesNoCommand},
		{"reset gives the ATR", true, s.resetGivesATR},
		{"a deadline that is over is a timeout", true, s.deadlineOver},
		{"a SIM is read as a UICC is", true, s.simIsRead},
		{"a SIM has no applications", true, s.simHasNoApplications},
		{"CHV1 opens a file until reset", true, s.simPIN},
		{"a SIM is known by its ICCID", true, s.simIsKnown},
		{"RUN GSM ALGORITHM agrees with home", true, s.simAgrees},
		{"close twice", true, s.closeTwice},
	}
}

func (s suite) simIsRead(t *testing.T) {
	session, ctx := s.session(t), t.Context()
	for range 2 { // the class is learnt anew after a reset
		if _, err := session.Reset(ctx); err != nil {
			t.Fatal(err)
		}
		if session.IsSIM() {
			t.Error("the class is known before a file was selected")
		}
		if iccid, err := session.ICCID(ctx); err != nil || iccid != s.facts.ICCID {
			t.Errorf("ICCID %q %v, want %q", iccid, err, s.facts.ICCID)
		}
		if !session.IsSIM() {
			t.Error("the class is not known")
		}
	}
	fcp, err := session.Select(ctx, card.InMF(s.facts.GSM...))
	if err != nil || fcp.Descriptor.Type != uicc.Transparent || fcp.Size.N == 0 {
		t.Errorf("%+v %v", fcp, err)
	}
	if _, err := session.Select(ctx, card.InMF(0x2FFF)); !errors.Is(err, apdu.ErrNotFound) {
		t.Errorf("a file that is not there: %v", err)
	}
	var refused *card.CommandError
	if _, err := session.ReadShort(ctx, 2, 0, 1); !errors.Is(err, card.ErrClass) {
		t.Errorf("a short identifier: %v", err)
	}
	if _, err := session.OpenChannel(ctx); !errors.As(err, &refused) {
		t.Errorf("a logical channel: %v", err)
	}
}

func (s suite) simHasNoApplications(t *testing.T) {
	session, ctx := s.session(t), t.Context()
	if apps, err := session.Apps(ctx); err != nil || len(apps) != 0 {
		t.Errorf("applications %x, %v", apps, err)
	}
	if _, err := session.Select(ctx, card.InApp(usim.AIDPrefix())); !errors.Is(err, card.ErrNoApplication) {
		t.Errorf("a USIM: %v", err)
	}
	guard := s.simGuard(t, session, true)
	if _, err := guard.AKA(ctx, usim.AIDPrefix(), aka.Vector{RAND: s.challenge(0)}); !errors.Is(err, card.ErrNoApplication) {
		t.Errorf("AUTHENTICATE: %v", err)
	}
}

// simGuard is a guard on the session, which may spend of the card or not.
func (s suite) simGuard(t *testing.T, session *card.Session, allowed bool) *card.Guard {
	t.Helper()
	atr, err := session.Reset(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	config := card.GuardConfig{ATR: append([]byte{}, atr...)}
	if allowed {
		config.Allow = []string{s.facts.ICCID}
	}
	return card.NewGuard(session, config)
}

func (s suite) simPIN(t *testing.T) {
	session, ctx := s.session(t), t.Context()
	guard, file := s.simGuard(t, session, true), card.InMF(s.facts.GSM...)
	if b, err := session.ReadFile(ctx, file); !isStatusWord(err) {
		t.Errorf("before CHV1: %x %v", b, err)
	}
	pins, err := guard.PINs(ctx, uicc.RefPIN1, uicc.RefPIN2)
	if err != nil || len(pins) != 2 || pins[0].Tries == nil || pins[1].Tries == nil || pins[0].PUKTries == nil {
		t.Fatalf("%+v %v", pins, err)
	}
	if err := guard.Verify(ctx, uicc.RefPIN1, s.facts.PIN1); err != nil {
		t.Fatal(err)
	}
	before, err := session.ReadFile(ctx, file)
	if err != nil || len(before) == 0 {
		t.Errorf("after CHV1: %x %v", before, err)
	}
	if err := guard.UpdateBinary(ctx, file, 0, before); !errors.Is(err, model.ErrUnknown) && !isStatusWord(err) {
		t.Errorf("written without the right to: %v", err)
	}
	if _, err := session.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	if b, err := session.ReadFile(ctx, file); !isStatusWord(err) {
		t.Errorf("after the reset: %x %v", b, err)
	}
}

func (s suite) simIsKnown(t *testing.T) {
	session, ctx := s.session(t), t.Context()
	if err := s.simGuard(t, session, false).MaySpend(ctx); !errors.Is(err, card.ErrNotAllowed) {
		t.Errorf("not on the list: %v", err)
	}
	if err := s.simGuard(t, session, true).MaySpend(ctx); err != nil {
		t.Errorf("on the list: %v", err)
	}
}

func (s suite) simAgrees(t *testing.T) {
	session, ctx := s.session(t), t.Context()
	guard := s.simGuard(t, session, true)
	if _, err := session.ICCID(ctx); err != nil {
		t.Fatal(err)
	}
	random := s.challenge(0)
	if _, err := guard.RunGSM(ctx, random); !isStatusWord(err) {
		t.Errorf("before CHV1: %v", err)
	}
	if err := guard.Verify(ctx, uicc.RefPIN1, s.facts.PIN1); err != nil {
		t.Fatal(err)
	}
	answer, err := guard.RunGSM(ctx, random)
	if err != nil {
		t.Fatal(err)
	}
	sres, kc, err := s.facts.SIM.Triplet(random)
	if err != nil || answer.SRES != sres || answer.Kc != kc {
		t.Errorf("another SRES or Kc than home's: %v", err)
	}
}
