package hwtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"mcim/flows"
	"mcim/flows/store"
	"mcim/flows/world"
)

// ErrLabUsed says that the lab's machine has its subscription already.
var ErrLabUsed = errors.New("its machine has its subscription already")

// look leaves out of the cases what the lab has behind it.
func (r *run) look(ctx context.Context) (*world.Status, error) {
	if r.lab.Dir == "" {
		return nil, nil
	}
	known, err := world.Look(ctx, r.lab)
	if errors.Is(err, store.ErrNoLab) || errors.Is(err, world.ErrUnfinished) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r.lab.Card = cmp.Or(r.lab.Card, known.Card)
	if cut := slices.ContainsFunc(known.Orders, func(o world.OpenOrder) bool { return len(o.Done) > 0 }); cut || known.Machine.Subscribed {
		return nil, r.used(ctx, cut)
	}
	if !known.Machine.Supplied {
		if err := r.takeUp(ctx, func(w *world.World) error { return flows.NewRun(w).Supply(ctx) }); err != nil {
			return nil, err
		}
	}
	r.report.Environment.Before = []string{first}
	r.Cases = slices.DeleteFunc(slices.Clone(r.Cases), func(c Case) bool { return c.ID == first })
	return &known, nil
}

// first is the case that every lab has behind it that was not made by the run.
const first = "P1"

// takeUp finishes in a lab what was cut.
func (r *run) takeUp(ctx context.Context, finish func(*world.World) error) error {
	c := r.lab
	// The lab's own card needs no reader for this, and a process reaches one pcscd:
	// that of the run that may follow.
	c.Meter, c.InProcess = r.meter, true
	w, err := world.Open(ctx, c)
	if err != nil {
		return err
	}
	if err := errors.Join(finish(w), w.Close()); err != nil {
		return fmt.Errorf("lab %s: what was cut in it: %w", c.Dir, err)
	}
	r.meter.Reset()
	return nil
}

// used refuses a lab that has run its procedures, after the order that was cut in
// it has come to its end.
func (r *run) used(ctx context.Context, cut bool) error {
	finished := ""
	if cut {
		if err := r.takeUp(ctx, func(w *world.World) error { return w.Resume(ctx) }); err != nil {
			return err
		}
		finished = "the order that was cut is finished; "
	}
	return fmt.Errorf("lab %s: %s%w: name another folder, or remove it with mcim lab remove --lab %s", r.lab.Dir, finished, ErrLabUsed, r.lab.Dir)
}
