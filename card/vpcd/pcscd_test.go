package vpcd

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mcim/card"
	"mcim/card/proc"
)

const parentEnv = "MCIM_VPCD_TEST_PARENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentEnv); dir != "" {
		p, err := StartPCSCD(context.Background(), Config{Dir: dir})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(p.Pid())
		select {}
	}
	goleak.VerifyTestMain(m)
}

func TestPCSCDDiesWithKilledParent(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := shortDir(t)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), parentEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for end := time.Now().Add(10 * time.Second); !ended(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("pcscd %d is still there", pid)
		}
	}
	startTest(t, Config{Dir: dir}) // the folder can be used again
}

// ended says whether a process is gone, or a zombie without the threads that keep
// its files open for a moment longer.
func ended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return err != nil || strings.Contains(string(stat), ") Z ") && len(threads) <= 1
}

func TestVersions(t *testing.T) {
	t.Parallel()
	pcscd, driver := Versions(t.Context())
	for _, v := range []string{pcscd, driver} {
		if v == "" || v[0] < '0' || v[0] > '9' {
			t.Errorf("versions %q and %q", pcscd, driver)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if pcscd, driver = Versions(ctx); pcscd != "" || driver != "" {
		t.Errorf("not asked, and got %q and %q", pcscd, driver)
	}
}

// fakeCard answers every command with 9000, or as its functions say.
type fakeCard struct {
	transmit func(command []byte) ([]byte, error)
	reset    func() ([]byte, error)

	mu       sync.Mutex
	commands [][]byte
	resets   int
}

var testATR = []byte{0x3b, 0x9f, 0x96, 0x80, 0x1f, 0x87, 0x80, 0x31, 0xe0, 0x73, 0xfe, 0x21, 0x1b, 0x67, 0x4a, 0x35, 0x75, 0x30, 0x35, 0x02, 0x65, 0xf8}

func (c *fakeCard) Transmit(_ context.Context, command []byte) ([]byte, error) {
	c.mu.Lock()
	c.commands = append(c.commands, append([]byte(nil), command...))
	c.mu.Unlock()
	if c.transmit != nil {
		return c.transmit(command)
	}
	return []byte{0x90, 0x00}, nil
}

func (c *fakeCard) Reset(context.Context) ([]byte, error) {
	c.mu.Lock()
	c.resets++
	c.mu.Unlock()
	if c.reset != nil {
		return c.reset()
	}
	return testATR, nil
}

func (c *fakeCard) Close() error { return nil }

var _ card.Card = (*fakeCard)(nil)

// shortDir is a folder whose path is short enough for a socket in it.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vpcd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func startTest(t *testing.T, c Config) *PCSCD {
	t.Helper()
	p, err := StartPCSCD(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

func TestCardsEnterTheirReaders(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(shortDir(t), "a folder")
	p := startTest(t, Config{Dir: dir, Slots: 5})
	if len(p.Addrs) != 5 || len(p.Readers) != 5 || p.Readers[4] != "mcim virtual reader 3 00 00" {
		t.Fatalf("readers %q at %q", p.Readers, p.Addrs)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	for _, addr := range p.Addrs {
		l, err := Dial(ctx, addr, &fakeCard{})
		if err != nil {
			t.Fatal(err)
		}
		serving.Go(func() {
			if err := l.Serve(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", addr, err)
			}
		})
		<-l.Present()
	}
	cancel()
	serving.Wait()
	if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("folder has mode %v, %v", fi.Mode(), err)
	}
}

func TestSeveralInstances(t *testing.T) {
	t.Parallel()
	a, b := startTest(t, Config{Dir: shortDir(t)}), startTest(t, Config{Dir: shortDir(t)})
	if a.Addrs[0] == b.Addrs[0] || a.Socket == b.Socket {
		t.Errorf("%v and %v", a, b)
	}
}

func TestTakenPortIsDrawnAgain(t *testing.T) {
	t.Parallel()
	first := startTest(t, Config{Dir: shortDir(t)})
	var port int
	if _, err := fmt.Sscanf(first.Addrs[0], "127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	draws := []int{port, port + 1, port - 1, port + 2}
	second := startTest(t, Config{Dir: shortDir(t), draw: func() int {
		next := draws[0]
		if len(draws) > 1 {
			draws = draws[1:]
		}
		return next
	}})
	if want := fmt.Sprintf("127.0.0.1:%d", port+2); second.Addrs[0] != want {
		t.Errorf("got %s, want %s", second.Addrs[0], want)
	}
	_, err := StartPCSCD(t.Context(), Config{Dir: shortDir(t), draw: func() int { return port }})
	if !errors.Is(err, ErrNoPort) {
		t.Errorf("all ports taken: %v", err)
	}
}

// The driver finds its port taken: a listener that takes it between the draw
// and the start of pcscd is played by a table that knows no such process.
func TestForeignListener(t *testing.T) {
	t.Parallel()
	p := startTest(t, Config{Dir: shortDir(t)})
	var port int
	if _, err := fmt.Sscanf(p.Addrs[0], "127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	own, foreign, err := listening(p.Pid(), []int{port})
	if !own || foreign || err != nil {
		t.Errorf("pcscd's own ports: %v %v %v", own, foreign, err)
	}
	own, foreign, err = listening(os.Getpid(), []int{port})
	if own || !foreign || err != nil {
		t.Errorf("another's ports: %v %v %v", own, foreign, err)
	}
	if own, foreign, err = listening(p.Pid(), []int{2}); own || foreign || err != nil {
		t.Errorf("nobody's ports: %v %v %v", own, foreign, err)
	}
}

func TestStartRefusals(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	running := startTest(t, Config{Dir: filepath.Join(dir, "busy")})
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		conf Config
		is   error
		says string
	}{
		"no driver":           {conf: Config{Dir: dir, Driver: dir + "/none.so"}, is: ErrNoDriver, says: "apt-get install vsmartcard-vpcd"},
		"bad driver":          {conf: Config{Dir: dir + "/bad", Driver: file, draw: func() int { return 25010 }}, is: ErrNoPort},
		"no folder":           {conf: Config{}, says: "folder"},
		"folder is no folder": {conf: Config{Dir: file}, says: "not a directory"},
		"busy":                {conf: Config{Dir: filepath.Dir(running.Socket)}, is: ErrBusy, says: running.Socket},
		"long path":           {conf: Config{Dir: filepath.Join(dir, strings.Repeat("x", 100))}, says: "shorter folder"},
		"many readers":        {conf: Config{Dir: dir, Slots: 17}, says: "1 to 16"},
		"less than no":        {conf: Config{Dir: dir, Slots: -1}, says: "1 to 16"},
		"reader name":         {conf: Config{Dir: dir, Name: "a\"b"}, says: "quotes"},
		"canceled":            {ctx: canceled, conf: Config{Dir: dir}, is: context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := c.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			if errors.Is(c.is, ErrNoPort) {
				short, cancel := context.WithTimeout(ctx, 1)
				defer cancel()
				ctx = short
				c.is = context.DeadlineExceeded
			}
			p, err := StartPCSCD(ctx, c.conf)
			if p != nil {
				p.Stop()
			}
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v, %q", err, c.is, c.says)
			}
		})
	}
}

func TestSocketOfAKilledInstanceIsReplaced(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	socket := filepath.Join(dir, "pcscd.comm")
	l, err := listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil { // leaves the file, as kill -9 does
		t.Fatal(err)
	}
	// A child that is just being forked by another test may hold the socket until it
	// runs its program.
	for {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			break
		}
		_ = conn.Close()
		time.Sleep(time.Millisecond)
	}
	p := startTest(t, Config{Dir: dir})
	p.Stop()
	p.Stop()
	if _, err := os.Stat(p.Socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket after Stop: %v", err)
	}
	if p.Err() != nil {
		t.Errorf("error after Stop: %v", p.Err())
	}
}

func TestPCSCDEnds(t *testing.T) {
	t.Parallel()
	p := startTest(t, Config{Dir: shortDir(t)})
	l, err := Dial(t.Context(), p.Addrs[0], &fakeCard{})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- l.Serve(t.Context()) }()
	<-l.Present()
	kill(t, p.Pid())
	<-p.Done()
	if err := p.Err(); !errors.Is(err, proc.ErrEnded) || !strings.Contains(err.Error(), "pcscd ended: signal: killed") {
		t.Errorf("got %v", err)
	}
	if err := <-served; !errors.Is(err, ErrReaderGone) {
		t.Errorf("Serve gives %v", err)
	}
	if _, err := net.Dial("unix", p.Socket); err == nil {
		t.Error("the socket still answers")
	}
	if err := Serve(t.Context(), p.Addrs[0], &fakeCard{}); !errors.Is(err, ErrNoReader) {
		t.Errorf("Serve without a reader gives %v", err)
	}
}

func kill(t *testing.T, pid int) {
	t.Helper()
	p, err := os.FindProcess(pid)
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
}
