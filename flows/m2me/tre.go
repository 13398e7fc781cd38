package m2me

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"mcim/flows/store"
	"mcim/flows/wire"
	"mcim/tpm/mcim"
	"mcim/tpm/policy"
)

// delivery is what the machine keeps of an order whose package it has taken.
type delivery struct {
	Slot      int            `cbor:"slot"`
	Placement wire.Placement `cbor:"placement"`
	Package   []byte         `cbor:"package"` // digest
	Card      progress       `cbor:"card"`
}

// progress is how far the UICC has what was delivered for it.
type progress string

const (
	untouched progress = ""
	begun     progress = "begun"   // ADM1 is to be verified
	writing   progress = "writing" // the card has taken ADM1
	filled    progress = "filled"
)

// deliveries is by order.
const deliveries store.Bucket[delivery] = "delivery"

// delivered is what an order has brought.
func (m *Machine) delivered(ctx context.Context, order string) (delivery, error) {
	d, err := deliveries.Get(ctx, m.store, order)
	if errors.Is(err, store.ErrNotFound) {
		return d, wire.Errorf(wire.CodeNotFound, "", "no package was delivered for the order %s", order)
	}
	return d, err
}

// holds says whether the package of a delivery is still in its slot.
func (m *Machine) holds(d delivery) (bool, error) {
	slots, err := m.mcims.Slots()
	return err == nil && bytes.Equal(slots[d.Slot].Digest[:], d.Package), err
}

// mustHold refuses a delivery whose package is not in its slot any more.
func (m *Machine) mustHold(d delivery) error {
	held, err := m.holds(d)
	if err == nil && !held {
		err = wire.Refuse("", "slot %d of the TRE does not have the package of that order any more", d.Slot)
	}
	return err
}

// handle registers what the RO and the visited network may ask of the machine.
func (m *Machine) handle() {
	s, ro, vno := m.node.Server, []string{m.ro}, []string{m.config.VNO}
	wire.PathWake.Handle(s, vno, m.wake)
	wire.PathQuote.Handle(s, ro, m.quote)
	wire.PathState.Handle(s, ro, m.state)
	wire.PathDeliver.Handle(s, ro, m.deliver)
	wire.PathActivate.Handle(s, ro, m.activate)
	wire.PathReplace.Handle(s, ro, m.replace)
	wire.PathDelete.Handle(s, ro, m.erase)
}

// wake answers the call that came over the old operator's connection: the
// machine tells the RO where it is (P8a.5, P8c.2).
func (m *Machine) wake(ctx context.Context, _ wire.Peer, req wire.WakeRequest) (wire.Empty, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if req.IMSI != m.attached {
		return wire.Empty{}, wire.Errorf(wire.CodeNotFound, "", "the machine is not attached by that identity")
	}
	_, err := m.contact(ctx)
	return wire.Empty{}, err
}

// state tells the DPF what a package has to fit (P6.3): a slot that is not in
// use, its epoch, proven over the SHO's nonce, and the sequence number that was
// used last.
func (m *Machine) state(_ context.Context, _ wire.Peer, req wire.StateRequest) (wire.StateAnswer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	slots, err := m.mcims.Slots()
	if err != nil {
		return wire.StateAnswer{}, err
	}
	free := slices.IndexFunc(slots[:], func(s mcim.Info) bool {
		return s.Slot != mcim.PCID && s.State != mcim.Active && s.State != mcim.Inactive
	})
	if free < 0 {
		return wire.StateAnswer{}, wire.Refuse("P6.3", "no slot of the TRE is free: delete an MCIM first")
	}
	target, err := m.mcims.Target(free)
	if err != nil {
		return wire.StateAnswer{}, err
	}
	answer := wire.StateAnswer{Slot: free, Epoch: target.Epoch, Sequence: slots[free].Sequence}
	answer.Proof, err = m.proof(free, req.Nonce)
	return answer, err
}

// proof is the proven count of a slot's epoch counter.
func (m *Machine) proof(slot int, nonce []byte) ([]byte, error) {
	proof, err := m.mcims.ProveEpoch(slot, nonce)
	if err != nil {
		return nil, err
	}
	return wire.Marshal(proof)
}

// deliver takes a package into the TRE (P6.7 to P6.10). The machine outside of
// the TRE sees K in no form but wrapped.
func (m *Machine) deliver(ctx context.Context, _ wire.Peer, req wire.PackageMessage) (wire.ReceiptMessage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	tre := m.role
	var receipt *mcim.Receipt
	var answer wire.ReceiptMessage
	steps := []struct {
		name, text string
		do         func(context.Context) error
	}{
		{"P6.7", "package into the TRE", func(context.Context) error { return nil }},
		{"P6.8", "TRE checks signature, authority, recipient, freshness, version, policy, space, platform", func(ctx context.Context) (err error) {
			if err := m.trust(req.Issuer); err != nil {
				return err
			}
			if err := m.expected(ctx, req); err != nil {
				return err
			}
			m.point(ctx, "install intent")
			receipt, err = m.mcims.Install(req.Package, m.node.Now(), req.Nonce)
			m.point(ctx, "install outcome")
			return refusal(err)
		}},
		{"P6.9", "TRE has it INSTALLED, not active", func(ctx context.Context) error { return m.note(ctx, req) }},
		{"P6.10", "receipt signed by the TRE", func(context.Context) (err error) {
			answer.Order = req.Order
			answer.Receipt, err = wire.Marshal(receipt)
			return err
		}},
	}
	for _, s := range steps {
		if err := wire.Step(ctx, s.name, tre, tre, s.text, s.do); err != nil {
			return answer, err
		}
	}
	return answer, nil
}

// refusal makes what the TRE does not take a refusal that crosses the wire.
func refusal(err error) error {
	var rejected *mcim.RejectError
	if errors.As(err, &rejected) || errors.Is(err, mcim.ErrImport) || errors.Is(err, mcim.ErrBody) {
		return wire.Refuse("", "%w", err)
	}
	return err
}

// expected refuses a package of another order than the one that it comes with, and
// another one than that with which the UICC was begun. What is none at all the TRE
// refuses.
func (m *Machine) expected(ctx context.Context, req wire.PackageMessage) error {
	p, err := mcim.ParsePackage(req.Package)
	if err != nil {
		return nil
	}
	if p.Header.ID != req.Order {
		return wire.Refuse("", "the package is of another order than %s", req.Order)
	}
	known, err := deliveries.Get(ctx, m.store, req.Order)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	digest := p.Digest()
	if err == nil && known.Card != untouched && !bytes.Equal(known.Package, digest[:]) {
		err = wire.Refuse("", "the UICC has got another package of the order %s", req.Order)
	}
	return err
}

// note keeps which slot the order's package is in: that of the slot is the one that
// counts, whatever was noted before.
func (m *Machine) note(ctx context.Context, req wire.PackageMessage) error {
	p, err := mcim.ParsePackage(req.Package)
	if err != nil {
		return err
	}
	slots, err := m.mcims.Slots()
	if err != nil {
		return err
	}
	slot := slots[p.Header.Slot]
	known, err := deliveries.Get(ctx, m.store, req.Order)
	if err == nil && known.Slot == slot.Slot && bytes.Equal(known.Package, slot.Digest[:]) {
		return nil // it is delivered again
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if slot.State != mcim.Installed {
		return fmt.Errorf("%w: slot %d is %s after the installation", mcim.ErrState, slot.Slot, slot.State)
	}
	d := delivery{Slot: slot.Slot, Placement: wire.InTRE, Package: slot.Digest[:]}
	if slot.Placement == mcim.InUICC {
		d.Placement = wire.InUICC
	}
	return deliveries.Put(ctx, m.store, req.Order, d)
}

// activate makes the delivered MCIM the active one and attaches by it (P6.12 and
// P7.1 to P7.3, P8a.12, P8c.9).
func (m *Machine) activate(ctx context.Context, _ wire.Peer, req wire.OrderRequest) (wire.Empty, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.delivered(ctx, req.Order)
	if err != nil {
		return wire.Empty{}, err
	}
	if d.Placement == wire.InUICC {
		return wire.Empty{}, unapproved("", m.activateUICC(ctx, d))
	}
	if err := m.mustHold(d); err != nil {
		return wire.Empty{}, err
	}
	err = wire.Step(ctx, "P7.1", m.role, m.role, "MCIM becomes ACTIVE, the context of before is left", func(ctx context.Context) error {
		m.point(ctx, "activate intent")
		defer m.point(ctx, "activate outcome")
		return m.mcims.Activate(d.Slot)
	})
	if err != nil {
		return wire.Empty{}, err
	}
	return wire.Empty{}, unapproved("", m.attach(ctx, operational, inTRE{m.mcims, d.Slot}))
}

// activateUICC resets the card and attaches by it: the AKA with the new key is
// the proof that the change arrived. From then on the subscription is in the card
// alone, and the slot that it came through is free again.
func (m *Machine) activateUICC(ctx context.Context, d delivery) error {
	switch {
	case m.uicc == nil:
		return errNoUICC()
	case d.Card != filled:
		return wire.Refuse("", "the UICC does not have the subscription of that order yet")
	}
	err := wire.Step(ctx, "P7.1", m.role, m.role, "UICC is reset, the context of before is left", func(context.Context) error {
		m.uicc.open = false
		return nil
	})
	if err != nil {
		return err
	}
	if err := m.attach(ctx, operational, m.uicc); err != nil {
		return err
	}
	if err := m.switchToUICC(ctx); err != nil {
		return err
	}
	if held, err := m.holds(d); err != nil || !held { // not held: forgotten before
		return err
	}
	m.point(ctx, "forget intent")
	defer m.point(ctx, "forget outcome")
	_, err = m.mcims.Erase(d.Slot, nil)
	return err
}

// erase deletes what a slot has in the epoch of the request: an MCIM or the
// provisional identity (P7.5, P8a.13). The proof is the epoch counter, certified.
// A slot that has moved on since is left alone: what was in it is gone, and what
// is in it now is not meant.
func (m *Machine) erase(ctx context.Context, _ wire.Peer, req wire.DeleteRequest) (wire.ProofMessage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var answer wire.ProofMessage
	if req.Slot < 0 || req.Slot >= mcim.SlotCount {
		return answer, wire.Refuse("", "the TRE has no slot %d", req.Slot)
	}
	target, err := m.mcims.Target(req.Slot)
	if err != nil {
		return answer, err
	}
	if target.Epoch > req.Epoch {
		answer.Proof, err = m.proof(req.Slot, req.Nonce)
		return answer, err
	}
	if err := m.mayErase(req.Slot); err != nil {
		return answer, err
	}
	m.point(ctx, "erase intent")
	proof, err := m.mcims.Erase(req.Slot, req.Nonce)
	m.point(ctx, "erase outcome")
	if err != nil {
		return answer, err
	}
	answer.Proof, err = wire.Marshal(proof)
	return answer, err
}

// mayErase refuses to erase what the machine attaches by. What the TPM does not
// release any more may always go.
func (m *Machine) mayErase(slot int) error {
	slots, err := m.mcims.Slots()
	switch {
	case errors.Is(err, policy.ErrRefused):
		return nil
	case err != nil:
		return err
	case slot == mcim.PCID && m.restricted:
		return wire.Refuse("", "the machine has no other way to a network than its provisional identity")
	case slot != mcim.PCID && slots[slot].State == mcim.Active:
		return wire.Refuse("", "slot %d has the active MCIM: switch to another one first", slot)
	}
	return nil
}
