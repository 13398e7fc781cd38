//go:build cgo

package pcsc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ebfe/scard"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/cardtest"
	"mcim/card/emul"
	"mcim/card/model"
	"mcim/card/vpcd"
)

// The tests share one socket path, as the process has one, and each starts the
// pcscd that it needs there: none of them runs beside another.
var labDir string

func TestMain(m *testing.M) {
	if os.Getenv(cardProcessEnv) != "" {
		cardProcess()
		return
	}
	dir, err := os.MkdirTemp("", "pcsc")
	if err != nil {
		log.Fatal(err)
	}
	labDir = dir
	if err := UseSocket(filepath.Join(dir, "pcscd.comm")); err != nil {
		log.Fatal(err)
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		log.Print(err)
		code = 1
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

var testATR = []byte{0x3b, 0x9f, 0x96, 0x80, 0x1f, 0x87, 0x80, 0x31, 0xe0, 0x73, 0xfe, 0x21, 0x1b, 0x67, 0x4a, 0x35, 0x75, 0x30, 0x35, 0x02, 0x65, 0xf8}

// fakeCard answers the data of a command and 9000; INS EE pulls it out, INS EF
// is answered once hold is closed.
type fakeCard struct {
	atr  []byte
	hold chan struct{}

	mu     sync.Mutex
	resets int
	seen   int
}

func (c *fakeCard) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	c.mu.Lock()
	c.seen++
	c.mu.Unlock()
	switch command[1] {
	case 0xEE:
		return nil, card.ErrRemoved
	case 0xEF:
		select {
		case <-c.hold:
		case <-ctx.Done():
			return nil, card.ErrTimeout
		}
	}
	return append(bytes.Clone(command[4:]), 0x90, 0x00), nil
}

func (c *fakeCard) Reset(context.Context) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resets++
	if c.atr != nil {
		return c.atr, nil
	}
	return testATR, nil
}

func (c *fakeCard) Close() error { return nil }

func (c *fakeCard) counts() (seen, resets int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen, c.resets
}

func startPCSCD(t testing.TB, c vpcd.Config) *vpcd.PCSCD {
	t.Helper()
	c.Dir = labDir
	p, err := vpcd.StartPCSCD(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

// insert puts a card into a reader and returns how to pull it out.
func insert(t testing.TB, addr string, c card.Card) (pull func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l, err := vpcd.Dial(ctx, addr, c)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = l.Serve(ctx)
	}()
	pull = func() { cancel(); <-done }
	t.Cleanup(pull)
	return pull
}

// pullTime is how long a reader has to be empty for pcscd to see it for sure: it
// looks every 400 ms. After less than that and a broken command it can hold the
// reader for empty although a card is in it.
const pullTime = 800 * time.Millisecond

// awaitCard waits until pcscd sees a card in reader 0.
func awaitCard(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(poll) {
		readers, err := Readers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if readers[0].Card {
			return
		}
		if time.Now().After(end) {
			t.Fatal("pcscd does not see the card")
		}
	}
}

// open opens the card in reader 0 of a new pcscd.
func open(t testing.TB, fake *fakeCard, opts Options) (*Card, *vpcd.PCSCD) {
	t.Helper()
	p := startPCSCD(t, vpcd.Config{})
	insert(t, p.Addrs[0], fake)
	opts.Wait = 5 * time.Second
	c, err := Open(t.Context(), "0", opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, p
}

func exchange(t *testing.T, c card.Card) {
	t.Helper()
	got, err := c.Transmit(t.Context(), []byte{0, 0xA4, 0, 4, 1})
	if want := []byte{1, 0x90, 0}; !bytes.Equal(got, want) || err != nil {
		t.Errorf("got %x, %v, want %x", got, err, want)
	}
}

func fdCount(t *testing.T) int {
	t.Helper()
	s, err := openSockets()
	if err != nil {
		t.Fatal(err)
	}
	return len(s)
}

func TestOpenTransmitResetClose(t *testing.T) {
	before := fdCount(t)
	fake := &fakeCard{}
	c, p := open(t, fake, Options{})
	if c.Reader() != p.Readers[0] || !bytes.Equal(c.ATR(), testATR) || c.Protocol() != "T=0" || c.Driver(t.Context()) != "" {
		t.Errorf("reader %q, ATR %x, protocol %s, driver %q", c.Reader(), c.ATR(), c.Protocol(), c.Driver(t.Context()))
	}
	exchange(t, c)
	long := append([]byte{0, 0xA4, 0, 4}, bytes.Repeat([]byte{7}, 60000)...)
	if got, err := c.Transmit(t.Context(), long); err != nil || len(got) != 60002 {
		t.Errorf("extended length: %d bytes, %v", len(got), err)
	}
	seen, resets := fake.counts()
	for _, bad := range [][]byte{nil, {}, {0}, {0, 0xA4, 0}, make([]byte, maxCommand+1)} {
		if _, err := c.Transmit(t.Context(), bad); !errors.Is(err, card.ErrCommand) {
			t.Errorf("command of %d bytes: %v", len(bad), err)
		}
	}
	if now, _ := fake.counts(); now != seen {
		t.Error("a command that is none reached the card")
	}
	atr, err := c.Reset(t.Context())
	if _, now := fake.counts(); err != nil || !bytes.Equal(atr, testATR) || now != resets+1 {
		t.Errorf("reset: %x, %v, the card was powered up %d times", atr, err, now-resets)
	}
	if err := c.Begin(t.Context()); err != nil {
		t.Error(err)
	}
	exchange(t, c)
	if err := c.End(t.Context()); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Transmit(t.Context(), long); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := c.Reset(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := c.Begin(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	p.Stop()
	if after := fdCount(t); after > before+1 { // the link of the card may still be there
		t.Errorf("%d sockets before, %d after", before, after)
	}
}

func TestReaders(t *testing.T) {
	p := startPCSCD(t, vpcd.Config{Slots: 4, Name: `odd #'()%s ä\`})
	insert(t, p.Addrs[1], &fakeCard{})
	c, err := Open(t.Context(), "1", Options{Wait: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Readers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var want []Reader
	for i, n := range p.Readers {
		want = append(want, Reader{Index: i, Name: n})
	}
	want[1].Card, want[1].ATR, want[1].InUse, want[1].Exclusive = true, testATR, true, true
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if c, err = Open(t.Context(), p.Readers[1], Options{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestOpenRefusals(t *testing.T) {
	p := startPCSCD(t, vpcd.Config{Slots: 2})
	insert(t, p.Addrs[1], &fakeCard{})
	held, err := Open(t.Context(), "1", Options{Wait: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close() }()
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	soon, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	for name, c := range map[string]struct {
		ctx    context.Context
		reader string
		opts   Options
		is     error
		says   string
	}{
		"no such index":      {reader: "2", is: ErrNoReader, says: p.Readers[1]},
		"no such name":       {reader: "Gemalto", is: ErrNoReader, says: p.Readers[0]},
		"two readers":        {reader: "virtual", is: ErrNoReader, says: "give more"},
		"empty reader":       {reader: "0", is: ErrNoCard, says: "put one in"},
		"still empty":        {reader: "0", opts: Options{Wait: 30 * time.Millisecond}, is: ErrNoCard},
		"in use":             {reader: "1", is: ErrSharing, says: "in use by another program"},
		"in use, to share":   {reader: "1", opts: Options{Shared: true}, is: ErrSharing},
		"ctx ended":          {ctx: canceled, reader: "1", is: card.ErrTimeout},
		"ctx ends in a wait": {ctx: soon, reader: "0", opts: Options{Wait: time.Hour}, is: context.DeadlineExceeded},
	} {
		ctx := c.ctx
		if ctx == nil {
			ctx = t.Context()
		}
		got, err := Open(ctx, c.reader, c.opts)
		if got != nil || !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %v with %q", name, err, c.is, c.says)
		}
	}
	exchange(t, held)
}

func TestSharedCardIsReset(t *testing.T) {
	a, _ := open(t, &fakeCard{}, Options{Shared: true})
	b, err := Open(t.Context(), "0", Options{Shared: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	exchange(t, a)
	if _, err := b.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // until the card is reset, nothing else works
		if _, err := a.Transmit(t.Context(), []byte{0, 0xA4, 0, 4}); !errors.Is(err, ErrReset) {
			t.Errorf("got %v, want %v", err, ErrReset)
		}
	}
	if _, err := a.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	exchange(t, a)
	if _, err := Open(t.Context(), "0", Options{}); !errors.Is(err, ErrSharing) {
		t.Errorf("exclusive, while it is shared: %v", err)
	}
}

func TestTransactionKeepsOthersOut(t *testing.T) {
	a, _ := open(t, &fakeCard{}, Options{Shared: true})
	b, err := Open(t.Context(), "0", Options{Shared: true, Deadline: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	if err := a.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Begin(t.Context()); !errors.Is(err, card.ErrTimeout) {
		t.Errorf("a second transaction: %v", err)
	}
	exchange(t, a)
	if err := a.End(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestCardPulledOutInTheMiddle(t *testing.T) {
	c, p := open(t, &fakeCard{}, Options{})
	exchange(t, c)
	_, err := c.Transmit(t.Context(), []byte{0, 0xEE, 0, 0})
	if !errors.Is(err, card.ErrRemoved) || !strings.Contains(err.Error(), p.Readers[0]) {
		t.Errorf("got %v", err)
	}
	time.Sleep(pullTime)
	insert(t, p.Addrs[0], &fakeCard{}) // may be another card
	awaitCard(t)
	if _, err := c.Transmit(t.Context(), []byte{0, 0xA4, 0, 4}); !errors.Is(err, card.ErrRemoved) {
		t.Errorf("another card took the place of the first: %v", err)
	}
	if _, err := c.Reset(t.Context()); !errors.Is(err, card.ErrRemoved) {
		t.Errorf("another card took the place of the first: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestCardPulledOutBetween(t *testing.T) {
	p := startPCSCD(t, vpcd.Config{})
	pull := insert(t, p.Addrs[0], &fakeCard{})
	c, err := Open(t.Context(), "0", Options{Wait: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	pull()
	if _, err := c.Reset(t.Context()); !errors.Is(err, card.ErrRemoved) {
		t.Errorf("got %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestMuteCard(t *testing.T) {
	fake := &fakeCard{hold: make(chan struct{})}
	c, _ := open(t, fake, Options{Deadline: 50 * time.Millisecond})
	mute := []byte{0, 0xEF, 0, 0}
	if _, err := c.Transmit(t.Context(), mute); !errors.Is(err, card.ErrTimeout) {
		t.Errorf("deadline: %v", err)
	}
	if _, err := c.Transmit(t.Context(), []byte{0, 0xA4, 0, 4}); !errors.Is(err, card.ErrTimeout) {
		t.Errorf("before Reset: %v", err)
	}
	if _, err := c.Reset(t.Context()); !errors.Is(err, card.ErrTimeout) && !errors.Is(err, ErrSharing) {
		t.Errorf("reset of a card that is still mute: %v", err)
	}
	close(fake.hold)
	for {
		_, err := c.Reset(t.Context())
		if err == nil {
			break
		}
		if !errors.Is(err, card.ErrTimeout) && !errors.Is(err, ErrSharing) {
			t.Fatal(err)
		}
	}
	exchange(t, c)
}

func TestContextEndsACall(t *testing.T) {
	fake := &fakeCard{hold: make(chan struct{})}
	c, _ := open(t, fake, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	timer := time.AfterFunc(30*time.Millisecond, cancel)
	defer timer.Stop()
	if _, err := c.Transmit(ctx, []byte{0, 0xEF, 0, 0}); !errors.Is(err, card.ErrTimeout) || !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	close(fake.hold)
	if _, err := c.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Transmit(ctx, []byte{0, 0xA4, 0, 4}); !errors.Is(err, card.ErrTimeout) {
		t.Errorf("canceled before: %v", err)
	}
	exchange(t, c) // nothing was sent, so nothing is lost
}

// Another card in the reader while the session was dead is not the one that
// was opened.
func TestSwapAfterTimeout(t *testing.T) {
	p := startPCSCD(t, vpcd.Config{})
	fake := &fakeCard{hold: make(chan struct{})}
	pull := insert(t, p.Addrs[0], fake)
	c, err := Open(t.Context(), "0", Options{Wait: 5 * time.Second, Deadline: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := c.Transmit(ctx, []byte{0, 0xEF, 0, 0}); !errors.Is(err, card.ErrTimeout) {
		t.Errorf("got %v", err)
	}
	pull()
	time.Sleep(pullTime)
	insert(t, p.Addrs[0], &fakeCard{})
	awaitCard(t)
	if _, err := c.Reset(t.Context()); !errors.Is(err, card.ErrRemoved) {
		t.Errorf("the new card passes for the old one: %v", err)
	}
}

func TestManyTimeoutsLeakNothing(t *testing.T) {
	fake := &fakeCard{hold: make(chan struct{})}
	c, _ := open(t, fake, Options{})
	count := func() int {
		fds, err := os.ReadDir(fdDir)
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	before := count()
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Millisecond)
		if _, err := c.Transmit(ctx, []byte{0, 0xEF, 0, 0}); !errors.Is(err, card.ErrTimeout) {
			t.Fatal(err)
		}
		cancel()
		fake.hold <- struct{}{}
		if _, err := c.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	exchange(t, c)
	if after := count(); after > before+2 {
		t.Errorf("%d files before, %d after", before, after)
	}
}

func TestPCSCDNotRunning(t *testing.T) {
	socket := filepath.Join(labDir, "pcscd.comm")
	for _, c := range []struct {
		name    string
		prepare func() error
		is      error
		says    string
	}{
		{"no socket", func() error { return nil }, ErrNoService, "there is no socket at " + socket},
		{"left socket", func() error { return leaveSocket(socket) }, ErrNoService, "is left over: start it"},
	} {
		if err := c.prepare(); err != nil {
			t.Fatal(err)
		}
		_, err := Open(t.Context(), "0", Options{})
		if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: Open gives %v", c.name, err)
		}
		if _, err = Readers(t.Context()); !errors.Is(err, c.is) {
			t.Errorf("%s: Readers gives %v", c.name, err)
		}
	}
	_ = os.Remove(socket)
}

// A socket that this user may not use is another matter than one that is not
// there. Root may use all, so the test becomes nobody for file access.
func TestNoPermission(t *testing.T) {
	socket := filepath.Join(labDir, "locked.comm")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if err := os.Chmod(socket, 0); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if os.Getuid() == 0 {
		if err := os.Chmod(labDir, 0o755); err != nil {
			t.Fatal(err)
		}
		_ = syscall.Setfsuid(65534) // of this thread
		defer func() { _ = syscall.Setfsuid(0) }()
	}
	if err := noService(socket); !errors.Is(err, ErrPermission) || !strings.Contains(err.Error(), socket) {
		t.Errorf("got %v", err)
	}
}

// leaveSocket leaves a socket behind that nobody listens on.
func leaveSocket(path string) error {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Close(fd))
}

// A pcscd that is stopped accepts connections and says nothing.
func TestPCSCDHangs(t *testing.T) {
	p := startPCSCD(t, vpcd.Config{})
	if err := syscall.Kill(p.Pid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), "0", Options{Deadline: 50 * time.Millisecond})
	if !errors.Is(err, card.ErrTimeout) || !strings.Contains(err.Error(), "restart it") {
		t.Errorf("got %v", err)
	}
	if err := syscall.Kill(p.Pid(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if _, err := Readers(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestKilledPCSCD(t *testing.T) {
	c, p := open(t, &fakeCard{}, Options{})
	exchange(t, c)
	if err := syscall.Kill(p.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	_, err := c.Transmit(t.Context(), []byte{0, 0xA4, 0, 4})
	if !errors.Is(err, card.ErrRemoved) || !errors.Is(err, ErrNoService) || !strings.Contains(err.Error(), "not running") {
		t.Errorf("got %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestProtocolsOfTheCard(t *testing.T) {
	p := startPCSCD(t, vpcd.Config{Slots: 2})
	insert(t, p.Addrs[0], &fakeCard{atr: []byte{0x3b, 0x81, 0x01, 0x55, 0xd5}}) // offers T=1
	c, err := Open(t.Context(), "0", Options{Wait: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if c.Protocol() != "T=1" {
		t.Errorf("protocol %s", c.Protocol())
	}
	exchange(t, c)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	insert(t, p.Addrs[1], &fakeCard{atr: []byte{0x3b, 0x80, 0x0f, 0x8f}}) // offers T=15 alone
	if c, err = Open(t.Context(), "1", Options{Wait: 5 * time.Second}); err == nil {
		_, err = c.Transmit(t.Context(), []byte{0, 0xA4, 0, 4})
		t.Logf("T=15 passes for %s: %v", c.Protocol(), err)
		_ = c.Close()
	}
}

func TestExplain(t *testing.T) {
	other := errors.New("other")
	for err, is := range map[error]error{
		scard.ErrNoService: ErrNoService, scard.ErrSecurityViolation: ErrPermission, scard.ErrUnknownReader: ErrNoReader,
		scard.ErrNoSmartcard: ErrNoCard, scard.ErrSharingViolation: ErrSharing, scard.ErrUnresponsiveCard: ErrMute,
		scard.ErrProtoMismatch: ErrProtocol, scard.ErrResetCard: ErrReset, scard.ErrNotTransacted: ErrTransmission,
		scard.ErrNoMemory: scard.ErrNoMemory, other: other, fmt.Errorf("x: %w", scard.ErrResetCard): ErrReset,
	} {
		got := explain(err, "R", "/nowhere/comm")
		if !errors.Is(got, is) || strings.Contains(got.Error(), "\n") {
			t.Errorf("%v is explained as %v, want %v", err, got, is)
		}
	}
	if explain(nil, "", "") != nil {
		t.Error("no error is explained as one")
	}
}

func TestUseSocket(t *testing.T) {
	startPCSCD(t, vpcd.Config{})
	if _, err := Readers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := UseSocket(filepath.Join(labDir, "pcscd.comm")); err != nil {
		t.Errorf("the same socket again: %v", err)
	}
	if err := UseSocket("/tmp/another"); !errors.Is(err, ErrSocket) {
		t.Errorf("another socket: %v", err)
	}
	if err := UseSocket(""); err == nil {
		t.Error("no socket passes")
	}
	var fresh binding
	t.Setenv(socketEnv, "")
	if err := fresh.use(""); err != nil || fresh.path != defaultSocket {
		t.Errorf("default: %q, %v", fresh.path, err)
	}
	t.Setenv(socketEnv, "/tmp/of-the-environment")
	fresh = binding{}
	if err := fresh.use(""); err != nil || fresh.path != "/tmp/of-the-environment" {
		t.Errorf("of the environment: %q, %v", fresh.path, err)
	}
	fresh = binding{}
	if err := fresh.use("/tmp/named"); err != nil || os.Getenv(socketEnv) != "/tmp/named" {
		t.Errorf("named: %q, %v", os.Getenv(socketEnv), err)
	}
}

func next(t *testing.T, events <-chan Event) Event {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(20 * time.Second):
		t.Fatal("no event")
		panic("unreachable")
	}
}

func expect(t *testing.T, events <-chan Event, kind EventKind, reader string) Event {
	t.Helper()
	e := next(t, events)
	if e.Kind != kind || e.Reader != reader {
		t.Fatalf("got %v of %q (%v), want %v of %q", e.Kind, e.Reader, e.Err, kind, reader)
	}
	return e
}

// Virtual readers are not plugged in and out while pcscd runs, so this has no
// pcscd.
func TestReadersComeAndGo(t *testing.T) {
	m := &monitor{events: make(chan Event, 10)}
	m.plug(t.Context(), []string{"a", "b"})
	m.update(t.Context(), 0, scard.ReaderState{Reader: "a", EventState: 1<<16 | scard.StatePresent, Atr: testATR})
	m.update(t.Context(), 0, scard.ReaderState{Reader: "a", EventState: 3<<16 | scard.StatePresent | scard.StateMute})
	m.plug(t.Context(), []string{"b", "c"})
	close(m.events)
	var got []Event
	for e := range m.events {
		got = append(got, e)
	}
	want := []Event{{Kind: ReaderAdded, Reader: "a"}, {Kind: ReaderAdded, Reader: "b"}, {Kind: CardInserted, Reader: "a", ATR: testATR},
		{Kind: CardRemoved, Reader: "a"}, {Kind: CardInserted, Reader: "a"},
		{Kind: CardRemoved, Reader: "a"}, {Kind: ReaderRemoved, Reader: "a"}, {Kind: ReaderAdded, Reader: "c"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestWatch(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	events := Watch(ctx)
	if e := expect(t, events, ServiceLost, ""); !errors.Is(e.Err, ErrNoService) {
		t.Errorf("got %v", e.Err)
	}
	p := startPCSCD(t, vpcd.Config{})
	expect(t, events, ServiceFound, "")
	other := strings.TrimSuffix(p.Readers[0], "0") + "1"
	expect(t, events, ReaderAdded, p.Readers[0])
	expect(t, events, ReaderAdded, other)
	pull := insert(t, p.Addrs[0], &fakeCard{})
	if e := expect(t, events, CardInserted, p.Readers[0]); !bytes.Equal(e.ATR, testATR) {
		t.Errorf("ATR %x", e.ATR)
	}
	pull()
	expect(t, events, CardRemoved, p.Readers[0])

	insert(t, p.Addrs[0], &fakeCard{})
	expect(t, events, CardInserted, p.Readers[0])
	p.Stop()
	expect(t, events, ServiceLost, "")
	p = startPCSCD(t, vpcd.Config{})
	expect(t, events, ServiceFound, "")
	expect(t, events, ReaderAdded, p.Readers[0])
	expect(t, events, ReaderAdded, other)

	cancel()
	for range events { // closed at the end of ctx
	}
}

func TestTwoWatchOneReader(t *testing.T) {
	p := startPCSCD(t, vpcd.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	a, b := Watch(ctx), Watch(ctx)
	for _, events := range []<-chan Event{a, b} {
		expect(t, events, ReaderAdded, p.Readers[0])
	}
	for range 50 {
		if _, err := Readers(t.Context()); err != nil {
			t.Error(err)
		}
	}
	cancel()
	for range a {
	}
	for range b {
	}
	bound.mu.Lock()
	defer bound.mu.Unlock()
	if len(bound.keys) > 20 {
		t.Errorf("%d keys: they are not reused", len(bound.keys))
	}
}

// The suite that every card passes, on the software UICC behind a real pcscd.
func TestSoftwareUICCPassesTheSuite(t *testing.T) {
	profile, err := emul.RandomProfile("usim")
	if err != nil {
		t.Fatal(err)
	}
	soft, err := emul.New(profile)
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.ByName("usim")
	if err != nil {
		t.Fatal(err)
	}
	pin, err := uicc.PadPIN(string(profile.PIN1.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	p := startPCSCD(t, vpcd.Config{})
	insert(t, p.Addrs[0], soft)
	facts := cardtest.Facts{ICCID: profile.ICCID, App: m.AID, Protected: card.InApp(m.AID, usim.EFIMSI), PIN1: pin, SpendTry: true}
	for _, facts.Session.T0 = range []bool{false, true} {
		t.Run(fmt.Sprintf("Le left out %v", facts.Session.T0), func(t *testing.T) {
			cardtest.TestCard(t, func(t testing.TB) card.Card {
				c, err := Open(t.Context(), "0", Options{Wait: 5 * time.Second})
				if err != nil {
					t.Fatal(err)
				}
				return c
			}, facts)
		})
	}
}
