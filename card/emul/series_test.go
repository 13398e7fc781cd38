package emul

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card/aka/suci"
	"mcim/card/model"
)

// TestSeries: each card has its own numbers and keys, and the PINs of the first.
func TestSeries(t *testing.T) {
	t.Parallel()
	first, err := RandomProfile("usim")
	if err != nil {
		t.Fatal(err)
	}
	first.ICCID, first.IMSI = withCheckDigit("899990100000000099"), "001010000000098"
	list, err := first.Series(3)
	if err != nil || len(list) != 3 || !maps.Equal(fieldsOf(list[0]), fieldsOf(first)) {
		t.Fatalf("%d, %v", len(list), err)
	}
	for i, want := range []struct{ account, imsi string }{
		{"899990100000000099", "001010000000098"}, {"899990100000000100", "001010000000099"}, {"899990100000000101", "001010000000100"},
	} {
		p := list[i]
		if p.ICCID[:18] != want.account || !uicc.LuhnOK(p.ICCID) || p.IMSI != want.imsi {
			t.Errorf("card %d: %s, %s", i+1, p.ICCID, p.IMSI)
		}
		if err := p.check(); err != nil {
			t.Error(err)
		}
		if !same(p.PIN1, first.PIN1) || !same(p.PUK1, first.PUK1) || p.AMF != first.AMF {
			t.Errorf("card %d has not what all have", i+1)
		}
		for _, q := range list[:i] {
			if same(p.K, q.K) || same(p.OPc, q.OPc) || same(p.ADM1, q.ADM1) {
				t.Errorf("card %d has a key of another", i+1)
			}
		}
	}
}

func same(a, b secret.Bytes) bool { return bytes.Equal(a.Reveal(), b.Reveal()) }

// fields are the values in a profile by the names of their fields, secrets too; ""
// for one that is not set.
func fields(v reflect.Value, name string, into map[string]string) map[string]string {
	if key, ok := v.Interface().(secret.Bytes); ok {
		into[name] += string(key.Reveal())
		return into
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fields(v.Field(i), name+"."+v.Type().Field(i).Name, into)
		}
	case reflect.Array:
		for i := range v.Len() {
			fields(v.Index(i), name, into)
		}
	default:
		if into[name] += ""; !v.IsZero() {
			into[name] += fmt.Sprint(v)
		}
	}
	return into
}

func fieldsOf(p Profile) map[string]string {
	return fields(reflect.ValueOf(p), "profile", map[string]string{})
}

// TestSeriesRefused: numbers without room below what says whose they are.
func TestSeriesRefused(t *testing.T) {
	t.Parallel()
	for field, change := range map[string]func(*Profile){
		"iccid": func(p *Profile) { p.ICCID = withCheckDigit("899990199999999999") },
		"imsi":  func(p *Profile) { p.IMSI = "001019999999999" },
		"puk1":  func(p *Profile) { p.PUK1 = random(3) },
	} {
		p, err := RandomProfile("usim")
		if err != nil {
			t.Fatal(err)
		}
		change(&p)
		var bad *ProfileError
		if list, err := p.Series(2); !errors.As(err, &bad) || bad.Field != field {
			t.Errorf("%s: %d profiles, %v", field, len(list), err)
		}
	}
	p, err := RandomProfile("usim")
	if err != nil {
		t.Fatal(err)
	}
	p.IMSI, p.MNCLength = "001001999999999", 3
	if list, err := p.Series(2); err == nil {
		t.Errorf("an MNC of three digits became %s", list[1].IMSI)
	}
	p.MNCLength = 2
	if list, err := p.Series(2); err != nil || list[1].IMSI != "001002000000000" {
		t.Errorf("an MNC of two digits: %v", err)
	}
}

// TestWriteFile: what is written is read as the same, whatever a profile has.
func TestWriteFile(t *testing.T) {
	t.Parallel()
	milenage, err := RandomProfile("usim")
	if err != nil {
		t.Fatal(err)
	}
	suciA := milenage
	suciA.Algorithm, suciA.Routing = model.Milenage, "678"
	// The home network's key of TS 33.501, C.4.3.
	suciA.SUCI = suci.PublicKey{ID: 27, Scheme: usim.SchemeA, Key: []byte{
		0x5a, 0x8d, 0x38, 0x86, 0x48, 0x20, 0x19, 0x7c, 0x33, 0x94, 0xb9, 0x26, 0x13, 0xb2, 0x0b, 0x91,
		0x63, 0x3c, 0xbd, 0x89, 0x71, 0x19, 0x27, 0x3b, 0xf8, 0xe4, 0xa6, 0xf4, 0xee, 0xc0, 0xa6, 0x50,
	}}
	tuak := milenage
	tuak.Algorithm, tuak.K, tuak.OPc, tuak.TOPc, tuak.SQN = model.TUAK, random(32), secret.Bytes{}, random(32), 0x123456
	tuak.ChannelKey, tuak.ChannelLimit = random(16), 500
	tuak.AuthLimit, tuak.Delta, tuak.AgeLimit, tuak.SQNEntries = 1000, 1<<20, 32, 8
	own, err := ReadProfile(writeMine(t, mineTOML))
	if err != nil {
		t.Fatal(err)
	}
	inSUCI, inTUAK, inOwn := fieldsOf(suciA), fieldsOf(tuak), fieldsOf(own)
	for name := range inSUCI {
		if inSUCI[name] == "" && inTUAK[name] == "" && inOwn[name] == "" {
			t.Errorf("no profile here has a %s: how is it written?", name)
		}
	}
	dir := t.TempDir()
	for name, p := range map[string]Profile{"milenage": milenage, "suci": suciA, "tuak": tuak, "own": own} {
		path := filepath.Join(dir, name)
		if err := p.WriteFile(path); err != nil {
			t.Fatal(err)
		}
		back, err := ReadProfile(path)
		if d := cmp.Diff(fieldsOf(p), fieldsOf(back)); err != nil || d != "" {
			t.Errorf("%s: %v%s", name, err, d)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
		if err := p.WriteFile(path); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s twice: %v", name, err)
		}
	}
	if err := (Profile{}).WriteFile(filepath.Join(dir, "none")); err == nil {
		t.Error("a profile of nothing")
	}
}
