package wiretest

import (
	"errors"
	"sync"
	"testing"
	"time"

	"mcim/flows/wire"
)

// Lab is a CA, a directory, and a clock that stands still until it is moved.
type Lab struct {
	T         testing.TB
	CA        *wire.CA
	Directory *wire.Directory

	mu     sync.Mutex
	now    time.Time
	events []wire.Event
}

// New makes a lab whose clock stands at the present second.
func New(t testing.TB) *Lab {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Second)
	ca, err := wire.NewCA("test", now)
	if err != nil {
		t.Fatal(err)
	}
	return &Lab{T: t, CA: ca, Directory: new(wire.Directory), now: now}
}

// Now is the lab's time.
func (l *Lab) Now() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

// Pass moves the lab's clock.
func (l *Lab) Pass(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = l.now.Add(d)
}

// Begun is the paths of the steps that have begun, in their order.
func (l *Lab) Begun() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var paths []string
	for _, e := range l.events {
		if !e.End {
			paths = append(paths, e.Path)
		}
	}
	return paths
}

// Identity makes a certificate and keys for role.
func (l *Lab) Identity(role string) *wire.Identity {
	l.T.Helper()
	id, err := l.CA.Identity(role, l.Now())
	if err != nil {
		l.T.Fatal(err)
	}
	return id
}

// Config is the configuration of a new node for role.
func (l *Lab) Config(role string) wire.NodeConfig {
	return wire.NodeConfig{
		Identity:  l.Identity(role),
		Directory: l.Directory,
		Clock:     l.Now,
		Backoff:   wire.Backoff{Attempts: 2, First: time.Millisecond},
		Observer: func(e wire.Event) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.events = append(l.events, e)
		},
	}
}

// Script makes a scripted role: register adds its routes; it serves until the
// test ends.
func (l *Lab) Script(role string, register func(*wire.Server)) *wire.Node {
	l.T.Helper()
	n := wire.NewNode(l.Config(role))
	if register != nil {
		register(n.Server)
	}
	if err := n.Start(l.T.Context()); err != nil {
		l.T.Fatal(err)
	}
	l.T.Cleanup(func() { _ = n.Close() })
	return n
}

// Refused fails the test unless err is a wire.Error of kind (wire.ErrRefused,
// ...) with that step.
func Refused(t testing.TB, err, kind error, step string) {
	t.Helper()
	var e *wire.Error
	if !errors.As(err, &e) || !errors.Is(err, kind) || e.Step != step {
		t.Errorf("got %v, want %v at %s", err, kind, step)
	}
}
