package world_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mcim/card/emul"
	"mcim/flows"
	"mcim/flows/store"
	"mcim/flows/wire"
	"mcim/flows/world"
	"mcim/tpm/mcim"
)

// TestMain looks for what closed labs have left: goroutines, child processes,
// temporary files.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "world")
	if err == nil {
		err = os.Setenv("TMPDIR", dir)
	}
	code := 1
	if err == nil {
		code = m.Run()
		err = leftovers(dir)
	}
	if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func leftovers(dir string) error {
	err := goleak.Find()
	names, rerr := filepath.Glob(filepath.Join(dir, "*"))
	if len(names) > 0 {
		err = errors.Join(err, fmt.Errorf("left in the folder for temporary files: %v", names))
	}
	children, cerr := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	if len(children) > 0 {
		err = errors.Join(err, fmt.Errorf("left running: processes %s", children))
	}
	return errors.Join(err, rerr, cerr)
}

// finished is the folder of a lab whose machine has been provisioned, closed.
func finished(t *testing.T) world.Config {
	t.Helper()
	c := world.Config{Dir: filepath.Join(t.TempDir(), "lab"), InProcess: true}
	w, err := world.Create(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	r, ctx := flows.NewRun(w), context.Background()
	if err := errors.Join(r.Supply(ctx), r.Bootstrap(ctx), r.Provision(ctx), w.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestReopen: a lab that is closed and opened again, also after its folder was
// moved, is the same, and goes on.
func TestReopen(t *testing.T) {
	t.Parallel()
	ctx, c := context.Background(), finished(t)
	before, err := world.Look(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"lab", "moved", "moved again"} {
		to := filepath.Join(filepath.Dir(c.Dir), name)
		if to != c.Dir {
			if err := os.Rename(c.Dir, to); err != nil {
				t.Fatal(err)
			}
		}
		c.Dir, before.Dir, before.TPM.URI = to, to, "swtpm:"+filepath.Join(to, "tpm")
		now, err := world.Look(ctx, c)
		if diff := cmp.Diff(before, now); err != nil || diff != "" {
			t.Fatalf("%s: %v, before (-) and now (+): %s", name, err, diff)
		}
		w, err := world.Open(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Resume(ctx), flows.NewRun(w).ChangeInTRE(ctx), w.Close()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if before, err = world.Look(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	if back, err := world.Remove(ctx, c); err != nil || back.Card || len(back.TPM) != 0 { // its own TPM goes with it
		t.Errorf("given back: %+v, %v", back, err)
	}
}

// TestHeld: one process has a lab at a time, and the next one hears which.
func TestHeld(t *testing.T) {
	t.Parallel()
	ctx, c := context.Background(), world.Config{Dir: filepath.Join(t.TempDir(), "lab"), Command: "mcim demo", InProcess: true}
	w, err := world.Create(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func() error{
		"Open": func() error { _, err := world.Open(ctx, c); return err },
		"Look": func() error { _, err := world.Look(ctx, c); return err },
	} {
		var held *store.HeldError
		if err := f(); !errors.As(err, &held) || held.PID != os.Getpid() || held.Command != "mcim demo" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := world.Create(ctx, c); !errors.Is(err, store.ErrLabExists) || !strings.Contains(err.Error(), "mcim lab remove") {
		t.Errorf("Create: %v", err)
	}
	if err := errors.Join(w.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	w, err = world.Open(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// TestDamagedLab: what is broken in a lab is named, with the lab closed again, and
// not made worse: with the right content put back it works.
func TestDamagedLab(t *testing.T) {
	t.Parallel()
	ctx, c := context.Background(), finished(t)
	machine, err := filepath.Glob(filepath.Join(c.Dir, "roles", "m2me", "*"))
	if err != nil || len(machine) != 1 {
		t.Fatalf("folders of machines: %v, %v", machine, err)
	}
	inMachine, err := filepath.Rel(c.Dir, machine[0])
	if err != nil {
		t.Fatal(err)
	}
	garbage := strings.Repeat("garbage ", 1024)
	for _, tt := range []struct {
		file    string
		content string // empty: the file is gone
		want    error
		words   string
	}{
		{"lab.toml", "schema = 99\n", store.ErrNewer, "use the newer mcim"},
		{"lab.toml", garbage, store.ErrLabFile, "lab.toml"},
		{"lab.toml", "schema = 1\noperators = []\nmachines = []\n", store.ErrLabFile, "names 0 machines"},
		{"made", "", world.ErrUnfinished, "mcim lab remove"},
		{"roles/ro/store.db", garbage, world.ErrDamaged, "roles/ro/store.db"},
		{"roles/ro/store.key", "", store.ErrKey, "roles/ro/store.key"},
		{"roles/sho-a/store.key", strings.Repeat("k", 32), store.ErrKey, "sho-a"},
		{"roles/ro/engine.db", garbage, store.ErrDamaged, "engine.db"},
		{"roles/sho-a/key.pem", garbage, world.ErrDamaged, "roles/sho-a/key.pem"},
		{"roles/pva/cert.pem", "", world.ErrDamaged, "keys of pva"},
		{"roles/supplier/ca/ca-key.pem", garbage, wire.ErrKeyFile, "CA of the supplier"},
		{"card.img", garbage, emul.ErrImageDamaged, "card.img"},
		{"card.img", "", world.ErrDamaged, "the lab's card"},
		{"ca/ca.pem", "", world.ErrDamaged, "the lab's CA"},
		{"tpm/ca/issuercert.pem", garbage, world.ErrDamaged, "issuercert.pem"},
		{"tpm/tpm/tpm2-00.permall", garbage, world.ErrDamaged, "tpm2-00.permall"},
		{"tpm/tpm/tpm2-00.permall", "", world.ErrDamaged, "tpm2-00.permall"},
		{inMachine + "/tre/state", garbage, mcim.ErrRollback, "state of the TRE"},
		{inMachine + "/tre/sealed-state-key", "", mcim.ErrRollback, "gone"},
		{inMachine + "/tre/dek-policy", garbage, mcim.ErrRollback, "dek-policy"},
		{inMachine + "/cert.pem", garbage, wire.ErrKeyFile, "cert.pem"},
	} {
		path := filepath.Join(c.Dir, tt.file)
		good := files(t, path)
		if tt.content == "" {
			err = os.Remove(path)
		} else {
			err = os.WriteFile(path, []byte(tt.content), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		err := start(ctx, c)
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.words) {
			t.Errorf("%s: error %v, want %v with %q", tt.file, err, tt.want, tt.words)
		}
		if errors.Is(err, world.ErrDamaged) && !strings.HasSuffix(err.Error(), "or remove the lab with mcim lab remove --lab "+c.Dir) {
			t.Errorf("%s: no next step in %v", tt.file, err)
		}
		putBack(t, path, good)
	}
	if err := start(ctx, c); err != nil {
		t.Errorf("with all put back: %v", err)
	}
}

// TestDamage: after a procedure has failed, the file of the lab that is behind it is
// found, also one that only a role at the other end of a connection has missed.
func TestDamage(t *testing.T) {
	t.Parallel()
	ctx, c := context.Background(), finished(t)
	w, err := world.Open(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	failure := errors.New("refused at the other end")
	if err := errors.Join(w.Damage(failure), w.Resume(ctx), w.Damage(failure), w.Damage(nil)); err != nil {
		t.Errorf("a whole lab: %v", err)
	}
	for _, pattern := range []string{"state", "sealed-state-key", "sealed-card-adm1", "sealed-card-pin1", "sqn-*"} {
		paths, err := filepath.Glob(filepath.Join(c.Dir, "roles", "m2me", "*", "tre", pattern))
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %v, %v", pattern, paths, err)
		}
		for _, truncate := range []bool{true, false} {
			good := files(t, paths[0])
			err := os.Remove(paths[0])
			if truncate {
				err = os.WriteFile(paths[0], good[filepath.Base(paths[0])].Data[:7], 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Damage(failure); !errors.Is(err, world.ErrDamaged) || !strings.Contains(err.Error(), filepath.Dir(paths[0])) {
				t.Errorf("%s: %v", paths[0], err)
			}
			putBack(t, paths[0], good)
		}
	}
	if err := w.Damage(failure); err != nil {
		t.Errorf("with all put back: %v", err)
	}
	missing := filepath.Join(c.Dir, "file")
	_, failure = os.ReadFile(missing)
	if err := w.Damage(failure); !errors.Is(err, world.ErrDamaged) || !strings.Contains(err.Error(), missing) {
		t.Errorf("a file of the lab is gone: %v", err)
	}
}

// TestRemoveDamaged: a lab in software goes, whatever is damaged in it. One on a TPM
// of somebody else goes while it knows what it has there, and otherwise says what
// that TPM keeps.
func TestRemoveDamaged(t *testing.T) {
	t.Parallel()
	ctx, dir := context.Background(), t.TempDir()
	garbage := []byte(strings.Repeat("garbage ", 1024))
	for _, tt := range []struct{ name, file, tpm, want string }{
		{"software: machine", "roles/m2me/*/store.db", "", ""},
		{"software: role", "roles/ro/store.db", "", ""},
		{"software: TPM", "tpm/tpm/tpm2-00.permall", "", ""},
		{"TPM: role", "roles/ro/store.db", "swtpm:" + filepath.Join(dir, "one"), ""},
		{"TPM: machine", "roles/m2me/*/store.db", "swtpm:" + filepath.Join(dir, "two"), "was not given back"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := world.Config{Dir: filepath.Join(t.TempDir(), "lab"), InProcess: true, TPM: tt.tpm}
			w, err := world.Create(ctx, c)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(flows.NewRun(w).Supply(ctx), w.Close()); err != nil {
				t.Fatal(err)
			}
			paths, err := filepath.Glob(filepath.Join(c.Dir, tt.file))
			if err != nil || len(paths) != 1 {
				t.Fatalf("%v, %v", paths, err)
			}
			if err := os.WriteFile(paths[0], garbage, 0o600); err != nil {
				t.Fatal(err)
			}
			back, err := world.Remove(ctx, world.Config{Dir: c.Dir})
			_, gone := os.Stat(c.Dir)
			if tt.want == "" {
				if err != nil || !errors.Is(gone, os.ErrNotExist) || (len(back.TPM) > 0) != (tt.tpm != "") {
					t.Errorf("%+v, %v, %v", back, err, gone)
				}
				return
			}
			if !errors.Is(err, world.ErrDamaged) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.tpm) || !strings.Contains(err.Error(), paths[0]) || gone != nil {
				t.Errorf("%v, %v", err, gone)
			}
		})
	}
}

// start opens a lab, powers the machine on, and closes it.
func start(ctx context.Context, c world.Config) error {
	w, err := world.Open(ctx, c)
	if err != nil {
		return err
	}
	return errors.Join(w.Resume(ctx), w.Close())
}

// files is a file with those beside it whose names begin alike: a database has some.
func files(t *testing.T, path string) fstest.MapFS {
	t.Helper()
	names, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	all := fstest.MapFS{}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(name)] = &fstest.MapFile{Data: data}
	}
	return all
}

func putBack(t *testing.T, path string, good fstest.MapFS) {
	t.Helper()
	names, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	for name, f := range good {
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), name), f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPlayed: the lab's own card behind a private pcscd, which ends with the lab. Its
// virtual reader counts what the tap counts, and a command that went past the tap.
func TestPlayed(t *testing.T) {
	ctx := context.Background()
	w, err := world.Create(ctx, world.Config{Dir: filepath.Join(t.TempDir(), "lab")})
	if err != nil {
		t.Fatal(err)
	}
	if w.Played == nil || w.Device.Reader == "" || !w.Device.Real {
		t.Errorf("the card is %+v", w.Device)
	}
	r := flows.NewRun(w)
	if err := errors.Join(r.Supply(ctx), r.Bootstrap(ctx), w.Machine.UseUICC(w.Context(ctx))); err != nil {
		t.Error(err)
	}
	seen := w.Meter.Total().APDUs
	if err := w.CheckLink(); err != nil || seen == 0 {
		t.Errorf("%d APDUs at the tap, %v", seen, err)
	}
	// pcscd's own messages are no APDUs.
	if _, err := w.Device.Reset(ctx); err != nil || w.CheckLink() != nil {
		t.Error(err, w.CheckLink())
	}
	if _, err := w.Device.Transmit(ctx, []byte{0x00, 0xF2, 0x00, 0x00, 0x00}); err != nil { // past the tap
		t.Error(err)
	}
	var differs *world.LinkError
	if err := w.CheckLink(); !errors.As(err, &differs) || differs.TapAPDUs != seen || differs.ReaderAPDUs != seen+1 {
		t.Errorf("past the tap: %v", err)
	}
	if err := errors.Join(w.Close(), w.Close()); err != nil {
		t.Error(err)
	}
}
