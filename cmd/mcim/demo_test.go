package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"mcim/card/cardtest"
	"mcim/card/emul"
	"mcim/card/vpcd"
	"mcim/flows/store"
	"mcim/flows/world"
	"mcim/hwtest"
)

// TestDemoScripts runs demo and lab as their users do.
func TestDemoScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/demo",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("TMPDIR", env.Getenv("TMPDIR")) // for the exit of temporary labs
			return setUpScript(env)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"begin":   beginCommand,
			"slay":    slayCommand,
			"play":    playCommand,
			"end":     endCommand,
			"readers": readersCommand,
			"code":    codeCommand,
			"lines":   linesCommand,
			"only":    onlyCommand,
			"hold":    holdCommand,
			"pulled":  pulledCommand,
			"cut":     cutCommand,
			"slain":   slainCommand,
		},
	})
}

// onlyCommand (only DIR FILE...) checks that a folder has these files and no
// other.
func onlyCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: only DIR FILE...")
	}
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, args[1:]) {
		ts.Fatalf("%s has %v, want %v", args[0], got, args[1:])
	}
}

// holdCommand (hold LAB) makes a lab folder and holds it until the script ends.
func holdCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hold LAB")
	}
	lab, err := store.CreateLab(ts.MkAbs(args[0]), "holder", store.LabConfig{Operators: []string{"sho-a"}, Machines: []string{"1"}})
	ts.Check(err)
	ts.Defer(func() { _ = lab.Close() })
}

// cutCommand (cut LAB POINT) runs the procedures on a lab, and cuts the run at a
// point of the journal.
func cutCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: cut LAB POINT")
	}
	ctx, cut := context.WithCancel(context.Background())
	defer cut()
	lab := world.Config{Dir: ts.MkAbs(args[0]), InProcess: true, OnPoint: func(point string) {
		if point == args[1] {
			cut()
		}
	}}
	if _, err := (&hwtest.Runner{Lab: lab}).Run(ctx); err == nil || ctx.Err() == nil {
		ts.Fatalf("not cut at %q: %v", args[1], err)
	}
}

// slainCommand (slain STEP ARGS...) starts `mcim demo ARGS`, and kills it with SIGKILL
// when its chart comes to that step.
func slainCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: slain STEP ARGS...")
	}
	mcim, err := exec.LookPath("mcim")
	ts.Check(err)
	cmd := exec.Command(mcim, append([]string{"demo"}, args[1:]...)...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "TMPDIR", "HOME", "XDG_STATE_HOME", "PCSCLITE_CSOCK_NAME"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	defer func() { _ = cmd.Process.Kill() }()
	seen := ""
	for b := make([]byte, 4096); !strings.Contains(seen, args[0]); {
		n, err := out.Read(b)
		if seen += string(b[:n]); err != nil {
			ts.Fatalf("it did not come to %s: %v: %s", args[0], err, seen)
		}
	}
	ts.Check(cmd.Process.Kill())
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Exited() {
		ts.Fatalf("not killed: %v", err)
	}
}

// pulledCommand (pulled N) puts the card of card.toml into a virtual reader, from
// which it is pulled out at its N-th command.
func pulledCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: pulled N")
	}
	at, err := strconv.Atoi(args[0])
	ts.Check(err)
	profile, err := emul.ReadProfile(ts.MkAbs("card.toml"))
	ts.Check(err)
	c, err := emul.New(profile)
	ts.Check(err)
	dir, err := os.MkdirTemp("", "mcim-readers-")
	ts.Check(err)
	ts.Defer(func() { _ = os.RemoveAll(dir) })
	p, err := vpcd.StartPCSCD(context.Background(), vpcd.Config{Dir: dir})
	ts.Check(err)
	ts.Defer(p.Stop)
	ts.Setenv("PCSCLITE_CSOCK_NAME", p.Socket)
	putIn(ts, p.Addrs[0], cardtest.NewFaulty(c, cardtest.Fault{At: at, Kind: cardtest.Removed}))
}
