package hwtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mcim/card/device"
	"mcim/card/emul"
	"mcim/flows"
	"mcim/flows/store"
	"mcim/flows/world"
	"mcim/hwtest/report"
)

// begin prepares a run that the test drives case by case.
func begin(t *testing.T, r *Runner) *run {
	t.Helper()
	x := newRun(r)
	files, err := newArtefacts(r.Out, r.JUnit, x.meter.Label)
	if err != nil {
		t.Fatal(err)
	}
	x.files = files
	if err := x.prepare(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.finish(); err != nil {
			t.Error(err)
		}
	})
	return x
}

// TestFailure: a case that fails is judged so, what builds on it is not run, and
// the run does not pass.
func TestFailure(t *testing.T) {
	t.Parallel()
	cut := errors.New("cut for the test")
	cases := Suite()
	cases[1].run = func(*flows.Run, context.Context) error { return cut }
	out := t.TempDir()
	result, err := (&Runner{Lab: world.Config{InProcess: true}, Cases: cases, Out: out, JUnit: filepath.Join(out, "junit.xml")}).Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if result.Verdict != report.Fail {
		t.Errorf("verdict %s", result.Verdict)
	}
	for _, p := range result.Procedures {
		want := map[string]report.Verdict{"P1": report.Pass, "P2": report.Fail}[p.ID]
		if want == "" {
			want = report.NotRun
		}
		if p.Verdict != want || want != report.Pass && !strings.Contains(p.Reason, cut.Error()) {
			t.Errorf("%s: %s, %q", p.ID, p.Verdict, p.Reason)
		}
	}
	proofs := 0
	for _, c := range cases {
		for _, p := range c.Procedures {
			proofs += len(flows.NewRun(nil).Proofs(p.ID))
		}
	}
	if len(result.Negatives) != proofs {
		t.Errorf("%d negative proofs are in the report, want %d", len(result.Negatives), proofs)
	}
	for _, n := range result.Negatives {
		switch {
		case n.Procedure == "P1" && n.Verdict == report.Pass:
		case n.Procedure != "P1" && n.Verdict == report.NotRun && strings.Contains(n.Detail, cut.Error()):
		default:
			t.Errorf("%s %q: %s, %q", n.Procedure, n.Name, n.Verdict, n.Detail)
		}
	}
	junit, err := os.ReadFile(filepath.Join(out, "junit.xml"))
	if err != nil || !strings.Contains(string(junit), cut.Error()) {
		t.Errorf("JUnit: %v, %s", err, junit)
	}
}

// TestMissingSteps: a case that says that all is well, without a step, has not
// passed.
func TestMissingSteps(t *testing.T) {
	t.Parallel()
	cases := Suite()[:1]
	cases[0].run = func(*flows.Run, context.Context) error { return nil }
	result, err := (&Runner{Lab: world.Config{InProcess: true}, Cases: cases}).Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if p := result.Procedures[0]; p.Verdict != report.Fail || !strings.Contains(p.Reason, "P1.9") {
		t.Errorf("%s, %q", p.Verdict, p.Reason)
	}
}

// TestLinkDiffers: a case whose APDUs are not those that the virtual reader has seen
// fails, and is named with both counts.
func TestLinkDiffers(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	idle, err := emul.RandomProfile("usim")
	if err != nil {
		t.Fatal(err)
	}
	c, err := emul.New(idle)
	if err != nil {
		t.Fatal(err)
	}
	played, err := device.PlayPrivate(ctx, "", c)
	if err != nil {
		t.Fatal(err)
	}
	defer played.Close()
	cases := Suite()
	last := len(cases) - 1
	change := cases[last].run
	cases[last].run = func(f *flows.Run, ctx context.Context) error {
		f.World.Played = played // which nobody sends anything to
		return change(f, ctx)
	}
	result, err := (&Runner{Lab: world.Config{InProcess: true}, Cases: cases}).Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var apdus, bytes uint64
	for i, p := range result.Procedures {
		apdus, bytes = apdus+p.APDUs, bytes+p.LinkBytes
		differs := strings.Contains(p.Reason, fmt.Sprintf("the tap counts %d APDUs of %d bytes, the virtual reader 0 of 0", apdus, bytes))
		if isLast := i == len(result.Procedures)-1; differs != isLast || (p.Verdict == report.Fail) != isLast {
			t.Errorf("%s: %s, %q", p.ID, p.Verdict, p.Reason)
		}
	}
	if result.Verdict != report.Fail {
		t.Errorf("verdict %s", result.Verdict)
	}
}

// TestInterrupt: a run that was interrupted says so, leaves no lab behind, and no
// file half-written.
func TestInterrupt(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	cases := Suite()
	cases[1].run = func(*flows.Run, context.Context) error {
		cancel()
		return ctx.Err()
	}
	out := t.TempDir()
	result, err := (&Runner{Lab: world.Config{InProcess: true}, Cases: cases, Out: out}).Run(ctx)
	if err == nil || !strings.Contains(err.Error(), "P2 was cut") || result == nil || result.Verdict != report.Fail {
		t.Errorf("%v, %+v", err, result)
	}
	holds(t, out, reportFile, traceFile, pcapFile, logFile)
	holds(t, os.TempDir())
}

// holds wants just these files in a folder.
func holds(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if len(got) != len(want) {
		t.Errorf("%s holds %v, want %v", dir, got, want)
	}
}

// TestEnvironment: what keeps a run from being made is an error, and no file is
// there afterwards.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	noLab := t.TempDir()
	if err := os.WriteFile(filepath.Join(noLab, "something"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	held, err := world.Create(context.Background(), world.Config{Dir: t.TempDir(), InProcess: true, Command: "holder"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close() }()
	var holder *store.HeldError
	for _, tt := range []struct {
		name   string
		runner Runner
		is     func(error) bool
	}{
		{"no lab and not empty", Runner{Lab: world.Config{Dir: noLab, InProcess: true}}, func(err error) bool { return errors.Is(err, store.ErrLabExists) }},
		{"held", Runner{Lab: world.Config{Dir: held.Dir(), InProcess: true}}, func(err error) bool { return errors.As(err, &holder) }},
		{"no TPM", Runner{Lab: world.Config{TPM: "unix:/nowhere", InProcess: true}}, func(err error) bool { return err != nil }},
		{"no folder for JUnit", Runner{Lab: world.Config{InProcess: true}, JUnit: "/nowhere/junit.xml"}, func(err error) bool { return errors.Is(err, os.ErrNotExist) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.runner.Out = t.TempDir()
			result, err := tt.runner.Run(context.Background())
			if result != nil || !tt.is(err) {
				t.Errorf("%v, %v", result, err)
			}
			holds(t, tt.runner.Out)
		})
	}
}

// TestLabGoesOn: a lab whose machine is supplied goes on from there; one whose
// machine has its subscription is refused.
func TestLabGoesOn(t *testing.T) {
	t.Parallel()
	ctx, c := context.Background(), world.Config{Dir: filepath.Join(t.TempDir(), "lab"), InProcess: true}
	if err := MakeLab(ctx, c); err != nil {
		t.Fatal(err)
	}
	if err := MakeLab(ctx, c); !errors.Is(err, store.ErrLabExists) {
		t.Errorf("made twice: %v", err)
	}
	cases := Suite()[:3]
	result, err := (&Runner{Lab: c, Cases: cases}).Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if result.Verdict != report.Pass || result.Procedures[0].ID != "P2" || len(result.Environment.Before) != 1 {
		t.Errorf("%s, %+v", result.Verdict, result.Procedures)
	}
	if _, err := (&Runner{Lab: c, Cases: cases}).Run(ctx); !errors.Is(err, ErrLabUsed) {
		t.Errorf("run twice: %v", err)
	}
}

// TestCutSupply: a lab whose machine was not supplied to the end is, first of all.
func TestCutSupply(t *testing.T) {
	t.Parallel()
	ctx, c := context.Background(), world.Config{Dir: filepath.Join(t.TempDir(), "lab"), InProcess: true}
	w, err := world.Create(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	result, err := (&Runner{Lab: c, Cases: Suite()[:2], Out: t.TempDir()}).Run(ctx)
	if err != nil || result.Verdict != report.Pass || len(result.Procedures) != 2 || !result.Procedures[0].Finished {
		t.Errorf("%v, %+v", err, result)
	}
}
