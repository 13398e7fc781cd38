package change

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"mcim/apdu/secret"
	"mcim/card/dump"
)

// ErrDocument is returned for bytes that are no document of changes.
var ErrDocument = errors.New("not a document of changes")

// MaxDocument is the most bytes that Parse takes: many times a whole card.
const MaxDocument = 16 << 20

// Document is what files of a card shall have. What it says is taken for secret: it
// can hold keys.
type Document struct {
	iccid   string // of the card that is meant; empty for any
	entries []entry
}

// entry is a file of a document, or a record of it.
type entry struct {
	path   string
	record int // from 1; 0 for the whole file
	offset int // of raw; meant where ranged is set
	ranged bool

	raw     value
	records []value
	decoded value // JSON
	other   value // what an interrupted write may have left of raw
	failed  bool  // the file could not be read into the dump
	objects bool  // it has data objects of an EF of BER-TLV structure
	known   bool  // the dump says that there is a file
}

// value is what a document says of some content.
type value struct {
	given bool // false: leave it as it is
	bytes secret.Bytes
}

// says tells whether there is something to do for an entry.
func (e entry) says() bool {
	return e.raw.given || e.decoded.given || slices.ContainsFunc(e.records, func(v value) bool { return v.given })
}

// document is the JSON form: a dump, and what goes beyond it.
type document struct {
	dump.Document
	Files []file `json:"files"`
}

type file struct {
	dump.File
	Record *int    `json:"record"`
	Offset *int    `json:"offset"`
	New    *string `json:"new"`
}

// Parse reads a document. The error wraps ErrDocument and names every entry that is
// malformed; it does not repeat contents.
func Parse(b []byte) (Document, error) {
	if len(b) > MaxDocument {
		return Document{}, fmt.Errorf("%w: more than %d bytes", ErrDocument, MaxDocument)
	}
	var doc document
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&doc); err != nil {
		return Document{}, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return Document{}, fmt.Errorf("%w: something stands behind it", ErrDocument)
	}
	if doc.Files == nil {
		return Document{}, fmt.Errorf("%w: it has no \"files\"", ErrDocument)
	}
	out := Document{iccid: doc.ICCID}
	var wrong []error
	for i, f := range doc.Files {
		e, err := f.entry()
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%w: file %d, %q: %w", ErrDocument, i+1, f.Path, err))
		}
		out.entries = append(out.entries, e)
	}
	if err := out.unique(); err != nil {
		wrong = append(wrong, err)
	}
	const shown = 10
	if n := len(wrong) - shown; n > 0 {
		wrong = append(wrong[:shown], fmt.Errorf("and %d more", n))
	}
	if len(wrong) > 0 {
		return Document{}, errors.Join(wrong...)
	}
	return out, nil
}

// unique refuses to have a file, or a record, said twice.
func (d Document) unique() error {
	whole, single := map[string]bool{}, map[string]map[int]bool{}
	for _, e := range d.entries {
		records := single[e.path]
		if whole[e.path] || e.record == 0 && records != nil || records[e.record] {
			return fmt.Errorf("%w: %q, or a record of it, is there twice", ErrDocument, e.path)
		}
		switch {
		case e.record == 0:
			whole[e.path] = true
		case records == nil:
			single[e.path] = map[int]bool{e.record: true}
		default:
			records[e.record] = true
		}
	}
	return nil
}

// entry checks one file of the document by itself.
func (f file) entry() (entry, error) {
	e := entry{path: f.Path, failed: f.Error != "", known: f.Structure != "", objects: len(f.Objects) > 0}
	if f.Path == "" {
		return e, errors.New("it has no \"path\"")
	}
	if f.Record != nil {
		if e.record = *f.Record; e.record < 1 {
			return e, fmt.Errorf("record %d: they count from 1", e.record)
		}
	}
	if f.Offset != nil {
		if e.offset, e.ranged = *f.Offset, true; e.offset < 0 {
			return e, fmt.Errorf("offset %d", e.offset)
		}
	}
	var err error
	if e.raw, err = digits(f.Raw); err != nil {
		return e, fmt.Errorf("\"raw\": %w", err)
	}
	for i, s := range f.Records {
		v, err := digits(s)
		if err != nil {
			return e, fmt.Errorf("record %d: %w", i+1, err)
		}
		e.records = append(e.records, v)
	}
	if f.Decoded != nil {
		e.decoded = value{true, secret.New(f.Decoded)}
	}
	if f.New != nil {
		if e.other, err = digits(*f.New); err != nil {
			return e, fmt.Errorf("\"new\": %w", err)
		}
	}
	return e, e.consistent(f.New != nil)
}

// consistent refuses members that do not go together.
func (e entry) consistent(undo bool) error {
	switch {
	case e.record > 0 && len(e.records) > 0:
		return errors.New("\"record\" is for one with \"raw\" or \"decoded\", not with \"records\"")
	case e.record > 0 && e.ranged:
		return errors.New("a record is written whole: \"offset\" is for transparent files")
	case e.ranged && (!e.raw.given || e.decoded.given):
		return errors.New("\"offset\" goes with \"raw\" alone")
	case undo && (!e.other.given || !e.raw.given || e.decoded.given || len(e.records) > 0 || e.other.bytes.Len() != e.raw.bytes.Len()):
		return errors.New("\"new\", of an undo file, goes with a \"raw\" of the same length, and nothing else")
	}
	return nil
}

// digits reads hexadecimal digits; none, and redacted ones, say nothing.
func digits(s string) (value, error) {
	if s == "" || s == dump.Redacted {
		return value{}, nil
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		return value{}, errors.New("want pairs of hexadecimal digits")
	}
	return value{true, secret.New(b)}, nil
}

// Resumed makes of an undo document the one that completes what it would undo. The
// error wraps ErrDocument for a document that is none.
func (d Document) Resumed() (Document, error) {
	out := Document{iccid: d.iccid}
	for _, e := range d.entries {
		if !e.other.given {
			return Document{}, fmt.Errorf("%w, but not an undo file: %q has no \"new\"", ErrDocument, e.path)
		}
		e.raw, e.other = e.other, e.raw
		out.entries = append(out.entries, e)
	}
	return out, nil
}
