package m2me

import (
	"context"
	"errors"
	"fmt"

	"mcim/apdu/uicc"
	"mcim/flows/store"
	"mcim/flows/wire"
	"mcim/tpm/mcim"
)

// intent is what the journal says before a write to the card.
type intent struct {
	Slot int    `cbor:"slot"`
	File string `cbor:"file"`
}

// replaceFiles writes what the card does not have yet. A subscription of which
// the TRE has forgotten the keys is in the card.
func (m *Machine) replaceFiles(ctx context.Context, order string, d delivery) error {
	if m.uicc == nil {
		return wire.Refuse("", "there is no UICC in the machine")
	}
	sub, err := m.mcims.CardContent(d.Slot)
	if errors.Is(err, mcim.ErrState) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := m.uicc.start(ctx); err != nil {
		return err
	}
	writes, err := m.uicc.writes(sub)
	if err != nil {
		return err
	}
	m.point(ctx, "VERIFY ADM1 intent")
	if err := m.uicc.guard.Verify(ctx, uicc.RefADM1, m.uicc.secrets.adm1); err != nil {
		return err
	}
	m.point(ctx, "VERIFY ADM1 outcome")
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

// finish ends a change of the card that was cut: what was written of the new
// subscription makes no sense without the rest (SR-18: either the old one works
// or the new one).
func (m *Machine) finish(ctx context.Context) error {
	slots, err := m.mcims.Slots()
	if err != nil {
		return err
	}
	orders, err := deliveries.List(ctx, m.store)
	if err != nil {
		return err
	}
	for _, e := range orders {
		slot := slots[e.Value.Slot]
		if e.Value.Placement != wire.InUICC || slot.State != mcim.Installed || slot.PackageID != e.Value.Package {
			continue
		}
		begun, err := m.begun(ctx, e.Key)
		if err != nil {
			return err
		}
		if begun {
			if err := m.replaceFiles(ctx, e.Key, e.Value); err != nil {
				return err
			}
		}
	}
	return nil
}

// begun says whether the card has anything of the order's subscription.
func (m *Machine) begun(ctx context.Context, order string) (bool, error) {
	sub := order + "/P8c.8/key file" // the first write
	_, err := store.Result[wire.Empty](ctx, m.store, sub)
	if err == nil {
		return true, nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return false, err
	}
	pending, err := store.Pending(ctx, m.store)
	for _, key := range pending {
		if key == sub {
			return true, nil
		}
	}
	return false, err
}
