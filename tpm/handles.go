package tpm

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-tpm/tpm2"
)

// Range is where everything lives that we put into a TPM. Counts are numbers of
// handles.
type Range struct {
	NV              tpm2.TPMHandle // first NV index
	NVCount         int
	Persistent      tpm2.TPMHandle // first persistent handle
	PersistentCount int
}

// DefaultRange is used where Options.Range is zero.
var DefaultRange = Range{NV: 0x01800F00, NVCount: 16, Persistent: 0x8100F000, PersistentCount: 8}

// String prints the range for the owner of the TPM.
func (r Range) String() string {
	return fmt.Sprintf("NV indices %#08x-%#08x and persistent handles %#08x-%#08x",
		uint32(r.NV), uint32(r.NV)+uint32(r.NVCount)-1, uint32(r.Persistent), uint32(r.Persistent)+uint32(r.PersistentCount)-1)
}

// EK is the handle for an EK that the maker did not make persistent. The five
// first persistent handles of a range are those of EK, AK, SRK, TRE key and DEK.
func (r Range) EK() tpm2.TPMHandle { return r.Persistent }

// ErrRange is for a Range that holds no handles of the owner, or too few.
var ErrRange = errors.New("bad range of handles: NV indices lie in 0x01000000-0x01bfffff, persistent handles of the owner in 0x81000000-0x817fffff, and 16 and 8 are needed")

func (r Range) valid() error {
	nvEnd, end := uint64(r.NV)+uint64(max(r.NVCount, 0)), uint64(r.Persistent)+uint64(max(r.PersistentCount, 0))
	if r.NVCount < 16 || r.PersistentCount < 8 || r.NV < 0x01000000 || nvEnd > 0x01C00000 || r.Persistent < 0x81000000 || end > 0x81800000 {
		return ErrRange
	}
	return nil
}

func (r Range) contains(h tpm2.TPMHandle) bool {
	return h >= r.NV && h < r.NV+tpm2.TPMHandle(r.NVCount) || h >= r.Persistent && h < r.Persistent+tpm2.TPMHandle(r.PersistentCount)
}

// Occupant is something in a Range.
type Occupant struct {
	Handle tpm2.TPMHandle
	What   string // as "NV index of 8 bytes", "ECC key"
}

// OccupiedError means that a range which we wanted for ourselves is not free.
type OccupiedError struct{ Occupants []Occupant }

// Error names what is there.
func (e *OccupiedError) Error() string {
	var list []string
	for _, o := range e.Occupants {
		list = append(list, fmt.Sprintf("%#08x (%s)", uint32(o.Handle), o.What))
	}
	return "range of handles is not free: " + strings.Join(list, ", ") + "; choose another range, or remove them if they are left of an earlier lab"
}

// ErrNotClaimed means that a handle of the range was asked for before Claim.
var ErrNotClaimed = errors.New("the range of handles is not claimed yet, or the handle lies outside")

// Range is the range of this TPM.
func (t *TPM) Range() Range { return t.opts.Range }

// Claimed tells whether the range is ours.
func (t *TPM) Claimed() bool { return t.claimed }

// Claim makes the range ours, if it is free; an *OccupiedError says what is in
// the way. It changes nothing in the TPM: store that it succeeded, for
// Options.Claimed, before the first object is made.
func (t *TPM) Claim() error {
	if t.claimed {
		return nil
	}
	list, err := t.Ours()
	if err != nil {
		return err
	}
	// An EK at the place of ours was left by a run that was cut in LoadEK.
	list = slices.DeleteFunc(list, func(o Occupant) bool { return o.Handle == t.opts.Range.EK() && t.isEK(o.Handle) })
	if len(list) > 0 {
		return &OccupiedError{Occupants: list}
	}
	t.claimed = true
	return nil
}

func (t *TPM) isEK(h tpm2.TPMHandle) bool {
	pub, _, err := t.ReadPublic(h)
	return err == nil && slices.ContainsFunc(ekProfiles(), func(p ekProfile) bool { return sameTemplate(pub, p.template) })
}

// Ours lists what is in the range.
func (t *TPM) Ours() ([]Occupant, error) {
	r := t.opts.Range
	var list []Occupant
	for _, first := range []tpm2.TPMHandle{r.NV, r.Persistent} {
		handles, err := t.handles(first)
		if err != nil {
			return nil, err
		}
		for _, h := range handles {
			if !r.contains(h) {
				continue
			}
			what, err := t.describe(h)
			if err != nil {
				return nil, err
			}
			list = append(list, Occupant{Handle: h, What: what})
		}
	}
	return list, nil
}

// handles lists the handles of one kind from first on, in order.
func (t *TPM) handles(first tpm2.TPMHandle) ([]tpm2.TPMHandle, error) {
	rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: uint32(first), PropertyCount: 256}.Execute(t)
	if err != nil {
		return nil, err
	}
	list, err := rsp.CapabilityData.Data.Handles()
	if err != nil {
		return nil, err
	}
	return list.Handle, nil
}

func (t *TPM) describe(h tpm2.TPMHandle) (string, error) {
	if h>>24 == tpm2.TPMHandle(tpm2.TPMHTNVIndex) {
		pub, _, err := t.NVPublic(h)
		if err != nil {
			return "", err
		}
		if pub.Attributes.NT == tpm2.TPMNTCounter {
			return "NV counter", nil
		}
		return fmt.Sprintf("NV index of %d bytes", pub.DataSize), nil
	}
	pub, _, err := t.ReadPublic(h)
	if err != nil {
		return "", err
	}
	switch pub.Type {
	case tpm2.TPMAlgECC:
		return "ECC key", nil
	case tpm2.TPMAlgRSA:
		return "RSA key", nil
	case tpm2.TPMAlgSymCipher:
		return "AES key", nil
	}
	return fmt.Sprintf("object of type %#04x", uint16(pub.Type)), nil
}

// NVIndex is the i-th NV index of the range; ErrNotClaimed if it is not ours.
func (t *TPM) NVIndex(i int) (tpm2.TPMHandle, error) {
	if !t.claimed || i < 0 || i >= t.opts.Range.NVCount {
		return 0, fmt.Errorf("NV index %d: %w", i, ErrNotClaimed)
	}
	return t.opts.Range.NV + tpm2.TPMHandle(i), nil
}

// Persistent is the i-th persistent handle of the range; ErrNotClaimed if it is
// not ours. 0 to 4 are taken (Range.EK), from 5 on they are free for MCIMs.
func (t *TPM) Persistent(i int) (tpm2.TPMHandle, error) {
	if !t.claimed || i < 0 || i >= t.opts.Range.PersistentCount {
		return 0, fmt.Errorf("persistent handle %d: %w", i, ErrNotClaimed)
	}
	return t.opts.Range.Persistent + tpm2.TPMHandle(i), nil
}

// Removed is what Release did with one object.
type Removed struct {
	Occupant
	Err error // nil: it is gone
}

// Release removes everything in the claimed range from the TPM and gives the
// range up if nothing is left. The error joins those of the single objects.
func (t *TPM) Release() ([]Removed, error) {
	if !t.claimed {
		return nil, ErrNotClaimed
	}
	list, err := t.Ours()
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, t.ekLast)
	var done []Removed
	var errs []error
	for _, o := range list {
		err := t.remove(o.Handle)
		if err != nil {
			errs = append(errs, fmt.Errorf("%#08x (%s): %w", uint32(o.Handle), o.What, err))
		}
		done = append(done, Removed{o, err})
	}
	t.claimed = len(errs) > 0
	return done, errors.Join(errs...)
}

// ekLast puts an EK in our range to the end: sessions are salted to it.
func (t *TPM) ekLast(a, b Occupant) int {
	at := func(o Occupant) int {
		if o.Handle == t.opts.Range.EK() {
			return 1
		}
		return 0
	}
	return at(a) - at(b)
}

// remove takes one object of ours from the TPM.
func (t *TPM) remove(h tpm2.TPMHandle) error {
	if h>>24 == tpm2.TPMHandle(tpm2.TPMHTNVIndex) {
		_, name, err := t.NVPublic(h)
		if err != nil {
			return err
		}
		_, err = tpm2.NVUndefineSpace{AuthHandle: t.Owner(Integrity), NVIndex: tpm2.NamedHandle{Handle: h, Name: name}}.Execute(t)
		return err
	}
	_, name, err := t.ReadPublic(h)
	if err != nil {
		return err
	}
	if _, err := t.EK(); err != nil && h == t.opts.Range.EK() {
		return t.dropEK(h, name) // its verification was cut, or failed: nothing else can be in the range
	}
	return t.evict(h, name, h)
}

// Persist makes a loaded object persistent at a handle of our range.
func (t *TPM) Persist(object tpm2.TPMHandle, name tpm2.TPM2BName, at tpm2.TPMHandle) error {
	if !t.claimed || !t.opts.Range.contains(at) {
		return fmt.Errorf("handle %#08x: %w", uint32(at), ErrNotClaimed)
	}
	return t.evict(object, name, at)
}

// Evict removes a persistent object of our range.
func (t *TPM) Evict(at tpm2.TPMHandle, name tpm2.TPM2BName) error { return t.Persist(at, name, at) }

func (t *TPM) evict(object tpm2.TPMHandle, name tpm2.TPM2BName, at tpm2.TPMHandle) error {
	_, err := tpm2.EvictControl{Auth: t.Owner(Integrity), ObjectHandle: tpm2.NamedHandle{Handle: object, Name: name}, PersistentHandle: at}.Execute(t)
	return err
}

// Flush removes a transient object or a session from the memory of the TPM.
func (t *TPM) Flush(h tpm2.TPMHandle) error {
	_, err := tpm2.FlushContext{FlushHandle: h}.Execute(t)
	return err
}
