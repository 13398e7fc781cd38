package model

import (
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

//go:embed data/models/*.toml data/cards/*.toml data/families.toml
var embedded embed.FS

// ErrUnknown says that no model fits: such a card can be read, but not written.
var ErrUnknown = errors.New("unknown card model")

// ErrNoKeyFile says that a model is of cards whose keys cannot be written.
var ErrNoKeyFile = errors.New("card model without key files")

// Model is what has to be known of a kind of card before it may be written.
type Model struct {
	Name  string // short name, as in a profile's "model"
	Title string
	// AID is the start of the AID of the application that holds the files
	// below, 5 to 16 bytes; the whole one is found in EF.DIR. A SIM has none.
	AID     []byte
	ATRs    []Pattern // at least one
	ADM     ADM
	KeyFile File // of a SIM: the zero value
	SQNFile File // of a SIM: the zero value
	// Algorithms gives the number of an algorithm in the key file, 0 to 15.
	Algorithms map[Algorithm]byte
}

// SIM reports whether the model is of cards without an application, of class A0
// (TS 51.011). Where their keys lie is not known, so that nobody writes them.
func (m *Model) SIM() bool { return len(m.AID) == 0 }

// Has reports whether cards of the model have the algorithm.
func (m *Model) Has(a Algorithm) bool {
	_, ok := m.Algorithms[a]
	return ok
}

// Pattern is an ATR with a mask: a bit counts where the mask has a 1.
type Pattern struct {
	Value, Mask []byte // of equal length
}

// Match reports whether atr fits the pattern: same length, same bits.
func (p Pattern) Match(atr []byte) bool {
	if len(atr) != len(p.Value) {
		return false
	}
	for i, b := range atr {
		if (b^p.Value[i])&p.Mask[i] != 0 {
			return false
		}
	}
	return true
}

// ADM is the code that gives the right to write the vendor's files.
type ADM struct {
	Reference byte // key reference of VERIFY (TS 102 221, 9.5.1)
	Length    int  // bytes
}

// File is a transparent file of the vendor in the application AID.
type File struct {
	FID  uint16
	Size int // bytes
	// ReadBack says that the file may be read to prove that a write arrived.
	// Where it is false the proof is an AKA with the new key.
	ReadBack bool
}

// All reads the embedded models, sorted by file name. An error is a mistake in
// the program's own data.
func All() ([]*Model, error) {
	names, err := fs.Glob(embedded, "data/models/*.toml")
	if err != nil {
		return nil, err
	}
	var all []*Model
	for _, name := range names {
		b, err := embedded.ReadFile(name)
		if err != nil {
			return nil, err
		}
		m, err := Parse(path.Base(name), b)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// Find gives the model of the card with this ATR, or ErrUnknown.
func Find(atr []byte) (*Model, error) {
	all, err := All()
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		for _, p := range m.ATRs {
			if p.Match(atr) {
				return m, nil
			}
		}
	}
	return nil, fmt.Errorf("%w: no model has the ATR %s; the card can be read, but not written",
		ErrUnknown, hex.EncodeToString(atr))
}

// ByName gives the model of that name, or ErrUnknown.
func ByName(name string) (*Model, error) {
	all, err := All()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, m := range all {
		if m.Name == name {
			return m, nil
		}
		names = append(names, m.Name)
	}
	return nil, fmt.Errorf("%w: %q, want one of: %s", ErrUnknown, name, strings.Join(names, ", "))
}
