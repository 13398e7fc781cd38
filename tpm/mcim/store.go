package mcim

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"mcim/tpm"
	"mcim/tpm/ident"
	"mcim/tpm/policy"
)

// Errors of the store.
var (
	// ErrNotProvisioned: the counters are not there; the supplier has to Provision.
	ErrNotProvisioned = errors.New("the TRE has no MCIM store yet: supply the machine first")
	// ErrState: the lifecycle does not allow that.
	ErrState = errors.New("not allowed in this state of the slot")
)

// Names in the folder of the store.
const (
	stateFile  = "state"
	sealPrefix = "sealed-"
	sqnPrefix  = "sqn-"
	stateKey   = "state-key" // under sealPrefix
)

// Places of the counters in the range: the TRE's epoch, the version of the state
// file, then epoch and SQN counter of each slot.
const (
	counterTRE   = 0
	counterState = 1
	counterSlots = 2
	counterCount = counterSlots + 2*SlotCount
)

// DefaultPCRs are the PCRs of the policy (SHA-256 bank): firmware, boot loader,
// Secure Boot, kernel and our own register.
func DefaultPCRs() []int { return []int{0, 2, 4, 7, 8, 9, 14} }

// Config of a store.
type Config struct {
	// Dir is the folder for state and sealed files; it must exist and be the TRE's own.
	Dir string
	// Issuers are the operators that may issue packages, with their P-256 keys.
	Issuers map[string]*ecdsa.PublicKey
	// Build is the RIM build of this machine.
	Build string
	// AKCert is the SHA-256 of the certificate (DER) of the TRE's AK; zero before it
	// has one, when no package can be for it.
	AKCert [sha256.Size]byte
	// PCRs is what Provision and Seal bind to; default: DefaultPCRs.
	PCRs []int
	// Weak switches defences off, for tests only.
	Weak Weakness
}

// Weakness switches defences off, so that a test can show what they are worth.
// Nothing that a user can reach may set it.
type Weakness struct {
	// NoFreshness: sequence number, epoch and validity of a package are not
	// checked. The slot must still not be Active, and an erased K stays dead.
	NoFreshness bool
	// NoRecipient: a package for another TRE is taken. The TPM still does not
	// import K, unless the package is Unbound (Order).
	NoRecipient bool
	// BodyKey opens bodies instead of the DEK (Order.Unbound).
	BodyKey *ecdh.PrivateKey
	// AcceptForgedAUTN: see aka.USIM.
	AcceptForgedAUTN bool
}

// Store holds the MCIMs of one TRE. It is not safe for concurrent use, and only
// one may be open on a folder.
type Store struct {
	m   *machine
	cfg Config

	tre, version counter
	epoch, sqn   [SlotCount]counter

	// Known from load on, nil or zero before.
	box    *box
	state  *state
	at     uint64 // value of the version counter
	epochs [SlotCount]uint64
	mcim   *MCIM // the one that is open
}

// New is the store of a TRE in cfg.Dir. It asks the TPM for nothing yet; close it
// at the end.
func New(tre *ident.TRE, cfg Config) (*Store, error) {
	if cfg.PCRs == nil {
		cfg.PCRs = DefaultPCRs()
	}
	dek, err := tre.Exchanger()
	if err != nil {
		return nil, err
	}
	t := tre.TPM()
	m := &machine{tpm: t, keys: tre, counters: t.KeepSession(tpm.Integrity), dek: dek, akCert: cfg.AKCert}
	s := &Store{m: m, cfg: cfg}
	all := make([]counter, counterCount)
	for n := range all {
		var err error
		if all[n], err = m.counter(n); err != nil {
			return nil, err
		}
	}
	s.tre, s.version = all[counterTRE], all[counterState]
	for n := range SlotCount {
		s.epoch[n], s.sqn[n] = all[counterSlots+2*n], all[counterSlots+2*n+1]
	}
	return s, nil
}

// Provision makes the counters, the state key and an empty state (TR 33.812
// P1.5). What is there already stays, so that a cut run can be repeated. Where
// the counters are there but the state is not, all epochs move on: what an
// earlier state knew of consumed packages is lost, so those must not come back.
func (s *Store) Provision() error {
	used := false
	for _, c := range s.counters() {
		fresh, err := c.define()
		if err != nil {
			return err
		}
		used = used || !fresh
	}
	_, err := os.Stat(s.path(stateFile))
	if err == nil {
		return s.load()
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if used {
		for _, c := range s.epoch {
			if err := c.increment(); err != nil {
				return err
			}
		}
	}
	return s.create()
}

func (s *Store) counters() []counter {
	return slices.Concat([]counter{s.tre, s.version}, s.epoch[:], s.sqn[:])
}

// create writes a new state key and an empty state.
func (s *Store) create() error {
	key, err := newStateKey()
	if err != nil {
		return err
	}
	if err := s.Seal(stateKey, key); err != nil {
		return err
	}
	if s.box, err = newBox(key); err != nil {
		return err
	}
	if s.at, err = s.version.read(); err != nil {
		return err
	}
	if err := s.save(newState()); err != nil {
		return err
	}
	s.state = nil // what load finds is what counts
	return s.load()
}

// load brings the state into memory, if it is not there: it unseals the state
// key, which the TPM gives only in the state of Provision, reads the file that
// the version counter asks for, and finishes an Erase that was cut.
func (s *Store) load() error {
	if s.state != nil {
		return nil
	}
	key, err := s.Unseal(stateKey)
	if errors.Is(err, fs.ErrNotExist) {
		return s.missing()
	}
	if err != nil {
		return err
	}
	if s.box, err = newBox(key); err != nil {
		return err
	}
	if s.at, err = s.version.read(); err != nil {
		return err
	}
	st, err := s.readState()
	if err != nil {
		return err
	}
	for n, c := range s.epoch {
		if s.epochs[n], err = c.read(); err != nil {
			return err
		}
	}
	s.state = st
	if err := s.finishErase(); err != nil {
		s.state = nil
		return err
	}
	return s.sweep()
}

// missing tells a machine without a store from one whose files are gone.
func (s *Store) missing() error {
	written, err := s.version.defined()
	if err != nil {
		return err
	}
	if written == nil || !*written {
		return ErrNotProvisioned
	}
	return fmt.Errorf("the files of the TRE in %s are gone: %w", s.cfg.Dir, ErrRollback)
}

func (s *Store) readState() (*state, error) {
	sealed, err := readLimited(s.path(stateFile), 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the state of the TRE %s is gone: %w", s.path(stateFile), ErrRollback)
	}
	if err != nil {
		return nil, err
	}
	plain, version, ok := s.box.open(stateFile, sealed, s.at, s.at+1)
	if !ok {
		return nil, fmt.Errorf("state of the TRE %s: %w", s.path(stateFile), ErrRollback)
	}
	st, err := parseState(plain)
	if err != nil {
		return nil, fmt.Errorf("state of the TRE: %w", err)
	}
	if version > s.at { // cut between writing and counting
		if err := s.version.increment(); err != nil {
			return nil, err
		}
		s.at = version
	}
	return st, nil
}

// save makes st the state: the file first, then the counter. After an error
// nobody knows which one holds, so the next use loads again.
func (s *Store) save(st *state) error {
	s.state = nil
	plain, err := encode(st)
	if err != nil {
		return err
	}
	if err := writeFile(s.path(stateFile), s.box.seal(stateFile, s.at+1, plain)); err != nil {
		return err
	}
	if err := s.version.increment(); err != nil {
		return err
	}
	s.at++
	s.state = st
	return nil
}

// finishErase deletes what is left of slots whose epoch has moved on.
func (s *Store) finishErase() error {
	st, dead := s.state.clone(), false
	for n, sl := range st.Slots {
		if sl.MCIM != nil && sl.MCIM.Epoch != s.epochs[n] {
			sl.State, sl.MCIM, sl.Pending = Deleted, nil, nil
			dead = true
		}
	}
	if !dead {
		return nil
	}
	return s.save(st)
}

// sweep removes the SQN files of MCIMs that are no more.
func (s *Store) sweep() error {
	names, err := filepath.Glob(s.path(sqnPrefix + "*"))
	if err != nil {
		return err
	}
	for n, sl := range s.state.Slots {
		if c := sl.MCIM; c != nil && c.Placement == InTRE {
			keep, err := s.sqnPath(n, c)
			if err != nil {
				return err
			}
			names = slices.DeleteFunc(names, func(name string) bool { return name == keep })
		}
	}
	for _, name := range names {
		if err := removeFile(name); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) path(name string) string { return filepath.Join(s.cfg.Dir, name) }

// Slots tells what is in each slot. Errors are ErrNotProvisioned, ErrRollback,
// and policy.ErrRefused where the platform is not in the state of Provision.
func (s *Store) Slots() ([SlotCount]Info, error) {
	var list [SlotCount]Info
	if err := s.load(); err != nil {
		return list, err
	}
	for n, sl := range s.state.Slots {
		list[n] = sl.info(n)
	}
	return list, nil
}

// Target describes slot n to an operator. It needs no policy, so that the
// supplier and a machine that is not yet approved can give it.
func (s *Store) Target(n int) (Target, error) {
	if err := slotNumber(n); err != nil {
		return Target{}, err
	}
	epoch, err := s.epoch[n].read()
	if err != nil {
		return Target{}, err
	}
	t := s.m.target()
	t.Slot, t.EpochIndex, t.Epoch = n, s.epoch[n].index, epoch
	return t, nil
}

// Platform is the state of the policy's PCRs as they are now.
func (s *Store) Platform() (policy.Platform, error) {
	return policy.ReadPlatform(s.m.tpm, s.cfg.PCRs...)
}

func slotNumber(n int) error {
	if n < 0 || n >= SlotCount {
		return fmt.Errorf("%w: there is no slot %d", ErrState, n)
	}
	return nil
}

// Rest gives back the sessions that the store keeps. They start again when they are
// needed; a TPM holds three at a time.
func (s *Store) Rest() error { return errors.Join(s.rest(), s.m.counters.Close()) }

// Close closes the open MCIM and the session. The store can be used again.
func (s *Store) Close() error {
	var err error
	if s.mcim != nil {
		err = s.mcim.Close()
	}
	s.state = nil
	return errors.Join(err, s.m.counters.Close())
}
