package cardtest_test

import (
	"crypto/rand"
	"errors"
	"testing"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/cardtest"
	"mcim/card/emul"
)

const iccid = "8988211000000430010"

func random(t testing.TB, n int) secret.Bytes {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return secret.New(b)
}

// software is a new software UICC.
func software(t testing.TB) card.Card {
	t.Helper()
	c, err := emul.New(emul.Profile{
		Model: "usim", ICCID: iccid, IMSI: "001010123456789",
		PIN1: secret.New([]byte("2468")), PUK1: secret.New([]byte("13572468")),
		K: random(t, 16), OPc: random(t, 16), ADM1: secret.New([]byte("adm-code")), AMF: [2]byte{0x80, 0},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSoftwareUICC(t *testing.T) {
	t.Parallel()
	pin, err := uicc.PadPIN("2468")
	if err != nil {
		t.Fatal(err)
	}
	facts := cardtest.Facts{
		ICCID: iccid, App: usim.AIDPrefix(), Protected: card.InApp(usim.AIDPrefix(), usim.EFIMSI), PIN1: pin, SpendTry: true,
		ADM1: secret.New([]byte("adm-code")),
	}
	for name, options := range map[string]card.Options{"Le sent": {}, "T=0, Le left out": {T0: true}} {
		facts.Session = options
		t.Run(name, func(t *testing.T) { cardtest.TestCard(t, software, facts) })
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	command := []byte{0x00, 0xA4, 0x00, 0x04, 0x02, 0x3F, 0x00}
	for _, c := range []struct {
		name          string
		fault         cardtest.Fault
		first, second error
		length        int // of the first answer
	}{
		{"mute", cardtest.Fault{Kind: cardtest.Mute}, card.ErrTimeout, nil, 0},
		{"lost", cardtest.Fault{Kind: cardtest.Lost}, card.ErrTimeout, nil, 0},
		{"removed", cardtest.Fault{Kind: cardtest.Removed}, card.ErrRemoved, card.ErrRemoved, 0},
		{"other answer", cardtest.Fault{Kind: cardtest.Answer, Answer: []byte{0x61, 0x01, 0x00}}, nil, nil, 3},
		{"short answer", cardtest.Fault{Kind: cardtest.Short}, nil, nil, 1},
		{"always mute", cardtest.Fault{Kind: cardtest.Mute, Always: true}, card.ErrTimeout, card.ErrTimeout, 0},
		{"mute later", cardtest.Fault{At: 1, Kind: cardtest.Mute}, nil, card.ErrTimeout, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := cardtest.NewFaulty(software(t), c.fault)
			answer, err := f.Transmit(t.Context(), command)
			if !errors.Is(err, c.first) || len(answer) != c.length {
				t.Errorf("first: %x %v, want %v", answer, err, c.first)
			}
			if _, err := f.Transmit(t.Context(), command); !errors.Is(err, c.second) {
				t.Errorf("second: %v, want %v", err, c.second)
			}
			if _, err := f.Reset(t.Context()); errors.Is(err, card.ErrRemoved) != (c.fault.Kind == cardtest.Removed) {
				t.Errorf("reset: %v", err)
			}
			if f.Sent() == 0 || f.Close() != nil {
				t.Errorf("sent %d", f.Sent())
			}
		})
	}
}
