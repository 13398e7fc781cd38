package change

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"mcim/apdu/ef"
	"mcim/apdu/secret"
	"mcim/card"
	"mcim/card/dump"
)

// Plan is what a document changes on a card.
type Plan struct {
	ICCID string `json:"iccid"` // of the card, digits
	// Feasible says that there is no problem: every change can be made with the codes
	// of Options, or with those that Needs names.
	Feasible bool     `json:"feasible"`
	Needs    []string `json:"needs"`   // rights that are missing and could be had, as in "ADM1"
	Changes  []Change `json:"changes"` // in the order of writing
	// Unchanged counts the files and records that have what the document says.
	Unchanged int    `json:"unchanged"`
	LeftAlone []Note `json:"left_alone"` // what the dump could not read
	Problems  []Note `json:"problems"`
}

// Note says something of a file, or of the card where Path is empty.
type Note struct {
	Path   string `json:"path,omitempty"`
	Record int    `json:"record,omitempty"`
	Why    string `json:"why"`
}

// Change is one write: a record, or of a transparent file the bytes from the first
// to the last that differ.
type Change struct {
	Path   string `json:"path"`
	Record int    `json:"record,omitempty"` // from 1
	Offset int    `json:"offset"`           // of the write
	Length int    `json:"length"`           // bytes of the write
	Bytes  []Span `json:"bytes"`            // that differ
	// Fields are the values that differ, by name; empty for content that is not decoded.
	Fields []Field `json:"fields"`
	// Right is what the access rule asks for, as in "ADM1", or "unknown"; RightNow
	// says that it is there.
	Right    string `json:"right"`
	RightNow bool   `json:"right_now"`

	before, after secret.Bytes // of the write
	place         card.File
	secret        bool
}

// Span is a run of bytes that differ, in hexadecimal; those of a file with keys are
// redacted.
type Span struct {
	Offset int    `json:"offset"`
	Old    string `json:"old"`
	New    string `json:"new"`
}

// Field is a named value that differs, as of dump.Difference.
type Field struct {
	Name string `json:"name"`
	Old  any    `json:"old"`
	New  any    `json:"new"`
}

// newChange is the change of a file or record from one content to another of the same
// length.
func newChange(f dump.File, record int, before, after []byte) Change {
	from, to := 0, len(before)
	if record == 0 {
		for before[from] == after[from] {
			from++
		}
		for before[to-1] == after[to-1] {
			to--
		}
	}
	right := f.Update()
	return Change{
		Path: f.Path, Record: record, Offset: from, Length: to - from, place: f.Place(), secret: f.Entry().Secret,
		Bytes: spans(before, after, f.Entry().Secret), Fields: differences(f, before, after),
		Right: cmp.Or(right.Words, "unknown"), RightNow: right.Now,
		before: secret.New(before[from:to]), after: secret.New(after[from:to]),
	}
}

// spans are the runs of bytes that differ.
func spans(before, after []byte, hidden bool) []Span {
	list := []Span{}
	for i := 0; i < len(before); i++ {
		from := i
		for i < len(before) && before[i] != after[i] {
			i++
		}
		if i == from {
			continue
		}
		s := Span{from, hex.EncodeToString(before[from:i]), hex.EncodeToString(after[from:i])}
		if hidden {
			s.Old, s.New = dump.Redacted, dump.Redacted
		}
		list = append(list, s)
	}
	return list
}

// differences compares what two contents decode to, as two dumps are compared.
func differences(f dump.File, before, after []byte) []Field {
	shown := func(b []byte) dump.Document {
		file := dump.File{Path: f.Path}
		if v, err := f.Entry().Decode(b); err == nil {
			file.Decoded, _ = json.Marshal(v) // it is a document
		} else if !f.Entry().Secret {
			file.Undecoded = err.Error()
		}
		return dump.Document{Files: []dump.File{file}}
	}
	list := []Field{}
	if ef.Structure(f.Structure) != f.Entry().Structure {
		return list
	}
	for _, d := range dump.Compare(shown(before), shown(after)).Differences {
		list = append(list, Field{d.Field, d.Old, d.New})
	}
	return list
}

// order is that of writing: keys before all, EF.IMSI behind all, so that the card never
// has a new IMSI and old keys.
func order(a, b Change) int {
	rank := func(c Change) int {
		switch {
		case c.secret:
			return 0
		case strings.HasSuffix(c.Path, "/EF.IMSI"):
			return 2
		}
		return 1
	}
	return rank(a) - rank(b)
}

// conclude sorts the changes and says whether they can be made. Where writing is
// set, the rights have to be there.
func (p *Plan) conclude(files map[string]dump.File, writing bool) {
	slices.SortStableFunc(p.Changes, order)
	for _, c := range p.Changes {
		right := files[c.Path].Update()
		switch {
		case c.RightNow || right.Words == "":
		case !right.Could && c.Right == "never":
			p.problem(c.Path, c.Record, "its access rule lets nobody change it")
		case !right.Could:
			p.problem(c.Path, c.Record, "it needs %s, which cannot be given here", c.Right)
		case writing:
			p.problem(c.Path, c.Record, "it needs %s, which is not verified", c.Right)
			fallthrough
		default:
			if !slices.Contains(p.Needs, c.Right) {
				p.Needs = append(p.Needs, c.Right)
			}
		}
	}
	p.Feasible = len(p.Problems) == 0
}

func (p *Plan) problem(path string, record int, format string, args ...any) {
	p.Problems = append(p.Problems, Note{path, record, fmt.Sprintf(format, args...)})
}

// mixed tells whether each byte of b is that of one or the other.
func mixed(b, one, other []byte) bool {
	if len(b) != len(one) || len(b) != len(other) {
		return false
	}
	for i := range b {
		if b[i] != one[i] && b[i] != other[i] {
			return false
		}
	}
	return true
}
