package flows

import (
	"context"
	"errors"
	"testing"

	"mcim/flows/world"
)

// TestProofsAreSharp switches defences off: the proof of each of them then tells
// that what must not work did, so that it is that defence which it proves.
func TestProofsAreSharp(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w, err := world.Create(ctx, world.Config{Dir: t.TempDir(), Command: "test", InProcess: true, Weak: world.Weakness{
		AnyMaker: true, OpenBearer: true, AppraiseNothing: true, KeepPCID: true, NoFreshness: true, AcceptForgedAUTN: true,
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}()
	weak := map[string][]string{
		"P1":  {"a TPM whose EK certificate is self-made is not enrolled"},
		"P2":  {"the bearer of a PCID reaches the RO and nobody else"},
		"P5c": {"evidence of an earlier validation is refused"},
		"P7":  {"the provisional identity is refused after use"},
		"P8a": {"the TRE refuses a network that has the old K", "the old package is refused"},
		"P8c": {"the package of the card, delivered again, is refused"},
	}
	r := NewRun(w)
	for _, stage := range stages(r) {
		if err := stage.run(ctx); err != nil {
			t.Fatalf("%v: %v", stage.covers, err)
		}
		for _, procedure := range stage.covers {
			for _, name := range weak[procedure] {
				if _, err := proof(t, r, procedure, name).Run(ctx); !errors.Is(err, ErrNotRefused) {
					t.Errorf("%s, %s: %v; want that it was not refused", procedure, name, err)
				}
			}
		}
	}
}

// TestProofsKnowTheirRefusal: what fails for another reason than the defence proves
// nothing.
func TestProofsKnowTheirRefusal(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w, err := world.Create(ctx, world.Config{Dir: t.TempDir(), Command: "test", InProcess: true, Weak: world.Weakness{NoFreshness: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}()
	r := NewRun(w)
	if err := inOrder(ctx, r.Supply, r.Bootstrap, r.Provision); err != nil {
		t.Fatal(err)
	}
	// The slot has the active MCIM, so the package is refused still, but not as an
	// old one; and the identities of P8a are not known before it.
	for procedure, name := range map[string]string{
		"P6":  "the package of before, delivered again, is refused",
		"P8a": "the old IMSI gets no service",
	} {
		_, err := proof(t, r, procedure, name).Run(ctx)
		if err == nil || errors.Is(err, ErrNotRefused) {
			t.Errorf("%s, %s: %v; want another failure than the refusal that is meant", procedure, name, err)
		}
	}
}

// proof is the one of that name.
func proof(t *testing.T, r *Run, procedure, name string) Proof {
	t.Helper()
	for _, p := range r.Proofs(procedure) {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("%s has no proof %q", procedure, name)
	return Proof{}
}
