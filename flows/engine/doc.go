// Package engine runs procedures that outlive the process: an order that was cut
// at any moment goes on, when the engine is opened again, after the last step
// that was finished. It wraps dbos-transact-golang, which keeps each step's result
// in a SQLite file.
//
//	e, err := engine.Open(ctx, path, engine.Options{})
//	change := engine.Register(e, "P8a", func(r *engine.Run, in Order) (Receipt, error) {
//		imsi, err := engine.Step(r, "P8a.9", func(ctx context.Context) (string, error) { ... })
//		...
//	})
//	err = e.Launch(ctx) // goes on with what was cut
//	err = change.Start(ctx, "order-7", order)
//	receipt, err := change.Wait(ctx, "order-7")
//
// # Rules for a procedure
//
// A procedure is run from its beginning again after a cut; the finished steps
// then give their kept results. So all that it does happens inside steps, and
// between them it depends on nothing but its input and their results: no clock, no
// randomness, no map order. A step may be repeated when it was cut, so it is
// idempotent or looks first (store.Spend).
//
// The error of a step is kept like its result, as a *wire.Error: its code, step
// and text, nothing else of its chain, in the first run just as in a later one.
// ErrUnavailable is tried again within the bounds of Options.Backoff before.
//
// # What it does not protect
//
// Inputs and results are CBOR in clear in the file. A secret in them is an error
// (secret.Bytes cannot be encoded): keep it in the store and pass its name.
package engine
