package engine_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcim/flows/engine"
	"mcim/flows/wire"
)

// The child of TestKill takes the point at which it kills itself and its folder
// from the environment.
const (
	killPoint = "MCIM_ENGINE_TEST_KILL"
	killDir   = "MCIM_ENGINE_TEST_DIR"
)

const killSteps = 4

// runUntilKilled runs one order of four steps, each of which adds its name to a
// file as its effect; the last one is refused.
func runUntilKilled() error {
	ctx, dir, point := context.Background(), os.Getenv(killDir), os.Getenv(killPoint)
	effects, err := os.OpenFile(filepath.Join(dir, "effects"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	e, err := engine.Open(ctx, filepath.Join(dir, "engine.db"), engine.Options{OnPoint: func(p string) {
		if p == point {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}})
	if err != nil {
		return err
	}
	p := engine.Register(e, "P8a", func(r *engine.Run, in order) (receipt, error) {
		var texts []string
		for n := 1; n <= killSteps; n++ {
			name := fmt.Sprintf("P8a.%d", n)
			text, err := engine.Step(r, name, func(context.Context) (string, error) {
				_, err := fmt.Fprintln(effects, name)
				if err == nil && n == killSteps {
					err = wire.Refuse("P6.8", "%s", strings.Join(texts, " "))
				}
				return fmt.Sprintf("%s:%d", in.Machine, n), err
			})
			if err != nil {
				return receipt{}, err
			}
			texts = append(texts, text)
		}
		return receipt{}, nil
	})
	if err := e.Launch(ctx); err != nil {
		return err
	}
	_, err = p.Do(ctx, "7", order{Machine: "m"})
	return err
}

// TestKill kills a process at each point of each step: the next one finishes the
// order, does the step that was cut again unless it was kept, and no other.
func TestKill(t *testing.T) {
	t.Parallel()
	const want = "refused at P6.8: m:1 m:2 m:3\n"
	for n := 1; n <= killSteps; n++ {
		for _, at := range []string{"begin", "done", "end"} {
			point := fmt.Sprintf("P8a.%d %s", n, at)
			t.Run(point, func(t *testing.T) {
				dir := t.TempDir()
				if out, err := child(t, dir, point); err == nil || out != "" {
					t.Fatalf("was not killed: %s %v", out, err)
				}
				if out, _ := child(t, dir, "none"); out != want {
					t.Errorf("got %q, want %q", out, want)
				}
				if out, _ := child(t, dir, "none"); out != want {
					t.Errorf("when it was over: got %q, want %q", out, want)
				}
				var effects []string
				for step := 1; step <= killSteps; step++ {
					effects = append(effects, fmt.Sprintf("P8a.%d", step))
					if step == n && at == "done" {
						effects = append(effects, fmt.Sprintf("P8a.%d", step))
					}
				}
				got, err := os.ReadFile(filepath.Join(dir, "effects"))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(effects, strings.Fields(string(got))); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func child(t *testing.T, dir, point string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), killDir+"="+dir, killPoint+"="+point)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
