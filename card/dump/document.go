package dump

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"mcim/apdu/ef"
	"mcim/apdu/secret"
	"mcim/card"
)

// Document is what a card has. Bytes are in hexadecimal, two digits each.
type Document struct {
	ATR     string  `json:"atr"`
	ICCID   string  `json:"iccid,omitempty"` // digits; empty where EF.ICCID cannot be read
	APDUs   int     `json:"apdus"`           // commands that it took
	Seconds float64 `json:"seconds"`         // that it took
	Files   []File  `json:"files"`           // in the order in which they were read
}

// File is an EF or a directory of the card. What does not apply is left out.
type File struct {
	// Path is as in package ef, "ADF.USIM/EF.IMSI"; a second USIM is "ADF.USIM.2".
	Path string `json:"path"`
	Name string `json:"name"`          // "EF.IMSI"
	FID  string `json:"fid,omitempty"` // file identifier
	AID  string `json:"aid,omitempty"` // of an application
	// Structure is that of package ef, or "directory" or "BER-TLV", as the card
	// says it.
	Structure string `json:"structure,omitempty"`
	FCP       *FCP   `json:"fcp,omitempty"`
	// Rights are the operations on an EF ("read", "update", "activate",
	// "deactivate") and what its access rule asks for, as in "PIN1 (01)"; left out
	// where the rule is not known.
	Rights map[string]string `json:"rights,omitempty"`
	// Raw is the content of a transparent EF, Records that of the others, "" for
	// a record that cannot be read. Keys are "[redacted]".
	Raw     string   `json:"raw,omitempty"`
	Records []string `json:"records,omitempty"`
	// Objects are the data objects of an EF of BER-TLV structure, in the order of the card.
	Objects []ef.Object `json:"objects,omitempty"`
	// Decoded is the content as a document of package ef, or a list with one for
	// each record; null is content without use.
	Decoded   json.RawMessage `json:"decoded,omitempty"`
	Undecoded string          `json:"undecoded,omitempty"` // why Decoded is not there, or not all of it
	Error     string          `json:"error,omitempty"`     // why the file, or some of it, was not read

	// What is known only of a file that was read, not of one in a document.
	content []secret.Bytes // all bytes, or one for each record; empty is not read
	place   card.File
	entry   ef.File
	update  Right
}

// Right is what is known of the right to change a file.
type Right struct {
	Words string // what the access rule asks for, as in "ADM1"; empty where it is not known
	Now   bool   // it is there
	// Could says that it is there, or would be with the PIN1 or the administrative
	// code of the card's model.
	Could bool
}

// Content is what Read read of a file: its bytes, or those of each record, keys
// included; empty where there is none.
func (f File) Content() []secret.Bytes { return slices.Clone(f.content) }

// Place is where Read found the file on the card.
func (f File) Place() card.File { return f.place }

// Entry is the file's in the table of package ef. A file that Read found has one,
// key files of a card model have one without codec.
func (f File) Entry() ef.File { return f.entry }

// Update is what Read found of the right to change an EF.
func (f File) Update() Right { return f.update }

// whole is the content in one.
func (f File) whole() []byte {
	var all []byte
	for _, c := range f.content {
		all = append(all, c.Reveal()...)
	}
	return all
}

// FCP is what a card says of a file in answer to SELECT: the file control
// parameters (TS 102 221, 11.1.1.3), or that of class A0 (TS 51.011, 9.2.1).
type FCP struct {
	Raw          string `json:"raw"`
	Error        string `json:"error,omitempty"` // why it was not understood; then the rest is empty
	Type         string `json:"type,omitempty"`  // as in "linear fixed EF"
	Shareable    bool   `json:"shareable,omitempty"`
	DataCoding   string `json:"data_coding,omitempty"` // where it is not 21
	Size         *int   `json:"size,omitempty"`        // bytes of the body
	TotalSize    *int   `json:"total_size,omitempty"`
	RecordLength int    `json:"record_length,omitempty"` // bytes
	Records      int    `json:"records,omitempty"`       // number of records
	FID          string `json:"fid,omitempty"`
	AID          string `json:"aid,omitempty"`
	SFI          byte   `json:"sfi,omitempty"`        // 1 to 30
	LifeCycle    string `json:"life_cycle,omitempty"` // as in "activated"
	ARR          *ARR   `json:"arr,omitempty"`
	Compact      string `json:"security_compact,omitempty"` // data object 8C
	PINs         []PIN  `json:"pins,omitempty"`
	// Proprietary is the content of template A5.
	Proprietary []ef.Object `json:"proprietary,omitempty"`
	Unknown     []ef.Object `json:"unknown,omitempty"` // data objects with other tags
}

// ARR says which record of EF.ARR has the access rule.
type ARR struct {
	FID    string `json:"fid"`
	Record byte   `json:"record,omitempty"` // from 1
	// BySE has a record for each security environment instead.
	BySE map[string]byte `json:"by_se,omitempty"`
}

// PIN is a key reference of a PIN status template.
type PIN struct {
	Name    string `json:"name"`
	Ref     string `json:"ref"`
	Enabled bool   `json:"enabled"`
	Usage   string `json:"usage,omitempty"` // usage qualifier, where it is told
}

// ErrDocument is returned for bytes that are no document of this package.
var ErrDocument = errors.New("not a dump of a card")

// Parse reads a document as Read gives it. The error wraps ErrDocument.
func Parse(b []byte) (Document, error) {
	var d Document
	if err := json.Unmarshal(b, &d); err != nil {
		return Document{}, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	if d.ATR == "" || d.Files == nil {
		return Document{}, fmt.Errorf("%w: it has no \"atr\" or no \"files\"", ErrDocument)
	}
	seen := map[string]bool{}
	for i, f := range d.Files {
		if f.Path == "" || seen[f.Path] {
			return Document{}, fmt.Errorf("%w: file %d has no path of its own", ErrDocument, i+1)
		}
		seen[f.Path] = true
	}
	return d, nil
}
