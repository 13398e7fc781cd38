package cardtest_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"mcim/apdu"
	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/aka"
	"mcim/card/cardtest"
	"mcim/card/emul"
	"mcim/card/model"
)

// counter counts the commands that spend something.
type counter struct {
	card.Card
	spending int
}

func (c *counter) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	parsed, err := apdu.ParseCommand(command)
	if err == nil {
		switch parsed.INS {
		case uicc.INSUpdateBinary, uicc.INSUpdateRecord, uicc.INSAuthenticate, uicc.INSUnblockPIN:
			c.spending++
		case uicc.INSVerify:
			c.spending += min(1, len(parsed.Data))
		}
	}
	return c.Card.Transmit(ctx, command)
}

// lab is a software UICC with its secrets.
type lab struct {
	card    *counter
	session *card.Session
	atr     []byte
	profile emul.Profile
}

func newLab(t *testing.T) *lab {
	t.Helper()
	p := emul.Profile{
		Model: "usim", ICCID: iccid, IMSI: "001010123456789",
		PIN1: secret.New([]byte("2468")), PUK1: secret.New([]byte("13572468")),
		K: random(t, 16), OPc: random(t, 16), ADM1: random(t, 8), AMF: [2]byte{0x80, 0},
	}
	c, err := emul.New(p)
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{card: &counter{Card: c}, profile: p}
	l.session = card.NewSession(l.card, card.Options{})
	atr, err := l.session.Reset(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.atr = bytes.Clone(atr)
	return l
}

func (l *lab) guard(config card.GuardConfig) *card.Guard {
	config.ATR = l.atr
	return card.NewGuard(l.session, config)
}

// change is a change of subscription: all that a guard can be asked to do.
func (l *lab) change(ctx context.Context, g *card.Guard, k model.Key, imsi []byte) []error {
	pin, err := uicc.PadPIN("2468")
	errs := []error{err,
		g.Verify(ctx, uicc.RefPIN1, pin),
		g.Verify(ctx, uicc.RefADM1, l.profile.ADM1),
		g.UpdateKey(ctx, k),
		g.UpdateSQN(ctx, model.NewSQN(0)),
		g.UpdateBinary(ctx, card.InApp(usim.AIDPrefix(), usim.EFIMSI), 0, imsi),
	}
	_, err = g.Authenticate(ctx, usim.AIDPrefix(), usim.Authenticate{})
	return append(errs, err)
}

func newKey(t *testing.T) (model.Key, *aka.Milenage) {
	t.Helper()
	k := model.Key{Algorithm: model.Milenage, K: random(t, 16), OPc: random(t, 16)}
	block, err := aka.NewAES(k.K)
	if err != nil {
		t.Fatal(err)
	}
	m, err := aka.NewMilenage(block, k.OPc)
	if err != nil {
		t.Fatal(err)
	}
	return k, m
}

var newIMSI = []byte{0x08, 0x09, 0x10, 0x10, 0x00, 0x00, 0x00, 0x00, 0x21}

// TestChangeProvedByAKA writes another subscription and proves the key file,
// which cannot be read, by an AKA.
func TestChangeProvedByAKA(t *testing.T) {
	t.Parallel()
	ctx, l := t.Context(), newLab(t)
	g := l.guard(card.GuardConfig{Allow: []string{iccid}})
	key, milenage := newKey(t)
	for i, err := range l.change(ctx, g, key, newIMSI) {
		if err != nil {
			t.Errorf("step %d: %v", i, err)
		}
	}
	vector, err := aka.NewVector(milenage, [16]byte{1, 2, 3}, aka.SQN(1<<5), [2]byte{0x80, 0})
	if err != nil {
		t.Fatal(err)
	}
	r, err := g.Authenticate(ctx, usim.AIDPrefix(), usim.Authenticate{RAND: vector.RAND, AUTN: vector.AUTN})
	if err != nil || !r.SW.OK() {
		t.Fatalf("AKA with the new key: %v %v", r.SW, err)
	}
	answer, err := usim.ParseAuthenticate(r.Data)
	if err != nil || !bytes.Equal(answer.RES, vector.XRES.Bytes()) {
		t.Errorf("the card does not have the new key: %v", err)
	}
	if imsi, err := l.session.ReadFile(ctx, card.InApp(usim.AIDPrefix(), usim.EFIMSI)); err != nil || !bytes.Equal(imsi, newIMSI) {
		t.Errorf("IMSI %X %v", imsi, err)
	}
	if l.card.spending != 7 {
		t.Errorf("the card saw %d commands that spend, want 2 PINs, 3 writes and 2 AUTHENTICATEs", l.card.spending)
	}
}

// TestNothingIsSpent asks for the same change with each reason not to spend: the
// card must see no command that writes or spends, but the AUTHENTICATE that neither
// floor nor list is about.
func TestNothingIsSpent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config              card.GuardConfig
		refused, seen, plan int
	}{
		"dry run":        {card.GuardConfig{Allow: []string{iccid}, DryRun: true}, 1, 0, 6},
		"floor and list": {card.GuardConfig{Floor: 15}, 5, 1, 1},
	} {
		l := newLab(t)
		g := l.guard(c.config)
		key, _ := newKey(t)
		errs := l.change(t.Context(), g, key, newIMSI)
		refused := 0
		for _, err := range errs {
			var r *card.RefusalError
			if errors.As(err, &r) {
				refused++
			} else if err != nil {
				t.Errorf("%s: %v, want a *RefusalError", name, err)
			}
		}
		if refused != c.refused {
			t.Errorf("%s: %d refusals, want %d: %v", name, refused, c.refused, errs)
		}
		if l.card.spending != c.seen || len(g.Plan()) != c.plan {
			t.Errorf("%s: the card saw %d spending commands, plan %+v", name, l.card.spending, g.Plan())
		}
	}
}

// TestPlanNamesRights: a dry run says what each write would need.
func TestPlanNamesRights(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	g := l.guard(card.GuardConfig{Allow: []string{iccid}, DryRun: true})
	key, _ := newKey(t)
	l.change(t.Context(), g, key, newIMSI)
	for _, step := range g.Plan() {
		if step.File != "" && step.Command == "UPDATE BINARY" && step.Right != "ADM1" {
			t.Errorf("%+v: want the right ADM1", step)
		}
	}
}

// TestPulledOut takes the card away at every command of a change: the guard
// says so, and has what may be gone in its plan.
func TestPulledOut(t *testing.T) {
	t.Parallel()
	for at := 0; ; at++ {
		l := newLab(t)
		faulty := cardtest.NewFaulty(l.card, cardtest.Fault{At: at, Kind: cardtest.Removed})
		l.session = card.NewSession(faulty, card.Options{})
		g := l.guard(card.GuardConfig{Allow: []string{iccid}})
		key, _ := newKey(t)
		errs := l.change(t.Context(), g, key, newIMSI)
		if errors.Join(errs...) == nil {
			break
		}
		if !errors.Is(errors.Join(errs...), card.ErrRemoved) {
			t.Fatalf("pulled at %d: %v", at, errors.Join(errs...))
		}
		if len(g.Plan()) < l.card.spending {
			t.Errorf("pulled at %d: the card saw %d commands that spend, plan %+v", at, l.card.spending, g.Plan())
		}
		if at > 100 {
			t.Fatal("a change takes more than 100 commands")
		}
	}
}
