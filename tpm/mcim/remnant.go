package mcim

import (
	"errors"
	"fmt"

	"mcim/card/aka"
	"mcim/tpm/engine"
	"mcim/tpm/policy"
)

// Remnant is what somebody has of an MCIM who has copied it before it was deleted: K
// as the TPM has wrapped it, and the policy under which the TPM uses it.
type Remnant struct {
	public, private []byte // TPMT_PUBLIC and the contents of a TPM2B_PRIVATE
	policy          policy.MCIM
}

// Remnant copies K of slot n; ErrState where it has none in the TRE.
func (s *Store) Remnant(n int) (Remnant, error) {
	sl, err := s.slot(n)
	if err != nil {
		return Remnant{}, err
	}
	if sl.MCIM == nil || len(sl.MCIM.KeyPrivate) == 0 {
		return Remnant{}, fmt.Errorf("%w: slot %d has no K in the TRE", ErrState, n)
	}
	return Remnant{sl.MCIM.KeyPublic, sl.MCIM.KeyPrivate, s.keyPolicy(n, sl.MCIM)}, nil
}

// Use has the TPM encrypt a block with the K of a remnant, past all that the store
// knows. The error is a policy.RefusedError once the slot was erased.
func (s *Store) Use(r Remnant) error {
	if err := s.closeSlots(); err != nil {
		return err
	}
	key, err := s.m.load(r.public, r.private)
	if err != nil {
		return err
	}
	e, err := engine.NewCFB(s.m.tpm, engine.Key{Handle: key.Handle, Name: key.Name, Policy: r.policy})
	if err == nil {
		var block [aka.BlockSize]byte
		err = errors.Join(e.Encrypt(block[:], block[:]), e.Close())
	}
	return errors.Join(err, s.m.tpm.Flush(key.Handle))
}
