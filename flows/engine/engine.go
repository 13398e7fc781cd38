package engine

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
	// The SQLite driver registers itself with dbos.
	_ "github.com/dbos-inc/dbos-transact-golang/dbos/driver/sqlite"

	"mcim/flows/store"
	"mcim/flows/wire"
)

// Schema is the number of the procedures' form. It goes up when their steps
// change so that an order begun before could not go on; orders of another number
// are never run, Launch names them.
const Schema = 1

// Errors of this package.
var (
	// ErrInterrupted says that the engine is closing; the procedure is not over
	// but goes on when the engine is opened again.
	ErrInterrupted = errors.New("interrupted, goes on when the engine is opened again")
	// ErrUnknown is for an order that was never started.
	ErrUnknown = errors.New("no such order")
	// ErrConflict is for starting an order again with another input.
	ErrConflict = errors.New("the order was started with another input")
	// ErrOrphan is for orders that cannot go on here: begun by another version, or
	// of a procedure that is not registered.
	ErrOrphan = errors.New("an order cannot go on")
	// ErrUse is for a call at the wrong time, such as Register after Launch.
	ErrUse = errors.New("engine used in the wrong order")
)

// Options is what an engine may do otherwise; the zero value is useful.
type Options struct {
	// Logger hears what dbos says; nil discards.
	Logger *slog.Logger
	// OnPoint is called at each journal point of each step that is run (not of
	// one whose result is kept), from the procedure's goroutine: "P8a.5 begin"
	// before its effect, "P8a.5 done" after it and before its result is kept,
	// "P8a.5 end" after that. nil is none.
	OnPoint func(point string)
	// Backoff bounds how often a step is tried again after wire.ErrUnavailable.
	Backoff wire.Backoff
}

// maxRecoveries is how often one order is taken up again before dbos gives it up,
// so that one that always kills the process ends some day.
const maxRecoveries = 1000

// closeTimeout is how long Close waits for the steps that run.
const closeTimeout = 10 * time.Second

// pollInterval is how often Wait looks.
const pollInterval = 3 * time.Millisecond

// Engine runs durable procedures. Register all of them, then Launch.
type Engine struct {
	opts    Options
	db      *sql.DB
	ctx     dbos.Context
	unwatch func() bool

	mu         sync.Mutex
	procedures map[string]procedure
	launched   bool
	misuse     error

	closing  sync.Once
	closeErr error
}

// procedure is a registered one with its types erased: it returns its outcome as
// encoded by keep, or an error when it was interrupted.
type procedure func(r *Run, in []byte) ([]byte, error)

// order is the input of every dbos workflow here. There is only one workflow: dbos
// names a workflow by its function, and all procedures share one.
type order struct {
	Procedure string
	ID        string
	In        []byte // CBOR
}

// Open opens the engine's file, or makes it. When ctx ends the engine closes
// itself, which leaves the orders that run to be taken up again. ctx's values
// reach every step.
func Open(ctx context.Context, path string, opts Options) (*Engine, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.OnPoint == nil {
		opts.OnPoint = func(string) {}
	}
	// Made here, for mode 0600; SQLite gives its side files the same.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	// A step whose result is lost with the machine's power is repeated, as any
	// step may be; so the cheaper mode will do.
	db, err := store.OpenSQLite(path, false)
	if err != nil {
		return nil, err
	}
	e := &Engine{opts: opts, db: db, procedures: map[string]procedure{}}
	if err := e.open(ctx); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("engine %s: %w", path, err)
	}
	return e, nil
}

func (e *Engine) open(ctx context.Context) error {
	version := strconv.Itoa(Schema)
	const executor = "mcim"
	var err error
	// Not ctx itself: were it cancelled, dbos would cancel the orders for good.
	e.ctx, err = dbos.NewContext(context.WithoutCancel(ctx), dbos.Config{
		AppName:            "mcim",
		SQLiteSystemDB:     e.db,
		Logger:             e.opts.Logger,
		ApplicationVersion: version,
		ExecutorID:         executor,
	})
	if err != nil {
		return fmt.Errorf("%w: %w", store.ErrDamaged, err)
	}
	if e.ctx.GetApplicationVersion() != version || e.ctx.GetExecutorID() != executor {
		_ = dbos.Shutdown(e.ctx, closeTimeout)
		return fmt.Errorf("%w: unset DBOS__APPVERSION and DBOS__VMID, they would keep cut orders from going on", ErrUse)
	}
	dbos.RegisterWorkflow(e.ctx, e.execute, dbos.WithWorkflowName("order"), dbos.WithMaxRecoveryAttempts(maxRecoveries))
	e.unwatch = context.AfterFunc(ctx, func() { _ = e.Close() })
	return nil
}

// Launch takes up the orders that were cut and lets new ones start. The error is
// ErrOrphan or store.ErrNewer, naming the order, when one of them cannot go on
// here, and the joined misuses of Register.
func (e *Engine) Launch(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.launched {
		return fmt.Errorf("%w: launched twice", ErrUse)
	}
	if e.misuse != nil {
		return e.misuse
	}
	pending, err := e.pending(ctx)
	if err != nil {
		return err
	}
	for _, p := range pending {
		if err := e.canRun(p); err != nil {
			return err
		}
	}
	if err := dbos.Launch(e.ctx); err != nil {
		return err
	}
	e.launched = true
	return nil
}

func (e *Engine) canRun(p Pending) error {
	if p.version != strconv.Itoa(Schema) {
		if n, err := strconv.Atoi(p.version); err == nil && n > Schema {
			return fmt.Errorf("%w: order %s was begun by schema %d, this one knows %d: use the newer mcim", store.ErrNewer, p.ID, n, Schema)
		}
		return fmt.Errorf("%w: %s was begun by schema %q, this one is %d: finish it with that mcim, or make a new lab", ErrOrphan, p.ID, p.version, Schema)
	}
	if _, ok := e.procedures[p.Procedure]; !ok {
		return fmt.Errorf("%w: %s is of procedure %q, which is not registered", ErrOrphan, p.ID, p.Procedure)
	}
	return nil
}

// Close interrupts the procedures that run, waits for the steps that they are in,
// and closes the file. It is safe to call twice.
func (e *Engine) Close() error {
	e.closing.Do(func() {
		e.unwatch()
		e.closeErr = errors.Join(dbos.Shutdown(e.ctx, closeTimeout), e.db.Close())
	})
	return e.closeErr
}

// Pending is an order that is not over.
type Pending struct {
	Procedure string
	ID        string
	// Steps are the names of those that are finished, in their order.
	Steps []string

	version string
}

// Pending lists the orders that are not over, oldest first.
func (e *Engine) Pending(ctx context.Context) ([]Pending, error) { return e.pending(ctx) }

func (e *Engine) pending(ctx context.Context) ([]Pending, error) {
	ctx, cancel := e.bound(ctx)
	defer cancel()
	client := dbos.From(e.ctx, ctx)
	list, err := dbos.ListWorkflows(client, dbos.WithFilterStatus(dbos.WorkflowStatusPending, dbos.WorkflowStatusEnqueued),
		dbos.WithFilterLoadInput(true))
	if err != nil {
		return nil, fmt.Errorf("list of orders: %w", e.cause(ctx, err))
	}
	var pending []Pending
	for _, w := range list {
		o, err := orderOf(w)
		if err != nil {
			return nil, err
		}
		steps, err := dbos.GetWorkflowSteps(client, w.ID, dbos.WithStepsLoadOutput(false))
		if err != nil {
			return nil, fmt.Errorf("steps of order %s: %w", o.ID, e.cause(ctx, err))
		}
		p := Pending{Procedure: o.Procedure, ID: o.ID, version: w.ApplicationVersion}
		for _, s := range steps {
			p.Steps = append(p.Steps, s.StepName)
		}
		pending = append(pending, p)
	}
	return pending, nil
}

// orderOf reads the input that dbos lists as JSON text.
func orderOf(w dbos.WorkflowStatus) (order, error) {
	text, _ := w.Input.(string)
	var o order
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&o); err != nil {
		return order{}, fmt.Errorf("%w: input of order %s: %w", store.ErrDamaged, w.ID, err)
	}
	return o, nil
}

// bound is ctx that ends with the engine too.
func (e *Engine) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(e.ctx, func() { cancel(ErrInterrupted) })
	return ctx, func() { stop(); cancel(nil) }
}

// cause is why a call into dbos with a bound context failed.
func (e *Engine) cause(ctx context.Context, err error) error {
	switch {
	case e.ctx.Err() != nil:
		return ErrInterrupted
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return err
}
