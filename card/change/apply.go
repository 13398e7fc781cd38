package change

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"mcim/apdu/secret"
	"mcim/card"
	"mcim/card/dump"
)

// ErrNotFeasible says that a plan has problems, and nothing was written.
var ErrNotFeasible = errors.New("the changes cannot be made as they are; nothing was written")

// BrokenError says that a change was broken off: what was written before is on the
// card, and the write that failed may be there, or a part of it.
type BrokenError struct {
	Written int // writes done and proved
	Of      int
	Err     error
}

// Error gives all three.
func (e *BrokenError) Error() string {
	return fmt.Sprintf("broken off after %d of %d writes: %v", e.Written, e.Of, e.Err)
}

// Unwrap gives the cause.
func (e *BrokenError) Unwrap() error { return e.Err }

// Options of Make and Apply; the zero value is for a card that needs no code.
type Options struct {
	// PIN1 and ADM are those of dump.Options.
	PIN1, ADM secret.Bytes
	// Allow and Spare are those of card.GuardConfig.
	Allow []string
	Spare bool
	// Session are the settings of the transport.
	Session card.Options
	// Journal keeps the undo document, which may hold keys, for the card with that
	// ICCID: when it returns, the document has to be safe from a power cut. It is called
	// once, before the first write. Apply needs it, but for a document of Resumed,
	// whose undo document is kept already.
	Journal func(iccid string, undo []byte) error
	// Progress is told before each write; nil is nobody.
	Progress func(done, of int, c Change)
}

// Result is what Apply did.
type Result struct {
	Plan
	Written int `json:"written"` // changes that are on the card, read back
}

// run is a card with a document.
type run struct {
	options Options
	guard   *card.Guard
	atr     []byte
	plan    Plan
}

// Make resets the card, reads the files that the document names and tells what it
// changes. Nothing is written. Errors are those of dump.Read; what is wrong with the
// changes is in the plan.
func Make(ctx context.Context, c card.Card, d Document, o Options) (Plan, error) {
	r, err := prepare(ctx, c, d, o, false)
	if err != nil {
		return Plan{}, err
	}
	return r.plan, nil
}

// Apply makes the plan, keeps the undo document and writes, each change behind the
// guard and read back. The Result tells how far it came, also with an error:
// ErrNotFeasible, a *card.RefusalError for a card that may not be written, that of
// Journal, a *BrokenError, or those of Make. It ends between two writes when ctx does.
func Apply(ctx context.Context, c card.Card, d Document, o Options) (Result, error) {
	r, err := prepare(ctx, c, d, o, true)
	if err != nil {
		return Result{}, err
	}
	result := Result{Plan: r.plan}
	switch {
	case !r.plan.Feasible:
		return result, ErrNotFeasible
	case len(r.plan.Changes) == 0:
		return result, nil
	}
	if err := r.guard.MayWrite(ctx); err != nil {
		return result, err
	}
	if err := r.journal(); err != nil {
		return result, err
	}
	result.Written, err = r.write(ctx)
	return result, err
}

// prepare reads the card and makes the plan.
func prepare(ctx context.Context, c card.Card, d Document, o Options, writing bool) (*run, error) {
	session := card.NewSession(c, o.Session)
	atr, err := session.Reset(ctx)
	if err != nil {
		return nil, err
	}
	r := &run{options: o, atr: bytes.Clone(atr)}
	r.guard = card.NewGuard(session, card.GuardConfig{ATR: r.atr, Allow: o.Allow, Spare: o.Spare})
	now, err := dump.ReadIn(ctx, session, r.guard, dump.Options{PIN1: o.PIN1, ADM: o.ADM, Only: d.paths()})
	if err != nil {
		return nil, err
	}
	r.plan = Plan{ICCID: now.ICCID, Needs: []string{}, Changes: []Change{}, LeftAlone: []Note{}, Problems: []Note{}}
	if r.guard.Model() == nil {
		r.plan.problem("", 0, "no model of this card is known, so that it can be read, but not written")
	}
	if d.iccid != "" && d.iccid != now.ICCID {
		r.plan.problem("", 0, "the document is of the card with ICCID %s, this one has %q; remove its \"iccid\" if this one is meant", d.iccid, now.ICCID)
	}
	files := map[string]dump.File{}
	for _, f := range now.Files {
		files[f.Path] = f
	}
	resolving := newResolver(files, &r.plan)
	for _, e := range d.entries {
		resolving.entry(e)
	}
	r.plan.conclude(files, writing)
	return r, nil
}

// paths are the files that are needed to make a plan.
func (d Document) paths() []string {
	paths := []string{"MF/EF.ICCID"}
	for _, e := range d.entries {
		if e.says() {
			paths = append(paths, e.path)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// journal keeps the undo document.
func (r *run) journal() error {
	if r.options.Journal == nil {
		return nil
	}
	undo, err := r.plan.undo(r.atr)
	if err != nil {
		return err
	}
	return r.options.Journal(r.plan.ICCID, undo)
}

// write writes the changes one after the other, and tells how many are on the card.
// One that began is ended.
func (r *run) write(ctx context.Context) (int, error) {
	of := len(r.plan.Changes)
	for done, c := range r.plan.Changes {
		if err := ctx.Err(); err != nil {
			return done, &BrokenError{done, of, err}
		}
		if r.options.Progress != nil {
			r.options.Progress(done, of, c)
		}
		if err := r.update(context.WithoutCancel(ctx), c); err != nil {
			return done, &BrokenError{done, of, fmt.Errorf("%s: %w", c.Path, err)}
		}
	}
	return of, nil
}

func (r *run) update(ctx context.Context, c Change) error {
	if c.Record > 0 {
		return r.guard.UpdateRecord(ctx, c.place, c.Record, c.after.Reveal())
	}
	return r.guard.UpdateBinary(ctx, c.place, c.Offset, c.after.Reveal())
}
