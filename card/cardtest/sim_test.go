package cardtest_test

import (
	"slices"
	"testing"

	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/cardtest"
	"mcim/card/emul"
	"mcim/card/model"
)

// simOf is a SIM and what the suite has to know of it.
func simOf(t *testing.T, a model.Algorithm) (open func(testing.TB) card.Card, facts cardtest.Facts) {
	t.Helper()
	p, err := emul.RandomProfile("2g")
	if err != nil {
		t.Fatal(err)
	}
	if p.Algorithm = a; a != model.Milenage {
		p.OPc = p.TOPc // none
	}
	facts = cardtest.Facts{ICCID: p.ICCID, GSM: []uint16{usim.DFGSM, usim.EFIMSI}, Seed: 1}
	if facts.PIN1, err = uicc.PadPIN(string(p.PIN1.Reveal())); err != nil {
		t.Fatal(err)
	}
	if _, facts.SIM, err = p.Functions(); err != nil {
		t.Fatal(err)
	}
	return func(t testing.TB) card.Card {
		c, err := emul.New(p)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}, facts
}

// TestSIM: the suite on a SIM that answers by MILENAGE, and on one with COMP128.
func TestSIM(t *testing.T) {
	t.Parallel()
	for _, a := range []model.Algorithm{model.Milenage, model.COMP128v1, model.COMP128v2, model.COMP128v3} {
		t.Run(string(a), func(t *testing.T) {
			open, facts := simOf(t, a)
			cardtest.TestCard(t, open, facts)
		})
	}
}

// TestOtherThanSIM: a card that refuses both classes is none, and one that refuses a
// file alone is a UICC, whose files are asked for in class 00 from then on.
func TestOtherThanSIM(t *testing.T) {
	t.Parallel()
	neither := card.NewSession(cardtest.NewScript(t, "00a40004023f0000", "6e00", "a0a40000023f00", "6e00", "00a40004023f0000", "6e00"), card.Options{})
	for range 2 { // class A0 is asked for once
		if _, err := neither.Select(t.Context(), card.InMF()); err == nil || neither.IsSIM() {
			t.Errorf("%v, a SIM: %v", err, neither.IsSIM())
		}
	}
	uicc := card.NewSession(cardtest.NewScript(t, "00a40804022fe200", "6a82", "00a40804022fe200", "6e00"), card.Options{})
	for range 2 {
		if _, err := uicc.Select(t.Context(), card.InMF(0x2FE2)); err == nil || uicc.IsSIM() {
			t.Errorf("%v, a SIM: %v", err, uicc.IsSIM())
		}
	}
}

func (b *broken) simMistake(command, answer []byte) {
	last := len(answer) - 2
	switch {
	case len(command) < 5 || command[0] != 0xA0:
	case b.mistake == "as a SIM, needs no CHV1" && slices.Equal(answer, []byte{0x98, 0x04}):
		copy(answer, []byte{0x90, 0x00})
	case b.mistake == "as a SIM, has another ICCID" && command[1] == uicc.INSReadBinary && last == 10:
		answer[9] ^= 0x10
	case b.mistake == "as a SIM, gives a wrong Kc" && last == 12:
		answer[11] ^= 1
	}
}
