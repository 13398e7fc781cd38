package m2me

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"mcim/apdu/uicc"
	"mcim/card"
	"mcim/flows/store"
	"mcim/flows/wire"
	"mcim/tpm/mcim"
)

// intent is what the journal says before a write to the card.
type intent struct {
	Slot int    `cbor:"slot"`
	File string `cbor:"file"`
}

// replace writes the delivered subscription into the UICC (P8c.8). Each file has
// its intent and outcome in the journal, so that a change that was begun is
// always finished: by the next request, or by finish.
func (m *Machine) replace(ctx context.Context, _ wire.Peer, req wire.OrderRequest) (wire.Empty, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.delivered(ctx, req.Order)
	if err != nil {
		return wire.Empty{}, err
	}
	return wire.Empty{}, unapproved("", m.fill(ctx, req.Order, d))
}

// fill makes the UICC that of the order, if it is not already.
func (m *Machine) fill(ctx context.Context, order string, d delivery) error {
	switch {
	case d.Placement != wire.InUICC:
		return wire.Refuse("", "the order %s is for the TRE, not for a UICC", order)
	case m.uicc == nil:
		return errNoUICC()
	case d.Card == filled:
		return nil
	}
	if err := m.mustHold(d); err != nil {
		return err
	}
	sub, err := m.mcims.CardContent(d.Slot)
	if err != nil {
		return err
	}
	if err := m.uicc.start(ctx); err != nil {
		return m.uicc.lost(err)
	}
	if err := m.progress(ctx, order, &d, cmp.Or(d.Card, begun)); err != nil {
		return err
	}
	if err := m.fillFiles(ctx, order, &d, sub); err != nil {
		return m.uicc.lost(err)
	}
	return m.progress(ctx, order, &d, filled)
}

// progress notes how far the card has the order's subscription.
func (m *Machine) progress(ctx context.Context, order string, d *delivery, p progress) error {
	d.Card = p
	return deliveries.Put(ctx, m.store, order, *d)
}

// fillFiles writes what the card does not have yet.
func (m *Machine) fillFiles(ctx context.Context, order string, d *delivery, sub *mcim.Subscription) error {
	writes, err := m.uicc.writes(content(sub))
	if err != nil {
		return err
	}
	m.point(ctx, "VERIFY ADM1 intent")
	err = m.uicc.verify(ctx, uicc.RefADM1, sealedADM1)
	if errors.Is(err, card.ErrWrongPIN) {
		return fmt.Errorf("%w; nothing was written: correct adm1 in the profile of the card and make the lab anew", err)
	}
	if err != nil {
		return err
	}
	m.point(ctx, "VERIFY ADM1 outcome")
	if err := m.progress(ctx, order, d, writing); err != nil {
		return err
	}
	for _, w := range writes {
		if err := m.write(ctx, order, d.Slot, w); err != nil {
			return err
		}
	}
	return nil
}

// write does one write with its intent before and its outcome after. One that
// was cut is done again: the same bytes once more change nothing, and the guard's
// reading back (for the key file: the AKA of P8c.9) tells that they are there.
func (m *Machine) write(ctx context.Context, order string, slot int, w write) error {
	key := order + "/P8c.8/" + w.name
	again := func(context.Context) (wire.Empty, bool, error) { return wire.Empty{}, false, nil }
	_, err := store.Spend(ctx, m.store, key, intent{slot, w.name}, func(ctx context.Context) (wire.Empty, error) {
		m.point(ctx, "update "+w.name+" intent")
		err := w.do(ctx)
		m.point(ctx, "update "+w.name+" written")
		return wire.Empty{}, err
	}, again)
	if err != nil {
		return fmt.Errorf("%s of the card: %w", w.name, err)
	}
	m.point(ctx, "update "+w.name+" outcome")
	return nil
}

// WroteCard says whether anything may have been written to the UICC.
func (m *Machine) WroteCard(ctx context.Context) (bool, error) {
	orders, err := deliveries.List(ctx, m.store)
	wrote := func(e store.Entry[delivery]) bool { return e.Value.Card == writing || e.Value.Card == filled }
	return slices.ContainsFunc(orders, wrote), err
}

// finish ends a change of the card that was cut: what was written of the new
// subscription makes no sense without the rest (SR-18: either the old one works
// or the new one).
func (m *Machine) finish(ctx context.Context) error {
	orders, err := deliveries.List(ctx, m.store)
	if err != nil {
		return err
	}
	for _, e := range orders {
		if e.Value.Card != begun && e.Value.Card != writing {
			continue
		}
		if err := m.fill(ctx, e.Key, e.Value); err != nil {
			return fmt.Errorf("the change of the UICC that was cut: %w", err)
		}
	}
	return nil
}
