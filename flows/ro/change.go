package ro

import (
	"context"
	"errors"
	"time"

	"mcim/flows/wire"
)

// changeInTRE changes the home operator of an MCIM in the TRE over the old one's
// connectivity: P8a.3 to P8a.14. P8a.1 and P8a.2 have brought the order.
func (r *RO) changeInTRE(w *work) (Result, error) {
	sho, old, machine := w.Mandate.NewSHO, w.Mandate.OldSHO, w.Mandate.Machine

	held, err := step(w, "P8a.3", old, "mandate verified; the old operator hears of it", w.leave)
	if err != nil {
		return Result{}, err
	}
	if err := w.do("P8a.5", old, "wake the TRE over the old subscription", w.wake); err != nil {
		return Result{}, err
	}
	if err := w.do("P8a.6", machine, "mutual authentication with the TRE", w.meet); err != nil {
		return Result{}, err
	}
	if err := w.do("P8a.7", sho, "registration at the new operator", w.register); err != nil {
		return Result{}, err
	}
	if err := w.do("P8a.8", sho, "platform validation (P5c)", w.validated); err != nil {
		return Result{}, err
	}
	d, err := step(w, "P8a.9", sho, "new subscription in a package for this TRE (P6.1 to P6.5)", w.prepare)
	if err != nil {
		return Result{}, err
	}
	receipt, err := step(w, "P8a.10", machine, "delivery (P6.6 to P6.10)", w.delivery(d))
	if err != nil {
		return Result{}, err
	}
	err = w.do("P8a.11", sho, "new MCIM INSTALLED, old one still ACTIVE: receipt", func(ctx context.Context) error { return w.report(ctx, receipt) })
	if err != nil {
		return Result{}, err
	}
	if err := w.do("P8a.12", machine, "switch: old INACTIVE, new ACTIVE, attach", w.activate); err != nil {
		return Result{}, err
	}
	erased, err := step(w, "P8a.13", machine, "new one lives: old MCIM DELETED, with proof", func(ctx context.Context) (erasure, error) {
		if err := w.live(ctx); err != nil {
			return erasure{}, err
		}
		return w.erase(ctx, held.Slot, held.Epoch)
	})
	if err != nil {
		return Result{}, err
	}
	err = w.do("P8a.14", old, "close the old subscription; all parties record", func(ctx context.Context) error { return w.close(ctx, erased) })
	return d.result(), err
}

// changeInUICC replaces the subscription in the machine's UICC through its TRE:
// P8c.1 to P8c.9.
func (r *RO) changeInUICC(w *work) (Result, error) {
	sho, old, machine := w.Mandate.NewSHO, w.Mandate.OldSHO, w.Mandate.Machine

	held, err := step(w, "P8c.1", old, "the RO learns the old IMSI from the order", w.leave)
	if err != nil {
		return Result{}, err
	}
	if err := w.do("P8c.2", old, "wake the TRE over the old subscription", w.wake); err != nil {
		return Result{}, err
	}
	if err := w.do("P8c.3", machine, "session with the TRE", w.meet); err != nil {
		return Result{}, err
	}
	if err := w.do("P8c.4", sho, "registration at the new operator", w.register); err != nil {
		return Result{}, err
	}
	if err := w.do("P8c.5", sho, "platform validation (P5c)", w.validated); err != nil {
		return Result{}, err
	}
	d, err := step(w, "P8c.6", sho, "new IMSI and keys in a package for this TRE (P6.1 to P6.5)", w.prepare)
	if err != nil {
		return Result{}, err
	}
	// The operator has the TRE's word before the card is touched: from the first
	// write on the machine may have to attach by the new subscription.
	err = w.do("P8c.7", machine, "delivery to the TRE (P6.6 to P6.10), its receipt to the operator", func(ctx context.Context) error {
		receipt, err := w.delivery(d)(ctx)
		if err != nil {
			return err
		}
		return w.report(ctx, receipt)
	})
	if err != nil {
		return Result{}, err
	}
	if err := w.do("P8c.8", machine, "replace IMSI and keys in the UICC", w.insist("P8c.8", w.replace)); err != nil {
		return Result{}, err
	}
	err = w.do("P8c.9", machine, "reset, attach with the new IMSI, close the old subscription", w.insist("P8c.9", func(ctx context.Context) error {
		return w.switchUICC(ctx, held)
	}))
	return d.result(), err
}

// switchUICC ends P8c: the new AKA proves the change, then the old subscription
// goes, with what the TRE still keeps of it.
func (w *work) switchUICC(ctx context.Context, held holding) error {
	if err := w.activate(ctx); err != nil {
		return err
	}
	if err := w.live(ctx); err != nil {
		return err
	}
	var erased erasure
	if held.Slot != provisional { // a UICC that came with its subscription has no slot
		var err error
		if erased, err = w.erase(ctx, held.Slot, held.Epoch); err != nil {
			return err
		}
	}
	return w.close(ctx, erased)
}

// validated is P5c with the home operator's acceptance.
func (w *work) validated(ctx context.Context) error {
	verdict, err := w.validate(ctx)
	if err != nil {
		return err
	}
	return w.accept(ctx, verdict)
}

// delivery is P6.6 within a change.
func (w *work) delivery(d download) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) (receipt []byte, err error) {
		err = wire.Step(ctx, "P6.6", w.node.Role, w.Mandate.Machine, "delivery over the session with the TRE", func(ctx context.Context) error {
			receipt, err = w.deliver(ctx, d)
			return err
		})
		return receipt, err
	}
}

// wake has the old operator wake the machine, which then contacts the DRF (P8a.5,
// P8c.2). Where it does not, the RO tries the machine's last address.
func (w *work) wake(ctx context.Context) error {
	_, err := wire.Ask(ctx, w.node.Contacts, w.Mandate.OldSHO, wire.PathWakeSHO, wire.WakeRequest{IMSI: w.Mandate.OldIMSI})
	if err == nil || errors.Is(err, wire.ErrUnavailable) {
		return err
	}
	return w.objection(ctx, err)
}

// meet opens the session with the machine (P8a.6, P8c.3).
func (w *work) meet(ctx context.Context) error {
	_, err := wire.Retry(ctx, w.ro.config.Backoff, w.session)
	return err
}

// replace has the machine write the delivered subscription into its UICC (P8c.8).
func (w *work) replace(ctx context.Context) error {
	_, err := tell(ctx, w, wire.PathReplace, wire.OrderRequest{Order: w.Order})
	return err
}

// close tells the old operator that the machine is no more its own (P8a.14). Its
// refusal is recorded: it changes nothing.
func (w *work) close(ctx context.Context, e erasure) error {
	_, err := wire.Ask(ctx, w.node.Contacts, w.Mandate.OldSHO, wire.PathClose,
		wire.CloseRequest{Order: w.Order, IMSI: w.Mandate.OldIMSI, Nonce: e.Nonce, Proof: e.Proof})
	if err == nil {
		return nil
	}
	return w.objection(ctx, err)
}

// leave checks the mandate once more and tells the old operator (P8a.3, P8c.1).
// Its no counts only with a contract by which the subscriber is still bound; any
// other objection is recorded, and the change goes on, unless the RO does not know
// by itself that the subscription is the machine's. It returns what the machine
// holds, as far as the RO knows.
func (w *work) leave(ctx context.Context) (holding, error) {
	if _, err := wire.VerifyOrder(w.node.Identity, w.Signed, w.node.Now()); err != nil {
		return holding{}, err
	}
	held, err := w.ro.drf.holds(ctx, w.job)
	if err != nil {
		return holding{}, err
	}
	answer, err := wire.Ask(ctx, w.node.Contacts, w.Mandate.OldSHO, wire.PathLeave, wire.OrderMessage{Signed: w.Signed})
	if err != nil {
		if held.IMSI == "" {
			return holding{}, err
		}
		return held, w.objection(ctx, err)
	}
	if len(answer.Contract) == 0 {
		return held, nil
	}
	return held, w.bound(ctx, answer.Contract)
}

// bound refuses a change while the subscriber is bound by the contract that the
// old operator shows; what proves nothing is an objection.
func (w *work) bound(ctx context.Context, contract wire.Signed[wire.Mandate]) error {
	m, subscriber, err := contract.VerifyFrom(w.node.Identity, wire.KindSubscriber, wire.TypeMandate)
	switch {
	case err != nil:
		return w.objection(ctx, err)
	case subscriber != w.Subscriber || m.Machine != w.Mandate.Machine || m.Placement != w.Mandate.Placement || m.NewSHO != w.Mandate.OldSHO:
		return w.objection(ctx, wire.Refuse("", "the contract that %s shows is another one", w.Mandate.OldSHO))
	case w.node.Now().After(m.Bound):
		return w.objection(ctx, wire.Refuse("", "the contract that %s shows binds nobody any more", w.Mandate.OldSHO))
	}
	return wire.Refuse("P8a.4", "the subscriber is bound to %s until %s", w.Mandate.OldSHO, m.Bound.Format(time.DateOnly))
}

// objection records what the old operator has against a change that goes on.
func (w *work) objection(ctx context.Context, reason error) error {
	return w.record(ctx, "objection", []byte(reason.Error()))
}
