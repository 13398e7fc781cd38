package flows

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mcim/flows/sho"
	"mcim/flows/wire"
	"mcim/flows/world"
	"mcim/tpm"
)

// kills is how many times TestChaos kills the procedures; `make chaos` asks for
// more than the ordinary tests.
var kills = flag.Int("chaos", 6, "how many times TestChaos kills the procedures")

// The environment of a child of TestChaos.
const (
	chaosDir  = "MCIM_CHAOS_LAB"  // folder of the lab
	chaosDo   = "MCIM_CHAOS_DO"   // one of the deeds
	chaosKill = "MCIM_CHAOS_KILL" // point at which the child kills itself, empty for none
)

// deeds are what a child does to its lab.
var deeds = map[string]func(context.Context, *Run) error{
	"prepare": func(ctx context.Context, r *Run) error {
		return errors.Join(r.Supply(ctx), r.Bootstrap(ctx), r.Provision(ctx))
	},
	"first": func(ctx context.Context, r *Run) error {
		return errors.Join(r.Supply(ctx), r.Bootstrap(ctx), r.Provision(ctx))
	},
	"P8a": func(ctx context.Context, r *Run) error {
		return errors.Join(r.Bootstrap(ctx), r.ChangeInTRE(ctx))
	},
	"P8c": func(ctx context.Context, r *Run) error {
		return errors.Join(r.Bootstrap(ctx), r.ChangeInUICC(ctx))
	},
	"resume": func(ctx context.Context, r *Run) error { return resume(ctx, r) },
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(chaosDir); dir != "" {
		os.Exit(chaosChild(dir, os.Getenv(chaosDo), os.Getenv(chaosKill)))
	}
	flag.Parse()
	os.Exit(m.Run())
}

// chaosChild does one deed in its own process. It prints each journal point it
// comes to, and kills itself at the one it is told.
func chaosChild(dir, do, at string) int {
	ctx := context.Background()
	points := bufio.NewWriter(os.Stdout)
	w, err := openAgain(ctx, world.Config{Dir: dir, Command: "chaos " + do, InProcess: true, OnPoint: func(point string) {
		fmt.Fprintf(points, "point %s\n", point)
		if point == at {
			_ = points.Flush()
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}})
	if err == nil {
		err = errors.Join(deeds[do](ctx, NewRun(w)), w.Close())
	}
	_ = points.Flush()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// openAgain opens the lab of a process that was killed a moment ago: its swtpm
// may be about to end.
func openAgain(ctx context.Context, c world.Config) (*world.World, error) {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		w, err := world.OpenOrCreate(ctx, c)
		var inUse *tpm.InUseError
		if err == nil || !errors.As(err, &inUse) || time.Now().After(deadline) {
			return w, err
		}
	}
}

// resume starts the lab again after a cut and judges what it finds: the order
// that was cut is finished, the machine has exactly one subscription in each
// placement that is in use, which is the old one or the new one on both sides,
// and it gets service by it.
func resume(ctx context.Context, r *Run) error {
	w := r.World
	supplied, err := w.Supplied(ctx)
	if err != nil {
		return err
	}
	if !supplied {
		return errors.Join(r.Supply(ctx), r.Bootstrap(ctx), r.Provision(ctx), consistent(ctx, w))
	}
	return errors.Join(w.Resume(ctx), consistent(ctx, w))
}

func consistent(ctx context.Context, w *world.World) error {
	served := map[wire.Placement][]string{}
	for name, operator := range w.SHOs {
		list, err := operator.Subscriptions(ctx)
		if err != nil {
			return err
		}
		for _, s := range list {
			switch s.State {
			case sho.Active:
				served[s.Placement] = append(served[s.Placement], s.IMSI)
			case sho.Closed:
			default:
				return fmt.Errorf("%s has left the subscription %s %s", name, s.IMSI, s.State)
			}
		}
	}
	for placement, list := range served {
		if len(list) != 1 {
			return fmt.Errorf("subscriptions that are served in the %s: %v, want one", placement, list)
		}
	}
	attached := w.VNO.Attached(w.Machine.Role())
	placement, err := w.Machine.Placement(ctx)
	if err != nil {
		return err
	}
	if !slices.Contains(served[placement], attached) {
		return fmt.Errorf("attached as %s in the %s, but served there are %v", attached, placement, served[placement])
	}
	return nil
}

// TestChaos kills the procedures with SIGKILL at their journal points, every step
// of P8a and P8c at least once if -chaos allows, and starts the same lab again.
func TestChaos(t *testing.T) {
	prepared := t.TempDir()
	if out, err := child(prepared, "prepare", ""); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	hits := map[string]int{}
	for n, c := range plan(t, prepared) {
		dir := t.TempDir()
		if c.do != "first" {
			copyLab(t, prepared, dir)
		}
		out, err := child(dir, c.do, c.point)
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Errorf("%s was not killed at %q: %v %s", c.do, c.point, err, out)
			continue
		}
		hits[c.do+" "+c.point]++
		if out, err := child(dir, "resume", ""); err != nil {
			t.Errorf("kill %d, %s at %q: the lab does not start again: %v: %s", n, c.do, c.point, err, tail(out))
		}
		_ = os.RemoveAll(dir)
	}
	for _, point := range slices.Sorted(maps.Keys(hits)) {
		t.Logf("%3d x %s", hits[point], point)
	}
}

// copyLab copies a lab with the modes of its files.
func copyLab(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from+"/.", to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// cut is one kill.
type cut struct{ do, point string }

// plan is *kills cuts over all journal points of the procedures: each step once,
// then each point once, then any again.
func plan(t *testing.T, prepared string) []cut {
	t.Helper()
	var steps, others []cut
	for _, do := range []string{"P8a", "P8c", "first"} {
		dir := t.TempDir()
		if do != "first" {
			copyLab(t, prepared, dir)
		}
		out, err := child(dir, do, "")
		if err != nil {
			t.Fatalf("%s without a kill: %v: %s", do, err, tail(out))
		}
		seen := map[string]bool{}
		for line := range strings.Lines(string(out)) {
			point, ok := strings.CutPrefix(strings.TrimSpace(line), "point ")
			if !ok || seen[point] {
				continue
			}
			step, _, _ := strings.Cut(point, " ")
			if do != "first" && !seen[step] {
				steps = append(steps, cut{do, point})
			} else {
				others = append(others, cut{do, point})
			}
			seen[point], seen[step] = true, true
		}
	}
	rand.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
	rand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	t.Logf("%d steps of P8a and P8c, %d journal points in all", len(steps), len(steps)+len(others))
	all := append(steps, others...)
	for len(all) < *kills {
		all = append(all, all[rand.IntN(len(all))])
	}
	return all[:*kills]
}

// child runs a deed in a process of its own and gives what it printed.
func child(dir, do, kill string) ([]byte, error) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), chaosDir+"="+dir, chaosDo+"="+do, chaosKill+"="+kill)
	return cmd.CombinedOutput()
}

func tail(out []byte) []byte {
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-3):], []byte("\n"))
}
