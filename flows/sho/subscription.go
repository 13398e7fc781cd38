package sho

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mcim/flows/auc"
	"mcim/flows/store"
	"mcim/flows/wire"
)

// State is how far a subscription is in the operator's HSS.
type State string

// The states.
const (
	Pending State = "pending" // created, no TRE has signed for it: no service
	Active  State = "active"
	Closing State = "closing" // the subscriber leaves: service until the new one lives
	Closed  State = "closed"  // no keys any more
)

// subscription is an entry of the HSS. Its keys are in the authentication centre.
type subscription struct {
	IMSI       string         `cbor:"imsi"`
	ICCID      string         `cbor:"iccid"`
	Machine    string         `cbor:"machine"`
	Subscriber string         `cbor:"subscriber"`
	Placement  wire.Placement `cbor:"placement"`
	State      State          `cbor:"state"`
	Live       bool           `cbor:"live"`  // seen attached
	Order      string         `cbor:"order"` // by which it came; empty for one of the UICC's maker
	// Contract is the mandate behind it, Bound until when it holds the subscriber.
	Contract wire.Signed[wire.Mandate] `cbor:"contract"`
	Bound    time.Time                 `cbor:"bound"`
	// Leaving is the order by which the subscriber goes.
	Leaving string `cbor:"leaving"`
	// Package is the one made for it, Platform the TRE it was made for.
	Package  []byte                     `cbor:"package"`
	Platform wire.Signed[wire.Platform] `cbor:"platform"`
}

const subscriptions store.Bucket[subscription] = "subscription" // by IMSI

// served says whether the subscription gives service.
func (s *subscription) served() bool { return s.State == Active || s.State == Closing }

// Card is a subscription that was put into a UICC before the machine was built
// (alternative 2 of TR 33.812).
type Card struct {
	IMSI, ICCID         string
	Machine, Subscriber string // role names
	Keys                auc.Keys
}

// Import enters the subscription of a UICC, active at once.
func (s *SHO) Import(ctx context.Context, c Card) error {
	if len(c.IMSI) != 15 || c.IMSI[:len(s.config.PLMN)] != s.config.PLMN {
		return fmt.Errorf("the IMSI of the UICC is not one of %s: it must have 15 digits and begin with %s", s.node.Role, s.config.PLMN)
	}
	return s.store.Tx(ctx, func(tx *store.Tx) error {
		err := subscriptions.Insert(ctx, tx, c.IMSI, subscription{
			IMSI: c.IMSI, ICCID: c.ICCID, Machine: c.Machine, Subscriber: c.Subscriber, Placement: wire.InUICC, State: Active,
		})
		if err != nil {
			return err
		}
		return s.auc.Enter(ctx, tx, c.IMSI, c.Keys)
	})
}

// Info is what may be shown of a subscription.
type Info struct {
	IMSI, ICCID, Machine string
	Placement            wire.Placement
	State                State
	Live                 bool
	Order                string
}

// Subscriptions lists all subscriptions, by IMSI.
func (s *SHO) Subscriptions(ctx context.Context) ([]Info, error) {
	all, err := subscriptions.List(ctx, s.store)
	if err != nil {
		return nil, err
	}
	list := make([]Info, len(all))
	for i, e := range all {
		v := e.Value
		list[i] = Info{v.IMSI, v.ICCID, v.Machine, v.Placement, v.State, v.Live, v.Order}
	}
	return list, nil
}

// Keys are the keys of a subscription, for tests that look for them where they
// must not be; auc.ErrUnknown once it is closed.
func (s *SHO) Keys(ctx context.Context, imsi string) (auc.Keys, error) { return s.auc.Keys(ctx, imsi) }

// Package is what was made for a subscription of an order, for deliveries that
// must be refused; store.ErrNotFound.
func (s *SHO) Package(ctx context.Context, imsi string) (wire.PackageMessage, error) {
	sub, err := subscriptions.Get(ctx, s.store, imsi)
	if err != nil {
		return wire.PackageMessage{}, err
	}
	c, err := s.ordered(ctx, sub.Order)
	return wire.PackageMessage{Order: sub.Order, Package: sub.Package, Issuer: s.node.Identity.Certificate.Raw, Nonce: c.Nonce}, err
}

// status tells a subscriber of its own subscription in a machine.
func (s *SHO) status(ctx context.Context, p wire.Peer, req wire.StatusRequest) (wire.StatusAnswer, error) {
	all, err := subscriptions.List(ctx, s.store)
	if err != nil {
		return wire.StatusAnswer{}, err
	}
	for _, e := range all {
		v := e.Value
		if v.Machine == req.Machine && v.Placement == req.Placement && v.Subscriber == p.Role && v.served() {
			return wire.StatusAnswer{Order: v.Order, IMSI: v.IMSI, State: string(v.State)}, nil
		}
	}
	return wire.StatusAnswer{}, wire.Errorf(wire.CodeNotFound, "", "%s has no subscription in the %s of %s here", p.Role, req.Placement, req.Machine)
}

// add makes a new pending subscription for a contract.
func (s *SHO) add(ctx context.Context, tx *store.Tx, order string, c contract) (string, error) {
	n, err := next(ctx, tx)
	if err != nil {
		return "", err
	}
	imsi := fmt.Sprintf("%s%0*d", s.config.PLMN, 15-len(s.config.PLMN), n)
	keys, err := s.auc.NewKeys()
	if err != nil {
		return "", err
	}
	if err := s.auc.Enter(ctx, tx, imsi, keys); err != nil {
		return "", err
	}
	return imsi, subscriptions.Insert(ctx, tx, imsi, subscription{
		IMSI: imsi, ICCID: iccid(imsi), Machine: c.Mandate.Machine, Subscriber: c.Subscriber, Placement: c.Mandate.Placement,
		State: Pending, Order: order, Contract: c.Signed, Bound: c.Mandate.Bound,
	})
}

const counters store.Bucket[uint64] = "counter"

// next counts the IMSIs. It begins at a high number, so that the IMSIs of UICCs
// made before have a range of their own.
func next(ctx context.Context, tx *store.Tx) (uint64, error) {
	const name, first = "imsi", 1_000_000
	n, err := counters.Get(ctx, tx, name)
	if errors.Is(err, store.ErrNotFound) {
		n, err = first, nil
	}
	if err != nil {
		return 0, err
	}
	return n + 1, counters.Put(ctx, tx, name, n+1)
}

// iccid is the ICCID of the MCIM with an IMSI: 89, the IMSI, one more digit and
// the check digit of ITU-T E.118, 19 digits.
func iccid(imsi string) string {
	digits := "89" + imsi + "0"
	sum := 0
	for i, c := range []byte(digits) {
		d := int(c - '0')
		if i%2 == 1 { // the check digit will be the 19th: every second one before it counts twice
			d *= 2
			d = d/10 + d%10
		}
		sum += d
	}
	return digits + string(rune('0'+(10-sum%10)%10))
}
