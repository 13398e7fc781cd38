package ro

import (
	"context"
	"errors"

	"mcim/flows/engine"
	"mcim/flows/store"
	"mcim/flows/wire"
)

// Result is what an order came to.
type Result struct {
	IMSI string `cbor:"imsi"` // of the new subscription
	Slot int    `cbor:"slot"` // of the TRE
	// Epoch is that of the slot with the new subscription.
	Epoch uint64 `cbor:"epoch"`
}

func (d *download) result() Result { return Result{IMSI: d.IMSI, Slot: d.Slot, Epoch: d.Epoch} }

// work is an order on its way: a job and the durable run in which it is done.
type work struct {
	job
	run  *engine.Run
	ro   *RO
	node *wire.Node
}

// ending makes a procedure of f, that notes how the order ended.
func (r *RO) ending(f func(*work) (Result, error)) func(*engine.Run, job) (Result, error) {
	return func(run *engine.Run, j job) (Result, error) {
		result, failure := f(&work{j, run, r, r.node})
		if errors.Is(failure, engine.ErrInterrupted) {
			return result, failure
		}
		r.dpf.drop(j.Order)
		err := run.Do("end", func(ctx context.Context) error { return r.drf.ended(ctx, j, result, failure) })
		if failure != nil {
			return result, failure
		}
		return result, err
	}
}

// step does f as the durable step name, an arrow of the message chart.
func step[T any](w *work, name, to, text string, f func(context.Context) (T, error)) (T, error) {
	return engine.Step(w.run, name, func(ctx context.Context) (v T, err error) {
		err = wire.Step(w.node.Context(ctx), name, w.node.Role, to, text, func(ctx context.Context) error {
			v, err = f(ctx)
			return err
		})
		return v, err
	})
}

// do is step for what has no result.
func (w *work) do(name, to, text string, f func(context.Context) error) error {
	_, err := step(w, name, to, text, func(ctx context.Context) (struct{}, error) { return struct{}{}, f(ctx) })
	return err
}

// register registers the machine with its new home operator (P4.5, P8a.7, P8c.4).
func (w *work) register(ctx context.Context) error {
	m, err := w.ro.drf.machine(ctx, w.ro.store, w.Mandate.Machine)
	if err != nil {
		return err
	}
	_, err = wire.Ask(ctx, w.node.Contacts, w.Mandate.NewSHO, wire.PathRegister,
		wire.RegisterRequest{Order: w.Order, Machine: w.Mandate.Machine, Capabilities: m.Contact.Capabilities})
	return err
}

// session is the order's TLS session with the machine.
func (w *work) session(ctx context.Context) (*wire.Session, error) {
	m, err := w.ro.drf.machine(ctx, w.ro.store, w.Mandate.Machine)
	if err != nil {
		return nil, err
	}
	return w.ro.dpf.session(ctx, w.Order, m.Contact)
}

// record keeps a message.
func (w *work) record(ctx context.Context, kind string, message []byte) error {
	_, err := store.Append(ctx, w.ro.store, store.Record{At: w.node.Now(), Kind: kind, Key: w.Order, Message: message})
	return err
}
