package ro

import (
	"context"

	"mcim/flows/engine"
)

// firstProvisioning is what follows when a machine without a subscription has
// contacted the DRF and an order is there for it: P4.5 to P4.8 with P5c, P6 and
// P7.
func (r *RO) firstProvisioning(w *work) (Result, error) {
	sho, machine := w.Mandate.NewSHO, w.Mandate.Machine

	if err := w.do("P4.5", sho, "registration request with the machine's parameters", w.register); err != nil {
		return Result{}, err
	}
	verdict, err := step(w, "P4.7", sho, "platform validation (P5c)", w.validate)
	if err != nil {
		return Result{}, err
	}
	err = w.do("P4.8", sho, "accept, and release of the MCIM", func(ctx context.Context) error { return w.accept(ctx, verdict) })
	if err != nil {
		return Result{}, err
	}
	d, err := engine.Step(w.run, "P6.1-P6.5", func(ctx context.Context) (download, error) { return w.prepare(w.node.Context(ctx)) })
	if err != nil {
		return Result{}, err
	}
	receipt, err := step(w, "P6.6", machine, "delivery over the session with the TRE", func(ctx context.Context) ([]byte, error) {
		return w.deliver(ctx, d)
	})
	if err != nil {
		return Result{}, err
	}
	err = w.do("P6.11", sho, "result with the TRE's receipt: subscription active", func(ctx context.Context) error { return w.report(ctx, receipt) })
	if err != nil {
		return Result{}, err
	}
	if err := w.do("P6.12", machine, "activate", w.activate); err != nil {
		return Result{}, err
	}
	if err := w.do("P7.4", sho, "is the new subscription live?", w.live); err != nil {
		return Result{}, err
	}
	err = w.do("P7.5", machine, "ICF ends the provisional identity, TRE erases it, CCIF keeps it in quarantine", w.retire)
	return d.result(), err
}

// retire ends the machine's provisional identity on both sides (P7.5).
func (w *work) retire(ctx context.Context) error {
	pcids, err := w.ro.icf.release(ctx, w.Mandate.Machine)
	if err != nil {
		return err
	}
	if _, err := w.erase(ctx, provisional, 0); err != nil {
		return err
	}
	for _, pcid := range pcids {
		if err := w.ro.ccif.retire(ctx, pcid); err != nil {
			return err
		}
	}
	return nil
}

// provisional is the slot of the provisional identity in the TRE.
const provisional = 0
