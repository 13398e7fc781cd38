package ro

import (
	"context"
	"errors"
	"sync"

	"mcim/flows/store"
	"mcim/flows/wire"
)

// dpf is the download and provisioning function: it speaks to the TRE over one
// session per order, gets the machine validated, has the home operator protect
// the MCIM, and delivers it.
type dpf struct {
	node     *wire.Node
	vno, pva string
	carrier  func(machine string, p wire.PackageMessage) wire.PackageMessage

	mu       sync.Mutex
	sessions map[string]*wire.Session // by order
}

// platforms are the suppliers' statements on the machines, by machine: what a
// proof of erasure is checked by.
const platforms store.Bucket[wire.Signed[wire.Platform]] = "dpf-platform"

// session is the TLS session of an order with its machine, through the VNO's
// gateway; it is opened where there is none. An order asks for it in one step
// at a time.
func (d *dpf) session(ctx context.Context, order string, contact wire.ContactRequest) (*wire.Session, error) {
	if s := d.kept(order); s != nil {
		return s, nil
	}
	if contact.Address == "" {
		return nil, wire.Errorf(wire.CodeUnavailable, "", "the machine has not said where it is reached")
	}
	gateway, err := d.node.Directory().Address(d.vno)
	if err != nil {
		return nil, err
	}
	bearer := wire.NewBearer(d.node.Identity, gateway, d.vno, contact.Identity, wire.ClientOptions{})
	s, err := wire.Dial(ctx, d.node.Identity, contact.Address, contact.Machine, wire.ClientOptions{Dial: bearer.Dial})
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sessions[order] = s
	return s, nil
}

// kept is the session that an order has; nil where it has none.
func (d *dpf) kept(order string) *wire.Session {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sessions[order]
}

// drop ends the session of an order.
func (d *dpf) drop(order string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.sessions[order]; s != nil {
		// What its end may tell helps nobody: the session is given up.
		_ = s.Close()
		delete(d.sessions, order)
	}
}

func (d *dpf) closeAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for order, s := range d.sessions {
		_ = s.Close()
		delete(d.sessions, order)
	}
}

// told is what the TRE answered, with the exporter of the TLS session over which
// it did.
type told[Resp any] struct {
	answer   Resp
	exporter []byte
}

// tellOver asks the TRE over the order's session. A session that broke is given
// up, and another one opened, within the bounds of the operator's Backoff.
func tellOver[Req, Resp any](ctx context.Context, w *work, r wire.Route[Req, Resp], req Req) (told[Resp], error) {
	return wire.Retry(ctx, w.ro.config.Backoff, func(ctx context.Context) (told[Resp], error) {
		s, err := w.session(ctx)
		if err != nil {
			return told[Resp]{}, err
		}
		answer, err := r.Call(ctx, s, req)
		if errors.Is(err, wire.ErrUnavailable) {
			w.ro.dpf.drop(w.Order)
		}
		return told[Resp]{answer, s.Exporter()}, err
	})
}

// tell is tellOver for who does not care which session it was.
func tell[Req, Resp any](ctx context.Context, w *work, r wire.Route[Req, Resp], req Req) (Resp, error) {
	t, err := tellOver(ctx, w, r, req)
	return t.answer, err
}

// validate has the TRE's platform validated for the home operator: P5c, within
// P4.7, P8a.8 or P8c.5. The verdict is signed; the RO only carries it.
func (w *work) validate(ctx context.Context) (verdict wire.Signed[wire.Verdict], err error) {
	v, err := wire.Ask(ctx, w.node.Contacts, w.Mandate.NewSHO, wire.PathValidate, wire.OrderRequest{Order: w.Order})
	if err != nil {
		return nil, err
	}
	appraise := wire.AppraiseRequest{Validation: v.Validation}
	err = wire.Step(ctx, "P5c.2", w.node.Role, w.Mandate.Machine, "nonce to the TRE", func(ctx context.Context) error {
		quote, err := tellOver(ctx, w, wire.PathQuote, wire.QuoteRequest{Order: w.Order, Nonce: v.Nonce})
		appraise.Evidence, appraise.Exporter = quote.answer.Evidence, quote.exporter
		return err
	})
	if err != nil {
		return nil, err
	}
	err = wire.Step(ctx, "P5c.5", w.node.Role, w.ro.dpf.pva, "quote, event log, and the TLS session as the RO sees it", func(ctx context.Context) error {
		answer, err := wire.Ask(ctx, w.node.Contacts, w.ro.dpf.pva, wire.PathAppraise, appraise)
		verdict = answer.Signed
		return err
	})
	return verdict, err
}

// accept shows the verdict to the home operator (P4.8).
func (w *work) accept(ctx context.Context, verdict wire.Signed[wire.Verdict]) error {
	if err := w.record(ctx, wire.TypeVerdict, verdict); err != nil {
		return err
	}
	_, err := wire.Ask(ctx, w.node.Contacts, w.Mandate.NewSHO, wire.PathAccept, wire.AcceptRequest{Order: w.Order, Verdict: verdict})
	return err
}

// download is a package with what the RO has to know of it.
type download struct {
	Package wire.PackageMessage `cbor:"package"`
	IMSI    string              `cbor:"imsi"`
	Slot    int                 `cbor:"slot"`
	Epoch   uint64              `cbor:"epoch"` // of the slot
}

// prepare runs P6.1 to P6.5: subscription, TRE, header, package.
func (w *work) prepare(ctx context.Context) (d download, err error) {
	sho, own := w.Mandate.NewSHO, w.node.Role
	var created wire.CreateAnswer
	err = wire.Step(ctx, "P6.1", own, sho, "create the subscription, pending", func(ctx context.Context) error {
		created, err = wire.Ask(ctx, w.node.Contacts, sho, wire.PathCreate, wire.OrderRequest{Order: w.Order})
		return err
	})
	if err != nil {
		return d, err
	}
	var header wire.ProtectRequest
	err = wire.Step(ctx, "P6.3", own, w.Mandate.Machine, "certified keys of the TRE, free slot and epoch", func(ctx context.Context) error {
		header, err = w.describe(ctx, created.Nonce)
		return err
	})
	if err != nil {
		return d, err
	}
	err = wire.Step(ctx, "P6.4", own, own, "DPF makes the header: recipient, slot, epoch, sequence", func(context.Context) error {
		header.Order = w.Order
		header.Sequence++
		return nil
	})
	if err != nil {
		return d, err
	}
	d.IMSI, d.Slot, d.Epoch = created.IMSI, header.Slot, header.Epoch
	err = wire.Step(ctx, "P6.5", own, sho, "protect it for that TRE alone, and sign", func(ctx context.Context) error {
		d.Package, err = wire.Ask(ctx, w.node.Contacts, sho, wire.PathProtect, header)
		if err != nil {
			return err
		}
		return w.record(ctx, "package", d.Package.Package)
	})
	return d, err
}

// describe gets what the header needs: the supplier's statement from the PVA, the
// state from the TRE. Sequence is the highest that the slot has seen.
func (w *work) describe(ctx context.Context, nonce []byte) (header wire.ProtectRequest, err error) {
	platform, err := wire.Ask(ctx, w.node.Contacts, w.ro.dpf.pva, wire.PathRecord, wire.MachineRequest{Machine: w.Mandate.Machine})
	if err != nil {
		return header, err
	}
	if err := w.know(ctx, platform.Signed); err != nil {
		return header, err
	}
	state, err := tell(ctx, w, wire.PathState, wire.StateRequest{Placement: w.Mandate.Placement, Nonce: nonce})
	if err != nil {
		return header, err
	}
	return wire.ProtectRequest{
		Platform: platform.Signed, Slot: state.Slot, Epoch: state.Epoch, Proof: state.Proof, Sequence: state.Sequence,
	}, nil
}

// deliver brings the package to the TRE and its receipt back: P6.6, in which the
// TRE does P6.7 to P6.10.
func (w *work) deliver(ctx context.Context, d download) (receipt []byte, err error) {
	p := d.Package
	if carrier := w.ro.dpf.carrier; carrier != nil {
		p = carrier(w.Mandate.Machine, p)
	}
	answer, err := tell(ctx, w, wire.PathDeliver, p)
	if err != nil {
		return nil, err
	}
	return answer.Receipt, w.record(ctx, "receipt", answer.Receipt)
}

// report brings the TRE's receipt to the home operator (P6.11).
func (w *work) report(ctx context.Context, receipt []byte) error {
	_, err := wire.Ask(ctx, w.node.Contacts, w.Mandate.NewSHO, wire.PathResult, wire.ReceiptMessage{Order: w.Order, Receipt: receipt})
	return err
}

// activate switches the machine to its new MCIM, with which it attaches (P6.12,
// P8a.12, P8c.9).
func (w *work) activate(ctx context.Context) error {
	_, err := tell(ctx, w, wire.PathActivate, wire.OrderRequest{Order: w.Order})
	return err
}

// live makes sure that the home operator has seen the new subscription (P7.4).
func (w *work) live(ctx context.Context) error {
	answer, err := wire.Ask(ctx, w.node.Contacts, w.Mandate.NewSHO, wire.PathLive, wire.OrderRequest{Order: w.Order})
	if err == nil && !answer.Live {
		err = wire.Refuse("", "%s has not seen the new subscription attached", w.Mandate.NewSHO)
	}
	return err
}

// erasure is a TRE's proof that a slot was erased.
type erasure struct {
	Nonce []byte `cbor:"nonce"`
	Proof []byte `cbor:"proof"`
}

// erase has the TRE erase a slot that was in epoch before (P7.5, P8a.13), and
// checks its proof. Of the provisional identity the operator knows the epoch from
// the supplier, which is also the least that any slot can be in.
func (w *work) erase(ctx context.Context, slot int, before uint64) (e erasure, err error) {
	p, err := w.known(ctx)
	if err != nil {
		return e, err
	}
	before = max(before, p.Slots[slot].Epoch)
	if e.Nonce, err = w.node.Bytes(32); err != nil {
		return e, err
	}
	answer, err := tell(ctx, w, wire.PathDelete, wire.DeleteRequest{Order: w.Order, Slot: slot, Epoch: before, Nonce: e.Nonce})
	if err != nil {
		return e, err
	}
	e.Proof = answer.Proof
	if err := proven(p, slot, before, e); err != nil {
		return e, err
	}
	return e, w.record(ctx, "erasure", e.Proof)
}
