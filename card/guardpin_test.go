package card_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcim/apdu"
	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/card"
	"mcim/card/model"
)

const (
	pukPlain = "3132333435363738"
	newPlain = "35363738ffffffff"
	selMF    = "00a40004023f0000"
	// What SELECT of the MF says: PIN1 on; off; off and the universal PIN for it; nothing.
	pinOn      = "6219 82027821 83023f00 8a0105 c60c 9001c0 830101 83010a 83010b 9000"
	pinOff     = "6219 82027821 83023f00 8a0105 c60c 900140 830101 83010a 83010b 9000"
	pinOffUniv = "621c 82027821 83023f00 8a0105 c60f 900140 830101 950108 830111 83010a 9000"
	noStatus   = "620b 82027821 83023f00 8a0105 9000"
)

func code(t *testing.T, digits string) secret.Bytes {
	t.Helper()
	p, err := uicc.PadPIN(digits)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func shortened(s string) string { return strings.ReplaceAll(s, " ", "") }

// TestPINCommands is every command on a UICC: state, counter, command, read-back.
func TestPINCommands(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	puk := secret.New([]byte("12345678"))
	change := func(g *card.Guard) error { return g.Change(ctx, 1, code(t, "1234"), code(t, "5678")) }
	disable := func(g *card.Guard) error { return g.Disable(ctx, 1, code(t, "1234"), false) }
	universal := func(g *card.Guard) error { return g.Disable(ctx, 1, code(t, "1234"), true) }
	enable := func(g *card.Guard) error { return g.Enable(ctx, 1, code(t, "1234")) }
	unblock := func(g *card.Guard) error { return g.Unblock(ctx, 1, puk, code(t, "5678")) }
	const (
		changes   = "0024000110" + pinPlain + newPlain
		disables  = "0026000108" + pinPlain
		enables   = "0028000108" + pinPlain
		unblocks  = "002c000110" + pukPlain + newPlain
		replaces  = "0026910108" + pinPlain
		counter   = "00200001"
		pukQuery  = "002c0001"
		selectGSM = "a0a40000023f00"
	)
	for _, c := range []struct {
		name  string
		act   func(*card.Guard) error
		lines []string
		want  error
		text  string
	}{
		{"change", change, []string{selMF, pinOn, counter, "63c3", changes, "9000", counter, "63c3"}, nil, ""},
		{"change, verified by it", change, []string{selMF, pinOn, counter, "63c2", changes, "9000", counter, "9000"}, nil, ""},
		{"change, counter says no", change, []string{selMF, pinOn, counter, "63c3", changes, "9000", counter, "63c2"}, card.ErrReadBack, "2 tries left"},
		{"change, nothing told afterwards", change, []string{selMF, noStatus, counter, "63c3", changes, "9000", counter, "6985"}, nil, ""},
		{"change, wrong", change, script([]string{selMF, pinOn, counter, "63c3", changes, "63c2"}, iccidScript()), card.ErrWrongPIN, "wrong PIN 01, 2 tries left"},
		{"change, last try", change, []string{selMF, pinOn, counter, "63c1"}, card.ErrTriesLow, "--spend-last-try"},
		{"change, blocked", change, []string{selMF, pinOn, counter, "63c0", pukQuery, "63c7"}, apdu.ErrBlocked, "its PUK has 7 tries"},
		{"change, blocked with its PUK", change, []string{selMF, pinOn, counter, "6983", pukQuery, "6983"}, apdu.ErrBlocked, "none of its PUK"},
		{"change, blocked without PUK", change, []string{selMF, pinOn, counter, "6983", pukQuery, "6a88"}, apdu.ErrBlocked, "tells no PUK"},
		{"change, off", change, []string{selMF, pinOff}, card.ErrPINState, "enable it first"},
		{"change, off without PIN status", change, []string{selMF, noStatus, counter, "9000"}, card.ErrTriesUnknown, "no PIN is needed"},
		{"change, refused", change, []string{selMF, pinOn, counter, "63c3", changes, "6a80"}, apdu.StatusWord(0x6A80), "CHANGE PIN"},
		{"disable", disable, []string{selMF, pinOn, counter, "63c3", disables, "9000", selMF, pinOff}, nil, ""},
		{"disable, still on", disable, []string{selMF, pinOn, counter, "63c3", disables, "9000", selMF, pinOn}, card.ErrReadBack, "does not show it"},
		{"disable, not told", disable, []string{selMF, noStatus, counter, "63c3", disables, "9000", selMF, noStatus}, nil, ""},
		{"disable, off", disable, []string{selMF, pinOff}, card.ErrPINState, "disabled already"},
		{"disable, last try", disable, []string{selMF, pinOn, counter, "63c1"}, card.ErrTriesLow, ""},
		{"universal", universal, []string{selMF, pinOn, counter, "63c3", replaces, "9000", selMF, pinOffUniv}, nil, ""},
		{"universal, just off", universal, []string{selMF, pinOn, counter, "63c3", replaces, "9000", selMF, pinOff}, card.ErrReadBack, ""},
		{"enable", enable, []string{selMF, pinOff, counter, "63c3", enables, "9000", selMF, pinOn}, nil, ""},
		{"enable, counter in class A0", enable, []string{selMF, pinOff, counter, "9000", selectGSM, gsmOff + "9000", enables, "9000", selMF, pinOn}, nil, ""},
		{"enable, last try in class A0", enable, []string{selMF, pinOff, counter, "6984", selectGSM, gsmOff[:36] + "81" + gsmOff[38:] + "9000"}, card.ErrTriesLow, ""},
		{"enable, CHV1 is another", enable, []string{selMF, pinOff, counter, "9000", selectGSM, gsmMF + "9000"}, card.ErrTriesUnknown, ""},
		{"enable, no class A0", enable, []string{selMF, pinOff, counter, "9000", selectGSM, "6e00"}, card.ErrTriesUnknown, ""},
		{"enable, on", enable, []string{selMF, pinOn}, card.ErrPINState, "enabled already"},
		{"enable, still off", enable, []string{selMF, pinOff, counter, "63c3", enables, "9000", selMF, pinOff}, card.ErrReadBack, ""},
		{"unblock", unblock, []string{pukQuery, "63ca", unblocks, "9000", counter, "63c3"}, nil, ""},
		{"unblock, still blocked", unblock, []string{pukQuery, "63ca", unblocks, "9000", counter, "6983"}, card.ErrReadBack, ""},
		{"unblock, wrong", unblock, script([]string{pukQuery, "63ca", unblocks, "63c9"}, iccidScript()), card.ErrWrongPIN, "wrong PUK of PIN 01, 9 tries left"},
		{"unblock, last try", unblock, []string{pukQuery, "63c1"}, card.ErrTriesLow, ""},
		{"unblock, blocked for good", unblock, []string{pukQuery, "6983"}, apdu.ErrBlocked, "only the issuer"},
		{"unblock, no PUK", unblock, []string{pukQuery, "6a88"}, card.ErrTriesUnknown, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for i := range c.lines {
				c.lines[i] = shortened(c.lines[i])
			}
			err := c.act(guardOn(t, known(t), c.lines...))
			if c.want == nil && err != nil || c.want != nil && !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err != nil && (!strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "5678")) {
				t.Errorf("%q, want %q in it", err, c.text)
			}
		})
	}
}

// TestSpendLastTry: the last try goes to the card that is named, by what the guard itself
// reads in EF.ICCID.
func TestSpendLastTry(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	verify := "0020000108" + pinPlain
	for _, c := range []struct {
		name, named string
		lines       []string
		want        error
	}{
		{"this card", iccid, script([]string{"00200001", "63c1"}, iccidScript(), []string{verify, "9000"}), nil},
		{"wrong on it", iccid, script([]string{"00200001", "63c1"}, iccidScript(), []string{verify, "63c0"}, iccidScript()), card.ErrWrongPIN},
		{"another card", "8988211000000430028", script([]string{"00200001", "63c1"}, iccidScript()), card.ErrTriesLow},
		{"a card without ICCID", iccid, []string{"00200001", "63c1", "00a40804022fe200", "6a82"}, card.ErrTriesLow},
		{"counter not told", iccid, script([]string{"00200001", "6f00"}, iccidScript(), []string{verify, "9000"}), nil},
		{"counter not told, another card", "8988211000000430028", script([]string{"00200001", "6f00"}, iccidScript()), card.ErrTriesUnknown},
		{"blocked", iccid, []string{"00200001", "63c0", "002c0001", "63ca"}, apdu.ErrBlocked},
		{"tries enough", "8988211000000430028", []string{"00200001", "63c2", verify, "9000"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			config := known(t)
			config.SpendLastTry = c.named
			err := guardOn(t, config, c.lines...).Verify(ctx, uicc.RefPIN1, pin(t))
			if c.want == nil && err != nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// TestChangeADM: an administrative code is changed on a card that may be written only.
func TestChangeADM(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	adm, fresh := secret.New([]byte("adm-code")), secret.New([]byte("new-code"))
	unknown := guardOn(t, card.GuardConfig{ATR: []byte{0x3B, 0x00}, Allow: []string{iccid}})
	refusal(t, unknown.Change(ctx, uicc.RefADM1, adm, fresh), model.ErrUnknown)
	stranger := known(t)
	stranger.Allow = nil
	refusal(t, guardOn(t, stranger, iccidScript()...).Change(ctx, uicc.RefADM6, adm, fresh), card.ErrNotAllowed)
	again := []string{"00a404040c" + aidUSIM + "00", fcpADF + "9000"}
	g := guardedIn(t, known(t), script(appScript(), iccidScript(), again, []string{selMF, shortened(pinOn)}, again,
		[]string{"0020008a", "63c3", "0024008a10" + "61646d2d636f6465" + "6e65772d636f6465", "9000", "0020008a", "63c3"})...)
	if err := g.Change(ctx, uicc.RefADM6, adm, fresh); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]card.Step{{Command: "CHANGE PIN", Ref: 0x8A, Tries: 3, Length: 16}}, g.Plan()); d != "" {
		t.Error(d)
	}
}

// TestPINCommandsDryRun: the counter is read, and no code is sent.
func TestPINCommandsDryRun(t *testing.T) {
	t.Parallel()
	ctx, config := context.Background(), known(t)
	config.DryRun = true
	g := guardOn(t, config, selMF, shortened(pinOn), "00200001", "63c3", selMF, shortened(pinOn), "00200001", "63c3",
		selMF, shortened(pinOff), "00200001", "63c3", "002c0001", "63ca")
	for _, err := range []error{
		g.Change(ctx, 1, pin(t), pin(t)), g.Disable(ctx, 1, pin(t), false), g.Enable(ctx, 1, pin(t)),
		g.Unblock(ctx, 1, secret.New([]byte("12345678")), pin(t)),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	want := []card.Step{{Command: "CHANGE PIN", Ref: 1, Tries: 3, Length: 16}, {Command: "DISABLE PIN", Ref: 1, Tries: 3, Length: 8},
		{Command: "ENABLE PIN", Ref: 1, Tries: 3, Length: 8}, {Command: "UNBLOCK PIN", Ref: 1, Tries: 10, Length: 16}}
	if d := cmp.Diff(want, g.Plan()); d != "" {
		t.Error(d)
	}
}

// TestPINsOf shows states: of an application's own key, where it is selected, and of a
// card that names none.
func TestPINsOf(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := guardOn(t, known(t), script(appScript(), []string{selMF, shortened(pinOff), "00a404040c" + aidUSIM + "00", fcpADF + "9000",
		"00200001", "63c3", "002c0001", "63ca", "00200081", "6a88"})...)
	if err := s.SelectFor(ctx, 1, 0x81); err != nil {
		t.Fatal(err)
	}
	got, err := s.PINs(ctx, 1, 0x81)
	if err != nil || len(got) != 2 {
		t.Fatal(got, err)
	}
	if p := got[0]; p.Enabled == nil || *p.Enabled || *p.Tries != 3 || *p.PUKTries != 10 || p.Why != "" {
		t.Errorf("%+v", p)
	}
	if p := got[1]; p.Tries != nil || p.PUKTries != nil || !strings.Contains(p.Why, "6A88") {
		t.Errorf("%+v", p)
	}
	got, err = guardOn(t, known(t), selMF, shortened(noStatus)).PINs(ctx, 0x8A)
	if err != nil || len(got) != 1 || !strings.Contains(got[0].Why, "no application is selected") {
		t.Errorf("%+v %v", got, err)
	}
	empty := guardOn(t, known(t), "00a40804022f0000", fcpDIR+"9000", "00b201041c", strings.Repeat("ff", 28)+"9000")
	if err := empty.SelectFor(ctx, 0x81); !errors.Is(err, card.ErrNoApplication) {
		t.Error(err)
	}
}
