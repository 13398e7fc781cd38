package engine_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mcim/apdu/secret"
	"mcim/flows/engine"
	"mcim/flows/store"
	"mcim/flows/wire"
)

func TestMain(m *testing.M) {
	if os.Getenv(killPoint) != "" {
		fmt.Println(runUntilKilled())
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

type order struct {
	Machine string `cbor:"machine"`
	N       uint64 `cbor:"n"`
}

type receipt struct {
	Text string `cbor:"text"`
}

type procedures = engine.Procedure[order, receipt]

func open(t testing.TB, path string, opts engine.Options) *engine.Engine {
	t.Helper()
	e, err := engine.Open(t.Context(), path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closed(t, e) })
	return e
}

func closed(t testing.TB, e *engine.Engine) {
	t.Helper()
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

func launch(t testing.TB, e *engine.Engine) {
	t.Helper()
	if err := e.Launch(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func file(t testing.TB) string { return filepath.Join(t.TempDir(), "a ?b=#%20.db") }

// log collects points and effects.
type log struct {
	mu   sync.Mutex
	list []string
}

func (l *log) add(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, s)
}

func (l *log) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}

func TestOrder(t *testing.T) {
	t.Parallel()
	path := file(t)
	var points, effects log
	register := func(e *engine.Engine) procedures {
		return engine.Register(e, "P8a", func(r *engine.Run, in order) (receipt, error) {
			effects.add("body " + r.ID)
			imsi, err := engine.Step(r, "P8a.9", func(context.Context) (string, error) {
				effects.add("P8a.9")
				return "imsi of " + in.Machine, nil
			})
			if err != nil {
				return receipt{}, err
			}
			err = r.Do("P8a.12", func(context.Context) error { effects.add("P8a.12"); return nil })
			return receipt{imsi}, err
		})
	}
	e := open(t, path, engine.Options{OnPoint: points.add})
	p := register(e)
	if err := p.Start(t.Context(), "7", order{}); !errors.Is(err, engine.ErrUse) {
		t.Errorf("before launch: got %v", err)
	}
	launch(t, e)
	want := receipt{"imsi of SN-0001"}
	for range 2 {
		got, err := p.Do(t.Context(), "7", order{"SN-0001", 1})
		if err != nil || got != want {
			t.Errorf("got %v %v", got, err)
		}
	}
	if err := p.Start(t.Context(), "7", order{"SN-0001", 2}); !errors.Is(err, engine.ErrConflict) {
		t.Errorf("another input: got %v", err)
	}
	if _, err := p.Wait(t.Context(), "8"); !errors.Is(err, engine.ErrUnknown) {
		t.Errorf("unknown order: got %v", err)
	}
	if diff := cmp.Diff([]string{"body 7", "P8a.9", "P8a.12"}, effects.all()); diff != "" {
		t.Error(diff)
	}
	wantPoints := []string{"P8a.9 begin", "P8a.9 done", "P8a.9 end", "P8a.12 begin", "P8a.12 done", "P8a.12 end"}
	if diff := cmp.Diff(wantPoints, points.all()); diff != "" {
		t.Error(diff)
	}
	closed(t, e)
	if _, err := p.Wait(t.Context(), "7"); !errors.Is(err, engine.ErrInterrupted) {
		t.Errorf("closed engine: got %v", err)
	}
	if err := p.Start(t.Context(), "9", order{}); !errors.Is(err, engine.ErrInterrupted) {
		t.Errorf("closed engine: got %v", err)
	}

	e = open(t, path, engine.Options{})
	p = register(e)
	launch(t, e)
	if got, err := p.Do(t.Context(), "7", order{"SN-0001", 1}); err != nil || got != want {
		t.Errorf("after reopening: got %v %v", got, err)
	}
	if n := len(effects.all()); n != 3 {
		t.Errorf("%d effects, the order ran again", n)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %04o", info.Mode().Perm())
	}
}

// TestErrorsAreKept compares a step's error as the procedure sees it, as Wait
// gives it, and as another process would read it.
func TestErrorsAreKept(t *testing.T) {
	t.Parallel()
	path := file(t)
	cause := errors.New("old package")
	type value struct {
		K secret.Bytes `cbor:"k"`
	}
	var seen log
	register := func(e *engine.Engine) procedures {
		return engine.Register(e, "P6", func(r *engine.Run, in order) (receipt, error) {
			var err error
			switch in.Machine {
			case "refused":
				err = r.Do("P6.6", func(context.Context) error { return wire.Refuse("P6.8", "%w", cause) })
			case "plain":
				err = r.Do("P6.6", func(context.Context) error { return cause })
			case "panic":
				err = r.Do("P6.6", func(context.Context) error { panic("boom") })
			case "secret":
				_, err = engine.Step(r, "P6.6", func(context.Context) (value, error) { return value{secret.New([]byte("k"))}, nil })
			case "body":
				err = wire.Errorf(wire.CodeConflict, "P6.1", "two orders")
			case "body panics":
				panic("boom")
			}
			seen.add(fmt.Sprint(err))
			if errors.Is(err, cause) {
				seen.add("the cause is there in the first run only")
			}
			return receipt{}, err
		})
	}
	for _, reopened := range []bool{false, true} {
		e := open(t, path, engine.Options{})
		p := register(e)
		launch(t, e)
		for machine, want := range map[string]struct {
			text string
			is   error
		}{
			"refused":     {"refused at P6.8: old package", wire.ErrRefused},
			"plain":       {"internal error at P6.6: old package", wire.ErrInternal},
			"panic":       {"internal error at P6.6: P6 panicked: boom", wire.ErrInternal},
			"secret":      {"internal error at P6.6: engine_test.value has no message form: a secret must not be encoded: seal it first", wire.ErrInternal},
			"body":        {"conflict at P6.1: two orders", wire.ErrConflict},
			"body panics": {"internal error: P6 panicked: boom", wire.ErrInternal},
		} {
			_, err := p.Do(t.Context(), machine, order{Machine: machine})
			var e *wire.Error
			if !errors.As(err, &e) || !errors.Is(err, want.is) || err.Error() != want.text {
				t.Errorf("%s, reopened %t: got %v", machine, reopened, err)
			}
		}
		closed(t, e)
	}
	if list := seen.all(); len(list) != 5 || slices.Contains(list, "the cause is there in the first run only") {
		t.Errorf("seen %q", list)
	}
}

func TestRetry(t *testing.T) {
	t.Parallel()
	e := open(t, file(t), engine.Options{Backoff: wire.Backoff{Attempts: 3, First: time.Microsecond}})
	var calls log
	p := engine.Register(e, "P4", func(r *engine.Run, in order) (receipt, error) {
		return engine.Step(r, "P4.5", func(context.Context) (receipt, error) {
			calls.add(in.Machine)
			if in.Machine == "refused" {
				return receipt{}, wire.Refuse("", "no")
			}
			if uint64(len(calls.all())) < in.N {
				return receipt{}, wire.Errorf(wire.CodeUnavailable, "", "sho-a is down")
			}
			return receipt{"up"}, nil
		})
	})
	launch(t, e)
	for _, tc := range []struct {
		in    order
		is    error
		calls int
	}{
		{order{"comes back", 3}, nil, 3},
		{order{"stays away", 100}, wire.ErrUnavailable, 3},
		{order{"refused", 0}, wire.ErrRefused, 1},
	} {
		before := len(calls.all())
		_, err := p.Do(t.Context(), tc.in.Machine, tc.in)
		if !errors.Is(err, tc.is) || len(calls.all())-before != tc.calls {
			t.Errorf("%s: got %v after %d calls", tc.in.Machine, err, len(calls.all())-before)
		}
	}
}

// TestCloseLeavesOrdersPending closes the engine in the middle of a step, in two
// ways, and finishes the order in the next engine.
func TestCloseLeavesOrdersPending(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*engine.Engine, context.CancelFunc){
		"close":  func(e *engine.Engine, _ context.CancelFunc) { _ = e.Close() },
		"cancel": func(_ *engine.Engine, cancel context.CancelFunc) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := file(t)
			var effects log
			wait, reached := true, make(chan struct{})
			register := func(e *engine.Engine) procedures {
				return engine.Register(e, "P8a", func(r *engine.Run, _ order) (receipt, error) {
					if err := r.Do("P8a.1", func(context.Context) error { effects.add("P8a.1"); return nil }); err != nil {
						return receipt{}, err
					}
					err := r.Do("P8a.2", func(ctx context.Context) error {
						effects.add("P8a.2")
						if wait {
							close(reached)
							<-ctx.Done()
							return ctx.Err()
						}
						return nil
					})
					if err != nil {
						// What a procedure does about a failure must not happen now.
						_ = r.Do("undo", func(context.Context) error { effects.add("undo"); return nil })
						return receipt{}, wire.Refuse("", "undone")
					}
					return receipt{"ok"}, nil
				})
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			e, err := engine.Open(ctx, path, engine.Options{})
			if err != nil {
				t.Fatal(err)
			}
			p := register(e)
			launch(t, e)
			if err := p.Start(t.Context(), "7", order{}); err != nil {
				t.Fatal(err)
			}
			<-reached
			end(e, cancel)
			if _, err := p.Wait(t.Context(), "7"); !errors.Is(err, engine.ErrInterrupted) {
				t.Errorf("got %v, want ErrInterrupted", err)
			}
			closed(t, e)

			wait = false
			e = open(t, path, engine.Options{})
			p = register(e)
			pending, err := e.Pending(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(pending) != 1 || pending[0].ID != "7" || pending[0].Procedure != "P8a" || !slices.Equal(pending[0].Steps, []string{"P8a.1"}) {
				t.Errorf("pending %v", pending)
			}
			launch(t, e)
			if got, err := p.Wait(t.Context(), "7"); err != nil || got.Text != "ok" {
				t.Errorf("got %v %v", got, err)
			}
			if diff := cmp.Diff([]string{"P8a.1", "P8a.2", "P8a.2"}, effects.all()); diff != "" {
				t.Error(diff)
			}
			if pending, err := e.Pending(t.Context()); err != nil || len(pending) != 0 {
				t.Errorf("still pending: %v %v", pending, err)
			}
		})
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	e := open(t, file(t), engine.Options{})
	p := engine.Register(e, "P8a", func(r *engine.Run, _ order) (receipt, error) {
		return receipt{}, r.Do("P8a.1", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	})
	launch(t, e)
	if err := p.Start(t.Context(), "7", order{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := p.Wait(ctx, "7"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// TestLaunchRefuses covers orders that this engine could not finish.
func TestLaunchRefuses(t *testing.T) {
	t.Parallel()
	path := file(t)
	never := func(r *engine.Run, _ order) (receipt, error) {
		return receipt{}, r.Do("P8a.1", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	}
	e := open(t, path, engine.Options{})
	p := engine.Register(e, "P8a", never)
	launch(t, e)
	if err := e.Launch(t.Context()); !errors.Is(err, engine.ErrUse) {
		t.Errorf("launched twice: got %v", err)
	}
	if err := p.Start(t.Context(), "7", order{}); err != nil {
		t.Fatal(err)
	}
	closed(t, e)

	e = open(t, path, engine.Options{})
	engine.Register(e, "P8c", never)
	if err := e.Launch(t.Context()); !errors.Is(err, engine.ErrOrphan) || !strings.Contains(err.Error(), "7") {
		t.Errorf("no such procedure: got %v", err)
	}
	closed(t, e)

	for version, want := range map[string]error{"2": store.ErrNewer, "0": engine.ErrOrphan, "x": engine.ErrOrphan} {
		db, err := store.OpenSQLite(path, true)
		if err != nil {
			t.Fatal(err)
		}
		execute(t, db, "UPDATE workflow_status SET application_version = '"+version+"'")
		e = open(t, path, engine.Options{})
		engine.Register(e, "P8a", never)
		if err := e.Launch(t.Context()); !errors.Is(err, want) {
			t.Errorf("version %s: got %v, want %v", version, err, want)
		}
		closed(t, e)
	}

	e = open(t, file(t), engine.Options{})
	engine.Register(e, "P8a", never)
	engine.Register(e, "P8a", never)
	if err := e.Launch(t.Context()); !errors.Is(err, engine.ErrUse) {
		t.Errorf("registered twice: got %v", err)
	}
}

func execute(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	if _, err := db.Exec(query); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	path := file(t)
	if err := os.WriteFile(path, []byte(strings.Repeat("no database ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Open(t.Context(), path, engine.Options{}); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
	if _, err := engine.Open(t.Context(), filepath.Join(path, "x"), engine.Options{}); err == nil {
		t.Error("opened below a file")
	}
}

func TestManyOrders(t *testing.T) {
	t.Parallel()
	e := open(t, file(t), engine.Options{})
	p := engine.Register(e, "P8a", func(r *engine.Run, in order) (receipt, error) {
		return engine.Step(r, "P8a.1", func(context.Context) (receipt, error) { return receipt{fmt.Sprint(in.N)}, nil })
	})
	launch(t, e)
	var wg sync.WaitGroup
	for n := range uint64(20) {
		wg.Go(func() {
			id := fmt.Sprint(n)
			if got, err := p.Do(t.Context(), id, order{N: n}); err != nil || got.Text != id {
				t.Errorf("order %s: got %v %v", id, got, err)
			}
		})
	}
	wg.Wait()
}

func BenchmarkOpen(b *testing.B) {
	path := file(b)
	for b.Loop() {
		e, err := engine.Open(b.Context(), path, engine.Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := e.Launch(b.Context()); err != nil {
			b.Fatal(err)
		}
		closed(b, e)
	}
}

func BenchmarkCreate(b *testing.B) {
	for b.Loop() {
		e, err := engine.Open(b.Context(), file(b), engine.Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := e.Launch(b.Context()); err != nil {
			b.Fatal(err)
		}
		closed(b, e)
	}
}

func BenchmarkOrderOf14Steps(b *testing.B) {
	e := open(b, file(b), engine.Options{})
	p := engine.Register(e, "P8a", func(r *engine.Run, _ order) (receipt, error) {
		for n := range 14 {
			if err := r.Do(fmt.Sprintf("P8a.%d", n+1), func(context.Context) error { return nil }); err != nil {
				return receipt{}, err
			}
		}
		return receipt{}, nil
	})
	launch(b, e)
	n := 0
	for b.Loop() {
		n++
		if _, err := p.Do(b.Context(), fmt.Sprint(n), order{}); err != nil {
			b.Fatal(err)
		}
	}
}

// TestEnvironment: dbos takes its version from the environment first, which would
// make orphans of the orders.
func TestEnvironment(t *testing.T) {
	for _, name := range []string{"DBOS__APPVERSION", "DBOS__VMID"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "other")
			if _, err := engine.Open(t.Context(), file(t), engine.Options{}); !errors.Is(err, engine.ErrUse) || !strings.Contains(err.Error(), name) {
				t.Errorf("got %v, want ErrUse", err)
			}
		})
	}
}
