package ro_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"mcim/flows/engine"
	"mcim/flows/flowtest"
	"mcim/flows/sho"
	"mcim/flows/store"
	"mcim/flows/wire"
	"mcim/flows/wire/wiretest"
)

// give brings an order to the RO as the home operator named role would.
func give(l *lab, role string, signed wire.Signed[wire.Order]) error {
	_, err := wire.Ask(wire.At(l.T.Context(), "P8a.2"), l.Script(role, nil).Contacts, "ro", wire.PathOrder, wire.OrderMessage{Signed: signed})
	return err
}

func sign[T any](l *lab, role, typ string, payload T) wire.Signed[T] {
	l.T.Helper()
	signed, err := wire.SignAs(l.Identity(role), typ, payload)
	if err != nil {
		l.T.Fatal(err)
	}
	return signed
}

func mandate(l *lab) wire.Mandate {
	return wire.Mandate{ID: "m1", Machine: machine, Placement: wire.InTRE, NewSHO: "sho-c", Made: l.Now(), Expires: l.Now().Add(time.Hour)}
}

func TestOrderWithoutRightfulMandateIsRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	for name, change := range map[string]func(m *wire.Mandate, signer, giver *string){
		"expired":            func(m *wire.Mandate, _, _ *string) { m.Expires = l.Now().Add(-time.Second) },
		"of the future":      func(m *wire.Mandate, _, _ *string) { m.Made = l.Now().Add(time.Minute) },
		"for another SHO":    func(m *wire.Mandate, _, _ *string) { m.NewSHO = "sho-d" },
		"signed by an SHO":   func(_ *wire.Mandate, signer, _ *string) { *signer = "sho-c" },
		"brought by another": func(_ *wire.Mandate, _, giver *string) { *giver = "sho-d" },
		"for no machine":     func(m *wire.Mandate, _, _ *string) { m.Machine = "vno" },
		"without an id":      func(m *wire.Mandate, _, _ *string) { m.ID = "" },
		"of no placement":    func(m *wire.Mandate, _, _ *string) { m.Placement = "cloud" },
		"first into a UICC":  func(m *wire.Mandate, _, _ *string) { m.Placement = wire.InUICC },
		"from nobody":        func(m *wire.Mandate, _, _ *string) { m.OldSHO = "sho-a" },
		"from a TRE without": func(m *wire.Mandate, _, _ *string) { m.OldSHO, m.OldIMSI = "sho-a", "001010000000009" },
	} {
		m, signer, giver := mandate(l), "subscriber", "sho-c"
		change(&m, &signer, &giver)
		order := wire.Order{ID: wire.OrderID(m), Mandate: sign(l, signer, wire.TypeMandate, m)}
		if err := give(l, giver, sign(l, "sho-c", wire.TypeOrder, order)); !errors.Is(err, wire.ErrRefused) {
			t.Errorf("mandate %s: %v", name, err)
		}
	}
	if err := give(l, "sho-c", sign(l, "sho-c", wire.TypeOrder, wire.Order{ID: "sho-c.m1"})); !errors.Is(err, wire.ErrRefused) {
		t.Errorf("no mandate: %v", err)
	}
}

func TestOrderTwiceIsOneOrderAndTwoAreRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	m := mandate(l)
	signed := sign(l, "sho-c", wire.TypeOrder, wire.Order{ID: wire.OrderID(m), Mandate: sign(l, "subscriber", wire.TypeMandate, m)})
	for range 2 {
		if err := give(l, "sho-c", signed); err != nil {
			t.Fatal(err)
		}
	}
	_, err := l.subscriber.First(t.Context(), machine, "sho-a", time.Time{})
	wiretest.Refused(t, err, wire.ErrConflict, "P1.9")
	if !strings.Contains(err.Error(), "sho-c.m1") {
		t.Errorf("the reason does not name the open order: %v", err)
	}
}

func TestMachineWithoutOrderIsRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	wiretest.Refused(t, l.arrive(l.batch("b1", 1)[0].ID), wire.ErrRefused, "P4.4")
}

func TestMachineMaySpeakForItselfAlone(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	other := l.Script("m2me/2", nil)
	_, err := wire.Ask(wire.At(t.Context(), "P4.1"), other.Contacts, "ro", wire.PathContact, wire.ContactRequest{Machine: machine})
	wiretest.Refused(t, err, wire.ErrRefused, "P4.2")
}

func TestProvisionalIdentityIsRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	pcids := l.batch("b1", 3)
	l.pcids["999700000000099"] = pcids[0]
	attach := func(pcid string) error {
		return l.machine.Attach(l.machine.Node.Context(t.Context()), pcid)
	}
	if err := attach(pcids[0].ID); err != nil {
		t.Fatal(err)
	}
	wiretest.Refused(t, attach("999700000000099"), wire.ErrRefused, "P2.3")
	if err := l.ro.Withdraw(t.Context(), pcids[0].ID); err != nil {
		t.Fatal(err)
	}
	wiretest.Refused(t, attach(pcids[0].ID), wire.ErrRefused, "P2.3")
	l.Pass(6 * 365 * 24 * time.Hour)
	wiretest.Refused(t, attach(pcids[1].ID), wire.ErrRefused, "P2.3")
}

func TestBatchTwiceIsOneBatch(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	if a, b := l.batch("b1", 2), l.batch("b1", 2); a[0].ID != b[0].ID || string(a[1].K) != string(b[1].K) {
		t.Error("two batches")
	}
	for name, req := range map[string]wire.BatchRequest{
		"another count":  {Batch: "b1", Count: 3, HPKE: l.supplier.Identity.Box.PublicKey().Bytes()},
		"another key":    {Batch: "b1", Count: 2, HPKE: l.Identity("x").Box.PublicKey().Bytes()},
		"no key":         {Batch: "b2", Count: 2},
		"none":           {Batch: "b2", Count: 0, HPKE: l.supplier.Identity.Box.PublicKey().Bytes()},
		"more than fits": {Batch: "b2", Count: 1001, HPKE: l.supplier.Identity.Box.PublicKey().Bytes()},
	} {
		if _, err := wire.Ask(t.Context(), l.supplier.Contacts, "ro", wire.PathPCIDBatch, req); err == nil {
			t.Errorf("%s: not refused", name)
		}
	}
}

func TestProvisionalIdentityComesBackAfterQuarantine(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.first()
	used := "999700000000001"
	if got := l.batch("b2", 1)[0].ID; got == used {
		t.Error("reused in quarantine")
	}
	l.Pass(31 * 24 * time.Hour)
	again := l.batch("b3", 1)[0]
	if again.ID != used {
		t.Errorf("got %s, want %s again", again.ID, used)
	}
	if err := flowtest.NewMachine(l.Lab, "2").Attach(t.Context(), ""); err == nil {
		t.Error("attached by nothing")
	}
}

func TestVerdictThatProvesNothingEndsTheOrder(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(*lab)
		step  string
	}{
		"negative":              {func(l *lab) { l.pva.Failed = []string{"PCR 4 differs"} }, "P5c"},
		"of another machine":    {func(l *lab) { l.pva.Change = func(v *wire.Verdict) { v.Machine = "m2me/2" } }, "P4.8"},
		"for another requester": {func(l *lab) { l.pva.Change = func(v *wire.Verdict) { v.Requester = "sho-b" } }, "P4.8"},
		"for another order":     {func(l *lab) { l.pva.Change = func(v *wire.Verdict) { v.Purpose = "x" } }, "P4.8"},
		"of another validation": {func(l *lab) { l.pva.Change = func(v *wire.Verdict) { v.Validation = "x" } }, "P4.8"},
		"old":                   {func(l *lab) { l.pva.Change = func(v *wire.Verdict) { v.Expires = l.Now().Add(-1) } }, "P4.8"},
		"signed by somebody":    {func(l *lab) { l.pva.Sign = l.Identity("ro") }, "P4.8"},
		"signed by another lab": {func(l *lab) { l.pva.Sign = wiretest.New(l.T).Identity("pva") }, "P4.8"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, nil)
			c.spoil(l)
			order, err := l.subscriber.First(t.Context(), machine, "sho-a", time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			if err := l.arrive(l.batch("b1", 1)[0].ID); err != nil {
				t.Fatal(err)
			}
			_, err = l.wait(order)
			wiretest.Refused(t, err, wire.ErrRefused, c.step)
			if list, _ := l.sho["sho-a"].Subscriptions(t.Context()); len(list) != 0 {
				t.Error("a subscription was made without a verdict")
			}
			if _, err := l.subscriber.First(t.Context(), machine, "sho-b", time.Time{}); err != nil {
				t.Errorf("after the order's end: %v", err)
			}
		})
	}
}

func TestForgedReceiptLeavesSubscriptionPending(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.machine.Tamper = func(receipt []byte) []byte {
		r := append([]byte(nil), receipt...)
		r[len(r)-1] ^= 1
		return r
	}
	order, err := l.subscriber.First(t.Context(), machine, "sho-a", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.arrive(l.batch("b1", 1)[0].ID); err != nil {
		t.Fatal(err)
	}
	_, err = l.wait(order)
	wiretest.Refused(t, err, wire.ErrRefused, "P6.11")
	imsi := l.imsi(order)
	if got := l.state("sho-a", imsi); got != sho.Pending {
		t.Errorf("subscription is %s", got)
	}
	err = l.machine.Attach(wire.At(t.Context(), "P7.1"), imsi)
	wiretest.Refused(t, err, wire.ErrRefused, "P7.2")
}

func TestOldOperatorCannotVeto(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	old := l.first()
	if err := l.sho["sho-a"].Close(); err != nil {
		t.Fatal(err)
	}
	no := func(s *wire.Server) {
		ro := []string{"ro"}
		wire.PathLeave.Handle(s, ro, func(context.Context, wire.Peer, wire.OrderMessage) (wire.LeaveAnswer, error) {
			return wire.LeaveAnswer{}, wire.Refuse("P8a.4", "we do not let you go")
		})
		wire.PathWakeSHO.Handle(s, ro, func(context.Context, wire.Peer, wire.WakeRequest) (wire.Empty, error) {
			return wire.Empty{}, wire.Refuse("P8a.5", "we do not wake it")
		})
		wire.PathClose.Handle(s, ro, func(context.Context, wire.Peer, wire.CloseRequest) (wire.Empty, error) {
			return wire.Empty{}, wire.Refuse("P8a.14", "we do not close")
		})
		wire.PathStatus.Handle(s, []string{"subscriber"}, func(context.Context, wire.Peer, wire.StatusRequest) (wire.StatusAnswer, error) {
			return wire.StatusAnswer{IMSI: old.IMSI}, nil
		})
	}
	l.Script("sho-a", no)
	order, err := l.subscriber.Change(t.Context(), machine, wire.InTRE, "sho-a", "sho-b")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.wait(order); err != nil {
		t.Fatal(err)
	}
	records, err := store.Records(t.Context(), l.store, order)
	if err != nil {
		t.Fatal(err)
	}
	objections := 0
	for _, r := range records {
		if r.Kind == "objection" {
			objections++
		}
	}
	if objections != 3 {
		t.Errorf("%d objections recorded, want 3", objections)
	}
}

func TestBoundSubscriberStays(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	order, err := l.subscriber.First(t.Context(), machine, "sho-a", l.Now().Add(24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.arrive(l.batch("b1", 1)[0].ID); err != nil {
		t.Fatal(err)
	}
	if _, err := l.wait(order); err != nil {
		t.Fatal(err)
	}
	if order, err = l.subscriber.Change(t.Context(), machine, wire.InTRE, "sho-a", "sho-b"); err != nil {
		t.Fatal(err)
	}
	_, err = l.wait(order)
	wiretest.Refused(t, err, wire.ErrRefused, "P8a.4")
	l.Pass(25 * time.Hour)
	if order, err = l.subscriber.Change(t.Context(), machine, wire.InTRE, "sho-a", "sho-b"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.wait(order); err != nil {
		t.Errorf("when the contract has ended: %v", err)
	}
}

// TestCutOrderGoesOn ends the RO at each journal point of P8a and opens it again.
func TestCutOrderGoesOn(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"P8a.3", "P8a.5", "P8a.6", "P8a.7", "P8a.8", "P8a.9", "P8a.10", "P8a.11", "P8a.12", "P8a.13", "P8a.14", "end"} {
		for _, at := range []string{" begin", " done", " end"} {
			t.Run(step+at, func(t *testing.T) {
				t.Parallel()
				l := newLab(t, nil)
				l.first()
				cut, done := context.WithCancel(t.Context())
				defer done()
				var once sync.Once
				if err := l.ro.Close(); err != nil {
					t.Fatal(err)
				}
				reopen(l, cut, func(point string) {
					if point == step+at {
						once.Do(done)
					}
				})
				order, err := l.subscriber.Change(t.Context(), machine, wire.InTRE, "sho-a", "sho-b")
				if err != nil {
					t.Fatal(err)
				}
				if _, err := l.wait(order); err != nil && !errors.Is(err, engine.ErrInterrupted) {
					t.Fatal(err)
				}
				if err := l.ro.Close(); err != nil {
					t.Fatal(err)
				}
				reopen(l, t.Context(), nil)
				result, err := l.wait(order)
				if err != nil || l.state("sho-b", result.IMSI) != sho.Active {
					t.Errorf("%+v, %v", result, err)
				}
			})
		}
	}
}

// reopen opens the RO again over its store and engine, in the place of the one
// before.
func reopen(l *lab, ctx context.Context, onPoint func(string)) {
	l.T.Helper()
	if err := l.engine.Close(); err != nil {
		l.T.Fatal(err)
	}
	l.openRO(ctx, onPoint)
	if err := l.ro.Launch(l.T.Context()); err != nil {
		l.T.Fatal(err)
	}
}
