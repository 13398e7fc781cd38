package device

import (
	"bytes"
	"testing"

	"mcim/card"
)

// TestKeep: a card that is kept is opened as it is, under its own URI alone, and stays
// open when its user closes it.
func TestKeep(t *testing.T) {
	t.Parallel()
	own, err := Open(t.Context(), "emul:usim", 0)
	if err != nil {
		t.Fatal(err)
	}
	if own.ATR != nil {
		t.Errorf("a card that is to be reset has the ATR %x", own.ATR)
	}
	session := card.NewSession(own, card.Options{})
	atr, err := session.Reset(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx := Keep(t.Context(), own, atr)
	for range 2 {
		lent, err := Open(ctx, "emul:usim", 0)
		if err != nil {
			t.Fatal(err)
		}
		if !lent.Spare || lent.URI != own.URI || !bytes.Equal(lent.ATR, atr) {
			t.Errorf("%+v", lent)
		}
		if got := answerOf(t, lent, "00a40004022fe2"); got[:2] != "61" {
			t.Error(got)
		}
		if err := lent.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := answerOf(t, own, "00b0000001"); got != "989000" { // what the other has selected
		t.Error(got)
	}
	lent, err := Open(ctx, "emul:usim", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lent.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	if got := answerOf(t, own, "00b0000001"); got == "989000" {
		t.Error("the reset did not reach the card")
	}
	other, err := Open(ctx, "emul:strict", 0)
	if err != nil {
		t.Fatal(err)
	}
	if other.ATR != nil || other.Card == own.Card {
		t.Errorf("another URI gave %+v", other)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
}
