package model

import (
	"bytes"
	"errors"
	"fmt"
)

// Guess is what a card probably is, for people; it gives no right to write.
type Guess struct {
	Name   string // "unknown" where nothing is known
	Exact  bool   // every bit of the ATR fits one known card
	Reason string
}

// GuessFamily names the family of a card by its ATR.
func GuessFamily(atr []byte) (Guess, error) {
	m, err := Find(atr)
	switch {
	case err == nil:
		return Guess{m.Name, true, "the ATR is that of model " + m.Name + ": " + m.Title}, nil
	case !errors.Is(err, ErrUnknown):
		return Guess{}, err
	}
	list, err := families()
	if err != nil {
		return Guess{}, err
	}
	for _, f := range list {
		p := pattern{f.Value, f.Mask}.model()
		if !p.Match(atr) {
			continue
		}
		free := differingBytes(p)
		if free == 0 {
			return Guess{f.Name, true, "the ATR is that of " + f.Name}, nil
		}
		return Guess{f.Name, false, fmt.Sprintf("the ATR fits %s but for its last %d bytes, which differ by issue", f.Name, free)}, nil
	}
	if uiccHistorical(atr) {
		return Guess{"UICC", false, "the historical bytes have the card service data and card capabilities of TS 102 221, 6.3"}, nil
	}
	return Guess{"unknown", false, "no known ATR and no historical bytes of a UICC"}, nil
}

type family struct {
	Name        string
	Value, Mask hexBytes
}

func families() ([]family, error) {
	const name = "data/families.toml"
	b, err := embedded.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var d struct{ Family []family }
	if err := decode("families.toml", b, &d); err != nil {
		return nil, err
	}
	for _, f := range d.Family {
		if reason := (pattern{f.Value, f.Mask}).check(); reason != "" {
			return nil, &FileError{"families.toml", 0, f.Name + ": " + reason}
		}
	}
	return d.Family, nil
}

// differingBytes counts the bytes that the mask leaves out.
func differingBytes(p Pattern) int {
	return bytes.Count(p.Mask, []byte{0})
}

// uiccHistorical looks for category 80, card service data (31) and card
// capabilities of three bytes (73).
func uiccHistorical(atr []byte) bool {
	i := bytes.Index(atr, []byte{0x80, 0x31})
	return i > 1 && len(atr) > i+6 && atr[i+3] == 0x73
}
