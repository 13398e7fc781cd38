package card_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/card"
)

// TestRefusedBefore: what a card has refused is not presented to it again, by no
// Guard that shares the memory: the scripts end before a second VERIFY. Another
// value, key or card has its own tries.
func TestRefusedBefore(t *testing.T) {
	t.Parallel()
	const other = "39393939ffffffff"
	ctx, config := context.Background(), known(t)
	config.Refused = &card.Refused{}
	first := guardOn(t, config, script([]string{"00200001", "63c3", "0020000108" + pinPlain, "63c2"}, iccidScript(), iccidScript())...)
	if err := first.Verify(ctx, uicc.RefPIN1, pin(t)); !errors.Is(err, card.ErrWrongPIN) {
		t.Fatal(err)
	}
	refusal(t, first.Verify(ctx, uicc.RefPIN1, pin(t)), card.ErrRefusedBefore)
	refusal(t, guardOn(t, config, iccidScript()...).Verify(ctx, uicc.RefPIN1, pin(t)), card.ErrRefusedBefore)

	corrected := secret.New([]byte("9999\xff\xff\xff\xff"))
	for _, tt := range []struct {
		name  string
		ref   byte
		value secret.Bytes
		lines []string
	}{
		{"another value", uicc.RefPIN1, corrected, []string{"00200001", "63c2", "0020000108" + other, "9000"}},
		{"another key", uicc.RefADM1, pin(t), []string{"0020000a", "63c3", "0020000a08" + pinPlain, "9000"}},
		{"another card", uicc.RefPIN1, pin(t), []string{"00a40804022fe200", fcpICCID + "9000", "00b000000a", "988812010000400310ff9000",
			"00200001", "63c3", "0020000108" + pinPlain, "9000"}},
	} {
		if err := guardOn(t, config, tt.lines...).Verify(ctx, tt.ref, tt.value); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	// A Guard that shares no memory knows nothing of it.
	alone := known(t)
	if err := guardOn(t, alone, "00200001", "63c2", "0020000108"+pinPlain, "9000").Verify(ctx, uicc.RefPIN1, pin(t)); err != nil {
		t.Error(err)
	}
}

// TestRefusedBySilentCard: a card that does not say which one it is counts as every
// card.
func TestRefusedBySilentCard(t *testing.T) {
	t.Parallel()
	ctx, config := context.Background(), known(t)
	config.Refused = &card.Refused{}
	silent := []string{"00a40804022fe200", "6a82"}
	g := guardOn(t, config, script([]string{"00200001", "63c3", "0020000108" + pinPlain, "63c2"}, silent)...)
	if err := g.Verify(ctx, uicc.RefPIN1, pin(t)); !errors.Is(err, card.ErrWrongPIN) {
		t.Fatal(err)
	}
	err := guardOn(t, config, iccidScript()...).Verify(ctx, uicc.RefPIN1, pin(t))
	refusal(t, err, card.ErrRefusedBefore)
	if strings.Contains(err.Error(), "1234") {
		t.Errorf("the PIN is in %q", err)
	}
}

// TestRefusedKeepsApplication: a PIN of an application is asked for in it, also
// after the question which card this is.
func TestRefusedKeepsApplication(t *testing.T) {
	t.Parallel()
	ctx, config := context.Background(), known(t)
	config.Refused = &card.Refused{}
	again := []string{"00a404040c" + aidUSIM + "00", fcpADF + "9000"}
	g := guardOn(t, config, script([]string{"00200081", "63c3", "0020008108" + pinPlain, "63c2"},
		[]string{"00a40804022fe200", fcpICCID + "9000", "00b000000a", "988812010000400310ff9000"})...)
	if err := g.Verify(ctx, uicc.RefPIN2, pin(t)); !errors.Is(err, card.ErrWrongPIN) {
		t.Fatal(err)
	}
	s := guardedIn(t, config, script(appScript(), iccidScript(), again, []string{"00200081", "63c3", "0020008108" + pinPlain, "9000"})...)
	if err := s.Verify(ctx, uicc.RefPIN2, pin(t)); err != nil {
		t.Error(err)
	}
}

// guardedIn is a Guard on a card with the USIM selected.
func guardedIn(t *testing.T, config card.GuardConfig, lines ...string) *card.Guard {
	t.Helper()
	s := card.NewSession(newScript(t, lines...), card.Options{})
	if _, err := s.Select(context.Background(), card.InApp(usimAID)); err != nil {
		t.Fatal(err)
	}
	return card.NewGuard(s, config)
}
