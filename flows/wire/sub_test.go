package wire

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"
)

// TestSubordinateCA covers a supplier's CA: its machines are accepted, and
// nothing else that it issues.
func TestSubordinateCA(t *testing.T) {
	t.Parallel()
	l := newLab(t, ServerOptions{})
	sub, err := l.ca.Sub("supplier", []string{"m2me"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := sub.Save(dir, func(path string, data []byte) error { return os.WriteFile(path, data, 0o600) }); err != nil {
		t.Fatal(err)
	}
	if sub, err = LoadCA(dir); err != nil {
		t.Fatal(err)
	}
	ro := l.identity(t, "ro")
	for _, tc := range []struct {
		role string
		is   error
	}{
		{"m2me/SN-0001", nil},
		{"ro", ErrRefused},
		{"m2me-1", ErrRefused},
		{"factory/SN-0001", ErrRefused},
	} {
		id := must(sub.Identity(tc.role, time.Now()))
		s := NewServer(id, ServerOptions{})
		hello.Handle(s, []string{"ro"}, func(context.Context, Peer, ask) (reply, error) { return reply{}, nil })
		start(t, s)
		c := NewClient(ro, s.Addr(), tc.role, ClientOptions{})
		if _, err := hello.Call(t.Context(), c, ask{}); !errors.Is(err, tc.is) {
			t.Errorf("call of %s: got %v, want %v", tc.role, err, tc.is)
		}
		c.Close()
		_, _, err := must(SignAs(id, "ask", ask{})).VerifyFrom(ro, RoleKind(tc.role), "ask")
		if (err == nil) != (tc.is == nil) {
			t.Errorf("signed by %s: got %v", tc.role, err)
		}
		again, err := NewIdentity(append(append(id.Chain[:0:0], id.Certificate), append(id.Chain, id.CA)...), id.Signer)
		if (err == nil) != (tc.is == nil) || (err == nil && again.Role != tc.role) {
			t.Errorf("identity of %s: got %v %v", tc.role, again, err)
		}
	}
	for _, kinds := range [][]string{nil, {""}, {"m2me/1"}, {"sho-a"}, {"."}} {
		if _, err := l.ca.Sub("supplier", kinds, time.Now()); !errors.Is(err, ErrRole) {
			t.Errorf("CA for %q: got %v", kinds, err)
		}
	}
	if deeper, err := sub.Sub("x", []string{"m2me"}, time.Now()); err == nil {
		id := must(deeper.Identity("m2me/1", time.Now()))
		if _, _, err := must(SignAs(id, "ask", ask{})).VerifyFrom(ro, "m2me", "ask"); err == nil {
			t.Error("a CA below the supplier's is accepted")
		}
	}
}

func TestStepPathReachesTheHandler(t *testing.T) {
	t.Parallel()
	l := newLab(t, ServerOptions{})
	var events []Event
	s := NewServer(l.identity(t, "pva"), ServerOptions{Count: func(m Message) {
		if m.Step != "P8a.8/P5c.5" {
			t.Errorf("counted at %q", m.Step)
		}
	}})
	hello.Handle(s, []string{"ro"}, func(ctx context.Context, _ Peer, _ ask) (reply, error) {
		return reply{}, Step(ctx, "P5c.6", "pva", "pva", "check", func(context.Context) error { return nil })
	})
	if err := s.Start(WithObserver(t.Context(), func(e Event) { events = append(events, e) })); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	c := NewClient(l.identity(t, "ro"), s.Addr(), "pva", ClientOptions{})
	defer c.Close()
	if _, err := hello.Call(At(At(t.Context(), "P8a.8"), "P5c.5"), c, ask{}); err != nil {
		t.Fatal(err)
	}
	if len(events) != 2 || events[0].Path != "P8a.8/P5c.6" {
		t.Errorf("got %v", events)
	}
}
