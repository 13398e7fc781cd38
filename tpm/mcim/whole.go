package mcim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"mcim/tpm/policy"
)

// Check reads the files of the store as their users do, with the secrets that were
// sealed under those names. The error is ErrRollback with the file that is damaged,
// gone or not the newest. It is nil where all are whole, and where the platform is
// not in the state that opens them.
func (s *Store) Check(names ...string) error {
	err := s.check(names)
	if errors.Is(err, ErrNotProvisioned) || errors.Is(err, policy.ErrRefused) {
		return nil
	}
	return err
}

func (s *Store) check(names []string) error {
	s.state = nil // read it anew
	if err := s.load(); err != nil {
		return err
	}
	for n, sl := range s.state.Slots {
		if sl.MCIM == nil || sl.MCIM.Placement != InTRE {
			continue
		}
		path, err := s.sqnPath(n, sl.MCIM)
		if err != nil {
			return err
		}
		if info, err := os.Stat(path); err != nil || info.Size() < 2*sqnPlace {
			return fmt.Errorf("sequence numbers: %s is gone or too short: %w", path, ErrRollback)
		}
	}
	for _, name := range names {
		_, err := s.Unseal(name)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is gone: %w", s.path(sealPrefix+name), ErrRollback)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
