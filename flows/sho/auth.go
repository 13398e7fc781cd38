package sho

import (
	"context"
	"errors"

	"mcim/flows/auc"
	"mcim/flows/wire"
)

// vectors answers a network in which an IMSI of this operator wants to attach
// (P7.2).
func (s *SHO) vectors(ctx context.Context, _ wire.Peer, req wire.VectorRequest) (wire.Vector, error) {
	if err := s.mayAttach(ctx, req.Identity); err != nil {
		return wire.Vector{}, err
	}
	v, err := s.auc.Vector(ctx, req.Identity)
	return v, authError(err)
}

// resync answers after a synchronisation failure (TS 33.102, 6.3.5).
func (s *SHO) resync(ctx context.Context, _ wire.Peer, req wire.VectorRequest) (wire.Vector, error) {
	if err := s.mayAttach(ctx, req.Identity); err != nil {
		return wire.Vector{}, err
	}
	v, err := s.auc.Resync(ctx, req.Identity, req.RAND, req.AUTS)
	return v, authError(err)
}

// mayAttach refuses an identity that has no service, or none yet.
func (s *SHO) mayAttach(ctx context.Context, imsi string) error {
	sub, err := subscriptions.Get(ctx, s.store, imsi)
	if err != nil {
		return missing(err, "no subscription has that IMSI")
	}
	switch sub.State {
	case Active, Closing:
		return nil
	case Closed:
		return wire.Refuse("", "the subscription is closed")
	}
	return wire.Refuse("", "the subscription is pending: no TRE has signed for it yet")
}

func authError(err error) error {
	switch {
	case errors.Is(err, auc.ErrAUTS):
		return wire.Refuse("", "%w", err)
	case errors.Is(err, auc.ErrUnknown):
		return wire.Refuse("", "the subscription has no key")
	}
	return err
}

// attached hears that an IMSI of this operator is attached: the subscription
// lives (P7.4), if it does so in the machine that it was made for (SR-22).
func (s *SHO) attached(ctx context.Context, _ wire.Peer, req wire.AttachedNotice) (wire.Empty, error) {
	err := subscriptions.Update(ctx, s.store, req.Identity, func(sub *subscription) error {
		if sub.Machine != req.Machine {
			return wire.Refuse("P7.3", "the subscription was made for another machine than %s", req.Machine)
		}
		sub.Live = sub.served()
		return nil
	})
	return wire.Empty{}, missing(err, "no subscription has that IMSI")
}
