package rehearse

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/aka"
	"mcim/card/aka/suci"
	"mcim/card/cardtest"
	"mcim/card/emul"
	"mcim/card/model"
)

const iccid = "8988211000000430010"

func random(t testing.TB, n int) secret.Bytes {
	t.Helper()
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return secret.New(b)
}

// profile is one with fresh keys, and the private key for its SUCIs.
func profile(t testing.TB, a model.Algorithm) (emul.Profile, secret.Bytes) {
	t.Helper()
	home, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := emul.Profile{
		Model: "usim", ICCID: iccid, IMSI: "001010123456789", PIN1: secret.New([]byte("2468")), PUK1: secret.New([]byte("13572468")),
		K: random(t, 16), ADM1: random(t, 8), AMF: [2]byte{0x80, 0}, Algorithm: a,
		SUCI: suci.PublicKey{Scheme: usim.SchemeA, ID: 3, Key: home.PublicKey().Bytes()},
	}
	switch {
	case a == model.TUAK:
		p.TOPc = random(t, 32)
	case a.HasOPc():
		p.OPc = random(t, 16)
	}
	return p, secret.New(home.Bytes())
}

// bench is a card with the keys of one profile, rehearsed with another.
type bench struct {
	config   Config
	contexts []Context
}

func newBench(t *testing.T, inCard, told emul.Profile, homeKey secret.Bytes, wrap func(card.Card) card.Card, config card.GuardConfig) *bench {
	t.Helper()
	c, err := emul.New(inCard)
	if err != nil {
		t.Fatal(err)
	}
	var outside card.Card = c
	if wrap != nil {
		outside = wrap(c)
	}
	session := card.NewSession(outside, card.Options{})
	if config.ATR, err = session.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	config.ATR = bytes.Clone(config.ATR)
	b := &bench{contexts: Contexts()}
	b.config = Config{
		Guard: card.NewGuard(session, config), Session: session, AMF: told.AMF, HomeKey: homeKey, Candidates: Candidates(told), Random: rand.Reader,
	}
	if b.config.AKA, b.config.GSM, err = told.Functions(); err != nil {
		t.Fatal(err)
	}
	pin, err := uicc.PadPIN("2468")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.config.Guard.Verify(t.Context(), uicc.RefPIN1, pin); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) run(t *testing.T) *Report {
	t.Helper()
	r, err := Run(t.Context(), b.config, b.contexts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// verdicts are the names of the attempts that ended so.
func (r *Report) verdicts(v Verdict) (names []string) {
	for _, o := range r.Outcomes {
		if o.Verdict == v {
			names = append(names, o.Name)
		}
	}
	return names
}

func spare() card.GuardConfig { return card.GuardConfig{Spare: true} }

// TestAllPass: every algorithm in every context, and no key in the report.
func TestAllPass(t *testing.T) {
	t.Parallel()
	for _, a := range []model.Algorithm{model.Milenage, model.TUAK, model.XOR} {
		p, key := profile(t, a)
		r := newBench(t, p, p, key, nil, spare()).run(t)
		if len(r.verdicts(Pass)) != 14 || r.Failed() || r.Spent != 4 || r.SQN != "00000000001f" || r.Authentications != 13 {
			t.Errorf("%s: %+v", a, r)
		}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), fmt.Sprintf("%x", p.K.Reveal())) || strings.Contains(string(text), p.IMSI) {
			t.Errorf("%s: a secret is in the report", a)
		}
	}
}

// TestNotSupported: a card without a context says so, which is no failure.
func TestNotSupported(t *testing.T) {
	t.Parallel()
	p, key := profile(t, model.Milenage)
	p.Model = "strict"
	r := newBench(t, p, p, key, nil, spare()).run(t)
	if r.Failed() || !slices.Equal(r.verdicts(Unsupported), []string{"GSM context", "RUN GSM ALGORITHM"}) {
		t.Errorf("strict: %+v", r)
	}
	p, key = profile(t, model.COMP128v1)
	r = newBench(t, p, p, key, nil, spare()).run(t)
	if r.Failed() || !slices.Equal(r.verdicts(Pass), []string{"GET IDENTITY", "GSM context", "RUN GSM ALGORITHM"}) || r.Spent != 0 {
		t.Errorf("COMP128: %+v", r)
	}
	p, _ = profile(t, model.Milenage)
	r = newBench(t, p, p, secret.Bytes{}, nil, spare()).run(t)
	if r.Failed() || !slices.Equal(r.verdicts(NotRun), []string{"GET IDENTITY"}) {
		t.Errorf("no home key: %+v", r)
	}
}

// TestMixUps: what was mixed up is named.
func TestMixUps(t *testing.T) {
	t.Parallel()
	reverse := func(k secret.Bytes) secret.Bytes { return turned(k, slices.Reverse[[]byte]) }
	for want, mix := range map[string]func(inCard, told *emul.Profile) error{
		"the given opc is OP, not OPc":  func(c, told *emul.Profile) (err error) { c.OPc, err = aka.OPc(told.K, told.OPc); return err },
		"k and opc are swapped":         func(c, told *emul.Profile) error { c.K, c.OPc = told.OPc, told.K; return nil },
		"the bytes of k are in reverse": func(c, told *emul.Profile) error { c.K = reverse(told.K); return nil },
		"the two digits of each byte of k and of opc are swapped": func(c, told *emul.Profile) error {
			c.K, c.OPc = turned(told.K, swapDigits), turned(told.OPc, swapDigits)
			return nil
		},
		"the card's algorithm is xor": func(c, _ *emul.Profile) error { c.Algorithm, c.OPc = model.XOR, secret.Bytes{}; return nil },
		"topc in the profile is TOP, not TOPc": func(c, told *emul.Profile) (err error) {
			told.Algorithm, told.TOPc, told.OPc = model.TUAK, random(t, 32), secret.Bytes{}
			*c = *told
			c.TOPc, err = aka.TOPc(told.K, told.TOPc, 1)
			return err
		},
		"": func(c, _ *emul.Profile) error { c.K = random(t, 16); return nil },
	} {
		for _, layout := range []string{"usim", "strict"} { // with and without the GSM context
			told, key := profile(t, model.Milenage)
			told.Model = layout
			inCard := told
			if err := mix(&inCard, &told); err != nil {
				t.Fatal(err)
			}
			r := newBench(t, inCard, told, key, nil, spare()).run(t)
			if r.Fits != want || !r.Failed() || r.Spent != 0 || r.Outcomes[0].Verdict != Fail || !strings.Contains(r.Outcomes[0].Why, want) {
				t.Errorf("%s, %q: fits %q: %+v", layout, want, r.Fits, r.Outcomes[0])
			}
			if names := r.verdicts(NotRun); len(names) != 8 {
				t.Errorf("%s, %q: not run: %q", layout, want, names)
			}
		}
	}
}

// lying is a card that alters the answers to some commands.
type lying struct {
	card.Card
	to    func(command []byte) bool
	alter func(answer []byte) []byte
}

func (l lying) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	answer, err := l.Card.Transmit(ctx, command)
	if err == nil && l.to(command) {
		answer = l.alter(bytes.Clone(answer))
	}
	return answer, err
}

// TestWrongAnswers: each wrong answer fails the attempt that it is about.
func TestWrongAnswers(t *testing.T) {
	t.Parallel()
	p2 := func(ins, p2 byte) func([]byte) bool {
		return func(c []byte) bool { return c[0] == 0 && c[1] == ins && c[3] == p2 }
	}
	flip := func(at int) func([]byte) []byte {
		return func(a []byte) []byte {
			if len(a) > at+2 && a[0] != 0xDC {
				a[at] ^= 1
			}
			return a
		}
	}
	sw := func(sw ...byte) func([]byte) []byte { return func([]byte) []byte { return sw } }
	for name, c := range map[string]struct {
		lying
		failing []string
	}{
		"RES": {lying{nil, p2(0x88, 0x81), flip(2)}, []string{"AKA", "IMS AKA"}},
		"IK":  {lying{nil, p2(0x88, 0x81), flip(30)}, []string{"AKA", "IMS AKA"}},
		"Kc":  {lying{nil, p2(0x88, 0x81), flip(46)}, []string{"AKA"}},
		"GBA RES": {lying{nil, p2(0x88, 0x84), func(a []byte) []byte {
			if len(a) < 20 {
				a[2] ^= 1
			}
			return a
		}}, []string{"GBA bootstrapping, USIM", "GBA bootstrapping, ISIM"}},
		"NAF":       {lying{nil, p2(0x88, 0x84), flip(20)}, []string{"NAF key, USIM", "NAF key, ISIM"}},
		"local MAC": {lying{nil, p2(0x89, 0x86), flip(6)}, []string{"local key, USIM", "local key, ISIM"}},
		"SRES":      {lying{nil, p2(0x88, 0x80), flip(1)}, []string{"GSM context"}},
		"GSM Kc":    {lying{nil, func(c []byte) bool { return c[0] == 0xA0 && c[1] == 0x88 }, flip(8)}, []string{"RUN GSM ALGORITHM"}},
		"SUCI":      {lying{nil, func(c []byte) bool { return c[1] == usim.INSGetIdentity }, flip(50)}, []string{"GET IDENTITY"}},
		"promised":  {lying{nil, p2(0x88, 0x80), sw(0x98, 0x64)}, []string{"GSM context"}},
		"forged": {lying{nil, p2(0x88, 0x81), func(a []byte) []byte {
			if len(a) == 2 {
				return append([]byte{0xDC, 14}, append(make([]byte, 14), 0x90, 0x00)...)
			}
			return a
		}}, []string{"AKA, forged"}},
	} {
		p, key := profile(t, model.Milenage)
		wrap := func(inner card.Card) card.Card {
			c.Card = inner
			return c.lying
		}
		r := newBench(t, p, p, key, wrap, spare()).run(t)
		failed := r.verdicts(Fail)
		for _, want := range c.failing {
			if !slices.Contains(failed, want) {
				t.Errorf("%s: failed %q, want %q among them", name, failed, want)
			}
		}
		if len(failed) > 6 {
			t.Errorf("%s: failed %q", name, failed)
		}
	}
}

// spender counts what must not be sent.
type spender struct {
	card.Card
	sent *int
}

func (s spender) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if command[1] == 0x88 || command[1] == 0x89 || command[1] == 0xD6 || command[1] == 0x20 && len(command) > 5 {
		*s.sent++
	}
	return s.Card.Transmit(ctx, command)
}

// TestNothingSpent: neither in a dry run nor on a card that is not on the list.
func TestNothingSpent(t *testing.T) {
	t.Parallel()
	p, key := profile(t, model.Milenage)
	sent := 0
	wrap := func(c card.Card) card.Card { return spender{c, &sent} }
	r := newBench(t, p, p, key, wrap, card.GuardConfig{DryRun: true, Allow: []string{iccid}}).run(t)
	if sent != 0 || r.Spent != 0 || r.Authentications < 12 || r.Failed() {
		t.Errorf("dry run: %d commands, %+v", sent, r)
	}
	b := newBench(t, p, p, key, wrap, card.GuardConfig{Allow: []string{iccid[1:]}})
	sent = 0
	if _, err := Run(t.Context(), b.config, b.contexts); !errors.Is(err, card.ErrNotAllowed) || sent != 0 {
		t.Errorf("not on the list: %d commands, %v", sent, err)
	}
	if r := newBench(t, p, p, key, nil, card.GuardConfig{Allow: []string{iccid}}).run(t); r.Failed() || r.Spent != 4 {
		t.Errorf("on the list: %+v", r)
	}
}

// TestPulledOut: a card that goes away ends the rehearsal, wherever it is.
func TestPulledOut(t *testing.T) {
	t.Parallel()
	p, key := profile(t, model.Milenage)
	for at := 5; at < 60; at += 3 {
		var faulty *cardtest.Faulty
		b := newBench(t, p, p, key, func(c card.Card) card.Card {
			faulty = cardtest.NewFaulty(c, cardtest.Fault{At: at, Kind: cardtest.Removed})
			return faulty
		}, spare())
		if _, err := Run(t.Context(), b.config, b.contexts); !errors.Is(err, card.ErrRemoved) && faulty.Sent() >= at {
			t.Fatalf("pulled at %d of %d: %v", at, faulty.Sent(), err)
		}
	}
}
