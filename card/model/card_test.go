package model

import (
	"errors"
	"os"
	"strings"
	"testing"

	"mcim/apdu/ef"
)

// TestCards: every embedded card holds what its files can hold, and what is on it
// survives its texts.
func TestCards(t *testing.T) {
	t.Parallel()
	all, err := Cards()
	if err != nil {
		t.Fatal(err)
	}
	if all[0].Name != "usim" || len(all) < 4 {
		t.Fatalf("%d cards, the first is %s", len(all), all[0].Name)
	}
	for _, c := range all {
		again, err := RestoreCard(c.Texts)
		if err != nil || again != c {
			t.Errorf("%s: %v", c.Name, err)
		}
		for _, f := range c.Files {
			if f.Same != "" {
				continue
			}
			b, err := f.Content(sample())
			if err != nil || len(b) != f.Size {
				t.Errorf("%s: %s: %d bytes, %v", c.Name, f.Path(), len(b), err)
			}
		}
	}
	if _, err := CardByName("isim"); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "strict") {
		t.Errorf("got %v, want ErrUnknown with the names", err)
	}
}

// TestRestoreCard: the text of an image wins over the card of that name today.
func TestRestoreCard(t *testing.T) {
	t.Parallel()
	base, err := os.ReadFile("data/cards/usim.toml")
	if err != nil {
		t.Fatal(err)
	}
	old := []byte(strings.Replace(string(base), "EF.KeysPS\", size = 33", "EF.KeysPS\", size = 34", 1))
	mine := []byte("name = \"mine\"\ntitle = \"x\"\nextends = \"usim\"\nwithout = [\"MF/EF.PL\"]\n")
	for _, texts := range [][][]byte{{old}, {mine, old}} {
		c, err := RestoreCard(texts)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range c.Files {
			if f.Path() == "ADF.USIM/EF.KeysPS" && f.Size != 34 || len(texts) == 2 && f.Path() == "MF/EF.PL" {
				t.Errorf("%s has %d bytes", f.Path(), f.Size)
			}
		}
	}
	if _, err := RestoreCard(nil); !errors.Is(err, ErrUnknown) {
		t.Errorf("no text: %v", err)
	}
	if _, err := RestoreCard([][]byte{mine, []byte("nothing")}); err == nil {
		t.Error("a bad base was taken")
	}
}

const mineCard = `name = "mine"
title = "as usim, with another name"
extends = "usim"
without = ["ADF.USIM/EF.THRESHOLD"]
files = [
  { path = "ADF.USIM/EF.SPN", size = 17, read = "always", update = "adm", value = { display = [], name = { text = "{plmn}" } } },
  { path = "ADF.USIM/EF.X", fid = "6f99", sfi = 22, structure = "cyclic", record_length = 3, records = 2, read = "pin1", update = "pin1", hex = "00" },
]
`

func TestParseCard(t *testing.T) {
	t.Parallel()
	c, err := ParseCard("mine.toml", []byte(mineCard))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, f := range c.Files {
		b, err := f.Content(sample())
		if err != nil && f.Same == "" {
			t.Error(err)
		}
		switch f.Path() {
		case "ADF.USIM/EF.SPN":
			found++
			if !strings.HasPrefix(string(b), "\x00001-01\xff") {
				t.Errorf("EF.SPN %x", b)
			}
		case "ADF.USIM/EF.X":
			found++
			if f.FID != 0x6F99 || f.SFI != 22 || f.Structure != ef.Cyclic || string(b) != "\x00\xff\xff\xff\xff\xff" {
				t.Errorf("EF.X %+v, %x", f, b)
			}
		case "ADF.USIM/EF.THRESHOLD":
			t.Error("a file that is left out")
		}
	}
	if found != 2 {
		t.Errorf("%d of 2 files", found)
	}
}

func TestParseCardRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		old, new string
		line     int
		reason   string
	}{
		{`name = "mine"`, ``, 0, "name is missing"},
		{`name = "mine"`, `nam = "mine"`, 1, "unknown key"},
		{`name = "mine"`, `name = `, 1, ""},
		{`title = "as usim, with another name"`, `title = ""`, 2, "title is missing"},
		{`extends = "usim"`, `extends = "strict"`, 3, "extends another"},
		{`extends = "usim"`, `extends = "none"`, 3, "want one of"},
		{`extends = "usim"`, "extends = \"usim\"\nfamily = \"none\"", 4, "want one of"},
		{`extends = "usim"`, "extends = \"usim\"\nrules = \"none\"", 4, "expanded"},
		{`extends = "usim"`, "extends = \"usim\"\nquirks = [\"no\"]", 4, "no-pin-status"},
		{`extends = "usim"`, "extends = \"usim\"\napplication = []", 0, "suspend is for a card with applications"},
		{`"ADF.USIM/EF.THRESHOLD"`, `"ADF.USIM/EF.NONE"`, 4, "there is no"},
		{`"ADF.USIM/EF.THRESHOLD"`, `"ADF.USIM/EF.IMSI"`, 0, "there is no ADF.USIM/EF.IMSI"},
		{`extends = "usim"`, "extends = \"usim\"\nchannels = 0", 4, "1 to 20"},
		{`extends = "usim"`, "extends = \"usim\"\nchannels = 21", 4, "1 to 20"},
		{`extends = "usim"`, "extends = \"usim\"\nsuspend = -1", 4, "220320000"},
		{`extends = "usim"`, "extends = \"usim\"\n" + `pin = [{ ref = "pin3" }]`, 4, `"adm1" to "adm10"`},
		{`extends = "usim"`, "extends = \"usim\"\n" + `pin = [{ ref = "pin1" }]`, 4, `needs "adm"`},
		{`extends = "usim"`, "extends = \"usim\"\n" + `pin = [{ ref = "adm1" }]`, 4, `needs "pin1"`},
		{`extends = "usim"`, "extends = \"usim\"\n" + `pin = [{ ref = "adm" }, { ref = "adm1" }]`, 4, "a second time"},
		{`extends = "usim"`, "extends = \"usim\"\n" + `pin = [{ ref = "pin1", tries = 16 }]`, 4, "tries: want 1 to 15"},
		{`extends = "usim"`, "extends = \"usim\"\n" + `pin = [{ ref = "pin1", puk_tries = -1 }]`, 4, "puk_tries: want 1 to 15"},
		{`extends = "usim"`, "extends = \"usim\"\n" + `pin = [{ ref = "adm1", puk_tries = 10 }]`, 4, "has no PUK"},
		{`extends = "usim"`, "extends = \"usim\"\n" + `pin = [{ ref = "pin1", dir = "ADF.USIM" }]`, 4, "whole card"},
		{`extends = "usim"`, "extends = \"usim\"\n" + `pin = [{ ref = "pin2", dir = "DF.GSM" }]`, 4, `no application "DF.GSM"`},
		{`extends = "usim"`, "extends = \"usim\"\n" + `pin = [{ ref = "pin2", try = 3 }]`, 4, "unknown key"},
		{`without = ["ADF.USIM/EF.THRESHOLD"]`, `application = [{ dir = "ADF.USIM", aid = "a0000000871002ff49ff0589", fid = "7fd0" }]` + "\n" +
			`pin = [{ ref = "pin1" }, { ref = "adm1" }, { ref = "pin2", dir = "ADF.ISIM" }]`, 5, "no application \"ADF.ISIM\""},
		{`update = "adm"`, `update = "adm10"`, 6, `no code "adm10"`},
		{`size = 17`, `size = 0`, 6, "1 to 32767"},
		{`size = 17`, `size = 17, records = 2`, 6, "no records"},
		{`size = 17`, `size = 3`, 6, "the field has"},
		{`size = 17`, `size = 17, fid = "6f46"`, 6, "leave them out"},
		{`{plmn}`, `{plm}`, 6, "no such variable"},
		{`{plmn}`, `{plmn`, 6, "no such variable"},
		{`update = "adm"`, `update = "issuer"`, 6, `"issuer"`},
		{`value = {`, `hex = "00", value = {`, 6, "more than one"},
		{`display = []`, `displays = []`, 6, "unknown field"},
		{`ADF.USIM/EF.X`, `ADF.USIM/DF.X/EF.X`, 7, "no directory"},
		{`ADF.USIM/EF.X`, `EF.X`, 7, "no directory"},
		{`ADF.USIM/EF.X", fid = "6f99"`, `ADF.USIM/EF.X"`, 7, "fid of 2 bytes"},
		{`"6f99"`, `"6f07"`, 7, "a second file 6F07"},
		{`sfi = 22`, `sfi = 7`, 7, "a second file with the short identifier 7"},
		{`ADF.USIM/EF.X", fid = "6f99", sfi = 22, structure = "cyclic"`, `ADF.USIM/EF.ARR"`, 7, "leave it out"},
		{`"cyclic"`, `"ring"`, 7, "linear fixed"},
		{`sfi = 22`, `sfi = 31`, 7, "1 to 30"},
		{`records = 2`, `records = 255`, 7, "1 to 254"},
		{`hex = "00"`, `hex = "00000000000000"`, 7, "room"},
		{`hex = "00"`, `value = {}`, 7, "no codec"},
		{`{ path = "ADF.USIM/EF.X"`, `{ path = "DF.GSM/EF.AD", same = "ADF.USIM/EF.NONE" }, { path = "ADF.USIM/EF.X"`, 7, "there is no ADF.USIM/EF.NONE"},
	} {
		text := strings.Replace(mineCard, c.old, c.new, 1)
		got, err := ParseCard("mine.toml", []byte(text))
		var bad *FileError
		if !errors.As(err, &bad) || got != nil {
			t.Errorf("%q: got %v, want a *FileError", c.new, err)
			continue
		}
		if bad.Line != c.line || !strings.Contains(bad.Reason, c.reason) {
			t.Errorf("%q: %v, want line %d and %q", c.new, err, c.line, c.reason)
		}
	}
}

// TestParseSIM: what is for a UICC is refused by its name, with the line.
func TestParseSIM(t *testing.T) {
	t.Parallel()
	const good = "name = \"mine\"\ntitle = \"x\"\nextends = \"2g\"\n"
	c, err := ParseCard("mine.toml", []byte(good))
	if err != nil || !c.SIM() || c.Channels != 1 || c.Home() != ef.DirGSM || !c.Family.SIM() {
		t.Fatalf("%+v %v", c, err)
	}
	for more, want := range map[string]string{
		"rules = \"arr\"":                     "line 4: rules is for a card with applications",
		"channels = 4":                        "line 4: channels is for",
		"suspend = 60":                        "line 4: suspend is for",
		"secure_channel = \"required\"":       "line 4: secure_channel is for",
		"[toolkit]\nrefresh_on_change = true": "line 4: toolkit is for",
		"family = \"usim\"":                   "the first application must be ADF.USIM",
		"application = [{ dir = \"ADF.USIM\", aid = \"a0000000871002ff49ff0589\", fid = \"7fd0\" }]": "family sim is of cards without an application",
		"without = [\"DF.GSM/EF.SST\"]":                                                          "DF.GSM/EF.SST is missing",
		"pin = [{ ref = \"pin1\" }, { ref = \"adm1\" }]":                                         "has no code \"pin2\"",
		"pin = [{ ref = \"pin2\", dir = \"ADF.USIM\" }]":                                         "there is no application \"ADF.USIM\"",
		"files = [{ path = \"ADF.USIM/EF.IMSI\", size = 9, read = \"pin1\", update = \"adm\" }]": "there is no application ADF.USIM",
	} {
		if _, err := ParseCard("mine.toml", []byte(good+more)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", more, err)
		}
	}
}

// TestParseSIMFamily: a model without aid has no files, and one with it must.
func TestParseSIMFamily(t *testing.T) {
	t.Parallel()
	b, err := embedded.ReadFile("data/models/sim.toml")
	if err != nil {
		t.Fatal(err)
	}
	m, err := Parse("sim.toml", b)
	if err != nil || !m.SIM() || !m.Has(COMP128v1) || m.Has(TUAK) {
		t.Fatalf("%+v %v", m, err)
	}
	for more, want := range map[string]string{
		"[key_file]\nfid = \"af20\"\nsize = 33": "aid is missing",
		"aid = \"a0000000871002\"":              "key_file.fid has 0 bytes",
		"aid = \"a000\"":                        "aid has 2 bytes",
	} {
		text := more + "\n" + string(b)
		if strings.HasPrefix(more, "[") {
			text = string(b) + more
		}
		if _, err := Parse("sim.toml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", more, err)
		}
	}
}
