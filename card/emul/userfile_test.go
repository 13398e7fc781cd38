package emul

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mcim/card/model"
)

const mineTOML = `name = "mine"
title = "as usim, with a name of its own"
extends = "usim"
files = [
  { path = "ADF.USIM/EF.SPN", size = 17, read = "always", update = "adm", value = { display = [], name = "mine" } },
]
`

// writeMine puts a model and a profile that names it into folders beside each other.
func writeMine(t *testing.T, text string) (profile string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"models", "profiles"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	mustWrite(t, filepath.Join(dir, "models", "mine.toml"), []byte(text))
	p, err := RandomProfile("usim")
	if err != nil {
		t.Fatal(err)
	}
	profile = filepath.Join(dir, "profiles", "card.toml")
	mustWrite(t, profile, []byte(strings.Replace(p.toml(), `"usim"`, `"../models/mine.toml"`, 1)))
	return profile
}

// TestUserModel: a profile names a model of the user's own by its path, the image
// keeps it, and a series of cards is of it too.
func TestUserModel(t *testing.T) {
	t.Parallel()
	path := writeMine(t, mineTOML)
	p, err := ReadProfile(path)
	if err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "card")
	const readSPN = "00B00000 11 = 006D696E65FF~9000"
	closeCard(t, openCard(t, image, &p))
	if err := os.Remove(filepath.Join(filepath.Dir(path), "../models/mine.toml")); err != nil {
		t.Fatal(err)
	}
	run(t, openCard(t, image, nil), selectUSIM, "00A4000C 02 6F46 = 9000", readSPN)
	if _, err := ReadProfile(path); err == nil || !strings.Contains(err.Error(), "line 1, model: ") || !strings.Contains(err.Error(), "relative to the profile") {
		t.Errorf("without the model: %v", err)
	}
	if _, err := ParseProfile("card.toml", []byte(p.toml())); err == nil {
		t.Error("a profile that is no file named a file")
	}
}

// TestUserModelWritten: a profile that is written elsewhere finds the model.
func TestUserModelWritten(t *testing.T) {
	t.Parallel()
	p, err := ReadProfile(writeMine(t, mineTOML))
	if err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(t.TempDir(), "again.toml")
	if err := p.WriteFile(again); err != nil {
		t.Fatal(err)
	}
	if q, err := ReadProfile(again); err != nil || q.Card == nil || q.Card.Name != "mine" {
		t.Errorf("%+v, %v", q.Model, err)
	}
}

// TestUserModelRefused: a wrong model is refused by its file, line and reason.
func TestUserModelRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		old, new string
		line     int
		reason   string
	}{
		{"size = 17", "size = 0", 5, "1 to 32767"},
		{`"usim"`, `"simu"`, 3, "want one of"},
		{"display", "shown", 5, "unknown field"},
		{"extends", "extend", 3, "unknown key"},
		{`name = "mine"`, `name = 'mi`, 1, ""},
	} {
		_, err := ReadProfile(writeMine(t, strings.Replace(mineTOML, tt.old, tt.new, 1)))
		var bad *model.FileError
		if !errors.As(err, &bad) || bad.Line != tt.line || !strings.Contains(bad.Reason, tt.reason) || !strings.HasSuffix(bad.Name, "mine.toml") {
			t.Errorf("%s: %v, want line %d and %q", tt.new, err, tt.line, tt.reason)
		}
	}
}
