package emul

import (
	"encoding/hex"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"mcim/apdu/secret"
	"mcim/card/aka"
	"mcim/card/model"
)

// simProfile is a SIM with COMP128 version 1.
func simProfile(t *testing.T) Profile {
	t.Helper()
	p := testProfile(t)
	p.Model, p.Algorithm, p.OPc, p.TOPc = "2g", model.COMP128v1, secret.Bytes{}, secret.Bytes{}
	p.Codes = Codes{}
	p.PIN2, p.PUK2 = secret.New([]byte("2345")), secret.New([]byte("23456789"))
	return p
}

// TestSIM: class A0 and no other, no application, no EF.DIR, no EF.ARR and no key file;
// CHV1 opens files and RUN GSM ALGORITHM, CHV2 what it is asked for.
func TestSIM(t *testing.T) {
	t.Parallel()
	p := simProfile(t)
	c, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	comp, err := aka.NewCOMP128(1, p.K)
	if err != nil {
		t.Fatal(err)
	}
	rand := [16]byte{1, 2, 3}
	sres, kc, err := comp.Triplet(rand)
	if err != nil {
		t.Fatal(err)
	}
	run(t, c, "00A40004 02 3F00 = 6E00", "80F20000 00 = 6E00", "01A40004 02 3F00 = 6E00", "00700000 01 = 6E00",
		"A0A40000 02 3F00 = 9F16", "A0A40000 02 2F00 = 9404", "A0A40000 02 2F06 = 9404", "A0A40000 02 7FD0 = 9404", "A0A40000 02 2FE2 = 9F0F",
		"A0A40000 02 7F20 = 9F16", "A0A40000 02 AF20 = 9404", "A0A40000 02 0000 = 9404", "A0A40000 02 6F07 = 9F0F", "A0B00000 09 = 9804",
		"A0880000 10 "+hex.EncodeToString(rand[:])+" = 9804", "A0200001 08 31323334FFFFFFFF = 9000", "A0B00000 09 = ~9000",
		"A0880000 10 "+hex.EncodeToString(rand[:])+" = 9F0C", "A0C00000 0C = "+hex.EncodeToString(append(sres[:], kc[:]...))+"9000",
		"A0A40000 02 6F37 = 9F0F", "A0D60000 03 000001 = 9804", "A0200002 08 32333435FFFFFFFF = 9000", "A0D60000 03 000001 = 9000",
		"A0A40000 02 7F10 = 9F16", "A0A40000 02 6F3B = 9F0F", "A0B20104 1C = ~9000")
}

// TestSIMImage: what a SIM has learnt is in its image, its keys too.
func TestSIMImage(t *testing.T) {
	t.Parallel()
	path, p := filepath.Join(t.TempDir(), "sim"), simProfile(t)
	c, err := Open(path, &p)
	if err != nil {
		t.Fatal(err)
	}
	random := "A0880000 10 " + strings.Repeat("5A", 16)
	run(t, c, "A0200001 08 31323334FFFFFFFF = 9000", "A0240001 10 31323334FFFFFFFF 39393939FFFFFFFF = 9000", "A0200002 08 30303030FFFFFFFF = 9804",
		"A0A40000 02 7F20 = 9F16", "A0A40000 02 6F7E = 9F0F", "A0D60000 01 77 = 9000", random+" = 9F0C")
	want := answerOf(t, c, "A0C00000 0C")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err = Open(path, nil); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	run(t, c, "A0A40000 02 7F20 = 9F16", "A0A40000 02 6F7E = 9F0F", "A0200001 08 31323334FFFFFFFF = 9804", "A0200001 08 39393939FFFFFFFF = 9000",
		"A0B00000 01 = 779000", random+" = 9F0C")
	if got := answerOf(t, c, "A0C00000 0C"); hex.EncodeToString(got) != hex.EncodeToString(want) {
		t.Error("another SRES or Kc than before")
	}
	f := c.Snapshot().Fork()
	run(t, f, "A0A40000 02 7F20 = 9F16", "A0200002 08 32333435FFFFFFFF = 9000", "A0A40000 02 6F41 = 9F0F", "A0D60000 01 44 = 9000")
}

// TestSIMProfile: what a SIM has not is refused by its name.
func TestSIMProfile(t *testing.T) {
	t.Parallel()
	for field, change := range map[string]func(*Profile){
		"channel_key": func(p *Profile) { p.ChannelKey = secret.New(make([]byte, 16)) },
		"universal":   func(p *Profile) { p.Universal = secret.New([]byte("1234")) },
		"algorithm":   func(p *Profile) { p.Algorithm, p.TOPc = model.TUAK, secret.New(make([]byte, 32)) },
	} {
		p := simProfile(t)
		change(&p)
		var bad *ProfileError
		if _, err := New(p); !errors.As(err, &bad) || bad.Field != field || !strings.Contains(bad.Reason, "2g") {
			t.Errorf("%s: %v", field, err)
		}
	}
}
