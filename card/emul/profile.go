package emul

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card/aka"
	"mcim/card/model"
)

// Profile is what a software UICC is born with.
type Profile struct {
	Model     string          // card model (package model); "usim"
	ICCID     string          // 18 to 20 digits
	IMSI      string          // 6 to 15 digits
	PIN1      secret.Bytes    // 4 to 8 digits
	PUK1      secret.Bytes    // 8 digits
	K, OPc    secret.Bytes    // 16 bytes each
	AMF       [2]byte         // of the home operator; the card itself takes any
	SQN       aka.SQN         // its SEQ has been seen by every IND
	ADM1      secret.Bytes    // 8 bytes
	MNCLength int             // digits of the MNC in IMSI: 2, which 0 stands for too, or 3
	Algorithm model.Algorithm // "milenage", which "" stands for too
}

// ProfileError is a mistake in a profile. It never repeats a value.
type ProfileError struct {
	File   string
	Line   int    // from 1; 0 where a line cannot be told
	Field  string // key; "" where the file as a whole is wrong
	Reason string
}

// Error is file, line, key and reason.
func (e *ProfileError) Error() string {
	s := "profile"
	if e.File != "" {
		s += " " + e.File
	}
	if e.Line > 0 {
		s += fmt.Sprintf(", line %d", e.Line)
	}
	if e.Field != "" {
		s += ", " + e.Field
	}
	return s + ": " + e.Reason
}

// document is the file; a nil pointer is a key that is missing.
type document struct {
	Model, ICCID, IMSI, PIN1, PUK1 *string
	K, OPc, AMF, SQN, ADM1         *string
	MNCLength                      *int64 `toml:"mnc_length"`
	Algorithm                      *string
}

// ReadProfile reads a profile from a TOML file. Errors are those of reading, and
// *ProfileError.
func ReadProfile(path string) (Profile, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Profile{}, fmt.Errorf("read the profile: %w", err)
	}
	return ParseProfile(path, b)
}

// ParseProfile decodes a profile, strictly: an unknown key, a missing one or a
// value out of its bounds is a *ProfileError, which calls the file name.
//
//	model = "usim"
//	iccid = "8988211000000467343"            # digits
//	imsi  = "001010000000001"
//	pin1  = "1234"
//	puk1  = "12345678"
//	k     = "00112233445566778899aabbccddeeff" # hex without spaces
//	opc   = "00112233445566778899aabbccddeeff"
//	amf   = "8000"
//	sqn   = "000000000000"
//	adm1  = "0011223344556677"
//	mnc_length = 2                             # optional
//	algorithm  = "milenage"                    # optional
func ParseProfile(name string, data []byte) (Profile, error) {
	var d document
	if err := decodeTOML(name, data, &d); err != nil {
		return Profile{}, err
	}
	p, err := d.profile()
	if err == nil {
		err = p.check()
	}
	var bad *ProfileError
	if errors.As(err, &bad) {
		bad.File, bad.Line = name, lineOf(data, bad.Field)
	}
	return p, err
}

// decodeTOML keeps the text of the TOML package out of the error: it may quote
// what it did not understand.
func decodeTOML(name string, data []byte, d *document) error {
	err := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(d)
	var unknown *toml.StrictMissingError
	var bad *toml.DecodeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unknown):
		line, _ := unknown.Errors[0].Position()
		return &ProfileError{name, line, strings.Join(unknown.Errors[0].Key(), "."), "unknown key"}
	case errors.As(err, &bad):
		line, _ := bad.Position()
		return &ProfileError{name, line, strings.Join(bad.Key(), "."),
			"not a value that TOML and this key allow; every value is a string in quotes, but mnc_length is a number"}
	}
	return &ProfileError{name, 0, "", "not a TOML file of keys and strings"}
}

// lineOf finds the line of a key; 0 where there is none.
func lineOf(data []byte, field string) int {
	for i, line := range strings.Split(string(data), "\n") {
		if key, _, ok := strings.Cut(line, "="); ok && strings.EqualFold(strings.Trim(strings.TrimSpace(key), `"'`), field) {
			return i + 1
		}
	}
	return 0
}

// profile turns the strings into values.
func (d *document) profile() (Profile, error) {
	var p Profile
	for _, f := range []struct {
		field string
		value *string
		set   func(string)
	}{
		{"model", d.Model, func(s string) { p.Model = s }},
		{"iccid", d.ICCID, func(s string) { p.ICCID = s }},
		{"imsi", d.IMSI, func(s string) { p.IMSI = s }},
		{"pin1", d.PIN1, func(s string) { p.PIN1 = secret.New([]byte(s)) }},
		{"puk1", d.PUK1, func(s string) { p.PUK1 = secret.New([]byte(s)) }},
	} {
		if f.value == nil {
			return p, &ProfileError{Field: f.field, Reason: "missing"}
		}
		f.set(*f.value)
	}
	for _, f := range []struct {
		field string
		value *string
		n     int
		set   func([]byte)
	}{
		{"k", d.K, 16, func(b []byte) { p.K = secret.New(b) }},
		{"opc", d.OPc, 16, func(b []byte) { p.OPc = secret.New(b) }},
		{"amf", d.AMF, 2, func(b []byte) { p.AMF = [2]byte(b) }},
		{"sqn", d.SQN, 6, func(b []byte) { p.SQN = aka.SQNFromBytes([6]byte(b)) }},
		{"adm1", d.ADM1, 8, func(b []byte) { p.ADM1 = secret.New(b) }},
	} {
		if f.value == nil {
			return p, &ProfileError{Field: f.field, Reason: "missing"}
		}
		b, err := hex.DecodeString(*f.value)
		if err != nil || len(b) != f.n {
			return p, &ProfileError{Field: f.field, Reason: fmt.Sprintf("want %d hexadecimal digits without spaces", 2*f.n)}
		}
		f.set(b)
	}
	if d.Algorithm != nil {
		p.Algorithm = model.Algorithm(*d.Algorithm)
	}
	if d.MNCLength != nil {
		p.MNCLength = int(*d.MNCLength)
		if p.MNCLength == 0 {
			p.MNCLength = -1 // told, and wrong
		}
	}
	return p, nil
}

// check looks at the bounds of every value; the error is a *ProfileError.
func (p *Profile) check() error {
	bad := func(field, reason string) error { return &ProfileError{Field: field, Reason: reason} }
	if p.Model != "usim" {
		return bad("model", `not known, want "usim"`)
	}
	if _, err := uicc.EncodeICCID(p.ICCID); err != nil {
		return bad("iccid", "want 18 to 20 digits")
	}
	if _, err := usim.IMSI(p.IMSI).Encode(); err != nil {
		return bad("imsi", "want 6 to 15 digits")
	}
	if _, err := uicc.PadPIN(string(p.PIN1.Reveal())); err != nil {
		return bad("pin1", "want 4 to 8 digits")
	}
	if _, err := uicc.PadPIN(string(p.PUK1.Reveal())); err != nil || p.PUK1.Len() != pinBytes {
		return bad("puk1", "want 8 digits")
	}
	for _, f := range []struct {
		name  string
		value secret.Bytes
		n     int
	}{{"k", p.K, 16}, {"opc", p.OPc, 16}, {"adm1", p.ADM1, 8}} {
		if f.value.Len() != f.n {
			return bad(f.name, fmt.Sprintf("want %d bytes", f.n))
		}
	}
	if p.SQN > aka.SQN(model.MaxSQN) {
		return bad("sqn", "want 48 bits")
	}
	if p.MNCLength != 0 && p.MNCLength != 2 && p.MNCLength != 3 {
		return bad("mnc_length", "want 2 or 3")
	}
	if p.Algorithm != "" && p.Algorithm != model.Milenage {
		return bad("algorithm", `not known, want "milenage"`)
	}
	return nil
}
