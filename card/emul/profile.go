package emul

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"mcim/apdu/ef"
	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card/aka"
	"mcim/card/aka/suci"
	"mcim/card/model"
)

// Profile is what a software UICC is born with.
type Profile struct {
	Model     string          // card (package model), such as "usim", or the path of a file with one
	Card      *model.Card     // the card of that file; nil: Model is a name
	ICCID     string          // 18 to 20 digits
	IMSI      string          // 6 to 15 digits
	PIN1      secret.Bytes    // 4 to 8 digits
	PUK1      secret.Bytes    // 8 digits
	K         secret.Bytes    // 16 bytes; 16 or 32 with TUAK
	OPc       secret.Bytes    // 16 bytes, of MILENAGE only
	TOPc      secret.Bytes    // 32 bytes, of TUAK only
	AMF       [2]byte         // of the home operator; the card itself takes any
	SQN       aka.SQN         // its SEQ has been seen by every IND
	ADM1      secret.Bytes    // 8 bytes
	Codes                     // those that not every card has
	MNCLength int             // digits of the MNC in IMSI: 2, which 0 stands for too, or 3
	Algorithm model.Algorithm // one of model.Algorithms; "" stands for "milenage"
	Routing   string          // routing indicator, 1 to 4 digits; "" is "0"
	SUCI      suci.PublicKey  // of the home network; the zero value is the null scheme
	AuthLimit int             // authentications that the card ever answers, up to 2^24-1; 0 is no limit
	Delta     uint64          // how far SEQ may be ahead of the highest, up to aka.MaxSEQ; 0 is aka.DefaultDelta
	// ChannelKey is shared with the terminal for a secure channel (package securechannel), 16
	// or 32 bytes; empty: the card has none. ChannelLimit is how many commands one connection
	// carries, up to 65535, which 0 stands for.
	ChannelKey   secret.Bytes
	ChannelLimit int
	AgeLimit     uint64 // L of TS 33.102, C.2.2: how far it may be behind; 0 is no limit
	SQNEntries   int    // values of IND: a power of two up to 32, which 0 stands for too; 1 is no IND
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
	K, OPc, TOPc, AMF, SQN, ADM1   *string
	MNCLength                      *int64 `toml:"mnc_length"`
	Algorithm, Routing             *string
	PIN2, PUK2, Universal          *string
	UniversalPUK                   *string `toml:"universal_puk"`
	ADM2, ADM3, ADM4, ADM5, ADM6   *string
	ADM7, ADM8, ADM9, ADM10        *string
	Scheme                         *string `toml:"suci_scheme"`
	KeyID                          *int64  `toml:"suci_key_id"`
	PublicKey                      *string `toml:"suci_key"`
	AuthLimit                      *int64  `toml:"auth_limit"`
	Delta                          *int64  `toml:"sqn_delta"`
	AgeLimit                       *int64  `toml:"sqn_age_limit"`
	SQNEntries                     *int64  `toml:"sqn_entries"`
	ChannelKey                     *string `toml:"channel_key"`
	ChannelLimit                   *int64  `toml:"channel_limit"`
}

// ReadProfile reads a profile from a TOML file. Its model may be a file too, with a
// path that is relative to the profile's: "./mine.toml". Errors are those of reading,
// *ProfileError, and *model.FileError of the model's file.
func ReadProfile(path string) (Profile, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Profile{}, fmt.Errorf("read the profile: %w", err)
	}
	return parseProfile(path, b, func(name string) (*model.Card, string, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(path), name)
		}
		c, err := model.ReadCard(name)
		return c, name, err
	})
}

// ParseProfile decodes a profile, strictly: an unknown key, a missing one or a
// value out of its bounds is a *ProfileError, which calls the file name.
//
//	model = "usim"                             # or the path of a file, see ReadProfile
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
//	algorithm  = "milenage"                    # optional; "tuak" has topc of 32 bytes in
//	                                           # the place of opc, "xor", and "comp128v1" to
//	                                           # "comp128v3" for the GSM context, have neither
//	routing    = "0"                           # optional: routing indicator of the SUCI
//	suci_scheme = "profile_a"                  # optional: "null", "profile_a", "profile_b"
//	suci_key_id = 27                           # with a profile only: the home network's key
//	pin2 = "2345"                              # optional, and of a card that has it; as pin1
//	puk2 = "23456789"                          # optional, as puk1
//	universal = "3456"                         # universal PIN: optional, as pin1
//	universal_puk = "34567890"                 # optional, as puk1
//	adm2 = "0011223344556677"                  # optional, as adm1; to adm10
//	suci_key = "5a8d38864820197c3394b92613b20b91633cbd897119273bf8e4a6f4eec0a650"
//	auth_limit = 65536                         # optional: authentications the card ever answers
//	sqn_entries = 32                           # optional: values of IND (TS 33.102, C.2.2),
//	                                           # a power of two up to 32; 1 is no IND
//	sqn_delta = 268435456                      # optional: how far SEQ may jump ahead
//	sqn_age_limit = 32                         # optional: how far SEQ may be behind
//	channel_key = "00112233445566778899aabbccddeeff" # optional: key of a secure channel with the
//	                                           # terminal, 16 or 32 bytes
//	channel_limit = 65535                      # optional: commands that one connection carries
func ParseProfile(name string, data []byte) (Profile, error) {
	return parseProfile(name, data, func(path string) (*model.Card, string, error) {
		return nil, path, &ProfileError{Field: "model", Reason: "the path of a file is for a profile that is a file itself"}
	})
}

// IsFile reports whether the model of a profile is the path of a file.
func IsFile(model string) bool { return strings.HasSuffix(model, ".toml") }

// parseProfile is ParseProfile, where read gives the card of a file and its path.
func parseProfile(name string, data []byte, read func(path string) (*model.Card, string, error)) (Profile, error) {
	var d document
	if err := decodeTOML(name, data, &d); err != nil {
		return Profile{}, err
	}
	p, err := d.profile()
	if err == nil && IsFile(p.Model) {
		p.Card, p.Model, err = read(p.Model)
		if errors.Is(err, fs.ErrNotExist) {
			err = &ProfileError{Field: "model", Reason: err.Error() + "; its path is relative to the profile's"}
		}
	}
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
			"not a value that TOML and this key allow; every value is a string in quotes, but mnc_length, suci_key_id, auth_limit, sqn_entries, sqn_delta, sqn_age_limit and channel_limit are numbers"}
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
	if err := d.keys(&p); err != nil {
		return p, err
	}
	if err := d.channel(&p); err != nil {
		return p, err
	}
	if err := d.limits(&p); err != nil {
		return p, err
	}
	if err := d.codes(&p.Codes); err != nil {
		return p, err
	}
	if d.MNCLength != nil {
		p.MNCLength = int(*d.MNCLength)
		if p.MNCLength == 0 {
			p.MNCLength = -1 // told, and wrong
		}
	}
	return p, d.suci(&p)
}

// sqnFile is what the SQN file holds.
func (p *Profile) sqnFile() model.SQN {
	q := model.NewSQN(uint64(p.SQN))
	q.Entries = cmp.Or(p.SQNEntries, aka.ArraySize)
	n := uint64(q.Entries)
	for i := range n {
		q.Seen[i] = uint64(p.SQN)&^(n-1) | i
	}
	q.Delta = cmp.Or(p.Delta, aka.DefaultDelta) * n
	if p.AgeLimit != 0 {
		q.CheckAge, q.AgeLimit = true, p.AgeLimit*n
	}
	return q
}

// keys takes the algorithm and what it needs. That the lengths are right is for
// check to say.
func (d *document) keys(p *Profile) error {
	if d.Algorithm != nil {
		p.Algorithm = model.Algorithm(*d.Algorithm)
	}
	for _, f := range []struct {
		field    string
		value    *string
		optional bool
		set      *secret.Bytes
	}{
		{"k", d.K, false, &p.K},
		{"opc", d.OPc, p.Algorithm == model.TUAK || p.Algorithm != "" && !p.Algorithm.HasOPc(), &p.OPc},
		{"topc", d.TOPc, p.Algorithm != model.TUAK, &p.TOPc},
	} {
		if f.value == nil {
			if !f.optional {
				return &ProfileError{Field: f.field, Reason: "missing"}
			}
			continue
		}
		b, err := hex.DecodeString(*f.value)
		if err != nil || len(b) == 0 {
			return &ProfileError{Field: f.field, Reason: "want hexadecimal digits without spaces, two a byte"}
		}
		*f.set = secret.New(b)
	}
	return nil
}

// suci takes what the SUCI is made with.
func (d *document) suci(p *Profile) error {
	if d.Routing != nil {
		if p.Routing = *d.Routing; p.Routing == "" {
			p.Routing = "-" // told, and wrong
		}
	}
	if d.KeyID != nil {
		if *d.KeyID < 0 || *d.KeyID > maxKeyID {
			return &ProfileError{Field: "suci_key_id", Reason: fmt.Sprintf("want 0 to %d", maxKeyID)}
		}
		p.SUCI.ID = byte(*d.KeyID)
	}
	if d.PublicKey != nil {
		b, err := hex.DecodeString(*d.PublicKey)
		if err != nil {
			return &ProfileError{Field: "suci_key", Reason: "want hexadecimal digits without spaces"}
		}
		p.SUCI.Key = b
	}
	if d.Scheme == nil {
		return nil
	}
	for s, name := range schemeNames() {
		if name == *d.Scheme {
			p.SUCI.Scheme = usim.Scheme(s)
			return nil
		}
	}
	return &ProfileError{Field: "suci_scheme", Reason: fmt.Sprintf("not known, want one of %q", schemeNames())}
}

// maxKeyID is the greatest home network public key identifier (TS 24.501, 9.11.3.4).
const maxKeyID = 254

// schemeNames are the names of the schemes 0 to 2, as in EF.SUCI_Calc_Info.
func schemeNames() []string { return []string{"null", "profile_a", "profile_b"} }

// identity is what appears in files.
func (p *Profile) identity() model.Identity {
	i := model.Identity{ICCID: p.ICCID, IMSI: p.IMSI, MNCLength: max(p.MNCLength, 2), Routing: cmp.Or(p.Routing, "0")}
	s := ef.ProtectionScheme{Scheme: schemeNames()[p.SUCI.Scheme]}
	if p.SUCI.Scheme != usim.SchemeNull {
		s.Key = 1
		i.SUCI.Keys = &[]ef.HomeKey{{ID: p.SUCI.ID, Key: p.SUCI.Key}}
	}
	i.SUCI.Schemes = []ef.ProtectionScheme{s}
	return i
}

// key is what the key file holds.
func (p *Profile) key() model.Key {
	k := model.Key{Algorithm: cmp.Or(p.Algorithm, model.Milenage), K: p.K, OPc: p.OPc}
	if k.Algorithm == model.TUAK {
		k.OPc = p.TOPc
	}
	return k
}

// layout is the card that the profile is for.
func (p *Profile) layout() (*model.Card, error) {
	if p.Card != nil {
		return p.Card, nil
	}
	return model.CardByName(p.Model)
}

// check looks at the bounds of every value; the error is a *ProfileError.
func (p *Profile) check() error {
	bad := func(field, reason string) error { return &ProfileError{Field: field, Reason: reason} }
	l, err := p.layout()
	if err != nil {
		return bad("model", "not known, want one of "+strings.Join(Models(), ", ")+", or a file such as ./mine.toml")
	}
	if _, err := uicc.EncodeICCID(p.ICCID); err != nil {
		return bad("iccid", "want 18 to 20 digits")
	}
	if _, err := usim.IMSI(p.IMSI).Encode(); err != nil {
		return bad("imsi", "want 6 to 15 digits")
	}
	if err := p.checkKeys(l); err != nil {
		return err
	}
	if err := p.checkCodes(l); err != nil {
		return err
	}
	if err := p.checkSQN(); err != nil {
		return err
	}
	if err := p.checkChannel(l); err != nil {
		return err
	}
	if p.AuthLimit < 0 || p.AuthLimit > maxAuthLimit {
		return bad("auth_limit", fmt.Sprintf("want 1 to %d, or leave it out", maxAuthLimit))
	}
	if p.MNCLength != 0 && p.MNCLength != 2 && p.MNCLength != 3 {
		return bad("mnc_length", "want 2 or 3")
	}
	return p.checkSUCI()
}

// checkKeys looks at the algorithm and the lengths of the keys.
func (p *Profile) checkKeys(l *model.Card) error {
	bad := func(field, reason string) error { return &ProfileError{Field: field, Reason: reason} }
	opc, topc := 0, 0
	switch a := cmp.Or(p.Algorithm, model.Milenage); {
	case !slices.Contains(model.Algorithms(), a):
		return bad("algorithm", fmt.Sprintf("not known, want one of %q", model.Algorithms()))
	case !l.Family.Has(a):
		return bad("algorithm", fmt.Sprintf("the card %s has no %s", l.Name, a))
	case a == model.TUAK:
		topc = 32
	case a.HasOPc():
		opc = 16
	}
	for _, f := range []struct {
		name  string
		value secret.Bytes
		n     int
	}{{"k", p.K, 16}, {"opc", p.OPc, opc}, {"topc", p.TOPc, topc}, {"adm1", p.ADM1, 8}} {
		switch n := f.value.Len(); {
		case n == f.n, f.name == "k" && p.Algorithm == model.TUAK && n == 32:
		case f.n == 0:
			return bad(f.name, fmt.Sprintf("is not for the algorithm %s: milenage has opc, tuak has topc, the others have neither", cmp.Or(p.Algorithm, model.Milenage)))
		default:
			return bad(f.name, fmt.Sprintf("want %d bytes", f.n))
		}
	}
	return nil
}

// checkSUCI makes a SUCI, to see that it can be made.
func (p *Profile) checkSUCI() error {
	bad := func(field, reason string) error { return &ProfileError{Field: field, Reason: reason} }
	routing := cmp.Or(p.Routing, "0")
	if _, err := (usim.SUCI{Home: usim.PLMN{MCC: "001", MNC: "01"}, Routing: routing, Output: []byte{0xF1}}).Encode(); err != nil {
		return bad("routing", "want 1 to 4 digits")
	}
	if p.SUCI.Scheme == usim.SchemeNull {
		if p.SUCI.ID != 0 || len(p.SUCI.Key) != 0 {
			return bad("suci_scheme", "the null scheme has neither suci_key nor suci_key_id")
		}
		return nil
	}
	probe := bytes.Repeat([]byte{1}, 32) // any private key will do
	if p.SUCI.Scheme > usim.SchemeB || p.SUCI.ID > maxKeyID {
		return bad("suci_scheme", "want a scheme and a key identifier that are known")
	}
	if _, err := suci.Encrypt(p.SUCI.Scheme, p.SUCI.Key, secret.New(probe), []byte{0}); err != nil {
		return bad("suci_key", "not a public key of that scheme: want 32 bytes for profile_a, 33 or 65 for profile_b")
	}
	return nil
}

// Models are the names of the cards that a profile may name.
func Models() []string {
	all, err := model.Cards()
	if err != nil {
		return nil // New says why
	}
	var names []string
	for _, c := range all {
		if c.Name != model.Version1 {
			names = append(names, c.Name)
		}
	}
	return names
}
