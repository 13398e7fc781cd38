package cardtest

import (
	"errors"
	"testing"

	"mcim/apdu"
	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/card"
)

// pinCases are the cases about PINs other than PIN1, and about changing them.
func (s suite) pinCases() []suiteCase {
	f := s.facts
	spare := f.Spare && f.PIN1.Len() > 0
	return []suiteCase{
		{"PIN2 is the application's own", f.PIN2.Len() > 0, s.pin2},
		{"the universal PIN stands in for PIN1", spare && f.Universal.Len() > 0, s.universal},
		{"a PIN is changed", spare, s.changesPIN},
		{"a PIN that is off is not asked for", spare, s.switchesPIN},
		{"a PUK gives a PIN a new value", spare && f.PUK1.Len() > 0, s.unblocksPIN},
	}
}

func (s suite) pin2(t *testing.T) {
	ctx := t.Context()
	session, guard := s.guard(t)
	if n, err := guard.Tries(ctx, uicc.RefPIN2); err == nil {
		t.Errorf("%d tries of PIN2 without an application", n)
	}
	if err := guard.SelectFor(ctx, uicc.RefPIN2); err != nil {
		t.Fatal(err)
	}
	if err := guard.Verify(ctx, uicc.RefPIN2, s.facts.PIN2); err != nil {
		t.Error(err)
	}
	states, err := guard.PINs(ctx, uicc.RefPIN2)
	if err != nil || len(states) != 1 || states[0].Tries == nil || states[0].PUKTries == nil {
		t.Errorf("%+v %v", states, err)
	}
	fcp, err := session.Select(ctx, card.InMF())
	if err != nil {
		t.Fatal(err)
	}
	if _, known := fcp.PINs.Enabled(uicc.RefPIN2); known {
		t.Error("the MF has the PIN2 of an application")
	}
}

// opens reads the protected file, and reports whether the card lets it.
func (s suite) opens(t *testing.T, session *card.Session) bool {
	t.Helper()
	_, err := session.ReadFile(t.Context(), s.facts.Protected)
	if err != nil && !errors.Is(err, apdu.ErrAccess) {
		t.Fatal(err)
	}
	return err == nil
}

func (s suite) resets(t *testing.T, session *card.Session) {
	t.Helper()
	if _, err := session.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (s suite) universal(t *testing.T) {
	ctx := t.Context()
	session, guard := s.guard(t)
	if err := guard.Disable(ctx, uicc.RefPIN1, s.facts.PIN1, true); err != nil {
		t.Fatal(err)
	}
	s.resets(t, session)
	states, err := guard.PINs(ctx, uicc.RefPIN1)
	if err != nil || len(states) != 1 || !states[0].Replaced {
		t.Errorf("%+v %v", states, err)
	}
	if s.opens(t, session) {
		t.Error("neither PIN1 nor the universal PIN was needed")
	}
	if err := guard.Verify(ctx, uicc.RefUniversalPIN, s.facts.Universal); err != nil {
		t.Error(err)
	}
	if !s.opens(t, session) {
		t.Error("the universal PIN does not stand in")
	}
	if err := guard.Enable(ctx, uicc.RefPIN1, s.facts.PIN1); err != nil {
		t.Fatal(err)
	}
	s.resets(t, session)
	if err := guard.Verify(ctx, uicc.RefUniversalPIN, s.facts.Universal); err != nil {
		t.Error(err)
	}
	if s.opens(t, session) {
		t.Error("the universal PIN opens what PIN1 protects")
	}
}

// otherPIN is another value than PIN1 has.
func (s suite) otherPIN(t *testing.T) secret.Bytes {
	t.Helper()
	b := []byte("90817263")
	if string(s.facts.PIN1.Reveal()) == string(b) {
		b[0]--
	}
	return secret.New(b)
}

func (s suite) changesPIN(t *testing.T) {
	ctx := t.Context()
	session, guard := s.guard(t)
	fresh := s.otherPIN(t)
	if err := guard.Change(ctx, uicc.RefPIN1, s.facts.PIN1, fresh); err != nil {
		t.Fatal(err)
	}
	s.resets(t, session)
	if err := guard.Verify(ctx, uicc.RefPIN1, fresh); err != nil {
		t.Error(err)
	}
	if !s.opens(t, session) {
		t.Error("the new PIN opens nothing")
	}
	if err := guard.Change(ctx, uicc.RefPIN1, fresh, s.facts.PIN1); err != nil {
		t.Fatal(err)
	}
}

func (s suite) switchesPIN(t *testing.T) {
	ctx := t.Context()
	session, guard := s.guard(t)
	if err := guard.Disable(ctx, uicc.RefPIN1, s.facts.PIN1, false); err != nil {
		t.Fatal(err)
	}
	s.resets(t, session)
	if !s.opens(t, session) {
		t.Error("PIN1 is asked for though it is off")
	}
	if err := guard.Disable(ctx, uicc.RefPIN1, s.facts.PIN1, false); !errors.Is(err, card.ErrPINState) {
		t.Errorf("off a second time: %v", err)
	}
	if err := guard.Enable(ctx, uicc.RefPIN1, s.facts.PIN1); err != nil {
		t.Fatal(err)
	}
	s.resets(t, session)
	if s.opens(t, session) {
		t.Error("PIN1 is not asked for though it is on")
	}
}

func (s suite) unblocksPIN(t *testing.T) {
	ctx := t.Context()
	session, guard := s.guard(t)
	fresh := s.otherPIN(t)
	if err := guard.Unblock(ctx, uicc.RefPIN1, s.facts.PUK1, fresh); err != nil {
		t.Fatal(err)
	}
	s.resets(t, session)
	if err := guard.Verify(ctx, uicc.RefPIN1, fresh); err != nil {
		t.Error(err)
	}
	if err := guard.Unblock(ctx, uicc.RefPIN1, s.facts.PUK1, s.facts.PIN1); err != nil {
		t.Fatal(err)
	}
}
