package sho

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/google/go-tpm/tpm2"

	"mcim/flows/auc"
	"mcim/flows/store"
	"mcim/flows/wire"
	"mcim/tpm/mcim"
	"mcim/tpm/measure"
	"mcim/tpm/policy"
)

// create makes the subscription, pending, and orders it to be built into a
// package (P6.1 and P6.2).
func (s *SHO) create(ctx context.Context, _ wire.Peer, req wire.OrderRequest) (answer wire.CreateAnswer, err error) {
	err = s.store.Tx(ctx, func(tx *store.Tx) error {
		c, err := contracts.Get(ctx, tx, req.Order)
		if err != nil {
			return missing(err, "%s has no contract for the order %s", s.node.Role, req.Order)
		}
		if !c.Accepted {
			return wire.Refuse("", "the platform of %s was not validated: no subscription before a verdict", c.Mandate.Machine)
		}
		if c.IMSI == "" {
			if c.IMSI, err = s.add(ctx, tx, req.Order, c); err != nil {
				return err
			}
		}
		answer = wire.CreateAnswer{IMSI: c.IMSI, Nonce: c.Nonce}
		return contracts.Put(ctx, tx, req.Order, c)
	})
	if err != nil {
		return answer, err
	}
	return answer, wire.Step(ctx, "P6.2", s.node.Role, s.config.RO, "order: build the package of this subscription",
		func(context.Context) error { return nil })
}

// protect builds and signs the package of an order's subscription for one TRE
// (P6.5). The DPF says for which slot and epoch; K is seen here alone.
func (s *SHO) protect(ctx context.Context, _ wire.Peer, req wire.ProtectRequest) (wire.PackageMessage, error) {
	c, err := s.ordered(ctx, req.Order)
	if err != nil {
		return wire.PackageMessage{}, err
	}
	if c.IMSI == "" || c.Done {
		return wire.PackageMessage{}, wire.Refuse("", "the order %s has no subscription that waits for a package", req.Order)
	}
	target, platform, err := s.target(c, req)
	if err != nil {
		return wire.PackageMessage{}, err
	}
	sub, err := subscriptions.Get(ctx, s.store, c.IMSI)
	if err != nil {
		return wire.PackageMessage{}, err
	}
	if !fits(sub.Package, target, req.Sequence) {
		if sub.Package, err = s.build(ctx, sub, target, platform, req); err != nil {
			return wire.PackageMessage{}, err
		}
		sub.Platform = req.Platform
		if err := s.keepPackage(ctx, req.Order, sub); err != nil {
			return wire.PackageMessage{}, err
		}
	}
	return wire.PackageMessage{Order: req.Order, Package: sub.Package, Issuer: s.node.Identity.Certificate.Raw, Nonce: c.Nonce}, nil
}

func (s *SHO) keepPackage(ctx context.Context, order string, sub subscription) error {
	return s.store.Tx(ctx, func(tx *store.Tx) error {
		if err := s.record(ctx, tx, wire.TypePlatform, order, sub.Platform); err != nil {
			return err
		}
		if err := s.record(ctx, tx, "package", order, sub.Package); err != nil {
			return err
		}
		return subscriptions.Put(ctx, tx, sub.IMSI, sub)
	})
}

// fits says whether a package that was made before is for the same place.
func fits(made []byte, target mcim.Target, sequence uint64) bool {
	if len(made) == 0 {
		return false
	}
	p, err := mcim.ParsePackage(made)
	if err != nil {
		return false
	}
	h := p.Header
	return h.Slot == target.Slot && h.EpochIndex == target.EpochIndex && h.Epoch == target.Epoch && h.Sequence == sequence &&
		h.Recipient.AKCert == target.AKCert
}

// target is the TRE that the supplier's statement describes, with the state that
// the TRE's AK has signed over the nonce of the order.
func (s *SHO) target(c contract, req wire.ProtectRequest) (mcim.Target, wire.Platform, error) {
	p, _, err := req.Platform.VerifyFrom(s.node.Identity, wire.KindSupplier, wire.TypePlatform)
	if err != nil {
		return mcim.Target{}, p, wire.Refuse("", "statement on the platform: %w", err)
	}
	if p.Machine != c.Mandate.Machine {
		return mcim.Target{}, p, wire.Refuse("", "the statement is on another machine than %s", c.Mandate.Machine)
	}
	counter, ok := p.Slots[req.Slot]
	if !ok {
		return mcim.Target{}, p, wire.Refuse("", "%s has no slot %d", p.Machine, req.Slot)
	}
	epoch, err := proven(p, counter.Index, c.Nonce, req.Proof)
	if err != nil {
		return mcim.Target{}, p, wire.Refuse("", "epoch of slot %d: %w", req.Slot, err)
	}
	if epoch != req.Epoch {
		return mcim.Target{}, p, wire.Refuse("", "slot %d is in epoch %d, not %d", req.Slot, epoch, req.Epoch)
	}
	return mcim.Target{
		SRK: p.SRK, DEK: p.DEK, AKCert: sha256.Sum256(p.AKCert),
		Slot: req.Slot, EpochIndex: tpm2.TPMHandle(counter.Index), Epoch: epoch,
	}, p, nil
}

// proven is the value of an epoch counter that the platform's AK has signed.
func proven(p wire.Platform, index uint32, nonce, proof []byte) (uint64, error) {
	signed, err := wire.Unmarshal[mcim.EpochProof](proof)
	if err != nil {
		return 0, err
	}
	return mcim.VerifyEpoch(p.AK, tpm2.TPMHandle(index), nonce, &signed)
}

// build makes the package.
func (s *SHO) build(ctx context.Context, sub subscription, target mcim.Target, p wire.Platform, req wire.ProtectRequest) ([]byte, error) {
	keys, err := s.auc.Keys(ctx, sub.IMSI)
	if err != nil {
		return nil, err
	}
	state, err := stateOf(p)
	if err != nil {
		return nil, err
	}
	now := s.node.Now()
	made, err := mcim.Build(s.node.Identity.Signer, target, mcim.Order{
		ID: req.Order, Issuer: s.node.Role, Sequence: req.Sequence,
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(s.config.PackageValidity),
		Build: p.Build, Platform: state, Placement: mcim.Placement(sub.Placement), Unbound: s.config.Unbound,
	}, &mcim.Subscription{
		IMSI: sub.IMSI, ICCID: sub.ICCID, MNCLength: len(s.config.PLMN) - 3,
		K: keys.K, OPc: keys.OPc, AMF: auc.AMF(), SQN: keys.SQN,
	})
	if errors.Is(err, mcim.ErrPackage) || errors.Is(err, mcim.ErrTarget) {
		return nil, wire.Refuse("", "no package fits that place: %w", err)
	}
	if err != nil {
		return nil, err
	}
	return made.Bytes()
}

// stateOf is the platform state of the supplier's reference values.
func stateOf(p wire.Platform) (policy.Platform, error) {
	reference, err := measure.ParseReference(p.Reference)
	if err != nil {
		return policy.Platform{}, wire.Refuse("", "statement on the platform: %w", err)
	}
	return policy.NewPlatform(reference.Values())
}

// result takes the TRE's receipt: only then the subscription becomes active
// (P6.11).
func (s *SHO) result(ctx context.Context, _ wire.Peer, req wire.ReceiptMessage) (wire.Empty, error) {
	c, err := s.ordered(ctx, req.Order)
	if err != nil {
		return wire.Empty{}, err
	}
	sub, err := subscriptions.Get(ctx, s.store, c.IMSI)
	if err != nil {
		return wire.Empty{}, missing(err, "the order %s has no subscription", req.Order)
	}
	if err := s.signedFor(sub, c.Nonce, req.Receipt); err != nil {
		return wire.Empty{}, wire.Refuse("P6.11", "receipt: %w", err)
	}
	return wire.Empty{}, s.store.Tx(ctx, func(tx *store.Tx) error {
		if err := s.record(ctx, tx, "receipt", req.Order, req.Receipt); err != nil {
			return err
		}
		err := subscriptions.Update(ctx, tx, c.IMSI, func(sub *subscription) error {
			if sub.State == Pending {
				sub.State = Active
			}
			return nil
		})
		if err != nil {
			return err
		}
		return contracts.Update(ctx, tx, req.Order, func(c *contract) error {
			c.Done = true
			return nil
		})
	})
}

// signedFor checks that the receipt is that of the TRE for the subscription's
// package.
func (s *SHO) signedFor(sub subscription, nonce, receipt []byte) error {
	made, err := mcim.ParsePackage(sub.Package)
	if err != nil {
		return err
	}
	p, _, err := sub.Platform.VerifyFrom(s.node.Identity, wire.KindSupplier, wire.TypePlatform)
	if err != nil {
		return err
	}
	signed, err := wire.Unmarshal[mcim.Receipt](receipt)
	if err != nil {
		return err
	}
	return mcim.VerifyReceipt(p.AK, made, nonce, &signed)
}

// live says whether the new subscription was seen attached (P7.4, P8a.13).
func (s *SHO) live(ctx context.Context, _ wire.Peer, req wire.OrderRequest) (wire.LiveAnswer, error) {
	c, err := s.ordered(ctx, req.Order)
	if err != nil {
		return wire.LiveAnswer{}, err
	}
	sub, err := subscriptions.Get(ctx, s.store, c.IMSI)
	return wire.LiveAnswer{Live: sub.Live, IMSI: sub.IMSI}, missing(err, "the order %s has no subscription", req.Order)
}
