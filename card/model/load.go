package model

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// FileError is a mistake in a model file.
type FileError struct {
	Name   string // of the file
	Line   int    // from 1; 0 where the whole file is meant
	Reason string
}

// Error is file, line and reason.
func (e *FileError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("card model %s: %s", e.Name, e.Reason)
	}
	return fmt.Sprintf("card model %s, line %d: %s", e.Name, e.Line, e.Reason)
}

// hexBytes are hexadecimal digits in a file, of either case.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil {
		return fmt.Errorf("%q is not an even number of hexadecimal digits", text)
	}
	*h = b
	return nil
}

// document is a model file.
type document struct {
	Name       string
	Title      string
	AID        hexBytes
	ATR        []pattern
	ADM        struct{ Reference, Length byte }
	KeyFile    file `toml:"key_file"`
	SQNFile    file `toml:"sqn_file"`
	Algorithms map[Algorithm]byte
}

type pattern struct{ Value, Mask hexBytes }

type file struct {
	FID      hexBytes
	Size     uint16
	ReadBack bool `toml:"read_back"`
}

// Parse decodes one model file, strictly: an unknown key, a missing one or a
// value out of its bounds is a *FileError. Name is what the error calls the
// file. A missing mask counts every bit; a missing read_back is false. Without aid the
// model is of SIMs, and has no files.
func Parse(name string, data []byte) (*Model, error) {
	var d document
	if err := decode(name, data, &d); err != nil {
		return nil, err
	}
	if m := d.check(); m.reason != "" {
		return nil, &FileError{name, lineOf(data, m), m.reason}
	}
	m := &Model{
		Name: d.Name, Title: d.Title, AID: d.AID,
		ADM:        ADM{d.ADM.Reference, int(d.ADM.Length)},
		Algorithms: d.Algorithms,
	}
	if !m.SIM() {
		m.KeyFile, m.SQNFile = d.KeyFile.model(), d.SQNFile.model()
	}
	for _, p := range d.ATR {
		m.ATRs = append(m.ATRs, p.model())
	}
	return m, nil
}

func (f file) model() File {
	return File{uint16(f.FID[0])<<8 | uint16(f.FID[1]), int(f.Size), f.ReadBack}
}

func (p pattern) model() Pattern {
	if p.Mask == nil {
		p.Mask = bytes.Repeat([]byte{0xFF}, len(p.Value))
	}
	return Pattern{p.Value, p.Mask}
}

// decode reads TOML and gives the line of what is wrong with it.
func decode(name string, data []byte, v any) error {
	err := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(v)
	var unknown *toml.StrictMissingError
	var bad *toml.DecodeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unknown):
		first := unknown.Errors[0]
		line, _ := first.Position()
		return &FileError{name, line, fmt.Sprintf("unknown key %q", strings.Join(first.Key(), "."))}
	case errors.As(err, &bad):
		line, _ := bad.Position()
		return &FileError{name, line, strings.TrimPrefix(bad.Error(), "toml: ")}
	default:
		return &FileError{name, 0, strings.TrimPrefix(err.Error(), "toml: ")}
	}
}

// mistake is what check finds: key is "key" or "table.key", nth tells tables of
// one name apart. No reason means no mistake.
type mistake struct {
	key    string
	nth    int // from 0
	reason string
}

// check looks for what the types do not say.
func (d *document) check() mistake {
	switch {
	case d.Name == "":
		return mistake{"name", 0, "name is missing"}
	case d.Title == "":
		return mistake{"title", 0, "title is missing"}
	case d.AID != nil && (len(d.AID) < 5 || len(d.AID) > 16):
		return mistake{"aid", 0, fmt.Sprintf("aid has %d bytes, want 5 to 16", len(d.AID))}
	case len(d.ATR) == 0:
		return mistake{"atr", 0, "no [[atr]]: no card could be of this model"}
	case d.ADM.Reference == 0:
		return mistake{"adm.reference", 0, "adm.reference is missing"}
	case d.ADM.Length == 0 || d.ADM.Length > 16:
		return mistake{"adm.length", 0, fmt.Sprintf("adm.length is %d, want 1 to 16 bytes", d.ADM.Length)}
	}
	for i, p := range d.ATR {
		if reason := p.check(); reason != "" {
			return mistake{"atr.value", i, reason}
		}
	}
	if m := d.checkFiles(); m.reason != "" {
		return m
	}
	return checkAlgorithms(d.Algorithms)
}

// checkFiles looks at the files of the application; without one there are none.
func (d *document) checkFiles() mistake {
	if d.AID == nil {
		if d.KeyFile.FID != nil || d.SQNFile.FID != nil {
			return mistake{"aid", 0, "key_file and sqn_file are of an application: aid is missing"}
		}
		return mistake{}
	}
	if m := d.KeyFile.check("key_file", KeyFileSize); m.reason != "" {
		return m
	}
	return d.SQNFile.check("sqn_file", SQNFileSize)
}

func (p pattern) check() string {
	switch {
	case len(p.Value) < 2 || len(p.Value) > 33:
		return fmt.Sprintf("value has %d bytes, an ATR has 2 to 33", len(p.Value))
	case p.Mask != nil && len(p.Mask) != len(p.Value):
		return fmt.Sprintf("mask has %d bytes, value %d", len(p.Mask), len(p.Value))
	default:
		return ""
	}
}

// check holds a file to the one layout that this package can encode.
func (f file) check(table string, size int) mistake {
	switch {
	case len(f.FID) != 2:
		return mistake{table + ".fid", 0, fmt.Sprintf("%s.fid has %d bytes, want 2", table, len(f.FID))}
	case int(f.Size) != size:
		return mistake{table + ".size", 0, fmt.Sprintf("%s.size is %d, the layout has %d bytes", table, f.Size, size)}
	default:
		return mistake{}
	}
}

func checkAlgorithms(list map[Algorithm]byte) mistake {
	if len(list) == 0 {
		return mistake{"algorithms.", 0, "no algorithm in [algorithms]"}
	}
	for a, number := range list {
		switch {
		case !slices.Contains(Algorithms(), a):
			return mistake{"algorithms." + string(a), 0, fmt.Sprintf("unknown algorithm %q, want one of %q", a, Algorithms())}
		case number > 0x0F:
			return mistake{"algorithms." + string(a), 0, fmt.Sprintf("algorithm number %d, want 0 to 15", number)}
		}
	}
	return mistake{}
}

// lineOf finds the line of the key, or that of its table where the key is
// missing, or 0.
func lineOf(data []byte, m mistake) int {
	table, key, found := strings.Cut(m.key, ".")
	if !found {
		table, key = "", m.key
	}
	current, header, seen := "", 0, -1
	for i, line := range strings.Split(string(data), "\n") {
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			current = strings.Trim(line, "[] ")
			if current == table {
				seen++
				header = i + 1
			}
			continue
		}
		name, _, ok := strings.Cut(line, "=")
		if ok && current == table && (table == "" || seen == m.nth) && strings.TrimSpace(name) == key {
			return i + 1
		}
	}
	return header
}
