package sho

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"mcim/flows/store"
	"mcim/flows/wire"
)

// contract is a mandate that the operator took on, with how far its order is.
type contract struct {
	Mandate    wire.Mandate              `cbor:"mandate"`
	Subscriber string                    `cbor:"subscriber"`
	Signed     wire.Signed[wire.Mandate] `cbor:"signed"`
	Order      wire.Signed[wire.Order]   `cbor:"order"`
	Validation wire.Validation           `cbor:"validation"` // that the PVA has opened last
	Accepted   bool                      `cbor:"accepted"`   // the PVA's verdict was positive
	IMSI       string                    `cbor:"imsi"`       // of the subscription, once created
	Nonce      []byte                    `cbor:"nonce"`      // 32 bytes
	Done       bool                      `cbor:"done"`       // the TRE has signed for it
}

const (
	contracts store.Bucket[contract] = "contract" // by order
	blocked   store.Bucket[string]   = "blocked"  // reason, by machine
)

// Block puts a machine on the black list: it gets no subscription any more.
func (s *SHO) Block(ctx context.Context, machine, reason string) error {
	return blocked.Put(ctx, s.store, machine, reason)
}

// contract takes a subscriber's mandate and orders the subscription from the RO
// (P1.9; P8a.1 and P8a.2; P8c.1).
func (s *SHO) contract(ctx context.Context, p wire.Peer, req wire.MandateMessage) (wire.OrderRequest, error) {
	m, subscriber, err := wire.VerifyMandate(s.node.Identity, req.Signed, s.node.Now())
	if err != nil {
		return wire.OrderRequest{}, err
	}
	switch {
	case subscriber != p.Role:
		return wire.OrderRequest{}, wire.Refuse("", "%s brings the mandate of %s", p.Role, subscriber)
	case m.NewSHO != s.node.Role:
		return wire.OrderRequest{}, wire.Refuse("", "the mandate is for %s, not for %s", m.NewSHO, s.node.Role)
	}
	id := wire.OrderID(m)
	c, err := s.book(ctx, id, contract{Mandate: m, Subscriber: subscriber, Signed: req.Signed})
	if err != nil {
		return wire.OrderRequest{}, err
	}
	return wire.OrderRequest{Order: id}, s.place(ctx, id, c)
}

// place gives a contract's order to the RO. One that the RO does not take is no
// contract.
func (s *SHO) place(ctx context.Context, id string, c contract) error {
	err := s.order(ctx, c.Mandate, c.Order)
	if errors.Is(err, wire.ErrRefused) || errors.Is(err, wire.ErrConflict) {
		return errors.Join(err, contracts.Delete(ctx, s.store, id))
	}
	return err
}

// Resume places the orders again that the RO may not have got because the operator
// was cut: what it has contracted is carried out, and what the RO does not take
// is forgotten. Start comes first.
func (s *SHO) Resume(ctx context.Context) error {
	all, err := contracts.List(ctx, s.store)
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.Value.IMSI != "" {
			continue // the RO has asked for the subscription
		}
		err := s.place(s.node.Context(ctx), e.Key, e.Value)
		if err != nil && !errors.Is(err, wire.ErrRefused) && !errors.Is(err, wire.ErrConflict) {
			return err
		}
	}
	return nil
}

// order gives the order to the RO.
func (s *SHO) order(ctx context.Context, m wire.Mandate, signed wire.Signed[wire.Order]) error {
	give := func(ctx context.Context) error {
		_, err := wire.Ask(ctx, s.node.Contacts, s.config.RO, wire.PathOrder, wire.OrderMessage{Signed: signed})
		return err
	}
	if m.Procedure() != "P8a" {
		return give(ctx)
	}
	return wire.Step(ctx, "P8a.2", s.node.Role, s.config.RO, "change order for "+m.Machine, give)
}

// book enters a new contract with its signed order, or finds the one that the
// same mandate has already made.
func (s *SHO) book(ctx context.Context, id string, c contract) (contract, error) {
	known, err := contracts.Get(ctx, s.store, id)
	if err == nil {
		if !bytes.Equal(known.Signed, c.Signed) {
			return c, wire.Errorf(wire.CodeConflict, "", "another mandate with the id %s is known", c.Mandate.ID)
		}
		return known, nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return c, err
	}
	if err := s.free(ctx, c.Mandate); err != nil {
		return c, err
	}
	if c.Nonce, err = s.node.Bytes(32); err != nil {
		return c, err
	}
	c.Order, err = wire.SignAs(s.node.Identity, wire.TypeOrder, wire.Order{ID: id, Mandate: c.Signed})
	if err != nil {
		return c, err
	}
	return c, s.store.Tx(ctx, func(tx *store.Tx) error {
		if err := s.record(ctx, tx, wire.TypeMandate, id, c.Signed); err != nil {
			return err
		}
		return contracts.Insert(ctx, tx, id, c)
	})
}

// free refuses a machine that has a subscription of this operator in the same
// placement already. A second order while one is open is refused by the RO,
// which knows of all operators' orders.
func (s *SHO) free(ctx context.Context, m wire.Mandate) error {
	all, err := subscriptions.List(ctx, s.store)
	if err != nil {
		return err
	}
	for _, e := range all {
		if sub := e.Value; sub.Machine == m.Machine && sub.Placement == m.Placement && sub.served() {
			return wire.Errorf(wire.CodeConflict, "", "%s has a subscription of %s already", m.Machine, s.node.Role)
		}
	}
	return nil
}

// ordered finds the contract of an order.
func (s *SHO) ordered(ctx context.Context, order string) (contract, error) {
	c, err := contracts.Get(ctx, s.store, order)
	return c, missing(err, "%s has no contract for the order %s", s.node.Role, order)
}

// register checks contract and black list (P4.5 and P4.6, P8a.7, P8c.4).
func (s *SHO) register(ctx context.Context, _ wire.Peer, req wire.RegisterRequest) (wire.Empty, error) {
	return wire.Empty{}, s.step(ctx, "P4.6", "contract and black list", func(ctx context.Context) error {
		c, err := s.ordered(ctx, req.Order)
		if err != nil {
			return err
		}
		reason, err := blocked.Get(ctx, s.store, req.Machine)
		switch {
		case err == nil:
			return wire.Refuse("", "%s is on the black list: %s", req.Machine, reason)
		case !errors.Is(err, store.ErrNotFound):
			return err
		case c.Mandate.Machine != req.Machine:
			return wire.Refuse("", "the contract is for another machine than %s", req.Machine)
		case s.node.Now().After(c.Mandate.Expires):
			return wire.Refuse("", "the mandate of the contract has expired")
		case !slices.Contains(req.Capabilities, string(c.Mandate.Placement)):
			return wire.Refuse("", "%s cannot hold an MCIM in its %s", req.Machine, c.Mandate.Placement)
		}
		return nil
	})
}

// validate has the PVA open a validation of the machine (P5c.1).
func (s *SHO) validate(ctx context.Context, _ wire.Peer, req wire.OrderRequest) (v wire.Validation, err error) {
	c, err := s.ordered(ctx, req.Order)
	if err != nil {
		return v, err
	}
	open := wire.OpenRequest{Machine: c.Mandate.Machine, Purpose: req.Order}
	err = wire.Step(ctx, "P5c.1", s.node.Role, s.config.PVA, "is "+open.Machine+" a trusted platform?", func(ctx context.Context) error {
		v, err = wire.Ask(ctx, s.node.Contacts, s.config.PVA, wire.PathOpen, open)
		return err
	})
	if err != nil {
		return v, err
	}
	return v, contracts.Update(ctx, s.store, req.Order, func(c *contract) error {
		c.Validation = v
		return nil
	})
}

// accept takes the PVA's verdict and, if it is positive, the registration (P4.8).
// A negative one is a refusal at P5c that names what differs.
func (s *SHO) accept(ctx context.Context, _ wire.Peer, req wire.AcceptRequest) (wire.Empty, error) {
	v, pva, err := req.Verdict.VerifyFrom(s.node.Identity, wire.KindPVA, wire.TypeVerdict)
	if err != nil {
		return wire.Empty{}, wire.Refuse("P4.8", "verdict: %w", err)
	}
	c, err := s.ordered(ctx, req.Order)
	if err != nil {
		return wire.Empty{}, err
	}
	switch {
	case pva != s.config.PVA || v.Requester != s.node.Role || v.Purpose != req.Order:
		return wire.Empty{}, wire.Refuse("P4.8", "the verdict was given to another requester or for another purpose")
	case v.Machine != c.Mandate.Machine:
		return wire.Empty{}, wire.Refuse("P4.8", "the verdict is on another machine than %s", c.Mandate.Machine)
	case v.Validation != c.Validation.Validation:
		return wire.Empty{}, wire.Refuse("P4.8", "the verdict ends another validation than the one that was asked for")
	case s.node.Now().After(v.Expires):
		return wire.Empty{}, wire.Refuse("P4.8", "the verdict is old: it was good until %s", v.Expires)
	case !v.Pass:
		return wire.Empty{}, refused(v)
	}
	return wire.Empty{}, s.store.Tx(ctx, func(tx *store.Tx) error {
		if err := s.record(ctx, tx, wire.TypeVerdict, req.Order, req.Verdict); err != nil {
			return err
		}
		return contracts.Update(ctx, tx, req.Order, func(c *contract) error {
			c.Accepted = true
			return nil
		})
	})
}

// refused is a negative verdict as a refusal.
func refused(v wire.Verdict) error {
	why := "the platform is not in its reference state"
	for i, failed := range v.Failed {
		if i == 0 {
			why += ": " + failed
			continue
		}
		why += "; " + failed
	}
	return wire.Refuse("P5c", "%s", why)
}
