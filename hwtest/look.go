package hwtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mcim/flows"
	"mcim/flows/store"
	"mcim/flows/wire"
	"mcim/flows/world"
)

// ErrLabUsed says that a lab has nothing left to run.
var ErrLabUsed = errors.New("it has all of these procedures behind it")

// look leaves out of the cases what the lab has behind it, and makes the one in
// which an earlier run was cut finish it.
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
	r.Cases, r.report.Environment.Before = left(r.Cases, known)
	if len(r.Cases) == 0 {
		return nil, fmt.Errorf("lab %s: %w (%s): name another folder, or remove it with mcim lab remove --lab %s",
			r.lab.Dir, ErrLabUsed, strings.Join(r.report.Environment.Before, ", "), r.lab.Dir)
	}
	return &known, nil
}

// left is the cases of which the lab's own books do not say that they ended well,
// and the names of the others. An order has the name of the procedure that its
// case begins with; P2 has none, and is over once the first one has begun.
func left(cases []Case, lab world.Status) (keep []Case, before []string) {
	cut := ""
	if !lab.Machine.Supplied {
		cut = "P1"
	}
	for _, o := range lab.Orders {
		if o.Begun {
			cut = o.Procedure
		}
	}
	provisioned := slices.Contains(lab.Machine.Behind, "P4")
	var again []Procedure
	for _, c := range cases {
		switch id := c.Procedures[0].ID; {
		case id == cut:
			keep = append(keep, c.finishing(again))
		case id == "P2" && cut == "P4":
			again = c.Procedures
		case id == "P1" && lab.Machine.Supplied, id == "P2" && provisioned, slices.Contains(lab.Machine.Behind, id):
			before = append(before, c.ID)
		default:
			keep = append(keep, c)
		}
	}
	if provisioned && len(keep) > 0 && !keep[0].Procedures[0].begun() {
		keep[0] = keep[0].later()
	}
	return keep, before
}

// finishing is the case as one that ends what an earlier run has begun of it.
// Where the machine has to be powered on by its provisional identity for that,
// again is how it does.
func (c Case) finishing(again []Procedure) Case {
	c.Procedures = append(slices.Clone(again), c.Procedures...)
	for i := range c.Procedures {
		c.Procedures[i].Steps = 0
	}
	if c.ID == first {
		return c // what was done of it, it does not do again
	}
	c.Spends = c.Spends.Plus(powerOn)
	c.run = c.resume
	return c
}

// later is the case on a machine that has to be powered on for it.
func (c Case) later() Case {
	run := c.run
	c.Spends = c.Spends.Plus(powerOn)
	c.run = func(f *flows.Run, ctx context.Context) error {
		if err := c.resume(f, ctx); err != nil {
			return err
		}
		return run(f, ctx)
	}
	return c
}

// powerOn is the most that a machine spends to attach by what it has: the SQN
// counter in the TRE, or the card's PIN1 and AUTHENTICATE, twice where the card asks
// for resynchronisation. After a cut the TRE first counts what it has written and not
// counted, of its state and of its SQNs, and once more where it finishes an erasure.
var powerOn = world.Spend{PINTries: 1, Auths: 2, NVWrites: 4}

// resume powers the machine on and ends what was cut. In a change of subscription
// all of that counts for the change.
func (c Case) resume(f *flows.Run, ctx context.Context) error {
	if len(c.Procedures) == 1 {
		ctx = wire.At(ctx, c.Procedures[0].ID)
	}
	return f.World.Resume(ctx)
}

// first is the case that every lab has behind it that was not made by the run.
const first = "P1"

// earlier enters what the lab had behind it, and which cases the run can tell less
// of, since it only finishes them.
func (r *run) earlier(before []string) {
	e := &r.report.Environment
	e.Before = before
	for _, c := range r.Cases {
		if c.Procedures[0].begun() {
			e.NotProven = append(e.NotProven, fmt.Sprintf("what %s did before it was cut in an earlier run, and its negative proofs: this run finished it", c.ID))
		}
	}
}
