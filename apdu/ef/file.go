package ef

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"mcim/apdu/usim"
)

// ErrContent is returned for the content of a file that is not as its clause
// says, for a value that the file cannot hold, and for a document that is not the
// file's. For a file with Secret set, its text does not repeat the content.
var ErrContent = usim.ErrContent

// Dir is the directory of a file: "MF", or a path below it or below an
// application.
type Dir string

// Directories with files in the table.
const (
	DirMF        Dir = "MF"
	DirTelecom   Dir = "DF.TELECOM" // TS 51.011, 10.5; TS 31.102, 4.6
	DirGSM       Dir = "DF.GSM"     // TS 51.011, 10.3
	DirUSIM      Dir = "ADF.USIM"
	DirGSMAccess Dir = "ADF.USIM/DF.GSM-ACCESS" // TS 31.102, 4.4.3
	Dir5GS       Dir = "ADF.USIM/DF.5GS"        // TS 31.102, 4.4.11
	DirPhoneBook Dir = "ADF.USIM/DF.PHONEBOOK"  // TS 31.102, 4.4.2
	DirISIM      Dir = "ADF.ISIM"
)

// FIDs is the path of the directory as file identifiers, from the MF (3F00) or
// from the application (7FFF).
func (d Dir) FIDs() []uint16 {
	switch d {
	case DirMF:
		return []uint16{0x3F00}
	case DirTelecom:
		return []uint16{0x3F00, 0x7F10}
	case DirGSM:
		return []uint16{0x3F00, 0x7F20}
	case DirGSMAccess:
		return []uint16{0x7FFF, 0x5F3B}
	case Dir5GS:
		return []uint16{0x7FFF, 0x5FC0}
	case DirPhoneBook:
		return []uint16{0x7FFF, 0x5F3A}
	default:
		return []uint16{0x7FFF}
	}
}

// Structure is the structure of an EF (TS 102 221, 8.3).
type Structure string

// Structures of EFs.
const (
	Transparent Structure = "transparent"
	LinearFixed Structure = "linear fixed"
	Cyclic      Structure = "cyclic"
)

// File is a file of the table.
type File struct {
	Name string // as in the specification: "EF.IMSI"
	Dir  Dir
	FID  uint16
	// SFI is the short file identifier where the specification fixes it, 0
	// elsewhere.
	SFI       byte
	Structure Structure
	Clause    string // "TS 31.102, 4.2.2"
	// Secret tells that the content holds keys: neither the bytes nor what
	// DecodeClear gives may be printed.
	Secret bool

	// ones tells that bytes that are all FF are a value, not a file without use.
	ones bool
	new  func() content
}

// content is the value of a file: a pointer to a struct that names its fields in
// the order of the clause.
type content interface{ fields(c *coder) }

// Path names the file with its directory: "ADF.USIM/EF.IMSI".
func (f File) Path() string { return string(f.Dir) + "/" + f.Name }

// Files are the files of the table, ordered by family.
func Files() []File {
	return slices.Concat(mfFiles(), identityFiles(), networkFiles(), locationFiles(), keyFiles(), dialFiles(), callFiles(),
		smsFiles(), apnFiles(), gbaFiles(), fivegFiles(), imsFiles(), phoneBookFiles())
}

// Find gives the file of a directory by its identifier.
func Find(dir Dir, fid uint16) (File, bool) {
	for _, f := range Files() {
		if f.Dir == dir && f.FID == fid {
			return f, true
		}
	}
	return File{}, false
}

// ByPath gives the file with the path, as Path gives it; upper and lower case are
// the same.
func ByPath(path string) (File, bool) {
	for _, f := range Files() {
		if strings.EqualFold(f.Path(), path) {
			return f, true
		}
	}
	return File{}, false
}

// Decode decodes the content of a transparent file, or one record. The value is a
// pointer to the type that belongs to the file, or nil where the content is all
// FF and so not in use. Keys in it are redacted. Errors wrap ErrContent.
func (f File) Decode(b []byte) (any, error) { return f.decode(b, false) }

// DecodeClear is Decode for a document that is to be written back: its keys
// marshal in the clear. Such a document is itself a secret.
func (f File) DecodeClear(b []byte) (any, error) { return f.decode(b, true) }

// As decodes the content of a transparent file, or one record, of the table as the
// type that belongs to it. Errors wrap ErrContent; a file of another type is one, and
// a content that is all FF and so not in use.
func As[T any](dir Dir, fid uint16, b []byte) (*T, error) {
	f, ok := Find(dir, fid)
	if !ok {
		return nil, fmt.Errorf("%s/%04X: %w: no file of the table", dir, fid, ErrContent)
	}
	v, err := f.Decode(b)
	if err != nil {
		return nil, err
	}
	t, ok := v.(*T)
	if !ok {
		return nil, fmt.Errorf("%s: %w: %T, want %T", f.Name, ErrContent, v, t)
	}
	return t, nil
}

func (f File) decode(b []byte, clear bool) (any, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%s: %w: no bytes", f.Name, ErrContent)
	}
	if !f.ones && filled(b) {
		return nil, nil
	}
	v := f.new()
	c := &coder{in: b, size: len(b), clear: clear}
	v.fields(c)
	if c.err == nil && !filled(c.in) {
		c.fail("%d bytes behind the last field", len(c.in))
	}
	switch {
	case c.err != nil && f.Secret:
		return nil, fmt.Errorf("%s: %w: not as in %s; its %d bytes are not shown", f.Name, ErrContent, f.Clause, len(b))
	case c.err != nil:
		return nil, fmt.Errorf("%s: %w", f.Name, c.err)
	}
	if back, err := f.write(v, len(b)); err != nil || !bytes.Equal(back, b) {
		return nil, fmt.Errorf("%s: %w: the fields do not say every bit of the %d bytes", f.Name, ErrContent, len(b))
	}
	return v, nil
}

// Encode encodes a value as the content of a transparent file, or as a record, of
// size bytes. The value is what Decode or Parse gives, or anything that marshals
// to the same document; nil and null are a file without use, all FF. What does not
// fit, and what Decode would not read back, is ErrContent.
func (f File) Encode(v any, size int) ([]byte, error) {
	if size < 1 {
		return nil, fmt.Errorf("%s: %w: a file or record of %d bytes", f.Name, ErrContent, size)
	}
	value, ok := v.(content)
	if !ok || reflect.TypeOf(value) != reflect.TypeOf(f.new()) || reflect.ValueOf(value).IsNil() {
		doc, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %w", f.Name, ErrContent, err)
		}
		if value, err = f.parse(doc); err != nil {
			return nil, err
		}
	}
	if value == nil {
		return filling(size), nil
	}
	b, err := f.write(value, size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name, err)
	}
	if _, err := f.decode(b, false); err != nil {
		return nil, fmt.Errorf("the value would not be read back: %w", err)
	}
	return b, nil
}

// Parse reads the JSON document of a value. A field that the file does not have,
// a redacted key and anything behind the document are ErrContent; the value is
// nil for null.
func (f File) Parse(doc []byte) (any, error) {
	v, err := f.parse(doc)
	if v == nil {
		return nil, err
	}
	return v, err
}

func (f File) parse(doc []byte) (content, error) {
	if string(bytes.TrimSpace(doc)) == "null" {
		return nil, nil
	}
	v := f.new()
	d := json.NewDecoder(bytes.NewReader(doc))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", f.Name, ErrContent, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("%s: %w: more than one document", f.Name, ErrContent)
	}
	return v, nil
}

func (f File) write(v content, size int) ([]byte, error) {
	c := &coder{writing: true, size: size, out: make([]byte, 0, size)}
	v.fields(c)
	if c.err == nil && len(c.out) > size {
		c.fail("%d bytes do not fit the %d of the file or record", len(c.out), size)
	}
	if c.err != nil {
		return nil, c.err
	}
	return append(c.out, filling(size-len(c.out))...), nil
}

// used is b without the FF at its end, with which unused bytes are filled.
func used(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == 0xFF {
		b = b[:len(b)-1]
	}
	return b
}

// filled reports whether b is all FF.
func filled(b []byte) bool { return len(used(b)) == 0 }

func filling(n int) []byte { return bytes.Repeat([]byte{0xFF}, max(n, 0)) }
