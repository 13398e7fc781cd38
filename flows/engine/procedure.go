package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/dbos-inc/dbos-transact-golang/dbos"

	"mcim/flows/wire"
)

// Procedure is a registered procedure: orders of it are started and waited for.
type Procedure[In, Out any] struct {
	engine *Engine
	name   string
}

// Register makes f a procedure of e under name ("P8a"), before Launch, which
// tells of a name that is used twice.
func Register[In, Out any](e *Engine, name string, f func(*Run, In) (Out, error)) Procedure[In, Out] {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.procedures[name]; ok || e.launched {
		e.misuse = errors.Join(e.misuse, fmt.Errorf("%w: procedure %q is registered twice or after Launch", ErrUse, name))
	}
	e.procedures[name] = func(r *Run, in []byte) ([]byte, error) {
		out, err := run(r, in, f)
		// Whatever it returned while the engine closes is not its outcome.
		if r.ctx.Err() != nil {
			return nil, context.Cause(r.ctx)
		}
		if r.broken != nil {
			return nil, r.broken
		}
		return keep(out, err, "")
	}
	return Procedure[In, Out]{e, name}
}

func run[In, Out any](r *Run, blob []byte, f func(*Run, In) (Out, error)) (out Out, err error) {
	in, err := wire.Unmarshal[In](blob)
	if err != nil {
		return out, err
	}
	err = guard(r, func() error {
		out, err = f(r, in)
		return err
	})
	return out, err
}

// guard turns a panic into an error.
func guard(r *Run, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			r.engine.opts.Logger.Error("procedure panicked", "procedure", r.Procedure, "order", r.ID, "panic", p, "stack", string(debug.Stack()))
			err = wire.Errorf(wire.CodeInternal, "", "%s panicked: %v", r.Procedure, p)
		}
	}()
	return f()
}

// workflowID is the order's name in dbos; a procedure's name has no slash.
func (p Procedure[In, Out]) workflowID(id string) string { return p.name + "/" + id }

// Start starts the order id, durably: once Start has returned nil, the order
// will be finished. Starting it again does nothing, also when it is over or was
// cut; with another input that is ErrConflict.
func (p Procedure[In, Out]) Start(ctx context.Context, id string, in In) error {
	blob, err := wire.Marshal(in)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	p.engine.mu.Lock()
	launched := p.engine.launched
	p.engine.mu.Unlock()
	if !launched {
		return fmt.Errorf("%w: order started before Launch", ErrUse)
	}
	if p.engine.ctx.Err() != nil {
		return ErrInterrupted
	}
	o := order{p.name, id, blob}
	handle, err := dbos.RunWorkflow(p.engine.ctx, p.engine.execute, o, dbos.WithWorkflowID(p.workflowID(id)))
	var status dbos.WorkflowStatus
	if err == nil {
		status, err = handle.GetStatus()
	}
	if err != nil {
		return fmt.Errorf("start of order %s: %w", id, p.engine.cause(ctx, err))
	}
	known, err := orderOf(status)
	if err != nil {
		return err
	}
	if !bytes.Equal(known.In, blob) {
		return fmt.Errorf("%w: %s %s", ErrConflict, p.name, id)
	}
	return nil
}

// Wait waits for the order's end and returns its result, or its error, which is a
// *wire.Error. ErrUnknown, ErrInterrupted and the end of ctx say nothing of the
// order's end. Wait is not for use inside a procedure.
func (p Procedure[In, Out]) Wait(ctx context.Context, id string) (Out, error) {
	var zero Out
	ctx, cancel := p.engine.bound(ctx)
	defer cancel()
	handle, err := dbos.RetrieveWorkflow[[]byte](dbos.From(p.engine.ctx, ctx), p.workflowID(id))
	if err == nil {
		var blob []byte
		if blob, err = handle.GetResult(dbos.WithHandlePollingInterval(pollInterval)); err == nil {
			return kept[Out](blob)
		}
	}
	if errors.Is(err, dbos.ErrNonExistentWorkflow) {
		return zero, fmt.Errorf("%w: %s %s", ErrUnknown, p.name, id)
	}
	if p.engine.ctx.Err() != nil || ctx.Err() != nil {
		return zero, p.engine.cause(ctx, err)
	}
	return zero, wire.AsError(err, "")
}

// Do starts the order and waits for its end.
func (p Procedure[In, Out]) Do(ctx context.Context, id string, in In) (Out, error) {
	if err := p.Start(ctx, id, in); err != nil {
		var zero Out
		return zero, err
	}
	return p.Wait(ctx, id)
}

// execute is the one dbos workflow.
func (e *Engine) execute(ctx dbos.Context, o order) ([]byte, error) {
	e.mu.Lock()
	p, ok := e.procedures[o.Procedure]
	e.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("%w: procedure %q is not registered", ErrOrphan, o.Procedure)
	}
	return p(&Run{Procedure: o.Procedure, ID: o.ID, engine: e, ctx: ctx}, o.In)
}
