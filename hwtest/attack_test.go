package hwtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mcim/flows"
	"mcim/flows/world"
	"mcim/hwtest/report"
)

// TestAttackOutcomes: an attack that a defence stops, one that succeeds since the
// defence is off, and one that does not come as far, each with its last line and
// its files.
func TestAttackOutcomes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		lab     world.Config
		line    string // how it begins
		verdict report.Verdict
		step    string
	}{
		{"autn", world.Config{InProcess: true}, "refused: autn at P2.7: AUTN has a wrong MAC-A", report.Pass, "P2"},
		{"autn", world.Config{InProcess: true, Weak: world.Weakness{AcceptForgedAUTN: true}}, "succeeded: autn: no defence acted\n", report.Fail, "P2"},
		{"replay", spoiled(t), "not reached: replay: ", report.NotRun, "P6"},
	} {
		out := t.TempDir()
		junit := filepath.Join(out, "junit.xml")
		got, err := (&Runner{Lab: tt.lab, Out: out, JUnit: junit}).Attack(context.Background(), tt.name)
		if err != nil {
			t.Fatalf("%s: %v", tt.line, err)
		}
		var line bytes.Buffer
		if err := got.WriteText(&line); err != nil || !strings.HasPrefix(line.String(), tt.line) || strings.Count(line.String(), "\n") != 1 {
			t.Errorf("%v, %q, want %q", err, line.String(), tt.line)
		}
		holds(t, out, reportFile, traceFile, pcapFile, logFile, "junit.xml")
		text, err := os.ReadFile(filepath.Join(out, reportFile))
		if err != nil {
			t.Fatal(err)
		}
		var r report.Report
		if err := json.Unmarshal(text, &r); err != nil {
			t.Fatal(err)
		}
		if len(r.Negatives) != 1 || r.Verdict != tt.verdict || r.Negatives[0].Verdict != tt.verdict || r.Negatives[0].Procedure != tt.step || r.Environment.ATR == "" {
			t.Errorf("%s: report %s", tt.line, text)
		}
		xml, err := os.ReadFile(junit)
		if err != nil || strings.Contains(string(xml), "<failure") != (tt.verdict != report.Pass) {
			t.Errorf("%s: JUnit: %v, %s", tt.line, err, xml)
		}
	}
}

// spoiled is a lab whose only order was refused, as its platform was not the
// approved one.
func spoiled(t *testing.T) world.Config {
	t.Helper()
	ctx, c := context.Background(), world.Config{Dir: filepath.Join(t.TempDir(), "lab"), InProcess: true}
	w, err := world.Create(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	r := flows.NewRun(w)
	if err := errors.Join(r.Supply(ctx), r.Bootstrap(ctx), w.Tamper()); err != nil {
		t.Fatal(err)
	}
	if err := r.Provision(ctx); err == nil {
		t.Fatal("an order was not refused on a platform that nobody approved")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestNoAttack: what keeps an attack from being mounted is an error, and no file
// is there afterwards.
func TestNoAttack(t *testing.T) {
	t.Parallel()
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "something"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(context.Background())
	end()
	for _, tt := range []struct {
		ctx    context.Context
		runner Runner
		attack string
	}{
		{context.Background(), Runner{}, "magic"},
		{context.Background(), Runner{Lab: world.Config{Dir: full}}, "autn"},
		{context.Background(), Runner{JUnit: "/nowhere/junit.xml"}, "autn"},
		{ended, Runner{Lab: world.Config{InProcess: true}}, "autn"},
	} {
		tt.runner.Out = t.TempDir()
		if got, err := tt.runner.Attack(tt.ctx, tt.attack); got != nil || err == nil {
			t.Errorf("%s on %+v: %+v, %v", tt.attack, tt.runner.Lab, got, err)
		}
		holds(t, tt.runner.Out)
	}
}
