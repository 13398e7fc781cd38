package flows

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"mcim/flows/world"
)

// steps is how many numbered steps each procedure has (TR 33.812 digest, 4.4).
var steps = map[string]int{"P1": 9, "P2": 8, "P4": 8, "P5c": 8, "P6": 12, "P7": 5, "P8a": 14, "P8c": 9}

// stages are the procedures in their order, with the names that each one covers.
func stages(r *Run) []struct {
	covers []string
	run    func(context.Context) error
} {
	return []struct {
		covers []string
		run    func(context.Context) error
	}{
		{[]string{"P1"}, r.Supply},
		{[]string{"P2"}, r.Bootstrap},
		{[]string{"P4", "P5c", "P6", "P7"}, r.Provision},
		{[]string{"P8a"}, r.ChangeInTRE},
		{[]string{"P8c"}, r.ChangeInUICC},
	}
}

// TestProcedures runs a machine's whole life, proves after each procedure what
// must not work any more, and sees every numbered step once.
func TestProcedures(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w, err := world.Create(ctx, world.Config{Dir: t.TempDir(), Command: "test", InProcess: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}()
	r := NewRun(w)
	for _, stage := range stages(r) {
		if err := stage.run(ctx); err != nil {
			t.Fatalf("%v: %v", stage.covers, err)
		}
		for _, procedure := range stage.covers {
			seeSteps(t, w, procedure)
			prove(t, r, procedure)
		}
	}
}

// seeSteps wants each numbered step of the procedure once, ended well.
func seeSteps(t *testing.T, w *world.World, procedure string) {
	t.Helper()
	var seen []string
	for _, e := range w.Meter.Steps(procedure) {
		if world.Procedure(e.Name) != procedure {
			continue // of a procedure inside
		}
		if !e.End || e.Err != nil {
			t.Errorf("step %s: ended %v, error %v", e.Path, e.End, e.Err)
		}
		seen = append(seen, e.Name)
	}
	var want []string
	for n := range steps[procedure] {
		want = append(want, fmt.Sprintf("%s.%d", procedure, n+1))
	}
	slices.Sort(want)
	got := slices.Clone(seen)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("steps of %s:\n got  %v\n want each of %v once", procedure, seen, want)
	}
	all, _ := w.Meter.Counts(procedure)
	t.Logf("%s: %+v", procedure, all)
}

func prove(t *testing.T, r *Run, procedure string) {
	t.Helper()
	list := r.Proofs(procedure)
	if len(list) == 0 {
		t.Errorf("%s has no negative proof", procedure)
	}
	r.World.Meter.Proof(procedure)
	defer r.World.Meter.Proof("")
	for _, p := range list {
		refusal, err := p.Run(context.Background())
		if err != nil {
			t.Errorf("%s: %v", procedure, err)
			continue
		}
		t.Logf("%s: %s: %s", procedure, p.Name, refusal)
	}
}
