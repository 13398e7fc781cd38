package ro

import (
	"bytes"
	"context"
	"errors"

	"mcim/flows/store"
	"mcim/flows/wire"
)

// drf is the discovery and registration function: which machine has which
// subscription, which orders there are, and where machines are reached.
type drf struct {
	node  *wire.Node
	store *store.Store
}

// order is an order as the DRF keeps it.
type order struct {
	Signed     wire.Signed[wire.Order] `cbor:"signed"`
	Mandate    wire.Mandate            `cbor:"mandate"`
	Subscriber string                  `cbor:"subscriber"`
	Over       bool                    `cbor:"over"`
	Failure    *wire.Error             `cbor:"failure"` // why it ended without success
}

// machine is what the DRF knows of a machine.
type machine struct {
	Subscriber string                     `cbor:"subscriber"` // of the last order that succeeded
	Open       string                     `cbor:"open"`       // order that is not over
	Held       map[wire.Placement]holding `cbor:"held"`
	Contact    wire.ContactRequest        `cbor:"contact"` // the last one
}

// holding is a subscription that a machine has.
type holding struct {
	SHO  string `cbor:"sho"`
	IMSI string `cbor:"imsi"`
	Slot int    `cbor:"slot"` // of the TRE
	// Epoch is the one that the slot has with it.
	Epoch uint64 `cbor:"epoch"`
}

const (
	orders   store.Bucket[order]   = "drf-order"   // by order
	machines store.Bucket[machine] = "drf-machine" // by machine
)

// job is the input of an order's procedure.
type job struct {
	Order      string                  `cbor:"order"`
	Signed     wire.Signed[wire.Order] `cbor:"signed"`
	Mandate    wire.Mandate            `cbor:"mandate"`
	Subscriber string                  `cbor:"subscriber"`
}

func (o *order) job(id string) job { return job{id, o.Signed, o.Mandate, o.Subscriber} }

// order takes the order of a home operator (P1.9, P8a.2, P8c.1). A change begins
// at once, a first provisioning when the machine comes.
func (r *RO) order(ctx context.Context, p wire.Peer, req wire.OrderMessage) (wire.Empty, error) {
	o, err := wire.VerifyOrder(r.node.Identity, req.Signed, r.node.Now())
	if err != nil {
		return wire.Empty{}, err
	}
	if p.Role != o.Mandate.NewSHO {
		return wire.Empty{}, wire.Refuse(o.Mandate.OrderStep(), "%s brings the order of %s", p.Role, o.Mandate.NewSHO)
	}
	entry := order{Signed: req.Signed, Mandate: o.Mandate, Subscriber: o.Subscriber}
	if err := r.drf.book(ctx, o.Order, entry); err != nil {
		return wire.Empty{}, wire.AsError(err, o.Mandate.OrderStep())
	}
	if o.Mandate.OldSHO == "" {
		return wire.Empty{}, nil
	}
	return wire.Empty{}, r.begin(ctx, entry.job(o.Order.ID))
}

// book enters an order; the same one again changes nothing.
func (d *drf) book(ctx context.Context, o wire.Order, entry order) error {
	return d.store.Tx(ctx, func(tx *store.Tx) error {
		known, err := orders.Get(ctx, tx, o.ID)
		if err == nil {
			if !bytes.Equal(known.Signed, entry.Signed) {
				return wire.Errorf(wire.CodeConflict, "", "another order with the id %s is known", o.ID)
			}
			return nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		m, err := d.machine(ctx, tx, entry.Mandate.Machine)
		if err != nil {
			return err
		}
		if err := m.takes(entry); err != nil {
			return err
		}
		m.Open = o.ID
		if err := machines.Put(ctx, tx, entry.Mandate.Machine, m); err != nil {
			return err
		}
		record := store.Record{At: d.node.Now(), Kind: wire.TypeOrder, Key: o.ID, Message: entry.Signed}
		if _, err := store.Append(ctx, tx, record); err != nil {
			return err
		}
		return orders.Insert(ctx, tx, o.ID, entry)
	})
}

// machine is what is known of a machine, also when that is nothing.
func (d *drf) machine(ctx context.Context, db store.DB, name string) (machine, error) {
	m, err := machines.Get(ctx, db, name)
	if errors.Is(err, store.ErrNotFound) {
		return machine{}, nil
	}
	return m, err
}

// takes refuses an order that does not fit what the machine has: one order at a
// time, by its own subscriber, for the subscription that it really has.
func (m *machine) takes(o order) error {
	held, has := m.Held[o.Mandate.Placement]
	switch {
	case m.Open != "":
		return wire.Errorf(wire.CodeConflict, "", "%s has the open order %s: wait for its end", o.Mandate.Machine, m.Open)
	case m.Subscriber != "" && m.Subscriber != o.Subscriber:
		return wire.Refuse("", "%s is not the subscriber of %s", o.Subscriber, o.Mandate.Machine)
	case o.Mandate.OldSHO == "" && has:
		return wire.Errorf(wire.CodeConflict, "", "%s has a subscription of %s already: order a change", o.Mandate.Machine, held.SHO)
	case o.Mandate.OldSHO == "":
		return nil
	case has && (held.SHO != o.Mandate.OldSHO || held.IMSI != o.Mandate.OldIMSI):
		return wire.Refuse("", "the mandate leaves a subscription that %s does not have", o.Mandate.Machine)
	case !has && o.Mandate.Placement == wire.InTRE:
		return wire.Refuse("", "%s has no subscription in its TRE", o.Mandate.Machine)
	}
	return nil
}

// contact hears from a machine (P4.1 to P4.4), and begins the first provisioning
// that is ordered for it.
func (r *RO) contact(ctx context.Context, p wire.Peer, req wire.ContactRequest) (wire.ContactAnswer, error) {
	if wire.Procedure(ctx) != "P4" { // it was woken, or is powered on again
		if err := r.drf.met(ctx, p, req); err != nil {
			return wire.ContactAnswer{}, err
		}
		r.patience.heard(p.Role)
		j, err := r.drf.lookUp(ctx, p.Role)
		return wire.ContactAnswer{Order: j.Order}, err
	}
	var j job
	from, own := p.Role, r.node.Role
	err := wire.Step(ctx, "P4.2", from, own, "mutual TLS with the key of the TRE, both certificates checked", func(context.Context) error {
		return samePeer(p, req)
	})
	if err != nil {
		return wire.ContactAnswer{}, err
	}
	err = wire.Step(ctx, "P4.3", from, own, "identity and capabilities", func(ctx context.Context) error {
		return r.drf.met(ctx, p, req)
	})
	if err != nil {
		return wire.ContactAnswer{}, err
	}
	err = wire.Step(ctx, "P4.4", own, own, "DRF looks up the order", func(ctx context.Context) (err error) {
		if j, err = r.drf.lookUp(ctx, p.Role); err == nil && j.Order == "" {
			err = wire.Refuse("", "nothing is ordered for this machine: try later")
		}
		return err
	})
	if err != nil {
		return wire.ContactAnswer{}, err
	}
	return wire.ContactAnswer{Order: j.Order}, r.begin(ctx, j)
}

// samePeer refuses a machine that speaks for another one.
func samePeer(p wire.Peer, req wire.ContactRequest) error {
	if p.Role != req.Machine {
		return wire.Refuse("", "%s speaks for %s", p.Role, req.Machine)
	}
	return nil
}

// met notes where a machine is reached.
func (d *drf) met(ctx context.Context, p wire.Peer, req wire.ContactRequest) error {
	if err := samePeer(p, req); err != nil {
		return err
	}
	return d.store.Tx(ctx, func(tx *store.Tx) error {
		m, err := d.machine(ctx, tx, p.Role)
		if err != nil {
			return err
		}
		m.Contact = req
		return machines.Put(ctx, tx, p.Role, m)
	})
}

// lookUp finds the open order of a machine; a job without a name is none. It says
// nothing of other machines' (failure matrix, P4.4).
func (d *drf) lookUp(ctx context.Context, name string) (job, error) {
	m, err := d.machine(ctx, d.store, name)
	if err != nil {
		return job{}, err
	}
	if m.Open == "" {
		return job{}, nil
	}
	o, err := orders.Get(ctx, d.store, m.Open)
	return o.job(m.Open), err
}

// openChanges are the changes that are not over.
func (d *drf) openChanges(ctx context.Context) ([]job, error) {
	all, err := orders.List(ctx, d.store)
	if err != nil {
		return nil, err
	}
	var open []job
	for _, e := range all {
		if !e.Value.Over && e.Value.Mandate.OldSHO != "" {
			open = append(open, e.Value.job(e.Key))
		}
	}
	return open, nil
}

// ended notes how an order ended, and with success what the machine has now.
func (d *drf) ended(ctx context.Context, j job, result Result, failure error) error {
	return d.store.Tx(ctx, func(tx *store.Tx) error {
		err := orders.Update(ctx, tx, j.Order, func(o *order) error {
			o.Over = true
			if failure != nil {
				o.Failure = wire.AsError(failure, "")
			}
			return nil
		})
		if err != nil {
			return err
		}
		m, err := d.machine(ctx, tx, j.Mandate.Machine)
		if err != nil {
			return err
		}
		if m.Open == j.Order {
			m.Open = ""
		}
		if failure == nil {
			m.Subscriber = j.Subscriber
			if m.Held == nil {
				m.Held = map[wire.Placement]holding{}
			}
			m.Held[j.Mandate.Placement] = holding{SHO: j.Mandate.NewSHO, IMSI: result.IMSI, Slot: result.Slot, Epoch: result.Epoch}
		}
		return machines.Put(ctx, tx, j.Mandate.Machine, m)
	})
}

// holds is what a machine has in a placement before an order.
func (d *drf) holds(ctx context.Context, j job) (holding, error) {
	m, err := d.machine(ctx, d.store, j.Mandate.Machine)
	return m.Held[j.Mandate.Placement], err
}
