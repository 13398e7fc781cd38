package model

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"mcim/apdu/ef"
)

// Card is what a software UICC is made of: applications and files with their
// first content. Cards are TOML files in the folder data/cards; ParseCard reads
// one more.
type Card struct {
	Name, Title string
	Family      *Model // its ATR, ADM and key files
	// ExpandedRules: the FCP of a file has its access rules itself, and there is no
	// EF.ARR (TS 102 221, 9.2.7 and 11.1.1.4.7.3).
	ExpandedRules bool
	Quirks        []Quirk
	Applications  []Application
	PINs          []PIN
	Channels      int           // logical channels, the basic one included: 1 to 20
	Suspend       time.Duration // longest suspension (TS 102 221, 11.1.22); 0: none is known
	Files         []CardFile
	Toolkit       *Toolkit // nil: the card asks for nothing
	// Memory is what there is for files, in bytes; 0 is what the software UICC has.
	Memory        int
	SecureChannel SecureChannel
	// Texts are the TOML text and that of the card that it extends, if any:
	// RestoreCard makes the same card of them in any later version.
	Texts [][]byte
}

// SIM reports whether the card has no application, so that it answers class A0 alone
// (TS 51.011).
func (c *Card) SIM() bool { return len(c.Applications) == 0 }

// Home is the directory of the subscription: that of the USIM, or DF.GSM of a SIM. Its
// codes open the files outside of applications.
func (c *Card) Home() ef.Dir {
	if c.SIM() {
		return ef.DirGSM
	}
	return ef.DirUSIM
}

// Quirk is a habit that cards in the field have and the specifications do not.
type Quirk string

// The quirks. All but the last one are of cards, that one is of readers.
const (
	// NoPINStatus: no PIN status template C6 in the FCP of directories.
	NoPINStatus Quirk = "no-pin-status"
	// NoSFI: the FCP of a file never tells its short identifier.
	NoSFI Quirk = "no-sfi"
	// RefusesLe: a wrong Le is refused by 6700, without the right one.
	RefusesLe Quirk = "wrong-le-6700"
	// Always61: a command that sends and expects data never gets these at once, but
	// 61xx, whatever Le says: a card of T=0 that does not look at Le.
	Always61 Quirk = "always-61"
	// NoSilentSelect: SELECT that asks for no data (P2 = 0C) is refused by 6A86, as by
	// cards of before TS 102 221.
	NoSilentSelect Quirk = "no-select-0c"
	// Swallows61: the reader fetches what 61xx and 9Fxx announce by itself.
	Swallows61 Quirk = "61-swallowed"
)

// Quirks are all quirks that there are.
func Quirks() []Quirk {
	return []Quirk{NoPINStatus, NoSFI, RefusesLe, Always61, NoSilentSelect, Swallows61}
}

// SecureChannel says when a card asks for a secure channel with the terminal (TS 102 484).
type SecureChannel string

// Values of SecureChannel.
const (
	SecureOffered SecureChannel = "" // where it has a key for one
	// SecureRequired: whatever a PIN or key opens, and PINs themselves, pass through a
	// secure channel only (status word 6989).
	SecureRequired SecureChannel = "required"
)

// Application is an application of a card.
type Application struct {
	Dir ef.Dir // DirUSIM or DirISIM
	AID []byte // 5 to 16 bytes
	FID uint16 // of its directory
}

// CardFile is an EF of a card.
type CardFile struct {
	ef.File             // Name, Dir, FID, SFI and Structure at least
	Same         string // path of the file that it is, under another directory; nothing else counts then
	Size         int    // bytes in all
	RecordLength int    // bytes; 0: transparent
	Read, Update Who

	content []byte // the same on every card; nil: made of values
	values  []any
}

// Identity is what differs from card to card and appears in files.
type Identity struct {
	ICCID, IMSI string
	MNCLength   int // digits, 2 or 3
	Routing     string
	SUCI        ef.SUCIInfo // EF.SUCI_Calc_Info
}

// sample is a subscriber to try the content of files with.
func sample() Identity {
	return Identity{ICCID: "8999901000000000009", IMSI: "001010000000009", MNCLength: 2, Routing: "0",
		SUCI: ef.SUCIInfo{Schemes: []ef.ProtectionScheme{{Scheme: "null"}}}}
}

// variables are the names that content may have in braces.
func (i Identity) variables() map[string]any {
	mcc, mnc, msin := i.IMSI[:3], i.IMSI[3:3+i.MNCLength], i.IMSI[3+i.MNCLength:]
	return map[string]any{
		"iccid": i.ICCID, "imsi": i.IMSI, "mcc": mcc, "mnc": mnc, "msin": msin, "mnc_length": i.MNCLength,
		"mnc3": fmt.Sprintf("%03s", mnc), "plmn": mcc + "-" + mnc, "routing": i.Routing, "suci": i.SUCI,
		"acc": int(i.IMSI[len(i.IMSI)-1] - '0'), // TS 22.011, 4.2: one of 0 to 9
	}
}

// Content is the first content of the file on the card of i. It may be shared: it
// must not be changed. An identity that the file cannot hold is ef.ErrContent.
func (f *CardFile) Content(i Identity) ([]byte, error) {
	if f.content != nil {
		return f.content, nil
	}
	b, size := make([]byte, 0, f.Size), f.Size
	if f.RecordLength != 0 {
		size = f.RecordLength
	}
	variables := i.variables()
	for _, v := range f.values {
		v, err := fill(v, variables)
		if err != nil {
			return nil, err
		}
		one, err := f.Encode(v, size)
		if err != nil {
			return nil, err
		}
		b = append(b, one...)
	}
	for len(b) < f.Size {
		b = append(b, 0xFF)
	}
	return b, nil
}

// fill puts the variables into the strings of a document. A string that is one
// name in braces becomes its value, whatever kind that is.
func fill(v any, variables map[string]any) (any, error) {
	var err error
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, item := range v {
			if out[k], err = fill(item, variables); err != nil {
				return nil, err
			}
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			if out[i], err = fill(item, variables); err != nil {
				return nil, err
			}
		}
		return out, nil
	case string:
		return fillText(v, variables)
	}
	return v, nil
}

func fillText(s string, variables map[string]any) (any, error) {
	var out strings.Builder
	for rest := s; ; {
		before, after, found := strings.Cut(rest, "{")
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		name, tail, closed := strings.Cut(after, "}")
		value, known := variables[name]
		if !closed || !known {
			return nil, fmt.Errorf("{%s: no such variable in %q", name, s)
		}
		if s == "{"+name+"}" {
			return value, nil
		}
		fmt.Fprint(&out, value)
		rest = tail
	}
}

// hasVariables reports whether a document differs from card to card.
func hasVariables(values []any) bool {
	b, err := json.Marshal(values)
	return err != nil || strings.Contains(string(b), `"{`) || strings.Contains(string(b), "{mcc}") ||
		strings.Contains(string(b), "{imsi}") || strings.Contains(string(b), "{msin}")
}

// embeddedCards are the cards of data/cards, parsed once: a lab makes thousands.
var embeddedCards = sync.OnceValues(func() ([]*Card, error) {
	entries, err := embedded.ReadDir("data/cards")
	if err != nil {
		return nil, err
	}
	var all []*Card
	read := func(name string) error {
		b, err := embedded.ReadFile(path.Join("data/cards", name))
		if err != nil {
			return err
		}
		c, err := parseCard(name, b, all)
		if err != nil {
			return err
		}
		all = append(all, c)
		return nil
	}
	if err := read(baseCard); err != nil { // the one that others extend
		return nil, err
	}
	for _, e := range entries {
		if e.Name() == baseCard {
			continue
		}
		if err := read(e.Name()); err != nil {
			return nil, err
		}
	}
	return all, nil
})

const (
	baseCard = "usim.toml"
	// Version1 is the name of the card that images of version 1 are of.
	Version1 = "usim-1"
)

// Cards are the embedded cards, "usim" first. An error is a mistake in the
// program's own data.
func Cards() ([]*Card, error) {
	all, err := embeddedCards()
	return slices.Clone(all), err
}

// CardByName gives the embedded card of that name, or ErrUnknown.
func CardByName(name string) (*Card, error) {
	all, err := embeddedCards()
	if err != nil {
		return nil, err
	}
	return byName(name, all)
}

func byName(name string, all []*Card) (*Card, error) {
	var names []string
	for _, c := range all {
		if c.Name == name {
			return c, nil
		}
		names = append(names, c.Name)
	}
	return nil, fmt.Errorf("%w: %q, want one of: %s", ErrUnknown, name, strings.Join(names, ", "))
}
