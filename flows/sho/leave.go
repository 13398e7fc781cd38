package sho

import (
	"context"
	"fmt"

	"mcim/flows/store"
	"mcim/flows/wire"
	"mcim/tpm/mcim"
)

// leave is the old operator's part of a change (P8a.4): it may show a contract
// that binds the subscriber still, nothing else. The subscription gives service
// until close.
func (s *SHO) leave(ctx context.Context, _ wire.Peer, req wire.OrderMessage) (wire.LeaveAnswer, error) {
	if wire.Procedure(ctx) != "P8a" {
		return s.release(ctx, req.Signed)
	}
	var answer wire.LeaveAnswer
	err := wire.Step(ctx, "P8a.4", s.node.Role, s.node.Role, "release conditions; no veto beyond the contract", func(ctx context.Context) (err error) {
		answer, err = s.release(ctx, req.Signed)
		return err
	})
	return answer, err
}

func (s *SHO) release(ctx context.Context, signed wire.Signed[wire.Order]) (answer wire.LeaveAnswer, err error) {
	o, err := wire.VerifyOrder(s.node.Identity, signed, s.node.Now())
	if err != nil {
		return answer, err
	}
	m := o.Mandate
	err = s.store.Tx(ctx, func(tx *store.Tx) error {
		err := subscriptions.Update(ctx, tx, m.OldIMSI, func(sub *subscription) error {
			switch {
			case m.OldSHO != s.node.Role || sub.Machine != m.Machine || sub.Placement != m.Placement || sub.Subscriber != o.Subscriber:
				return wire.Refuse("", "%s has no such subscription of %s", s.node.Role, o.Subscriber)
			case sub.State == Closed && sub.Leaving == o.Order.ID:
				return nil
			case !sub.served():
				return wire.Refuse("", "the subscription that is to be left is %s", sub.State)
			case s.node.Now().Before(sub.Bound):
				answer.Contract = sub.Contract
				return nil
			}
			sub.State, sub.Leaving = Closing, o.Order.ID
			return nil
		})
		if err != nil {
			return missing(err, "%s has no such subscription of %s", s.node.Role, o.Subscriber)
		}
		return s.record(ctx, tx, wire.TypeOrder, o.Order.ID, signed)
	})
	return answer, err
}

// wake wakes the machine behind a subscription that is being left (P8a.5, P8c.2).
func (s *SHO) wake(ctx context.Context, _ wire.Peer, req wire.WakeRequest) (wire.Empty, error) {
	sub, err := subscriptions.Get(ctx, s.store, req.IMSI)
	if err != nil {
		return wire.Empty{}, missing(err, "no subscription has that IMSI")
	}
	if sub.State != Closing {
		return wire.Empty{}, wire.Refuse("", "the subscription is %s: nobody may wake its machine", sub.State)
	}
	return wire.Ask(ctx, s.node.Contacts, s.config.VNO, wire.PathWakeVNO, req)
}

// close ends a subscription that was left (P8a.14): the TRE has proven that its
// MCIM is gone, and the keys are deleted.
func (s *SHO) close(ctx context.Context, _ wire.Peer, req wire.CloseRequest) (wire.Empty, error) {
	return wire.Empty{}, s.store.Tx(ctx, func(tx *store.Tx) error {
		err := subscriptions.Update(ctx, tx, req.IMSI, func(sub *subscription) error {
			if sub.Leaving != req.Order || (sub.State != Closing && sub.State != Closed) {
				return wire.Refuse("", "the subscription is not left by the order %s", req.Order)
			}
			if err := s.erased(*sub, req); err != nil {
				return wire.Refuse("", "proof of erasure: %w", err)
			}
			sub.State, sub.Live = Closed, false
			return nil
		})
		if err != nil {
			return missing(err, "no subscription has that IMSI")
		}
		if err := s.record(ctx, tx, "erasure", req.Order, req.Proof); err != nil {
			return err
		}
		return s.auc.Forget(ctx, tx, req.IMSI)
	})
}

// erased checks that the epoch of the subscription's slot has moved on. One that
// was never in a TRE has nothing to prove.
func (s *SHO) erased(sub subscription, req wire.CloseRequest) error {
	if len(sub.Package) == 0 {
		return nil
	}
	made, err := mcim.ParsePackage(sub.Package)
	if err != nil {
		return err
	}
	p, _, err := sub.Platform.VerifyFrom(s.node.Identity, wire.KindSupplier, wire.TypePlatform)
	if err != nil {
		return err
	}
	epoch, err := proven(p, uint32(made.Header.EpochIndex), req.Nonce, req.Proof)
	if err != nil {
		return err
	}
	if epoch <= made.Header.Epoch {
		return fmt.Errorf("slot %d is still in epoch %d, in which the TPM uses the key", made.Header.Slot, epoch)
	}
	return nil
}
