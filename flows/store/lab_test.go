package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcim/flows/store"
)

func TestLab(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "lab")
	config := store.LabConfig{Operators: []string{"sho-a", "sho-b"}, Machines: []string{"SN-0001"}}
	lab, err := store.CreateLab(dir, "mcim demo", config)
	if err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func() (*store.Lab, error){
		"open":   func() (*store.Lab, error) { return store.OpenLab(dir, "mcim lab status") },
		"create": func() (*store.Lab, error) { return store.CreateLab(t.TempDir(), "mcim demo", config) },
	} {
		if name == "create" {
			other, err := open()
			if err != nil {
				t.Errorf("another lab: %v", err)
				continue
			}
			closed(t, other)
			continue
		}
		_, err := open()
		var held *store.HeldError
		if !errors.As(err, &held) || *held != (store.HeldError{Dir: dir, Command: "mcim demo", PID: os.Getpid()}) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := store.CreateLab(dir, "mcim demo", config); !errors.Is(err, store.ErrLabExists) {
		t.Errorf("made twice: got %v", err)
	}
	write(t, dir, "image", []byte("x"))
	closed(t, lab)

	lab, err = store.OpenLab(dir, "mcim lab remove")
	if err != nil {
		t.Fatal(err)
	}
	config.Schema = store.LabSchema
	if diff := cmp.Diff(config, lab.Config); diff != "" {
		t.Error(diff)
	}
	if got := lab.Path("roles", "ro"); got != filepath.Join(dir, "roles", "ro") {
		t.Errorf("path %s", got)
	}
	if err := lab.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("removed lab: %v", err)
	}
	if _, err := store.OpenLab(dir, "mcim demo"); !errors.Is(err, store.ErrNoLab) {
		t.Errorf("removed lab: got %v", err)
	}
}

func TestHeldErrorText(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]*store.HeldError{
		"lab D is held by mcim demo, process 123: wait until it ends, or stop it (kill 123)": {Dir: "D", Command: "mcim demo", PID: 123},
		"lab D is held by another mcim: wait until it ends, or name another folder":          {Dir: "D"},
	} {
		if e.Error() != want {
			t.Errorf("got %q", e)
		}
	}
}

func TestLabRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, text string
		is         error
	}{
		{"newer", "schema = 2\nfuture = 1\n", store.ErrNewer},
		{"no schema", "operators = []\n", store.ErrLabFile},
		{"negative schema", "schema = -1\n", store.ErrLabFile},
		{"unknown field", "schema = 1\nx = 1\n", store.ErrLabFile},
		{"no TOML", "schema = = 1\n", store.ErrLabFile},
		{"wrong kind", "schema = 'x'\n", store.ErrLabFile},
		{"empty", "", store.ErrLabFile},
	} {
		dir := t.TempDir()
		write(t, dir, "lab.toml", []byte(tc.text))
		if _, err := store.OpenLab(dir, "mcim demo"); !errors.Is(err, tc.is) {
			t.Errorf("%s: got %v, want %v", tc.name, err, tc.is)
		}
		// The refusal has let go of the lock.
		write(t, dir, "lab.toml", []byte("schema = 1\noperators = []\nmachines = []\n"))
		lab, err := store.OpenLab(dir, "mcim demo")
		if err != nil {
			t.Errorf("%s, then repaired: %v", tc.name, err)
			continue
		}
		closed(t, lab)
	}

	home := t.TempDir()
	write(t, home, "letter.txt", nil)
	if _, err := store.CreateLab(home, "mcim demo", store.LabConfig{}); !errors.Is(err, store.ErrLabExists) {
		t.Errorf("a folder with something else: got %v", err)
	}
	if _, err := store.OpenLab(home, "mcim demo"); !errors.Is(err, store.ErrNoLab) {
		t.Errorf("a folder without lab: got %v", err)
	}
	if got := files(t, home); len(got) != 1 {
		t.Errorf("the folder got %v", got)
	}
	file := filepath.Join(home, "letter.txt")
	if _, err := store.CreateLab(file, "mcim demo", store.LabConfig{}); err == nil {
		t.Error("a file became a lab")
	}
}

func TestWriteFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, text := range []string{"one", "", "three"} {
		if err := store.WriteFile(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got := read(t, path); string(got) != text {
			t.Errorf("got %q, want %q", got, text)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %04o", info.Mode().Perm())
	}
	if err := store.WriteFile(filepath.Join(dir, "none", "f"), nil); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "none/f") {
		t.Errorf("no folder: got %v", err)
	}
	if err := store.WriteFile(dir, nil); err == nil {
		t.Error("wrote over a folder")
	}
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("left over: %v", got)
	}
}

// FuzzStore feeds the decoder of lab.toml, the only text a user may write here.
func FuzzStore(f *testing.F) {
	for _, text := range []string{"schema = 1\n", "schema = 2\nx = 1\n", "schema = 1\noperators = ['sho-a']\nmachines = ['1']\n", "\x00"} {
		f.Add([]byte(text))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		write(t, dir, "lab.toml", text)
		lab, err := store.OpenLab(dir, "fuzz")
		if err != nil {
			return
		}
		defer closed(t, lab)
		if lab.Config.Schema != store.LabSchema {
			t.Errorf("%q was opened as schema %d", text, lab.Config.Schema)
		}
	})
}
