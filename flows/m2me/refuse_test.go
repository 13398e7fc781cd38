package m2me_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mcim/card/aka"
	"mcim/card/cardtest"
	"mcim/card/emul"
	"mcim/card/trace"
	"mcim/flows/m2me"
	"mcim/flows/store"
	"mcim/flows/wire"
	"mcim/flows/world"
	"mcim/tpm/mcim"
	"mcim/tpm/policy"
)

// TestPackageIsRefused: what the TRE takes from nobody, each at P6.8; and the same
// package as it should be, which it takes.
func TestPackageIsRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t, world.Config{}, bootstraped)
	stranger, err := wire.NewCA("somebody else", time.Now())
	l.must(err)
	forged, err := stranger.Identity(world.SHOA, time.Now())
	l.must(err)
	other := func(issuer *wire.Identity) func(*wire.PackageMessage) {
		return func(p *wire.PackageMessage) { p.Issuer = issuer.Certificate.Raw }
	}
	for _, tt := range []struct {
		name   string
		change func(*parcel)
		alter  func(*wire.PackageMessage)
		words  string
	}{
		{"certificate of another CA", nil, other(forged), "certificate of the issuer"},
		{"certificate of no operator", nil, other(l.identity(world.PVARole)), "may issue no package"},
		{"certificate of another operator", nil, other(l.identity(world.SHOB)), "authority"},
		{"no certificate", nil, func(p *wire.PackageMessage) { p.Issuer = nil }, "certificate of the issuer"},
		{"no package", nil, func(p *wire.PackageMessage) { p.Package = []byte{0x80} }, "signature"},
		{"another TRE", func(p *parcel) { p.target.AKCert[0] ^= 1 }, nil, "recipient"},
		{"another build", func(p *parcel) { p.order.Build = "other" }, nil, "version"},
		{"another platform", func(p *parcel) { p.order.Platform.Digest[0] ^= 1 }, nil, "platform"},
		{"an epoch to come", func(p *parcel) { p.target.Epoch++ }, nil, "freshness"},
		{"not valid any more", func(p *parcel) { p.order.NotAfter = time.Now().Add(-time.Second) }, nil, "freshness"},
	} {
		p := l.pack("order-"+strings.ReplaceAll(tt.name, " ", "-"), wire.InTRE, tt.change)
		if tt.alter != nil {
			tt.alter(&p)
		}
		_, err := call(l, wire.PathDeliver, p)
		refused(t, err, wire.ErrRefused, "P6.8", tt.words)
	}
	l.install("good", wire.InTRE)
	p := l.pack("later", wire.InTRE, nil)
	other(l.identity(world.SHOB))(&p)
	_, err = call(l, wire.PathDeliver, p) // what was certified with the good one does not count for this one
	refused(t, err, wire.ErrRefused, "P6.8", "authority")
}

// TestRequestsThatDoNotFit: a slot that is in use, an order that brought nothing,
// an order for the other placement, and the order of the steps.
func TestRequestsThatDoNotFit(t *testing.T) {
	t.Parallel()
	l := newLab(t, world.Config{}, provisioned)
	order := func(id string) wire.OrderRequest { return wire.OrderRequest{Order: id} }
	_, active := l.served(wire.InTRE)
	slot := l.slotOf(active.IMSI)

	_, err := call(l, wire.PathActivate, order("unknown"))
	refused(t, err, wire.ErrNotFound, "", "no package was delivered")
	_, err = call(l, wire.PathReplace, order("unknown"))
	refused(t, err, wire.ErrNotFound, "", "no package was delivered")
	for _, n := range []int{-1, mcim.SlotCount} {
		_, err = call(l, wire.PathDelete, wire.DeleteRequest{Slot: n, Nonce: random(32)})
		refused(t, err, wire.ErrRefused, "", "no slot")
	}
	at := l.epoch(slot)
	_, err = call(l, wire.PathDelete, wire.DeleteRequest{Slot: slot, Epoch: at, Nonce: random(32)})
	refused(t, err, wire.ErrRefused, "", "active MCIM: switch")
	if now := l.epoch(slot); now != at || l.slotOf(active.IMSI) != slot {
		t.Errorf("a refused erasure has erased: epoch %d, was %d", now, at)
	}
	_, err = wire.PathWake.Call(l.ctx(), l.session(world.VNORole), wire.WakeRequest{IMSI: "001020000000001"})
	refused(t, err, wire.ErrNotFound, "", "not attached by that identity")

	l.install("for-tre", wire.InTRE)
	_, err = call(l, wire.PathReplace, order("for-tre"))
	refused(t, err, wire.ErrRefused, "", "for the TRE, not for a UICC")
	l.install("for-uicc", wire.InUICC) // into the same slot
	_, err = call(l, wire.PathActivate, order("for-tre"))
	refused(t, err, wire.ErrRefused, "", "any more")
	_, err = call(l, wire.PathActivate, order("for-uicc"))
	refused(t, err, wire.ErrRefused, "", "does not have the subscription of that order yet")
	l.install("for-tre-again", wire.InTRE)
	_, err = call(l, wire.PathReplace, order("for-uicc"))
	refused(t, err, wire.ErrRefused, "", "any more")
}

// TestPackageOfAnotherOrder: a package comes with its own order, and a second one of
// an order counts instead of the first until the UICC has got that.
func TestPackageOfAnotherOrder(t *testing.T) {
	t.Parallel()
	l := newLab(t, world.Config{}, provisioned)
	p := l.pack("mine", wire.InTRE, nil)
	p.Order = "yours"
	_, err := call(l, wire.PathDeliver, p)
	refused(t, err, wire.ErrRefused, "P6.8", "another order")

	replace := wire.OrderRequest{Order: "card"}
	l.install("card", wire.InTRE)
	second := l.install("card", wire.InUICC) // into the same slot
	l.must(l.Machine.Close())
	l.must(l.Machine.PowerOn(l.ctx()))
	_, err = call(l, wire.PathReplace, replace) // by the note of the second one
	l.must(err)
	_, err = call(l, wire.PathDeliver, l.pack("card", wire.InUICC, nil))
	refused(t, err, wire.ErrRefused, "P6.8", "another package of the order card")
	l.deliverGood(second)
	_, err = call(l, wire.PathReplace, replace)
	l.must(err)
}

// slotOf is the slot of the TRE with a subscription.
func (l *lab) slotOf(imsi string) int {
	l.t.Helper()
	if held, err := l.Machine.Holds(imsi); !held || err != nil {
		l.t.Fatalf("the TRE does not hold %s: %v", imsi, err)
	}
	state, err := call(l, wire.PathState, wire.StateRequest{Placement: wire.InTRE, Nonce: random(32)})
	l.must(err)
	return 3 - state.Slot // the operational slots are 1 and 2, and the other one is free
}

// TestAllSlotsInUse: with an active MCIM and an inactive one there is no place for
// a third; who erases the inactive one has a place again.
func TestAllSlotsInUse(t *testing.T) {
	t.Parallel()
	l := newLab(t, world.Config{}, provisioned)
	_, first := l.served(wire.InTRE)
	slot := l.slotOf(first.IMSI)
	p := l.install("second", wire.InTRE)
	// Its operator does not know it, so the machine gets no service by it; the MCIM
	// is ACTIVE nevertheless, as after a cut between P8a.12 and P8a.13.
	_, err := call(l, wire.PathActivate, wire.OrderRequest{Order: p.Order})
	refused(t, err, wire.ErrRefused, "P7.2", "")
	_, err = call(l, wire.PathState, wire.StateRequest{Placement: wire.InUICC, Nonce: random(32)})
	refused(t, err, wire.ErrRefused, "P6.3", "delete an MCIM first")
	if _, err = call(l, wire.PathDelete, wire.DeleteRequest{Slot: slot, Epoch: l.epoch(slot), Nonce: random(32)}); err != nil {
		t.Fatal(err)
	}
	state, err := call(l, wire.PathState, wire.StateRequest{Placement: wire.InUICC, Nonce: random(32)})
	if err != nil || state.Slot != slot {
		t.Errorf("slot %d is free, %v; want %d", state.Slot, err, slot)
	}
}

// TestOnlyWayIsKept: the provisional identity stays while the machine has nothing
// else (TM-12), and is erased once, in the epoch that was meant.
func TestOnlyWayIsKept(t *testing.T) {
	t.Parallel()
	l := newLab(t, world.Config{}, bootstraped)
	at := l.epoch(mcim.PCID)
	_, err := call(l, wire.PathDelete, wire.DeleteRequest{Slot: mcim.PCID, Epoch: at, Nonce: random(32)})
	refused(t, err, wire.ErrRefused, "", "no other way")
	l.must(l.run.Provision(l.ctx()))
	if now := l.epoch(mcim.PCID); now != at+1 {
		t.Errorf("after P7.5 slot 0 is in epoch %d, want %d", now, at+1)
	}
	if _, err := call(l, wire.PathDelete, wire.DeleteRequest{Slot: mcim.PCID, Epoch: at, Nonce: random(32)}); err != nil || l.epoch(mcim.PCID) != at+1 {
		t.Errorf("erased once more: %v, epoch %d", err, l.epoch(mcim.PCID))
	}
}

// TestQuoteOfAnotherSession: the evidence counts for the TLS session over which it
// was asked for.
func TestQuoteOfAnotherSession(t *testing.T) {
	t.Parallel()
	l := newLab(t, world.Config{}, bootstraped)
	_, operator, err := l.As(world.SHOA)
	l.must(err)
	id, ro, err := l.As(world.RORole)
	l.must(err)
	one, two := l.session(world.RORole), l.session(world.RORole)
	for _, exporter := range [][]byte{two.Exporter(), one.Exporter()} {
		open, err := wire.Ask(l.ctx(), operator, world.PVARole, wire.PathOpen, wire.OpenRequest{Machine: l.Machine.Role(), Purpose: "test"})
		l.must(err)
		quote, err := wire.PathQuote.Call(l.ctx(), one, wire.QuoteRequest{Order: "test", Nonce: open.Nonce})
		l.must(err)
		answer, err := wire.Ask(l.ctx(), ro, world.PVARole, wire.PathAppraise, wire.AppraiseRequest{
			Validation: open.Validation, Exporter: exporter, Evidence: quote.Evidence,
		})
		l.must(err)
		verdict, _, err := answer.Signed.VerifyFrom(id, wire.KindPVA, wire.TypeVerdict)
		l.must(err)
		if own := slices.Equal(exporter, one.Exporter()); verdict.Pass != own {
			t.Errorf("own session %v: verdict %+v", own, verdict)
		}
	}
}

// TestPlatformChanged: on a platform that nobody approved the TPM answers no
// network, by the provisional identity, an MCIM, or the UICC; and the card's ADM1
// stays where it is.
func TestPlatformChanged(t *testing.T) {
	t.Parallel()
	for _, stage := range []int{bootstraped, provisioned} {
		l := newLab(t, world.Config{}, stage)
		l.must(l.Tamper())
		l.Meter.Reset()
		err := l.Machine.PowerOn(l.ctx()) // what it has in memory does not help it
		if !errors.Is(err, policy.ErrRefused) {
			t.Errorf("stage %d, still on: %v", stage, err)
		}
		l.must(l.Machine.Close())
		l.Meter.Reset()
		err = l.Machine.PowerOn(l.ctx())
		refused(t, err, wire.ErrRefused, "P2.1", "boot the approved software")
		for _, procedure := range []string{"P2", "P7"} {
			for _, s := range l.Meter.Steps(procedure) {
				if s.Name != "P2.1" {
					t.Errorf("stage %d: the machine came to %s", stage, s.Name)
				}
			}
		}
	}
	l := newLab(t, world.Config{}, provisioned)
	l.must(l.Machine.UseUICC(l.ctx()))
	l.install("late", wire.InUICC)
	l.must(l.Tamper())
	_, err := call(l, wire.PathReplace, wire.OrderRequest{Order: "late"})
	refused(t, err, wire.ErrRefused, "", "boot the approved software")
	err = l.Machine.UseUICC(l.ctx())
	if err == nil {
		_, err = call(l, wire.PathActivate, wire.OrderRequest{Order: "late"})
		refused(t, err, wire.ErrRefused, "", "")
	}
}

// TestForeignCard: a card that is not the machine's is refused before it gets a
// PIN.
func TestForeignCard(t *testing.T) {
	t.Parallel()
	l := newLab(t, world.Config{}, provisioned)
	p, err := emul.RandomProfile("usim")
	l.must(err)
	foreign, err := emul.New(p)
	l.must(err)
	var counter world.Spent
	m := l.other(func(c *m2me.Config) { c.Card = trace.Tap(foreign, trace.Options{}, &counter) })
	l.must(m.PowerOn(l.ctx()))
	err = m.UseUICC(l.ctx())
	if !errors.Is(err, m2me.ErrForeignCard) || !strings.Contains(err.Error(), p.ICCID) || !strings.Contains(err.Error(), "put the right card back") {
		t.Errorf("error %v", err)
	}
	if spent := counter.Total(); spent != (world.Spend{}) {
		t.Errorf("the card was spent %s", spent)
	}
}

// TestCardThatWasNotSupplied: a machine without a card of its own gives no PIN to
// any.
func TestCardThatWasNotSupplied(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "card")
	p, err := emul.RandomProfile("usim")
	if err != nil {
		t.Fatal(err)
	}
	made, err := emul.Open(path, &p)
	if err := errors.Join(err, made.Close()); err != nil {
		t.Fatal(err)
	}
	l := newLab(t, world.Config{Card: "emul:" + path}, provisioned) // no profile: nobody knows its codes
	if err := l.Machine.UseUICC(l.ctx()); !errors.Is(err, m2me.ErrForeignCard) || !strings.Contains(err.Error(), "none was supplied") {
		t.Errorf("error %v", err)
	}
}

// TestNoUICC: a machine without a reader takes the package, and refuses the rest.
func TestNoUICC(t *testing.T) {
	t.Parallel()
	l := newLab(t, world.Config{}, provisioned)
	m := l.other(func(c *m2me.Config) { c.Card = nil })
	l.must(m.PowerOn(l.ctx()))
	refused(t, m.UseUICC(l.ctx()), wire.ErrRefused, "", "no UICC")
	refused(t, m.ChallengeCard(l.ctx(), [16]byte{}, [16]byte{}), wire.ErrRefused, "", "no UICC")
	l.install("uicc", wire.InUICC)
	_, err := call(l, wire.PathReplace, wire.OrderRequest{Order: "uicc"})
	refused(t, err, wire.ErrRefused, "", "no UICC")
	_, err = call(l, wire.PathActivate, wire.OrderRequest{Order: "uicc"})
	refused(t, err, wire.ErrRefused, "", "no UICC")
}

// TestUICCGone: a machine that attaches by its UICC says so where none is there.
func TestUICCGone(t *testing.T) {
	t.Parallel()
	l := newLab(t, world.Config{}, provisioned)
	l.must(l.Machine.UseUICC(l.ctx()))
	m := l.other(func(c *m2me.Config) { c.Card = nil })
	refused(t, m.PowerOn(l.ctx()), wire.ErrRefused, "", "no UICC")
	whole := l.Device.Card
	l.insert(cardtest.NewFaulty(whole, cardtest.Fault{Kind: cardtest.Removed}))
	m = l.other(func(*m2me.Config) {})
	err := m.PowerOn(l.ctx())
	refused(t, err, wire.ErrUnavailable, "P7.2", "put the machine's card back")
	l.insert(whole)
	l.must(m.PowerOn(l.ctx()))
}

// TestCardRefusesNetwork: what the card says to a challenge is told apart.
func TestCardRefusesNetwork(t *testing.T) {
	t.Parallel()
	l := newLab(t, world.Config{}, provisioned)
	if err := l.Machine.ChallengeCard(l.ctx(), [16]byte{}, [16]byte{}); !errors.Is(err, aka.ErrMAC) {
		t.Errorf("a forged AUTN: %v", err)
	}
	for name, fault := range map[string]cardtest.Fault{
		"not allowed": {Kind: cardtest.Answer, Answer: []byte{0x69, 0x82}},
		"no answer":   {Kind: cardtest.Answer, Answer: []byte{0x90, 0x00}},
		"short RES":   {Kind: cardtest.Answer, Answer: append(append([]byte{0xDB, 3, 1, 2, 3, 16}, make([]byte, 16)...), append(append([]byte{16}, make([]byte, 16)...), 0x90, 0)...)},
	} {
		whole := l.Device.Card
		l.insert(cardtest.NewFaulty(whole, fault))
		err := l.Machine.ChallengeCard(l.ctx(), [16]byte{}, [16]byte{})
		l.insert(whole)
		var sync *aka.SyncError
		if err == nil || errors.Is(err, aka.ErrMAC) || errors.As(err, &sync) {
			t.Errorf("%s: %v", name, err)
		}
		if err := l.Machine.UseUICC(l.ctx()); err != nil {
			t.Fatalf("after %s: %v", name, err)
		}
	}
}

// TestOff: before PowerOn, and after Close, nothing works and nothing panics.
func TestOff(t *testing.T) {
	t.Parallel()
	l := newLab(t, world.Config{}, supplied)
	off := func() {
		t.Helper()
		ctx := l.ctx()
		for name, f := range map[string]func() error{
			"Register":      func() error { _, err := l.Machine.Register(ctx); return err },
			"UseUICC":       func() error { return l.Machine.UseUICC(ctx) },
			"Placement":     func() error { _, err := l.Machine.Placement(ctx); return err },
			"Holds":         func() error { _, err := l.Machine.Holds(""); return err },
			"Reach":         func() error { return l.Machine.Reach(ctx, world.RORole) },
			"Request":       func() error { return l.Machine.Request(ctx, "") },
			"Answer":        func() error { return l.Machine.Answer(ctx, "", nil) },
			"Remnant":       func() error { _, err := l.Machine.Remnant(""); return err },
			"Use":           func() error { return l.Machine.Use(mcim.Remnant{}) },
			"ChallengeCard": func() error { return l.Machine.ChallengeCard(ctx, [16]byte{}, [16]byte{}) },
			"ChallengeTRE":  func() error { return l.Machine.ChallengeTRE(ctx, [16]byte{}, [16]byte{}) },
		} {
			if err := f(); !errors.Is(err, m2me.ErrOff) {
				t.Errorf("%s: %v, want ErrOff", name, err)
			}
		}
	}
	off()
	l.must(l.run.Bootstrap(l.ctx()))
	l.must(errors.Join(l.Machine.Close(), l.Machine.Close()))
	off()
	l.must(l.Machine.PowerOn(l.ctx()))
	l.must(l.run.Provision(l.ctx()))
}

// TestNotSupplied: such a machine cannot be powered on.
func TestNotSupplied(t *testing.T) {
	t.Parallel()
	l := newLab(t, world.Config{}, blank)
	if err := l.Machine.PowerOn(l.ctx()); err == nil || !strings.Contains(err.Error(), "not supplied") {
		t.Errorf("error %v", err)
	}
	if done, err := l.Machine.Supplied(l.ctx()); done || err != nil {
		t.Errorf("supplied: %v, %v", done, err)
	}
}

// TestNothingLeft: a machine whose provisional identity and MCIM are erased, and
// which was not told to use its UICC, says that it has nothing.
func TestNothingLeft(t *testing.T) {
	t.Parallel()
	l := newLab(t, world.Config{}, provisioned)
	_, active := l.served(wire.InTRE)
	slot := l.slotOf(active.IMSI)
	l.must(l.Machine.UseUICC(l.ctx())) // so that the MCIM is INACTIVE
	_, err := call(l, wire.PathDelete, wire.DeleteRequest{Slot: slot, Epoch: l.epoch(slot), Nonce: random(32)})
	l.must(err)
	m := l.other(func(c *m2me.Config) {
		l.must(store.Bucket[wire.Placement]("access").Delete(l.ctx(), c.Store, "placement"))
	})
	if err := m.PowerOn(l.ctx()); !errors.Is(err, m2me.ErrNoSubscription) {
		t.Errorf("error %v", err)
	}
}
