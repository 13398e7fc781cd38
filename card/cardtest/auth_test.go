package cardtest_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"testing"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/aka"
	"mcim/card/aka/suci"
	"mcim/card/cardtest"
	"mcim/card/emul"
)

// subscribed gives cards of one subscription, and what the suite has to know of them.
func subscribed(t *testing.T) (open func(testing.TB) card.Card, facts cardtest.Facts) {
	t.Helper()
	home, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := emul.Profile{
		Model: "usim", ICCID: iccid, IMSI: "001010123456789",
		PIN1: secret.New([]byte("2468")), PUK1: secret.New([]byte("13572468")),
		K: random(t, 16), OPc: random(t, 16), ADM1: random(t, 8), AMF: [2]byte{0x80, 0},
		SUCI: suci.PublicKey{Scheme: usim.SchemeA, ID: 5, Key: home.PublicKey().Bytes()},
	}
	pin, err := uicc.PadPIN("2468")
	if err != nil {
		t.Fatal(err)
	}
	a, gsm, err := p.Functions()
	if err != nil {
		t.Fatal(err)
	}
	facts = cardtest.Facts{
		ICCID: iccid, App: usim.AIDPrefix(), Protected: card.InApp(usim.AIDPrefix(), usim.EFIMSI), PIN1: pin, SpendTry: true,
		Home: aka.NewSubscriber(a, p.SQN, p.AMF, nil).Next,
		Auth: &cardtest.AuthFacts{
			AKA: a, GSM: gsm, ISIM: []byte{0xA0, 0, 0, 0, 0x87, 0x10, 0x04}, IMSI: usim.IMSI(p.IMSI),
			SIDF: suci.Home{5: {Scheme: usim.SchemeA, Key: secret.New(home.Bytes())}},
		},
	}
	return func(t testing.TB) card.Card {
		c, err := emul.New(p)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}, facts
}

// TestContexts is the suite with the cases about AUTHENTICATE.
func TestContexts(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]card.Options{"Le sent": {}, "T=0, Le left out": {T0: true}} {
		open, facts := subscribed(t)
		facts.Session = options
		t.Run(name, func(t *testing.T) { cardtest.TestCard(t, open, facts) })
	}
}

// authMistake is the answer of a broken card to a command about authentication.
func (b *broken) authMistake(command, answer []byte) []byte {
	if len(command) < 5 || len(answer) < 2 {
		return answer
	}
	flip := func(applies bool, at int) {
		if applies && len(answer) > at+2 {
			answer = bytes.Clone(answer)
			answer[at] ^= 1
		}
	}
	authenticate := command[0] == 0 && command[1] == uicc.INSAuthenticate
	switch b.mistake {
	case "makes any MAC-S":
		flip(authenticate && answer[0] == 0xDC, 15)
	case "gives a wrong Kc":
		flip(authenticate && command[3] == usim.ContextGSM, 13)
	case "gives a wrong SRES in class A0":
		flip(command[0] == 0xA0 && command[1] == uicc.INSAuthenticate, 0)
	case "has a GSM context in the ISIM":
		if authenticate && command[3] == usim.ContextGSM && len(answer) == 2 {
			return append(usim.AuthenticateGSMResponse{}.Encode(), 0x90, 0x00)
		}
	case "derives another server key":
		flip(authenticate && command[3] == usim.ContextGBA && answer[1] == 32, 4)
	case "has another local key":
		flip(command[1] == usim.INSAuthenticateTLV && len(answer) > 4, 10)
	case "gives one SUCI for ever":
		if command[1] == usim.INSGetIdentity && len(answer) > 2 {
			if b.suci == nil {
				b.suci = bytes.Clone(answer)
			}
			return b.suci
		}
	case "takes half of an AUTN":
		if authenticate && command[3] == usim.Context3G && command[4] < 34 {
			return []byte{0x90, 0x00}
		}
	}
	return answer
}
