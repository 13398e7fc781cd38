package main

import (
	"context"
	"os"
	"slices"
	"strconv"
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
