package flows

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcim/flows/store"
	"mcim/flows/world"
)

// opened lets an attack go on.
func opened(*world.World) error { return nil }

// TestAttacks mounts each attack: the defence acts at its step, and without it the
// attack succeeds, so that it is that defence which stops it.
func TestAttacks(t *testing.T) {
	t.Parallel()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	off := map[string]world.Weakness{
		"platform": {AppraiseNothing: true},
		"replay":   {NoFreshness: true},
		"redirect": {NoRecipient: true, Unbound: key},
		"autn":     {AcceptForgedAUTN: true},
	}
	for _, a := range Attacks() {
		t.Run(a.Name, func(t *testing.T) {
			t.Parallel()
			refusal, err := RunAttack(context.Background(), world.Config{InProcess: true}, a.Name, opened)
			if err != nil {
				t.Fatalf("with its defence: %v", err)
			}
			if !slices.Contains(a.Steps, refusal.Step) || refusal.Defence == "" {
				t.Errorf("refusal %+v, want a step of %v", refusal, a.Steps)
			}
			weak, ok := off[a.Name]
			if !ok {
				t.Fatal("no switch for the defence")
			}
			refusal, err = RunAttack(context.Background(), world.Config{InProcess: true, Weak: weak}, a.Name, opened)
			if !errors.Is(err, ErrSucceeded) {
				t.Errorf("without its defence: %+v, %v; want success", refusal, err)
			}
		})
	}
}

func TestNoSuchAttack(t *testing.T) {
	t.Parallel()
	if _, err := RunAttack(context.Background(), world.Config{}, "magic", opened); !errors.Is(err, ErrNoAttack) {
		t.Errorf("error %v, want ErrNoAttack", err)
	}
}

// TestAttacksOnOneLab: each attack works again and again on the same lab, which
// stays as it was: before it has done anything, and with an order that was cut.
func TestAttacksOnOneLab(t *testing.T) {
	t.Parallel()
	ctx, c := context.Background(), world.Config{Dir: filepath.Join(t.TempDir(), "lab"), InProcess: true}
	cutInP8a := func() {
		ctx, cut := context.WithCancel(ctx)
		defer cut()
		c := c
		c.OnPoint = func(point string) {
			if point == "P8a.7 end" {
				cut()
			}
		}
		w, err := world.Open(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Resume(ctx), NewRun(w).ChangeInTRE(ctx), w.Close()); err == nil {
			t.Fatal("P8a was not cut")
		}
	}
	for _, tt := range []struct {
		name  string
		reach func()
		again int
	}{
		{"no lab, then a supplied one", func() {}, 2},
		{"cut in P8a", cutInP8a, 1},
	} {
		tt.reach()
		before, err := world.Look(ctx, c)
		if err != nil && !errors.Is(err, store.ErrNoLab) {
			t.Fatal(err)
		}
		for range tt.again {
			for _, a := range Attacks() {
				refusal, err := RunAttack(ctx, c, a.Name, opened)
				if err != nil || !slices.Contains(a.Steps, refusal.Step) {
					t.Errorf("%s: %s: %+v, %v", tt.name, a.Name, refusal, err)
				}
				now, err := world.Look(ctx, c)
				if before.Dir == "" {
					before = now // it was made for the first attack
				}
				if diff := cmp.Diff(before, now); err != nil || diff != "" {
					t.Errorf("%s: after %s: %v, the lab was (-) and is (+): %s", tt.name, a.Name, err, diff)
				}
			}
		}
	}
}

// TestNoLabToAttack: why there is no lab to attack is an error of its own, and the
// attack does nothing.
func TestNoLabToAttack(t *testing.T) {
	t.Parallel()
	ctx, dir := context.Background(), t.TempDir()
	folder := func(name, file, content string) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.Mkdir(path, 0o700), os.WriteFile(filepath.Join(path, file), []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	held, err := world.Create(ctx, world.Config{Dir: filepath.Join(dir, "held"), InProcess: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close() }()
	hardware := world.Config{Dir: filepath.Join(dir, "hardware"), TPM: "swtpm:" + filepath.Join(dir, "tpm"), InProcess: true}
	w, err := world.Create(ctx, hardware)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var holder *store.HeldError
	isHeld := func(err error) bool { return errors.As(err, &holder) }
	is := func(want error) func(error) bool { return func(err error) bool { return errors.Is(err, want) } }
	for lab, want := range map[string]func(error) bool{
		held.Dir(): isHeld,
		folder("newer", "lab.toml", "schema = 99\n"): is(store.ErrNewer),
		folder("full", "something", "else"):          is(store.ErrLabExists),
		hardware.Dir:                                 is(world.ErrHardware),
	} {
		_, err := RunAttack(ctx, world.Config{Dir: lab, InProcess: true}, "autn", opened)
		if !want(err) || errors.Is(err, ErrNotReached) {
			t.Errorf("%s: %v", lab, err)
		}
	}
	closed := errors.New("closed for the test")
	if _, err := RunAttack(ctx, world.Config{InProcess: true}, "autn", func(*world.World) error { return closed }); !errors.Is(err, closed) {
		t.Errorf("opened: %v", err)
	}
}
