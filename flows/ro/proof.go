package ro

import (
	"context"

	"github.com/google/go-tpm/tpm2"

	"mcim/flows/wire"
	"mcim/tpm/mcim"
)

// know keeps the supplier's statement on the machine, by which its proofs are
// checked from now on.
func (w *work) know(ctx context.Context, signed wire.Signed[wire.Platform]) error {
	if _, err := w.platform(signed); err != nil {
		return err
	}
	if err := platforms.Put(ctx, w.ro.store, w.Mandate.Machine, signed); err != nil {
		return err
	}
	return w.record(ctx, wire.TypePlatform, signed)
}

// platform checks that a supplier has made the statement, on this machine.
func (w *work) platform(signed wire.Signed[wire.Platform]) (wire.Platform, error) {
	p, _, err := signed.VerifyFrom(w.node.Identity, wire.KindSupplier, wire.TypePlatform)
	switch {
	case err != nil:
		return p, wire.Refuse("", "statement on the platform: %w", err)
	case p.Machine != w.Mandate.Machine:
		return p, wire.Refuse("", "the statement is on another machine than %s", w.Mandate.Machine)
	}
	return p, nil
}

// known is the statement that know has kept.
func (w *work) known(ctx context.Context) (wire.Platform, error) {
	signed, err := platforms.Get(ctx, w.ro.store, w.Mandate.Machine)
	if err != nil {
		return wire.Platform{}, err
	}
	return w.platform(signed)
}

// proven checks that the epoch counter of a slot of the machine has moved on from
// before: what was in the slot then, the TPM uses no more.
func proven(p wire.Platform, slot int, before uint64, e erasure) error {
	counter, ok := p.Slots[slot]
	if !ok {
		return wire.Refuse("", "%s has no slot %d", p.Machine, slot)
	}
	proof, err := wire.Unmarshal[mcim.EpochProof](e.Proof)
	if err != nil {
		return wire.Refuse("", "proof of erasure: %w", err)
	}
	epoch, err := mcim.VerifyEpoch(p.AK, tpm2.TPMHandle(counter.Index), e.Nonce, &proof)
	if err != nil {
		return wire.Refuse("", "proof of erasure: %w", err)
	}
	if epoch <= before {
		return wire.Refuse("", "proof of erasure: slot %d is still in epoch %d, in which the TPM uses the key", slot, epoch)
	}
	return nil
}
