package m2me

import (
	"path/filepath"
)

// Check tells whether what the TRE keeps on disk is whole: mcim.ErrRollback with the
// file that is not. Before the machine was on there is nothing to tell.
func (m *Machine) Check() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mcims == nil {
		return nil
	}
	codes, err := filepath.Glob(filepath.Join(m.treDir(), "sealed-card-*"))
	if err != nil || len(codes) == 0 { // no card was supplied with the machine
		return m.mcims.Check()
	}
	return m.mcims.Check(sealedICCID, sealedPIN1, sealedADM1)
}
