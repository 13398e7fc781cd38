package engine

import (
	"context"
	"fmt"

	"github.com/dbos-inc/dbos-transact-golang/dbos"

	"mcim/flows/wire"
)

// Run is one order on its way through its procedure.
type Run struct {
	Procedure string
	ID        string

	engine *Engine
	ctx    dbos.Context
	broken error // why a step could not be kept
}

// outcome is how a step or a procedure ended, as it is kept.
type outcome struct {
	Value []byte      `cbor:"value"` // CBOR; empty with an error
	Error *wire.Error `cbor:"error"`
}

// Step runs f as the step name ("P8a.5") of the procedure, or gives the kept
// result when an earlier run has finished it. The error is a *wire.Error with the
// step's name where f's had none, the same in every run; or ErrInterrupted, after
// which the procedure should return.
func Step[T any](r *Run, name string, f func(context.Context) (T, error)) (T, error) {
	var zero T
	if r.ctx.Err() != nil {
		return zero, ErrInterrupted
	}
	e, ran := r.engine, false
	blob, err := dbos.RunAsStep(r.ctx, func(ctx context.Context) ([]byte, error) {
		ran = true
		e.opts.OnPoint(name + " begin")
		v, err := wire.Retry(ctx, e.opts.Backoff, func(ctx context.Context) (v T, err error) {
			err = guard(r, func() error {
				v, err = f(ctx)
				return err
			})
			return v, err
		})
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		e.opts.OnPoint(name + " done")
		return keep(v, err, name)
	}, dbos.WithStepName(name))
	if r.ctx.Err() != nil {
		return zero, ErrInterrupted
	}
	if err != nil {
		r.broken = fmt.Errorf("step %s of order %s cannot be kept: %w", name, r.ID, err)
		return zero, r.broken
	}
	if ran {
		e.opts.OnPoint(name + " end")
	}
	return kept[T](blob)
}

// Do is Step for what has no result.
func (r *Run) Do(name string, f func(context.Context) error) error {
	_, err := Step(r, name, func(ctx context.Context) (struct{}, error) { return struct{}{}, f(ctx) })
	return err
}

// keep encodes an outcome. A value that has no message form is an error of the
// step that made it.
func keep[T any](v T, err error, step string) ([]byte, error) {
	var o outcome
	if err == nil {
		o.Value, err = wire.Marshal(v)
	}
	if err != nil {
		o = outcome{Error: wire.AsError(err, step)}
	}
	return wire.Marshal(o)
}

// kept decodes an outcome.
func kept[T any](blob []byte) (T, error) {
	var zero T
	o, err := wire.Unmarshal[outcome](blob)
	if err != nil {
		return zero, err
	}
	if o.Error != nil {
		return zero, o.Error
	}
	return wire.Unmarshal[T](o.Value)
}
