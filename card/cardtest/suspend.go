package cardtest

import (
	"errors"
	"testing"
	"time"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/card"
)

// suspendCases are the cases about SUSPEND UICC.
func (s suite) suspendCases() []suiteCase {
	applies := s.facts.Suspends && s.facts.PIN1.Len() > 0 && !s.facts.NoChannels
	return []suiteCase{
		{"a suspended card goes on where it was", applies, s.suspends},
		{"a suspension is resumed once", applies, s.replaysToken},
		{"a wrong token is refused", applies, s.wrongToken},
		{"a suspension that cannot be is refused", s.facts.Suspends, s.refusesSuspension},
	}
}

// suspended verifies PIN1, selects the protected file and suspends the card.
func (s suite) suspended(t *testing.T) (*card.Session, uicc.Suspension) {
	t.Helper()
	ctx := t.Context()
	session, guard := s.guard(t)
	if err := guard.Verify(ctx, uicc.RefPIN1, s.facts.PIN1); err != nil {
		t.Fatal(err)
	}
	if _, err := session.Select(ctx, s.facts.Protected); err != nil {
		t.Fatal(err)
	}
	return session, s.suspend(t, session)
}

func (s suite) suspend(t *testing.T, session *card.Session) uicc.Suspension {
	t.Helper()
	suspension, err := session.Suspend(t.Context(), time.Second, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if suspension.Max < time.Second || suspension.Max > time.Hour {
		t.Errorf("for %v, want a second to an hour", suspension.Max)
	}
	return suspension
}

// reads reads a byte of the file that is selected.
func reads(t *testing.T, session *card.Session) error {
	t.Helper()
	_, err := session.Do(t.Context(), uicc.ReadBinary{Ne: 1}.Command())
	return err
}

func (s suite) suspends(t *testing.T) {
	ctx := t.Context()
	session, guard := s.guard(t)
	if err := guard.Verify(ctx, uicc.RefPIN1, s.facts.PIN1); err != nil {
		t.Fatal(err)
	}
	other, err := session.OpenChannel(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Select(ctx, card.InMF(uicc.FIDEFICCID)); err != nil {
		t.Fatal(err)
	}
	if _, err := session.Select(ctx, s.facts.Protected); err != nil {
		t.Fatal(err)
	}
	suspension := s.suspend(t, session)
	if err := reads(t, session); !errors.Is(err, card.ErrSuspended) {
		t.Errorf("while suspended: %v", err)
	}
	if err := session.Resume(ctx, suspension); err != nil {
		t.Fatal(err)
	}
	for _, on := range []*card.Session{session, other} {
		if err := reads(t, on); err != nil {
			t.Errorf("channel %d: %v", on.Channel(), err)
		}
	}
	closeAll(t, session, []*card.Session{other})
}

func (s suite) replaysToken(t *testing.T) {
	ctx := t.Context()
	session, first := s.suspended(t)
	if err := session.Resume(ctx, first); err != nil {
		t.Fatal(err)
	}
	if err := session.Resume(ctx, first); !errors.Is(err, card.ErrNotResumed) {
		t.Errorf("a card that is not suspended: %v", err)
	}
	if err := reads(t, session); err != nil {
		t.Errorf("it was disturbed by that: %v", err)
	}
	if second := s.suspend(t, session); string(second.Token.Reveal()) == string(first.Token.Reveal()) {
		t.Error("two suspensions have one token")
	}
	if err := session.Resume(ctx, first); !errors.Is(err, card.ErrNotResumed) || !isStatusWord(err) {
		t.Errorf("the token of another suspension: %v", err)
	}
	if s.opens(t, session) {
		t.Error("PIN1 is still verified")
	}
}

func (s suite) wrongToken(t *testing.T) {
	ctx := t.Context()
	session, suspension := s.suspended(t)
	wrong := []byte(string(suspension.Token.Reveal()))
	wrong[0] ^= 0x01
	if err := session.Resume(ctx, uicc.Suspension{Token: secret.New(wrong)}); !errors.Is(err, card.ErrNotResumed) || !isStatusWord(err) {
		t.Errorf("a wrong token: %v", err)
	}
	if s.opens(t, session) {
		t.Error("PIN1 is still verified")
	}
}

func (s suite) refusesSuspension(t *testing.T) {
	ctx, session := t.Context(), s.session(t)
	for _, c := range [][2]time.Duration{{0, time.Hour}, {time.Hour, time.Second}, {time.Second, 1 << 62}} {
		if _, err := session.Suspend(ctx, c[0], c[1]); !errors.Is(err, uicc.ErrField) {
			t.Errorf("%v: %v", c, err)
		}
	}
	const years = 2000 * 24 * time.Hour
	if _, err := session.Suspend(ctx, years, years); !isStatusWord(err) {
		t.Errorf("for %v: %v", years, err)
	}
	if _, err := session.Select(ctx, card.InMF()); err != nil {
		t.Errorf("after the refusal: %v", err)
	}
}
