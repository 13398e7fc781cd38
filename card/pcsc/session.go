//go:build cgo

package pcsc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ebfe/scard"
	"golang.org/x/sys/unix"

	"mcim/card"
)

// session is a PC/SC context of its own, which is a connection to pcscd of its
// own, so that a call in it can be ended without harm to others.
type session struct {
	ctx      *scard.Context
	socket   int // our duplicate of the connection's file descriptor
	deadline time.Duration
	dead     bool // the connection was shut down: only release works
	// key is a number that no other session has. Package scard keeps the name of
	// each reader that it asks the state of in one table under that name, and a
	// second call for the same reader takes it away from the first, while C reads
	// it. So each session adds its key to the names, behind a zero byte, where
	// C does not see it.
	key int
}

// newSession connects to pcscd.
func newSession(ctx context.Context, deadline time.Duration) (*session, error) {
	if deadline <= 0 {
		deadline = DefaultDeadline
	}
	if ctx.Err() != nil {
		return nil, timeout(ctx, deadline, "nothing was sent")
	}
	bound.mu.Lock() // one at a time, so that the new socket is this one's
	defer bound.mu.Unlock()
	if err := bound.use(""); err != nil {
		return nil, err
	}
	before, err := openSockets()
	if err != nil {
		return nil, fmt.Errorf("connection to pcscd: %w", err)
	}
	s := &session{deadline: deadline, socket: -1}
	fired, err := within(ctx, deadline, func() { shutdown(newSocket(before, bound.path)) }, func() error {
		var err error
		s.ctx, err = scard.EstablishContext()
		return err
	})
	switch {
	case fired && err != nil:
		return nil, timeout(ctx, deadline, "pcscd accepts connections and says nothing: restart it")
	case err != nil:
		return nil, explain(err, "", bound.path)
	}
	if fd := newSocket(before, bound.path); fd >= 0 {
		s.socket, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	}
	if s.socket < 0 || err != nil {
		return nil, errors.Join(fmt.Errorf("connection to pcscd at %s not found among the files of this process, so calls would have no deadline", bound.path),
			err, s.ctx.Release())
	}
	s.dead = fired
	s.key = bound.takeKey()
	return s, nil
}

// takeKey gives the lowest free key, as the table of scard never shrinks. The
// caller holds b.mu.
func (b *binding) takeKey() int {
	k := slices.Index(b.keys, false)
	if k < 0 {
		k = len(b.keys)
		b.keys = append(b.keys, false)
	}
	b.keys[k] = true
	return k
}

// call runs f, which is one call of the PC/SC library, and ends it when the
// deadline or ctx does: then the error is card.ErrTimeout and the session dead.
func (s *session) call(ctx context.Context, f func() error) error {
	if ctx.Err() != nil {
		return timeout(ctx, s.deadline, "nothing was sent")
	}
	fired, err := within(ctx, s.deadline, func() { shutdown(s.socket) }, f)
	s.dead = s.dead || fired
	if fired && err != nil {
		return timeout(ctx, s.deadline, "its state is unknown: reset it, or take it out and put it in again")
	}
	return err
}

// kill ends the connection, so that nothing more can be waited for in it.
func (s *session) kill() {
	shutdown(s.socket)
	s.dead = true
}

// release ends the session.
func (s *session) release() error {
	var err error
	if s.dead {
		_ = s.ctx.Release() // frees the context; the error is that it is dead
	} else {
		err = s.call(context.Background(), s.ctx.Release)
	}
	_ = unix.Close(s.socket)
	s.socket = -1
	bound.mu.Lock()
	defer bound.mu.Unlock()
	bound.keys[s.key] = false
	return err
}

// within runs f, and kill when f takes longer than d or ctx ends first. d of 0
// is no limit. It reports whether kill was called.
func within(ctx context.Context, d time.Duration, kill func(), f func() error) (fired bool, err error) {
	var mu sync.Mutex
	var done bool
	expire := func() {
		mu.Lock()
		defer mu.Unlock()
		if !done && !fired {
			fired = true
			kill()
		}
	}
	if d > 0 {
		defer time.AfterFunc(d, expire).Stop()
	}
	defer context.AfterFunc(ctx, expire)()
	err = f()
	mu.Lock()
	defer mu.Unlock()
	done = true
	return fired, err
}

func timeout(ctx context.Context, d time.Duration, next string) error {
	p := &problem{is: []error{card.ErrTimeout}}
	if err := ctx.Err(); err != nil {
		p.is = append(p.is, err)
		p.text = fmt.Sprintf("%v: %v: %s", card.ErrTimeout, err, next)
	} else {
		p.text = fmt.Sprintf("%v: nothing came for %v: %s", card.ErrTimeout, d, next)
	}
	return p
}

func shutdown(fd int) {
	if fd >= 0 {
		_ = unix.Shutdown(fd, unix.SHUT_RDWR) // fails where the connection has ended by itself
	}
}

const fdDir = "/proc/self/fd"

// openSockets gives the sockets of this process: inode ("socket:[N]") to file
// descriptor.
func openSockets() (map[string]int, error) {
	names, err := os.ReadDir(fdDir)
	if err != nil {
		return nil, err
	}
	found := make(map[string]int)
	for _, n := range names {
		link, err := os.Readlink(filepath.Join(fdDir, n.Name()))
		fd, nerr := strconv.Atoi(n.Name())
		if err == nil && nerr == nil && strings.HasPrefix(link, "socket:") {
			found[link] = fd
		}
	}
	return found, nil
}

// newSocket finds the connection to the socket at path that is not among those
// before, or -1. The name that the kernel knows is the one by which pcscd made
// it, which can be another path to the same file.
func newSocket(before map[string]int, path string) int {
	after, err := openSockets()
	if err != nil {
		return -1
	}
	var others []int
	for link, fd := range after {
		if _, old := before[link]; old {
			continue
		}
		peer, err := unix.Getpeername(fd)
		addr, ok := peer.(*unix.SockaddrUnix)
		if err != nil || !ok {
			continue
		}
		if sameFile(addr.Name, path) {
			return fd
		}
		others = append(others, fd)
	}
	if len(others) == 1 { // pcscd in a container sees its socket where we see no file
		return others[0]
	}
	return -1
}

func sameFile(a, b string) bool {
	if a == b {
		return true
	}
	fa, erra := os.Stat(a)
	fb, errb := os.Stat(b)
	return erra == nil && errb == nil && os.SameFile(fa, fb)
}
