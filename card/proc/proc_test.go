package proc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mcim/card/proc/proctest"
)

const parentEnv = "MCIM_PROC_TEST_PARENT"

func TestMain(m *testing.M) {
	if os.Getenv(parentEnv) != "" {
		parent()
		return
	}
	goleak.VerifyTestMain(m)
}

// parent is the process that is killed: it starts a child, makes the runtime
// retire the thread that Start was called on, and waits.
func parent() {
	retired := make(chan struct{})
	go func() {
		defer close(retired)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		pid, err := startForTest(os.Getenv(parentEnv))
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(pid)
	}()
	<-retired
	time.Sleep(time.Hour)
}

// startForTest starts a child, or a child that has one of its own, and gives the
// process id of the last one; or it makes a folder, and gives its name.
func startForTest(what string) (string, error) {
	if what == "temp" {
		own, err := NewTemp("", "a")
		if err != nil {
			return "", err
		}
		return own.Dir, os.WriteFile(filepath.Join(own.Dir, "file"), nil, 0o600)
	}
	if what == "child" {
		p, err := Start(context.Background(), Spec{Path: "sleep", Args: []string{"1000"}})
		if err != nil {
			return "", err
		}
		return strconv.Itoa(p.Pid()), nil
	}
	p, err := Start(context.Background(), Spec{Path: "/bin/sh", Forks: true, Args: []string{"-c", "sleep 1000 & echo $!; wait"}})
	if err != nil {
		return "", err
	}
	for p.Output() == "" {
		time.Sleep(time.Millisecond)
	}
	return strings.TrimSpace(p.Output()), nil
}

func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func waitGone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); alive(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d is still there", pid)
		}
	}
}

func TestChildrenDieWithKilledParent(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"child", "grandchild"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			killParentOf(t, what)
		})
	}
}

func killParentOf(t *testing.T, what string) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), parentEnv+"="+what)
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
	child, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(line)
	}
	time.Sleep(50 * time.Millisecond) // the retired thread is gone by now, the child must not be
	if !alive(child) {
		t.Fatal("the child ended with a thread of its parent")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	waitGone(t, child)
}

// TestForksEnds sees the watchdog end with a program that ends by itself.
func TestForksEnds(t *testing.T) {
	t.Parallel()
	p, err := Start(t.Context(), Spec{Path: "/bin/sh", Forks: true, Args: []string{"-c", "exit 0"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"obeys SIGTERM":         "echo up; exec sleep 1000",
		"ignores SIGTERM":       "trap '' TERM; echo up; while :; do sleep 0.01; done",
		"has a child of itself": "sleep 1000 & echo up; wait",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := Start(t.Context(), Spec{Path: "/bin/sh", Args: []string{"-c", script}, Grace: 100 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			for p.Output() == "" {
				time.Sleep(time.Millisecond)
			}
			if p.Err() != nil {
				t.Errorf("error while it runs: %v", p.Err())
			}
			p.Stop()
			p.Stop()
			<-p.Done()
			if p.Err() != nil {
				t.Errorf("error after Stop: %v", p.Err())
			}
			waitGone(t, p.Pid())
		})
	}
}

func TestEnds(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	p, err := Start(t.Context(), Spec{Name: "reader", Path: "/bin/sh", LogFile: log,
		Args: []string{"-c", `echo first; echo "  no driver $X" >&2; exit 3`}, Env: []string{"X=here"}})
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	p.Stop() // after the end: does nothing, and hides nothing
	const want = "reader ended: exit status 3: no driver here"
	if err := p.Err(); !errors.Is(err, ErrEnded) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := p.Wait(t.Context()); err == nil || err.Error() != want {
		t.Errorf("Wait gives %v", err)
	}
	got, err := os.ReadFile(log)
	if err != nil || string(got) != "first\n  no driver here\n" {
		t.Errorf("log %q, %v", got, err)
	}
	if fi, err := os.Stat(log); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("log has mode %v, %v", fi.Mode(), err)
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	p, err := Start(t.Context(), Spec{Path: "true"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if err := p.Err(); err == nil || err.Error() != "true ended: exit status 0" {
		t.Errorf("an end that nobody asked for: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	p, err = Start(ctx, Spec{Path: "sleep", Args: []string{"1000"}})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := p.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	waitGone(t, p.Pid())
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	text := filepath.Join(dir, "text")
	proctest.WriteProgram(t, text, []byte("no program"))
	for name, c := range map[string]struct {
		ctx  context.Context
		spec Spec
		is   error
		want string
	}{
		"not installed": {spec: Spec{Path: "no-such-program", Package: "swtpm"}, is: ErrMissing,
			want: "no-such-program is not installed: run apt-get install swtpm, or make setup; mcim doctor tells more"},
		"no path":            {spec: Spec{}, is: ErrMissing},
		"absolute path":      {spec: Spec{Path: dir + "/x"}, is: ErrMissing, want: dir + "/x is not installed"},
		"not executable":     {spec: Spec{Path: "/etc/passwd"}, is: ErrMissing},
		"no program":         {spec: Spec{Path: text}, is: syscall.ENOEXEC},
		"log in no folder":   {spec: Spec{Path: "true", LogFile: dir + "/x/log"}, is: os.ErrNotExist},
		"no such folder":     {spec: Spec{Path: "true", Dir: dir + "/x"}, is: os.ErrNotExist},
		"ctx already at end": {ctx: canceled, spec: Spec{Path: "true"}, is: context.Canceled},
	} {
		ctx := c.ctx
		if ctx == nil {
			ctx = t.Context()
		}
		p, err := Start(ctx, c.spec)
		if p != nil || !errors.Is(err, c.is) || c.want != "" && err.Error() != c.want {
			t.Errorf("%s: got %v, want %v", name, err, c.is)
		}
	}
}

func TestExtraFiles(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	f, err := l.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	p, err := Start(t.Context(), Spec{Path: "/bin/sh", Args: []string{"-c", "readlink /proc/$$/fd/3"}, ExtraFiles: []*os.File{f}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(t.Context()); err != nil || !strings.HasPrefix(p.Output(), "socket:") {
		t.Errorf("fd 3 is %q, %v", p.Output(), err)
	}
}

func TestTailKeepsTheLastBytes(t *testing.T) {
	t.Parallel()
	o := &output{}
	for i := range 1000 {
		if _, err := fmt.Fprintf(o, "line %d\n", i); err != nil {
			t.Fatal(err)
		}
	}
	if len(o.String()) != tailLen || o.lastLine() != "line 999" {
		t.Errorf("%d bytes, last line %q", len(o.String()), o.lastLine())
	}
}
