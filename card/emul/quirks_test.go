package emul

import (
	"bytes"
	"fmt"
	"testing"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/model"
)

// quirky is a usim with one quirk.
func quirky(t *testing.T, q model.Quirk) *Card {
	t.Helper()
	text := fmt.Sprintf("name = \"quirky\"\ntitle = \"x\"\nextends = \"usim\"\nquirks = [%q]\n", q)
	p := testProfile(t)
	var err error
	if p.Card, err = model.ParseCard("quirky.toml", []byte(text)); err != nil {
		t.Fatal(err)
	}
	return newCard(t, p)
}

// TestQuirks: each quirk is seen in the answers.
func TestQuirks(t *testing.T) {
	t.Parallel()
	run(t, quirky(t, model.RefusesLe), "00A4000C 02 2FE2 = 9000", "00B00000 0B = 6700", "00B00000 0A = ~9000", "00A4000C 02 2F00 = 9000", "00B20104 01 = 6700")
	run(t, quirky(t, model.Swallows61), "00A40004 02 2FE2 = 62~9000", "00C00000 01 = 6985", "A0A40000 02 3F00 = 00~9000")
	run(t, quirky(t, model.Always61), "00A40004 02 2FE2 00 = 61~", "00A40004 02 2FE2 FF = 61~", "00C00000 02 = 62~", "00B00000 0A = ~9000")
	run(t, quirky(t, model.NoSilentSelect), "00A4000C 02 3F00 = 6A86", "00A40004 02 2FE2 = 61~", "00B00000 0A = ~9000")
	c := quirky(t, model.NoPINStatus)
	for selecting, has := range map[string]func(uicc.FCP) bool{
		"00A40004 02 3F00 00": func(f uicc.FCP) bool { return f.PINs != nil },
		"00A40004 02 2FE2 00": func(f uicc.FCP) bool { _, has := f.ShortID(); return !has },
	} {
		if f, err := uicc.ParseFCP(answerOf(t, c, selecting)); err != nil || has(f) {
			t.Errorf("%s: %+v, %v", selecting, f, err)
		}
	}
	f, err := uicc.ParseFCP(answerOf(t, quirky(t, model.NoSFI), "00A40004 02 2FE2 00"))
	if err != nil {
		t.Fatal(err)
	}
	if _, has := f.ShortID(); has {
		t.Error("the FCP has a short identifier")
	}
}

// TestDriverCopes: a session reads a file that needs PIN1, and a guard verifies it and
// writes, whatever the quirk.
func TestDriverCopes(t *testing.T) {
	t.Parallel()
	for _, q := range model.Quirks() {
		for _, t0 := range []bool{false, true} {
			c, ctx := quirky(t, q), t.Context()
			s := card.NewSession(c, card.Options{T0: t0})
			atr, err := s.Reset(ctx)
			if err != nil {
				t.Fatal(err)
			}
			g := card.NewGuard(s, card.GuardConfig{ATR: bytes.Clone(atr), Allow: []string{testICCID}})
			if err := g.Verify(ctx, uicc.RefPIN1, secret.New([]byte("1234\xff\xff\xff\xff"))); err != nil {
				t.Errorf("%s: VERIFY: %v", q, err)
				continue
			}
			loci := card.InApp(usim.AIDPrefix(), usim.EFLOCI)
			before, err := s.ReadFile(ctx, loci)
			if err != nil || len(before) != 11 {
				t.Errorf("%s: %x, %v", q, before, err)
				continue
			}
			if err := g.UpdateBinary(ctx, loci, 0, before); err != nil {
				t.Errorf("%s: UPDATE: %v", q, err)
			}
		}
	}
}
