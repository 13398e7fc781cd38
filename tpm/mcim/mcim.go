package mcim

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/google/go-tpm/tpm2"

	"mcim/apdu/secret"
	"mcim/card/aka"
	"mcim/tpm"
	"mcim/tpm/engine"
	"mcim/tpm/policy"
)

// MCIM is an active MCIM of the TRE: a USIM whose K is in the TPM. It is not
// safe for concurrent use.
type MCIM struct {
	store    *Store
	slot     int
	info     Info
	content  *content
	key      tpm2.NamedHandle
	engine   *engine.CFB
	milenage *aka.Milenage

	// nil until the first Authenticate, and after a failure to store them.
	sqn  *sqnFile
	usim *aka.USIM
}

// Open loads the active MCIM of slot n into the TPM; a slot that is not Active,
// or has its MCIM in a UICC, is ErrState. One MCIM is open at a time, since a
// TPM has few places: Open closes the one before.
func (s *Store) Open(n int) (*MCIM, error) {
	sl, err := s.slot(n)
	if err != nil {
		return nil, err
	}
	if sl.State != Active || sl.MCIM.Placement != InTRE {
		return nil, fmt.Errorf("%w: slot %d is %s, no active MCIM in the TRE", ErrState, n, sl.State)
	}
	if err := s.closeSlots(); err != nil {
		return nil, err
	}
	c := sl.MCIM
	key, err := s.m.load(c.KeyPublic, c.KeyPrivate)
	if err != nil {
		return nil, err
	}
	m := &MCIM{store: s, slot: n, info: sl.info(n), content: c, key: key}
	m.engine, err = engine.NewCFB(s.m.tpm, engine.Key{Handle: key.Handle, Name: key.Name, Policy: s.keyPolicy(n, c)})
	if err == nil {
		m.milenage, err = aka.NewMilenage(m.engine, secret.New(c.Body.OPc))
	}
	if err != nil {
		return nil, errors.Join(err, s.m.tpm.Flush(key.Handle))
	}
	s.mcim = m
	return m, nil
}

func (s *Store) keyPolicy(n int, c *content) policy.MCIM {
	return policy.MCIM{
		Platform: c.Platform, EpochIndex: s.epoch[n].index, Epoch: c.Epoch, Command: tpm2.TPMCCEncryptDecrypt2,
	}
}

// Info tells which MCIM it is.
func (m *MCIM) Info() Info { return m.info }

// Authenticate answers a challenge as a USIM (TS 33.102, 6.3.3). No result
// leaves before the new sequence number is on disk and counted in the TPM.
//
// Errors are aka.ErrMAC, *aka.SyncError, policy.ErrRefused (the platform is not
// in its approved state, or the slot was erased), ErrRollback, ErrState after
// Close, or those of TPM and disk.
func (m *MCIM) Authenticate(rand, autn [16]byte) (aka.Result, error) {
	if m.store.mcim != m {
		return aka.Result{}, fmt.Errorf("%w: the MCIM was closed, open its slot again", ErrState)
	}
	if m.usim == nil {
		if err := m.loadSQN(); err != nil {
			return aka.Result{}, err
		}
	}
	return m.usim.Authenticate(rand, autn)
}

// loadSQN makes the USIM from the file of sequence numbers.
func (m *MCIM) loadSQN() error {
	s := m.store
	path, err := s.sqnPath(m.slot, m.content)
	if err != nil {
		return err
	}
	sqn, array, err := openSQN(path, s.box, sqnLabel(path), s.sqn[m.slot])
	if err != nil {
		return err
	}
	m.sqn, m.usim = sqn, aka.NewUSIM(m.milenage, *array, m.keep)
	m.usim.AcceptForgedAUTN = s.cfg.Weak.AcceptForgedAUTN
	return nil
}

// keep stores an array before the result that it belongs to is released. When
// that fails, nobody knows what the disk and the counter have, so the next
// Authenticate starts from them.
func (m *MCIM) keep(a aka.SQNArray) error {
	err := m.sqn.store(&a)
	if err != nil {
		err = errors.Join(err, m.sqn.f.Close())
		m.sqn, m.usim = nil, nil
	}
	return err
}

// Close takes the MCIM out of the TPM. It is safe to call twice.
func (m *MCIM) Close() error {
	if m.store.mcim != m {
		return nil
	}
	m.store.mcim = nil
	var err error
	if m.sqn != nil {
		err = m.sqn.f.Close()
	}
	return errors.Join(err, m.engine.Close(), m.store.m.tpm.Flush(m.key.Handle))
}

// sqnPath is the file of sequence numbers of the MCIM c in slot n. It has the
// Name of K in it, so that the next MCIM of the slot has another file.
func (s *Store) sqnPath(n int, c *content) (string, error) {
	public, err := tpm.Decode[tpm2.TPMTPublic](c.KeyPublic)
	if err != nil {
		return "", err
	}
	name, err := objectName(public)
	if err != nil {
		return "", err
	}
	return s.path(fmt.Sprintf("%s%d-%x", sqnPrefix, n, name.Buffer)), nil
}

// sqnLabel binds the file to slot and Name.
func sqnLabel(path string) string { return filepath.Base(path) }
