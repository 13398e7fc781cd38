package subscriber

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"mcim/flows/store"
	"mcim/flows/wire"
)

// Config is what a subscriber needs.
type Config struct {
	wire.NodeConfig
	// Store keeps the mandates. Required.
	Store *store.Store
	// Validity of a mandate; 0 is 30 days.
	Validity time.Duration
}

const defaultValidity = 30 * 24 * time.Hour

// Subscriber is a subscriber. Nobody asks it anything: it has no routes.
type Subscriber struct {
	node     *wire.Node
	store    *store.Store
	validity time.Duration
}

// New makes a subscriber.
func New(c Config) *Subscriber {
	if c.Validity == 0 {
		c.Validity = defaultValidity
	}
	return &Subscriber{node: wire.NewNode(c.NodeConfig), store: c.Store, validity: c.Validity}
}

// Close ends the subscriber's connections.
func (s *Subscriber) Close() error { return s.node.Close() }

// first is the mandate for a machine's first provisioning.
type first struct {
	Signed wire.Signed[wire.Mandate] `cbor:"signed"`
	SHO    string                    `cbor:"sho"`
	Order  string                    `cbor:"order"` // empty until the SHO has made one of it
}

const firsts store.Bucket[first] = "first" // by machine

// First contracts sho for a machine that has no subscription yet (P1.9) and
// returns the order's name. bound is until when the subscriber stays; the zero
// time is not at all. Asked again, as after a crash, it gives the same mandate.
func (s *Subscriber) First(ctx context.Context, machine, sho string, bound time.Time) (order string, err error) {
	ctx = s.node.Context(ctx)
	err = wire.Step(ctx, "P1.9", s.node.Role, sho, "contract for "+machine, func(ctx context.Context) error {
		f, err := s.firstMandate(ctx, machine, sho, bound)
		if err != nil {
			return err
		}
		if f.Order, err = s.give(ctx, sho, f.Signed); err != nil {
			return err
		}
		order = f.Order
		return firsts.Put(ctx, s.store, machine, f)
	})
	return order, err
}

// firstMandate is the mandate that was signed before for the same SHO, if it has
// not expired, or a new one.
func (s *Subscriber) firstMandate(ctx context.Context, machine, sho string, bound time.Time) (first, error) {
	f, err := firsts.Get(ctx, s.store, machine)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return f, err
	}
	if err == nil && f.SHO == sho {
		if _, _, err := wire.VerifyMandate(s.node.Identity, f.Signed, s.node.Now()); err == nil {
			return f, nil
		}
	}
	f = first{SHO: sho}
	f.Signed, err = s.Mandate(wire.Mandate{Machine: machine, Placement: wire.InTRE, NewSHO: sho, Bound: bound})
	if err != nil {
		return f, err
	}
	return f, firsts.Put(ctx, s.store, machine, f)
}

// Contracted says whether First has led to an order for the machine, as the
// subscriber's store has it.
func Contracted(ctx context.Context, own *store.Store, machine string) (bool, error) {
	f, err := firsts.Get(ctx, own, machine)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return f.Order != "", err
}

// Change contracts the SHO to for a machine that has a subscription of the SHO
// from in that placement (P8a.1, P8c.1), and returns the order's name.
func (s *Subscriber) Change(ctx context.Context, machine string, placement wire.Placement, from, to string) (order string, err error) {
	m := wire.Mandate{Machine: machine, Placement: placement, OldSHO: from, NewSHO: to}
	change := func(ctx context.Context) error {
		own, err := wire.Ask(ctx, s.node.Contacts, from, wire.PathStatus, wire.StatusRequest{Machine: machine, Placement: placement})
		if err != nil {
			return err
		}
		m.OldIMSI = own.IMSI
		order, err = s.contract(ctx, m)
		return err
	}
	ctx = s.node.Context(ctx)
	if placement == wire.InUICC {
		// The RO tells of P8c.1, when it has learnt the old IMSI from the order.
		err = change(wire.At(ctx, "P8c.1"))
		return order, err
	}
	err = wire.Step(ctx, "P8a.1", s.node.Role, to, "contract: change "+machine+" from "+from, change)
	return order, err
}

// Mandate signs a mandate: m with an id and a validity where it has none.
func (s *Subscriber) Mandate(m wire.Mandate) (wire.Signed[wire.Mandate], error) {
	if m.ID == "" {
		id, err := s.node.Bytes(8)
		if err != nil {
			return nil, err
		}
		m.ID = hex.EncodeToString(id)
	}
	if m.Made.IsZero() {
		m.Made = s.node.Now()
	}
	if m.Expires.IsZero() {
		m.Expires = m.Made.Add(s.validity)
	}
	return wire.SignAs(s.node.Identity, wire.TypeMandate, m)
}

// Contract gives a signed mandate to the SHO, which makes an order of it. The
// same mandate may be given again and makes the same order.
func (s *Subscriber) Contract(ctx context.Context, sho string, signed wire.Signed[wire.Mandate]) (order string, err error) {
	answer, err := wire.Ask(ctx, s.node.Contacts, sho, wire.PathContract, wire.MandateMessage{Signed: signed})
	return answer.Order, err
}

// contract signs a mandate and gives it to the new SHO.
func (s *Subscriber) contract(ctx context.Context, m wire.Mandate) (order string, err error) {
	signed, err := s.Mandate(m)
	if err != nil {
		return "", err
	}
	return s.give(ctx, m.NewSHO, signed)
}

// give gives a mandate to the SHO and keeps it.
func (s *Subscriber) give(ctx context.Context, sho string, signed wire.Signed[wire.Mandate]) (order string, err error) {
	if order, err = s.Contract(ctx, sho, signed); err != nil {
		return "", err
	}
	record := store.Record{At: s.node.Now(), Kind: wire.TypeMandate, Key: order, Message: signed}
	if _, err := store.Append(ctx, s.store, record); err != nil {
		return "", fmt.Errorf("keep the mandate: %w", err)
	}
	return order, nil
}
