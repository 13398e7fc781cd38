package hwtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"mcim/card/emul"
	"mcim/flows/wire"
	"mcim/flows/world"
	"mcim/hwtest/report"
)

// The environment of a child that kills itself: the journal point at which it does,
// and its lab, or the image of a named card (with its profile beside it) and a TPM.
const cutAt, cutLab, cutCard, cutTPM = "MCIM_CUT_AT", "MCIM_CUT_LAB", "MCIM_CUT_CARD", "MCIM_CUT_TPM"

// cutChild runs the suite until it is killed.
func cutChild(at string) int {
	lab := world.Config{Dir: os.Getenv(cutLab), TPM: os.Getenv(cutTPM), InProcess: true, OnPoint: func(point string) {
		if point == at {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}}
	if image := os.Getenv(cutCard); image != "" {
		p, err := emul.ReadProfile(image + ".toml")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		lab.Card, lab.Profile, lab.Allow = "emul:"+image, &p, []string{p.ICCID}
	}
	_, err := (&Runner{Lab: lab}).Run(context.Background())
	fmt.Fprintln(os.Stderr, "not killed:", err)
	return 1
}

// killed has a child run the suite, in the environment, which is killed at the point.
func killed(t *testing.T, at string, environment ...string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), cutAt+"="+at), environment...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("not killed at %q: %v, %s", at, err, out)
	}
}

// TestCutRuns: where a run was killed, the next one finishes what was cut, runs
// what is left, and says which is which; then nothing is left. Each child goes on
// from the kill of the one before.
func TestCutRuns(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "lab")
	for _, tt := range []struct {
		name, at, before, finished, ran string
	}{
		{"in P1", "P1.7 PCID injected", "", "P1", "P2 P4 P5c P6 P7 P8a P8c"},
		{"in P4-P7", "P6.6 done", "P1", "P2 P4 P5c P6 P7", "P8a P8c"},
		{"after P4-P7", "end end", "P1 P2 P4-P7", "", "P8a P8c"},
		{"in P8a", "P8a.10 done", "P1 P2 P4-P7", "P8a", "P8c"},
		{"in P8c", "P8c.8 update EF.IMSI written", "P1 P2 P4-P7 P8a", "P8c", ""},
	} {
		killed(t, tt.at, cutLab+"="+dir)
		again := world.Config{Dir: filepath.Join(t.TempDir(), "lab"), InProcess: true}
		if err := world.Copy(context.Background(), world.Config{Dir: dir}, again.Dir); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			goesOn(t, again, tt.before, tt.finished, tt.ran)
		})
	}
}

// goesOn runs the suite on a lab that was cut, and once more.
func goesOn(t *testing.T, lab world.Config, before, finished, ran string) {
	t.Helper()
	out, spent := t.TempDir(), &world.Spent{}
	lab.Sinks = append(lab.Sinks, spent)
	x := &Runner{Lab: lab, Out: out}
	result, err := x.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var rest, ended []string
	for _, p := range result.Procedures {
		if p.Verdict != report.Pass {
			t.Errorf("%s: %s, %s", p.ID, p.Verdict, p.Reason)
		}
		if p.Finished {
			ended = append(ended, p.ID)
		} else {
			rest = append(rest, p.ID)
		}
	}
	for i, got := range []string{strings.Join(result.Environment.Before, " "), strings.Join(ended, " "), strings.Join(rest, " ")} {
		if want := []string{before, finished, ran}[i]; got != want {
			t.Errorf("%s %q, want %q", []string{"before", "finished", "ran"}[i], got, want)
		}
	}
	for _, n := range result.Negatives {
		if n.Verdict != report.Pass || !slices.Contains(rest, n.Procedure) {
			t.Errorf("%s %s: %s, %s", n.Procedure, n.Name, n.Verdict, n.Detail)
		}
	}
	if note := strings.Contains(strings.Join(result.Environment.NotProven, "\n"), "before it was cut"); result.Verdict != report.Pass || note != (finished != "") {
		t.Errorf("verdict %s, not proven: %v", result.Verdict, result.Environment.NotProven)
	}
	agree(t, result, out)
	var declared world.Spend
	for _, c := range x.Cases {
		declared = declared.Plus(c.Spends)
	}
	if !spent.Total().Within(declared) {
		t.Errorf("spent %s, declared were %s", spent.Total(), declared)
	}
	if _, err := (&Runner{Lab: lab}).Run(context.Background()); !errors.Is(err, ErrLabUsed) || !strings.Contains(err.Error(), "mcim lab remove --lab") {
		t.Errorf("once more: %v", err)
	}
}

// TestCutRunRefused: an order that was cut, and that a role refuses when it goes
// on, fails the run at the procedure of that step.
func TestCutRunRefused(t *testing.T) {
	t.Parallel()
	ctx, cut := context.WithCancel(context.Background())
	lab := world.Config{Dir: filepath.Join(t.TempDir(), "lab"), InProcess: true}
	first := lab
	first.OnPoint = func(point string) {
		if point == "P6.6 begin" {
			cut()
		}
	}
	if _, err := (&Runner{Lab: first, Cases: Suite()[:3]}).Run(ctx); err == nil || !strings.Contains(err.Error(), "P4-P7 was cut") {
		t.Fatalf("cut run: %v", err)
	}
	lab.Attack.Carrier = func(_ string, p wire.PackageMessage) wire.PackageMessage {
		return wire.PackageMessage{Order: p.Order}
	}
	result, err := (&Runner{Lab: lab}).Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]report.Verdict{"P2": report.Pass, "P6": report.Fail, "P8a": report.NotRun, "P8c": report.NotRun}
	for _, p := range result.Procedures {
		if v, ok := want[p.ID]; ok && p.Verdict != v {
			t.Errorf("%s: %s, %s; want %s", p.ID, p.Verdict, p.Reason, v)
		}
	}
	if result.Verdict != report.Fail {
		t.Errorf("verdict %s", result.Verdict)
	}
}
