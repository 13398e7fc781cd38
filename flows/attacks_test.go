package flows

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"slices"
	"testing"

	"mcim/flows/world"
)

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
			refusal, err := RunAttack(context.Background(), world.Config{Dir: t.TempDir(), InProcess: true}, a.Name)
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
			refusal, err = RunAttack(context.Background(), world.Config{Dir: t.TempDir(), InProcess: true, Weak: weak}, a.Name)
			if !errors.Is(err, ErrSucceeded) {
				t.Errorf("without its defence: %+v, %v; want success", refusal, err)
			}
		})
	}
}

func TestNoSuchAttack(t *testing.T) {
	t.Parallel()
	if _, err := RunAttack(context.Background(), world.Config{Dir: t.TempDir()}, "magic"); !errors.Is(err, ErrNoAttack) {
		t.Errorf("error %v, want ErrNoAttack", err)
	}
}
