package proc

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestTempOfTheDead: a folder stays while its process lives, and the next process
// removes it after that one was killed. What is not such a folder is left alone.
func TestTempOfTheDead(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	for _, name := range []string{"mcim-lab-1", "mcim-run", "other"} {
		if err := os.Mkdir(filepath.Join(parent, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(parent, "mcim-run-file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(parent, "other"), filepath.Join(parent, "mcim-run-link")); err != nil {
		t.Fatal(err)
	}
	cmd, dir := tempOfAnother(t, parent)
	own, err := NewTemp(parent, "b")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "file")); err != nil {
		t.Errorf("the folder of a living process: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	next, err := NewTemp(parent, "c")
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := own.Remove(); err != nil {
		t.Fatal(err)
	}
	if got, want := names(t, parent), "mcim-lab-1 mcim-run mcim-run-file mcim-run-link other"; got != want {
		t.Errorf("left: %s, want %s", got, want)
	}
}

// tempOfAnother is a process that has a folder with a file in it.
func tempOfAnother(t *testing.T, parent string) (*exec.Cmd, string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), parentEnv+"=temp", "TMPDIR="+parent)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return cmd, strings.TrimSpace(line)
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}

// TestTempAtOnce: no maker of a folder takes another one's for left.
func TestTempAtOnce(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				own, err := NewTemp(parent, "x")
				if err != nil {
					t.Error(err)
					return
				}
				if err := os.WriteFile(filepath.Join(own.Dir, "file"), nil, 0o600); err != nil {
					t.Error(err)
				}
				if err := own.Remove(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if left := names(t, parent); left != "" {
		t.Errorf("left: %s", left)
	}
}

func TestTempRefusals(t *testing.T) {
	t.Parallel()
	if _, err := NewTemp(filepath.Join(t.TempDir(), "none"), "x"); err == nil || !strings.Contains(err.Error(), "folder for temporary files") {
		t.Errorf("in no folder: %v", err)
	}
}
