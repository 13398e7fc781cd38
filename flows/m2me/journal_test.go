package m2me_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/aka"
	"mcim/card/emul"
	"mcim/flows/auc"
	"mcim/flows/m2me"
	"mcim/flows/wire"
	"mcim/flows/world"
	"mcim/tpm/mcim"
)

// newCardLab is a lab whose card the test knows.
func newCardLab(t *testing.T) (*lab, emul.Profile) {
	t.Helper()
	p, err := emul.RandomProfile("usim")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "card")
	made, err := emul.Open(path, &p)
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Close(); err != nil {
		t.Fatal(err)
	}
	return newLab(t, world.Config{Card: "emul:" + path, Profile: &p, Allow: []string{p.ICCID}}, provisioned), p
}

// cut ends the machine's journal at the n-th point whose name has the words: what
// comes after it cannot be noted, and fails. It is the machine and the store that
// a later process opens which tell what was lost.
func (l *lab) cut(n int, words string) (m *m2me.Machine, at *string) {
	l.t.Helper()
	at = new(string)
	m = l.other(func(c *m2me.Config) {
		c.Allow = []string{l.allowed()}
		c.OnPoint = func(point string) {
			if !strings.Contains(point, words) || *at != "" {
				return
			}
			if n--; n < 0 {
				*at = point
				_ = c.Store.Close()
			}
		}
	})
	return m, at
}

// allowed is the ICCID of the lab's card.
func (l *lab) allowed() string {
	l.t.Helper()
	iccid, err := card.NewSession(l.Device, card.Options{}).ICCID(l.ctx())
	l.must(err)
	return iccid
}

// TestCutAtEachWrite ends the machine's journal at each of its points within
// P8c.8: the next machine on the same store finishes the card when it is powered
// on, whether a write had its outcome or its intent alone.
func TestCutAtEachWrite(t *testing.T) {
	t.Parallel()
	l, profile := newCardLab(t)
	for n := 0; ; n++ {
		var sub *mcim.Subscription
		order := "order-" + strings.Repeat("i", n+1)
		l.must(l.Machine.PowerOn(l.ctx()))
		p := l.pack(order, wire.InUICC, func(p *parcel) { sub = p.sub })
		_, err := call(l, wire.PathDeliver, p)
		l.must(err)
		m, at := l.cut(n, "")
		l.must(m.PowerOn(l.ctx()))
		_, err = call(l, wire.PathReplace, wire.OrderRequest{Order: order})
		l.must(m.Close())
		if *at == "" {
			l.must(err)
			if n < 10 {
				t.Errorf("P8c.8 has only %d points", n)
			}
			break
		}
		l.must(l.Machine.PowerOn(l.ctx())) // finishes
		l.cardHas(profile, sub, *at)
		l.must(l.Machine.Close())
	}
}

// cardHas wants the subscription in the card, and nothing of the one before.
func (l *lab) cardHas(profile emul.Profile, sub *mcim.Subscription, after string) {
	l.t.Helper()
	s, ctx := card.NewSession(l.Device, card.Options{}), l.ctx()
	atr, err := s.Reset(ctx)
	l.must(err)
	_, err = s.Select(ctx, card.InApp(usim.AIDPrefix()))
	l.must(err)
	guard := card.NewGuard(s, card.GuardConfig{ATR: atr})
	pin, err := uicc.PadPIN(string(profile.PIN1.Reveal()))
	l.must(err)
	l.must(guard.Verify(ctx, uicc.RefPIN1, pin))
	raw, err := s.ReadFile(ctx, card.InApp(usim.AIDPrefix(), usim.EFIMSI))
	l.must(err)
	imsi, err := usim.DecodeIMSI(raw)
	if err != nil || string(imsi) != sub.IMSI {
		l.t.Errorf("cut at %s: the card has the IMSI %s, %v; want %s", after, imsi, err, sub.IMSI)
	}
	block, err := aka.NewAES(sub.K)
	l.must(err)
	milenage, err := aka.NewMilenage(block, sub.OPc)
	l.must(err)
	vector, err := aka.NewSubscriber(milenage, sub.SQN, auc.AMF(), nil).Next([16]byte(random(16)))
	l.must(err)
	answer, err := guard.Authenticate(ctx, usim.AIDPrefix(), usim.Authenticate{RAND: vector.RAND, AUTN: vector.AUTN})
	if err != nil || !answer.SW.OK() {
		l.t.Errorf("cut at %s: the card does not know the new key: %v %v", after, answer.SW, err)
	}
}

// TestDeliverAfterCut: a package of which the TRE has taken before the machine
// could note it is delivered once more, and counts as delivered then.
func TestDeliverAfterCut(t *testing.T) {
	t.Parallel()
	l := newLab(t, world.Config{}, provisioned)
	p := l.pack("cut", wire.InTRE, nil)
	m, at := l.cut(0, "install outcome")
	l.must(m.PowerOn(l.ctx()))
	if _, err := call(l, wire.PathDeliver, p); err == nil || *at == "" {
		t.Fatalf("cut at %q: %v", *at, err)
	}
	l.must(m.Close())
	l.must(l.Machine.PowerOn(l.ctx()))
	_, err := call(l, wire.PathActivate, wire.OrderRequest{Order: p.Order})
	refused(t, err, wire.ErrNotFound, "", "no package was delivered")
	for range 2 {
		l.deliverGood(p)
	}
	_, err = call(l, wire.PathActivate, wire.OrderRequest{Order: p.Order})
	refused(t, err, wire.ErrRefused, "P7.2", "") // its operator has not made it, but the TRE has it ACTIVE
}

// deliverGood delivers a package and verifies the receipt.
func (l *lab) deliverGood(p wire.PackageMessage) {
	l.t.Helper()
	answer, err := call(l, wire.PathDeliver, p)
	l.must(err)
	receipt, err := wire.Unmarshal[mcim.Receipt](answer.Receipt)
	l.must(err)
	made, err := mcim.ParsePackage(p.Package)
	l.must(err)
	l.must(mcim.VerifyReceipt(l.platform().AK, made, p.Nonce, &receipt))
}

// TestSessionDies: the RO is gone while the machine does what it was asked; asked
// again over another session, the machine gives the same answer.
func TestSessionDies(t *testing.T) {
	t.Parallel()
	var gone atomic.Pointer[context.CancelFunc] // of the session that is to die
	l := newLab(t, world.Config{OnPoint: func(point string) {
		if cancel := gone.Load(); cancel != nil && (strings.HasSuffix(point, "install outcome") || strings.HasSuffix(point, "EF.IMSI written")) {
			(*cancel)()
		}
	}}, provisioned)
	dies := func(do func(context.Context, *wire.Session) error) {
		t.Helper()
		ctx, cancel := context.WithCancel(l.ctx())
		defer cancel()
		s := l.session(world.RORole)
		gone.Store(&cancel)
		err := do(ctx, s)
		if !errors.Is(err, wire.ErrUnavailable) {
			t.Errorf("the session did not die: %v", err)
		}
		if err := do(l.ctx(), s); !errors.Is(err, wire.ErrUnavailable) {
			t.Errorf("the session lives again: %v", err)
		}
		gone.Store(nil)
	}
	p := l.pack("dies", wire.InUICC, nil)
	dies(func(ctx context.Context, s *wire.Session) error {
		_, err := wire.PathDeliver.Call(ctx, s, p)
		return err
	})
	l.deliverGood(p)
	dies(func(ctx context.Context, s *wire.Session) error {
		_, err := wire.PathReplace.Call(ctx, s, wire.OrderRequest{Order: p.Order})
		return err
	})
	_, err := call(l, wire.PathReplace, wire.OrderRequest{Order: p.Order})
	l.must(err)
	l.deliverGood(p) // late, and changes nothing
	_, err = call(l, wire.PathReplace, wire.OrderRequest{Order: p.Order})
	l.must(err)
}
