package mcim

import (
	"errors"
	"fmt"

	"mcim/tpm/policy"
)

// Activate makes slot n the active one. In the same step the other operational
// slot becomes Inactive if it was Active, so that there are never two. The slot
// must be Installed or Inactive (ErrState); an Active one stays so. A
// subscription for a UICC must be in the card by now: its keys are forgotten.
func (s *Store) Activate(n int) error {
	sl, err := s.slot(n)
	if err != nil {
		return err
	}
	switch sl.State {
	case Active:
		return nil
	case Installed, Inactive:
	default:
		return fmt.Errorf("%w: slot %d is %s, so there is nothing to activate", ErrState, n, sl.State)
	}
	if err := s.closeSlots(); err != nil {
		return err
	}
	st := s.state.clone()
	if n != PCID {
		for i, other := range st.Slots {
			if i != PCID && other.State == Active {
				other.State = Inactive
			}
		}
	}
	st.Slots[n].State = Active
	if sl.MCIM.Placement == InUICC {
		st.Slots[n].MCIM = sl.MCIM.withoutKeys()
	}
	return s.save(st)
}

// withoutKeys is what the TRE keeps of a subscription that is in a card.
func (c *content) withoutKeys() *content {
	kept, b := *c, *c.Body
	b.K, b.KIc, b.KID, b.OPc = nil, nil, nil, make([]byte, keySize)
	kept.Body = &b
	return &kept
}

// Deactivate makes an Active slot Inactive, so that its MCIM answers no more
// challenge until Activate. An Inactive one stays so; others are ErrState.
func (s *Store) Deactivate(n int) error {
	sl, err := s.slot(n)
	if err != nil {
		return err
	}
	switch sl.State {
	case Inactive:
		return nil
	case Active:
	default:
		return fmt.Errorf("%w: slot %d is %s, not active", ErrState, n, sl.State)
	}
	if err := s.closeSlot(n); err != nil {
		return err
	}
	st := s.state.clone()
	st.Slots[n].State = Inactive
	return s.save(st)
}

// Erase deletes what slot n has (P9.4, P8a.13) and proves it with the epoch
// counter, signed by the AK over the caller's nonce. The counter goes first: from
// then on the TPM refuses K, and the package, all backups and recordings are
// dead, whatever happens to the files. On a platform that is not in its approved
// state the files stay until it is. A Deleted slot only gives the proof once more;
// an Empty one is ErrState.
func (s *Store) Erase(n int, nonce []byte) (*EpochProof, error) {
	sl, err := s.slot(n)
	switch {
	case errors.Is(err, policy.ErrRefused): // erase what cannot be read
		if err := s.epoch[n].increment(); err != nil {
			return nil, err
		}
		return s.ProveEpoch(n, nonce)
	case err != nil:
		return nil, err
	case sl.State == Empty:
		return nil, fmt.Errorf("%w: slot %d is empty", ErrState, n)
	case sl.State == Deleted:
		return s.ProveEpoch(n, nonce)
	}
	if err := s.closeSlot(n); err != nil {
		return nil, err
	}
	s.state = nil
	if err := s.epoch[n].increment(); err != nil {
		return nil, err
	}
	if err := s.load(); err != nil {
		return nil, err
	}
	return s.ProveEpoch(n, nonce)
}

// CardContent is the subscription that slot n has for a UICC, with K, to be
// written into the card. It is there until Activate; afterwards ErrState.
func (s *Store) CardContent(n int) (*Subscription, error) {
	sl, err := s.slot(n)
	if err != nil {
		return nil, err
	}
	if sl.MCIM == nil || sl.MCIM.Placement != InUICC || len(sl.MCIM.Body.K) == 0 {
		return nil, fmt.Errorf("%w: slot %d has no subscription for a card", ErrState, n)
	}
	return sl.MCIM.Body.subscription(), nil
}

// slot loads the state and picks slot n.
func (s *Store) slot(n int) (*slot, error) {
	if err := slotNumber(n); err != nil {
		return nil, err
	}
	if err := s.load(); err != nil {
		return nil, err
	}
	return s.state.Slots[n], s.rest()
}

// rest gives back the session of the open MCIM, which Authenticate starts again
// when it needs it: a TPM has three, and one must be left for whoever signs.
func (s *Store) rest() error {
	if s.mcim == nil {
		return nil
	}
	return s.mcim.engine.Close()
}

// closeSlot closes the MCIM of slot n if it is the open one.
func (s *Store) closeSlot(n int) error {
	if s.mcim == nil || s.mcim.slot != n {
		return nil
	}
	return s.mcim.Close()
}

// closeSlots closes the MCIM that is open.
func (s *Store) closeSlots() error {
	if s.mcim == nil {
		return nil
	}
	return s.mcim.Close()
}
