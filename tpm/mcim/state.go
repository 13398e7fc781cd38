package mcim

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"mcim/tpm/policy"
)

// SlotCount is the number of slots: slot 0 has the provisional identity (PCID),
// slots 1 and 2 have operational MCIMs.
const SlotCount = 3

// PCID is the slot of the provisional identity.
const PCID = 0

// stateVersion is the version of the state file's content.
const stateVersion = 1

// Lifecycle is the state of a slot, the TRE's part of the life of an MCIM
// (CREATED and PACKAGED are with the operator).
type Lifecycle uint8

// The states. Of the operational slots at most one is Active.
const (
	Empty Lifecycle = iota
	Installed
	Active
	Inactive
	Deleted
)

var lifecycleNames = [...]string{"EMPTY", "INSTALLED", "ACTIVE", "INACTIVE", "DELETED"}

// String is the name in capitals.
func (l Lifecycle) String() string {
	if int(l) >= len(lifecycleNames) {
		return fmt.Sprintf("Lifecycle(%d)", uint8(l))
	}
	return lifecycleNames[l]
}

// state is the content of the state file.
type state struct {
	Version uint64           `cbor:"1,keyasint"`
	Slots   [SlotCount]*slot `cbor:"2,keyasint"`
}

// slot is what the TRE knows of one slot. All of it is encrypted at rest.
type slot struct {
	State    Lifecycle          `cbor:"1,keyasint"`
	Sequence uint64             `cbor:"2,keyasint"` // the highest consumed
	Pending  *[sha256.Size]byte `cbor:"3,keyasint"` // digest of the package that is being installed
	MCIM     *content           `cbor:"4,keyasint"` // nil where State is Empty or Deleted
}

// content is an installed MCIM.
type content struct {
	Digest     [sha256.Size]byte `cbor:"1,keyasint"` // of the package; zero for an injected one
	ID         string            `cbor:"2,keyasint"` // of the package
	Issuer     string            `cbor:"3,keyasint"`
	Build      string            `cbor:"4,keyasint"`
	Placement  Placement         `cbor:"5,keyasint"`
	Epoch      uint64            `cbor:"6,keyasint"`
	Platform   policy.Platform   `cbor:"7,keyasint"`
	KeyPublic  []byte            `cbor:"8,keyasint,omitempty"` // TPMT_PUBLIC, InTRE only
	KeyPrivate []byte            `cbor:"9,keyasint,omitempty"` // TPM2B_PRIVATE's content
	Body       *body             `cbor:"10,keyasint"`          // K in it for InUICC, until it is in the card
}

func newState() *state {
	s := &state{Version: stateVersion}
	for i := range s.Slots {
		s.Slots[i] = &slot{}
	}
	return s
}

// parseState decodes what encode made of a state.
func parseState(b []byte) (*state, error) {
	var s state
	if err := decode(b, &s); err != nil {
		return nil, err
	}
	if s.Version != stateVersion {
		return nil, fmt.Errorf("state of version %d, this program knows %d", s.Version, stateVersion)
	}
	active := 0
	for n, sl := range s.Slots {
		if sl == nil || sl.check() != nil {
			return nil, fmt.Errorf("state of slot %d makes no sense", n)
		}
		if n != PCID && sl.State == Active {
			active++
		}
	}
	if active > 1 {
		return nil, errors.New("more than one operational MCIM is active")
	}
	return &s, nil
}

func (s *slot) check() error {
	gone := s.State == Empty || s.State == Deleted
	if int(s.State) >= len(lifecycleNames) || gone != (s.MCIM == nil) {
		return errors.New("state without content or content without state")
	}
	if gone {
		return nil
	}
	if s.MCIM.Body == nil {
		return errors.New("no body")
	}
	return s.MCIM.Body.check()
}

// clone copies what the procedures change, so that a change that could not be
// saved is not seen.
func (s *state) clone() *state {
	c := *s
	for i, sl := range s.Slots {
		copied := *sl
		c.Slots[i] = &copied
	}
	return &c
}

// Info is what may be known of a slot outside the TRE.
type Info struct {
	Slot      int
	State     Lifecycle
	PackageID string // empty where there is none
	// Digest is that of the package (Package.Digest); zero where there is none.
	Digest    [sha256.Size]byte
	Issuer    string
	Build     string
	Placement Placement
	IMSI      string
	ICCID     string
	MNCLength int
	Sequence  uint64 // the highest consumed
}

func (s *slot) info(n int) Info {
	i := Info{Slot: n, State: s.State, Sequence: s.Sequence}
	if c := s.MCIM; c != nil {
		i.PackageID, i.Digest, i.Issuer, i.Build, i.Placement = c.ID, c.Digest, c.Issuer, c.Build, c.Placement
		i.IMSI, i.ICCID, i.MNCLength = c.Body.IMSI, c.Body.ICCID, c.Body.MNCLength
	}
	return i
}
