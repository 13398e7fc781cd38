package sho_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"mcim/flows/auc"
	"mcim/flows/flowtest"
	"mcim/flows/sho"
	"mcim/flows/store"
	"mcim/flows/wire"
	"mcim/flows/wire/wiretest"
	"mcim/tpm/mcim"
)

const machine = "m2me/1"

// world is a home operator among scripted parties.
type world struct {
	*wiretest.Lab
	sho         *sho.SHO
	store       *store.Store
	pva         *flowtest.PVA
	tre         *flowtest.TRE
	ro, vno, by *wire.Node
	orders      []wire.Signed[wire.Order]
	refuse      error
	woken       []string
}

func newWorld(t *testing.T) *world {
	w := &world{Lab: wiretest.New(t), tre: flowtest.NewTRE(t)}
	w.pva = flowtest.NewPVA(w.Lab)
	w.ro = w.Script("ro", func(s *wire.Server) {
		wire.PathOrder.Handle(s, []string{wire.KindSHO}, func(_ context.Context, _ wire.Peer, req wire.OrderMessage) (wire.Empty, error) {
			w.orders = append(w.orders, req.Signed)
			return wire.Empty{}, w.refuse
		})
	})
	w.vno = w.Script("vno", func(s *wire.Server) {
		wire.PathWakeVNO.Handle(s, []string{wire.KindSHO}, func(_ context.Context, _ wire.Peer, req wire.WakeRequest) (wire.Empty, error) {
			w.woken = append(w.woken, req.IMSI)
			return wire.Empty{}, nil
		})
	})
	w.by = w.Script("subscriber", nil)
	var err error
	if w.store, err = store.Open(t.Context(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.store.Close() })
	w.sho = sho.New(sho.Config{NodeConfig: w.Config("sho-a"), Store: w.store, PLMN: "00101", RO: "ro", PVA: "pva", VNO: "vno"})
	if err := w.sho.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.sho.Close() })
	return w
}

func (w *world) mandate(change func(*wire.Mandate)) wire.Mandate {
	m := wire.Mandate{ID: "m1", Machine: machine, Placement: wire.InTRE, NewSHO: "sho-a", Made: w.Now(), Expires: w.Now().Add(time.Hour)}
	if change != nil {
		change(&m)
	}
	return m
}

func sign[T any](w *world, role, typ string, payload T) wire.Signed[T] {
	w.T.Helper()
	signed, err := wire.SignAs(w.Identity(role), typ, payload)
	if err != nil {
		w.T.Fatal(err)
	}
	return signed
}

func ask[Req, Resp any](w *world, by *wire.Node, step string, r wire.Route[Req, Resp], req Req) (Resp, error) {
	return wire.Ask(wire.At(w.T.Context(), step), by.Contacts, "sho-a", r, req)
}

func must[T any](w *world) func(T, error) T {
	return func(v T, err error) T {
		w.T.Helper()
		if err != nil {
			w.T.Fatal(err)
		}
		return v
	}
}

// contract makes an order and has it accepted, up to the step before P6.1.
func (w *world) contract() (order string) {
	w.T.Helper()
	signed := sign(w, "subscriber", wire.TypeMandate, w.mandate(nil))
	order = must[wire.OrderRequest](w)(ask(w, w.by, "P1.9", wire.PathContract, wire.MandateMessage{Signed: signed})).Order
	req := wire.OrderRequest{Order: order}
	must[wire.Empty](w)(ask(w, w.ro, "P4.5", wire.PathRegister, wire.RegisterRequest{Order: order, Machine: machine, Capabilities: []string{"tre"}}))
	v := must[wire.Validation](w)(ask(w, w.ro, "P4.7", wire.PathValidate, req))
	verdict := wire.Verdict{
		Validation: v.Validation, Machine: machine, Requester: "sho-a", Purpose: order, Pass: true, Made: w.Now(), Expires: w.Now().Add(time.Minute),
	}
	must[wire.Empty](w)(ask(w, w.ro, "P4.8", wire.PathAccept, wire.AcceptRequest{Order: order, Verdict: sign(w, "pva", wire.TypeVerdict, verdict)}))
	return order
}

// protect is a right request for a package.
func (w *world) protect(order string, created wire.CreateAnswer) wire.ProtectRequest {
	return wire.ProtectRequest{
		Order: order, Platform: w.pva.Supply(w.tre.Platform(machine)), Slot: 1, Epoch: 1, Proof: w.tre.Proof(1, created.Nonce), Sequence: 1,
	}
}

// provision makes an active subscription.
func (w *world) provision() (order, imsi string) {
	w.T.Helper()
	order = w.contract()
	created := must[wire.CreateAnswer](w)(ask(w, w.ro, "P6.1", wire.PathCreate, wire.OrderRequest{Order: order}))
	made := must[wire.PackageMessage](w)(ask(w, w.ro, "P6.5", wire.PathProtect, w.protect(order, created)))
	p, err := mcim.ParsePackage(made.Package)
	if err != nil {
		w.T.Fatal(err)
	}
	must[wire.Empty](w)(ask(w, w.ro, "P6.11", wire.PathResult, wire.ReceiptMessage{Order: order, Receipt: w.tre.Receipt(p, made.Nonce)}))
	return order, created.IMSI
}

func TestContractMakesOneOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := sign(w, "subscriber", wire.TypeMandate, w.mandate(nil))
	for range 2 {
		got, err := ask(w, w.by, "P1.9", wire.PathContract, wire.MandateMessage{Signed: signed})
		if err != nil || got.Order != "sho-a.m1" {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if len(w.orders) != 2 || string(w.orders[0]) != string(w.orders[1]) {
		t.Errorf("%d orders, not the same", len(w.orders))
	}
	again := sign(w, "subscriber", wire.TypeMandate, w.mandate(func(m *wire.Mandate) { m.Bound = w.Now() }))
	_, err := ask(w, w.by, "P1.9", wire.PathContract, wire.MandateMessage{Signed: again})
	wiretest.Refused(t, err, wire.ErrConflict, "")
}

func TestContractIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.Script("subscriber-b", nil)
	for name, c := range map[string]struct {
		by     *wire.Node
		signer string
		change func(*wire.Mandate)
	}{
		"expired":          {w.by, "subscriber", func(m *wire.Mandate) { m.Expires = w.Now().Add(-time.Second) }},
		"for another SHO":  {w.by, "subscriber", func(m *wire.Mandate) { m.NewSHO = "sho-b" }},
		"of somebody else": {other, "subscriber", func(*wire.Mandate) {}},
		"of no subscriber": {w.by, "ro", func(*wire.Mandate) {}},
	} {
		signed := sign(w, c.signer, wire.TypeMandate, w.mandate(c.change))
		_, err := ask(w, c.by, "P1.9", wire.PathContract, wire.MandateMessage{Signed: signed})
		if !errors.Is(err, wire.ErrRefused) {
			t.Errorf("mandate %s: %v", name, err)
		}
	}
	_, err := ask(w, w.by, "P1.9", wire.PathContract, wire.MandateMessage{})
	wiretest.Refused(t, err, wire.ErrRefused, "")
	if len(w.orders) != 0 {
		t.Error("an order was given without a mandate")
	}
	w.refuse = wire.Errorf(wire.CodeConflict, "P1.9", "the machine has an open order")
	signed := sign(w, "subscriber", wire.TypeMandate, w.mandate(nil))
	_, err = ask(w, w.by, "P1.9", wire.PathContract, wire.MandateMessage{Signed: signed})
	wiretest.Refused(t, err, wire.ErrConflict, "P1.9")
	_, err = ask(w, w.ro, "P4.5", wire.PathRegister, wire.RegisterRequest{Order: "sho-a.m1", Machine: machine})
	wiretest.Refused(t, err, wire.ErrRefused, "P4.6")
}

// TestResume: an operator that was cut before the RO's answer gives the order
// again. It forgets one that the RO does not take, and leaves one alone that the
// RO is at work on.
func TestResume(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	resume := func(want error, given bool) {
		t.Helper()
		w.orders, w.refuse = nil, want
		err := w.sho.Resume(t.Context())
		if errors.Is(want, wire.ErrUnavailable) != errors.Is(err, wire.ErrUnavailable) || err != nil && !errors.Is(err, wire.ErrUnavailable) {
			t.Errorf("the RO says %v, Resume %v", want, err)
		}
		if (len(w.orders) > 0) != given {
			t.Errorf("the RO says %v: %d orders, want some: %v", want, len(w.orders), given)
		}
	}
	away := wire.Errorf(wire.CodeUnavailable, "", "nobody is there")
	signed := sign(w, "subscriber", wire.TypeMandate, w.mandate(nil))
	w.refuse = away
	_, err := ask(w, w.by, "P1.9", wire.PathContract, wire.MandateMessage{Signed: signed})
	wiretest.Refused(t, err, wire.ErrUnavailable, "")
	resume(away, true)
	resume(nil, true)
	resume(wire.Errorf(wire.CodeConflict, "P1.9", "the machine has an open order"), true)
	resume(nil, false)

	w = newWorld(t)
	w.provision()
	resume(nil, false)
}

func TestRegistrationIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	order := w.contract()
	register := func(req wire.RegisterRequest) error {
		_, err := ask(w, w.ro, "P4.5", wire.PathRegister, req)
		return err
	}
	able := []string{"tre"}
	wiretest.Refused(t, register(wire.RegisterRequest{Order: "x", Machine: machine, Capabilities: able}), wire.ErrRefused, "P4.6")
	wiretest.Refused(t, register(wire.RegisterRequest{Order: order, Machine: "m2me/2", Capabilities: able}), wire.ErrRefused, "P4.6")
	wiretest.Refused(t, register(wire.RegisterRequest{Order: order, Machine: machine, Capabilities: []string{"uicc"}}), wire.ErrRefused, "P4.6")
	if err := w.sho.Block(t.Context(), machine, "stolen"); err != nil {
		t.Fatal(err)
	}
	wiretest.Refused(t, register(wire.RegisterRequest{Order: order, Machine: machine, Capabilities: able}), wire.ErrRefused, "P4.6")
	w.Pass(2 * time.Hour)
	wiretest.Refused(t, register(wire.RegisterRequest{Order: order, Machine: machine, Capabilities: able}), wire.ErrRefused, "P4.6")
}

func TestSubscriptionNeedsVerdict(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := sign(w, "subscriber", wire.TypeMandate, w.mandate(nil))
	order := must[wire.OrderRequest](w)(ask(w, w.by, "P1.9", wire.PathContract, wire.MandateMessage{Signed: signed})).Order
	_, err := ask(w, w.ro, "P6.1", wire.PathCreate, wire.OrderRequest{Order: order})
	wiretest.Refused(t, err, wire.ErrRefused, "")
	_, err = ask(w, w.ro, "P6.5", wire.PathProtect, wire.ProtectRequest{Order: order})
	wiretest.Refused(t, err, wire.ErrRefused, "")
}

func TestPackageIsMadeForOneProvenTRE(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	order := w.contract()
	created := must[wire.CreateAnswer](w)(ask(w, w.ro, "P6.1", wire.PathCreate, wire.OrderRequest{Order: order}))
	if again := must[wire.CreateAnswer](w)(ask(w, w.ro, "P6.1", wire.PathCreate, wire.OrderRequest{Order: order})); again.IMSI != created.IMSI {
		t.Errorf("two subscriptions: %s and %s", created.IMSI, again.IMSI)
	}
	right := w.protect(order, created)
	foreign := flowtest.NewTRE(t)
	for name, change := range map[string]func(*wire.ProtectRequest){
		"no statement": func(r *wire.ProtectRequest) { r.Platform = nil },
		"statement of an SHO": func(r *wire.ProtectRequest) {
			r.Platform = sign(w, "sho-b", wire.TypePlatform, w.tre.Platform(machine))
		},
		"on another machine":      func(r *wire.ProtectRequest) { r.Platform = w.pva.Supply(w.tre.Platform("m2me/2")) },
		"no such slot":            func(r *wire.ProtectRequest) { r.Slot = 7 },
		"another epoch":           func(r *wire.ProtectRequest) { r.Epoch = 2 },
		"a proof of another TRE":  func(r *wire.ProtectRequest) { r.Proof = foreign.Proof(1, created.Nonce) },
		"a proof for another":     func(r *wire.ProtectRequest) { r.Proof = w.tre.Proof(2, created.Nonce) },
		"an old proof":            func(r *wire.ProtectRequest) { r.Proof = w.tre.Proof(1, make([]byte, 32)) },
		"no proof":                func(r *wire.ProtectRequest) { r.Proof = nil },
		"the provisional's place": func(r *wire.ProtectRequest) { r.Slot, r.Proof = 0, w.tre.Proof(0, created.Nonce) },
	} {
		req := right
		change(&req)
		if _, err := ask(w, w.ro, "P6.5", wire.PathProtect, req); !errors.Is(err, wire.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	first := must[wire.PackageMessage](w)(ask(w, w.ro, "P6.5", wire.PathProtect, right))
	again := must[wire.PackageMessage](w)(ask(w, w.ro, "P6.5", wire.PathProtect, right))
	if string(first.Package) != string(again.Package) {
		t.Error("two packages for one place")
	}
	right.Sequence++
	other := must[wire.PackageMessage](w)(ask(w, w.ro, "P6.5", wire.PathProtect, right))
	p, err := mcim.ParsePackage(other.Package)
	if err != nil || p.Header.Sequence != 2 || p.Header.Issuer != "sho-a" {
		t.Errorf("%+v, %v", p.Header, err)
	}
}

func TestServiceFollowsState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	attach := func(imsi string) error {
		_, err := ask(w, w.vno, "P7.2", wire.PathVectors, wire.VectorRequest{Identity: imsi})
		return err
	}
	attached := func(imsi, machine string) error {
		_, err := ask(w, w.vno, "P7.3", wire.PathAttached, wire.AttachedNotice{Identity: imsi, Machine: machine})
		return err
	}
	wiretest.Refused(t, attach("001010000000009"), wire.ErrRefused, "")
	order := w.contract()
	created := must[wire.CreateAnswer](w)(ask(w, w.ro, "P6.1", wire.PathCreate, wire.OrderRequest{Order: order}))
	wiretest.Refused(t, attach(created.IMSI), wire.ErrRefused, "")
	made := must[wire.PackageMessage](w)(ask(w, w.ro, "P6.5", wire.PathProtect, w.protect(order, created)))
	p, err := mcim.ParsePackage(made.Package)
	if err != nil {
		t.Fatal(err)
	}
	for name, receipt := range map[string][]byte{
		"none": nil, "of another TRE": flowtest.NewTRE(t).Receipt(p, made.Nonce), "for another nonce": w.tre.Receipt(p, make([]byte, 32)),
	} {
		_, err := ask(w, w.ro, "P6.11", wire.PathResult, wire.ReceiptMessage{Order: order, Receipt: receipt})
		if err == nil {
			t.Errorf("receipt %s was taken", name)
		}
	}
	wiretest.Refused(t, attach(created.IMSI), wire.ErrRefused, "")
	must[wire.Empty](w)(ask(w, w.ro, "P6.11", wire.PathResult, wire.ReceiptMessage{Order: order, Receipt: w.tre.Receipt(p, made.Nonce)}))
	if err := attach(created.IMSI); err != nil {
		t.Error(err)
	}
	live := func() bool {
		return must[wire.LiveAnswer](w)(ask(w, w.ro, "P7.4", wire.PathLive, wire.OrderRequest{Order: order})).Live
	}
	if live() {
		t.Error("live before it was seen")
	}
	wiretest.Refused(t, attached(created.IMSI, "m2me/2"), wire.ErrRefused, "P7.3")
	if err := attached(created.IMSI, machine); err != nil || !live() {
		t.Errorf("not live: %v", err)
	}
}

func TestLeaving(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, imsi := w.provision()
	leave := func(subscriber string, change func(*wire.Mandate)) (wire.LeaveAnswer, error) {
		m := w.mandate(func(m *wire.Mandate) { m.ID, m.OldSHO, m.OldIMSI, m.NewSHO = "m2", "sho-a", imsi, "sho-b" })
		if change != nil {
			change(&m)
		}
		order := wire.Order{ID: wire.OrderID(m), Mandate: sign(w, subscriber, wire.TypeMandate, m)}
		return ask(w, w.ro, "P8a.3", wire.PathLeave, wire.OrderMessage{Signed: sign(w, "sho-b", wire.TypeOrder, order)})
	}
	wake := func() error {
		_, err := ask(w, w.ro, "P8a.5", wire.PathWakeSHO, wire.WakeRequest{IMSI: imsi})
		return err
	}
	end := func(order string, proof []byte) error {
		_, err := ask(w, w.ro, "P8a.14", wire.PathClose, wire.CloseRequest{Order: order, IMSI: imsi, Nonce: make([]byte, 32), Proof: proof})
		return err
	}
	wiretest.Refused(t, wake(), wire.ErrRefused, "")
	_, err := leave("subscriber-b", nil)
	wiretest.Refused(t, err, wire.ErrRefused, "P8a.4")
	_, err = leave("subscriber", func(m *wire.Mandate) { m.OldIMSI = "001010000000009" })
	wiretest.Refused(t, err, wire.ErrRefused, "P8a.4")
	_, err = leave("subscriber", func(m *wire.Mandate) { m.Machine = "m2me/2" })
	wiretest.Refused(t, err, wire.ErrRefused, "P8a.4")
	_, err = leave("subscriber", func(m *wire.Mandate) { m.Expires = w.Now().Add(-1) })
	wiretest.Refused(t, err, wire.ErrRefused, "P8a.4")
	for range 2 {
		if answer, err := leave("subscriber", nil); err != nil || len(answer.Contract) != 0 {
			t.Fatalf("%+v, %v", answer, err)
		}
	}
	if err := wake(); err != nil || len(w.woken) != 1 || w.woken[0] != imsi {
		t.Errorf("woken %v, %v", w.woken, err)
	}
	nonce := make([]byte, 32)
	wiretest.Refused(t, end("sho-b.other", w.tre.Proof(1, nonce)), wire.ErrRefused, "")
	wiretest.Refused(t, end("sho-b.m2", nil), wire.ErrRefused, "")
	wiretest.Refused(t, end("sho-b.m2", w.tre.Proof(1, nonce)), wire.ErrRefused, "")
	w.tre.Epochs[1]++
	for range 2 {
		if err := end("sho-b.m2", w.tre.Proof(1, nonce)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.sho.Keys(t.Context(), imsi); !errors.Is(err, auc.ErrUnknown) {
		t.Errorf("keys of a closed subscription: %v", err)
	}
	_, err = ask(w, w.vno, "P7.2", wire.PathVectors, wire.VectorRequest{Identity: imsi})
	wiretest.Refused(t, err, wire.ErrRefused, "")
}

func TestSubscriberSeesItsOwnSubscription(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	order, imsi := w.provision()
	status := func(by *wire.Node, placement wire.Placement) (wire.StatusAnswer, error) {
		return ask(w, by, "", wire.PathStatus, wire.StatusRequest{Machine: machine, Placement: placement})
	}
	if got, err := status(w.by, wire.InTRE); err != nil || got != (wire.StatusAnswer{Order: order, IMSI: imsi, State: "active"}) {
		t.Errorf("%+v, %v", got, err)
	}
	_, err := status(w.by, wire.InUICC)
	wiretest.Refused(t, err, wire.ErrNotFound, "")
	_, err = status(w.Script("subscriber-b", nil), wire.InTRE)
	wiretest.Refused(t, err, wire.ErrNotFound, "")
}

func TestImportTakesOwnIMSIsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	keys, err := auc.New(w.store, w.ro.Rand).NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	put := func(imsi string) error {
		return w.sho.Import(t.Context(), sho.Card{IMSI: imsi, ICCID: "8900101000000000018", Machine: machine, Subscriber: "subscriber", Keys: keys})
	}
	for _, imsi := range []string{"", "00101", "001020000000001", "0010100000000012"} {
		if err := put(imsi); err == nil {
			t.Errorf("%q was taken", imsi)
		}
	}
	if err := put("001010000000001"); err != nil {
		t.Error(err)
	}
	if err := put("001010000000001"); !errors.Is(err, store.ErrExists) {
		t.Errorf("twice: %v", err)
	}
}
