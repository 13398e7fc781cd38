package flows

import (
	"context"
	"fmt"
	"time"

	"mcim/flows/auc"
	"mcim/flows/wire"
	"mcim/flows/world"
)

// Run is a lab on its way through the procedures, with what its proofs have to
// know of the time before.
type Run struct {
	World *world.World

	pcid    string // while it is in use
	oldIMSI string // of the MCIM that was in the TRE before P8a
	oldCard oldCard
}

// oldCard is the subscription that was in the UICC before P8c.
type oldCard struct {
	imsi string
	keys auc.Keys
}

// NewRun begins with a lab; it may be anywhere in the procedures.
func NewRun(w *world.World) *Run { return &Run{World: w} }

// Supply is P1: the supplier's machine gets keys, provisional identity and
// certificates, and its subscriber contracts SHO-A for it. What a run that was cut
// has done already is not done again.
func (r *Run) Supply(ctx context.Context) error {
	w := r.World
	ctx = w.Context(ctx)
	supplied, err := w.Machine.Supplied(ctx)
	if err != nil {
		return err
	}
	if !supplied {
		if err := w.Supplier.Prepare(ctx); err != nil {
			return err
		}
		if err := w.Machine.Supply(ctx); err != nil {
			return err
		}
	}
	_, err = w.Subscriber.First(ctx, w.Machine.Role(), world.SHOA, time.Time{})
	return err
}

// Bootstrap is P2: the machine attaches by its provisional identity and gets a
// bearer that reaches the RO alone.
func (r *Run) Bootstrap(ctx context.Context) error {
	w := r.World
	if err := w.RO.Launch(ctx); err != nil {
		return err
	}
	if err := w.Machine.PowerOn(ctx); err != nil {
		return err
	}
	r.pcid = w.VNO.Attached(w.Machine.Role())
	return nil
}

// Provision is P4 with P5c, P6 and P7, one durable order: the machine asks the RO
// for it, and is registered, validated, given its MCIM and attached by it.
func (r *Run) Provision(ctx context.Context) error {
	order, err := r.World.Machine.Register(ctx)
	if err != nil {
		return err
	}
	if order == "" {
		return fmt.Errorf("the RO has no order for %s", r.World.Machine.Role())
	}
	_, err = r.World.RO.Wait(ctx, order)
	return err
}

// ChangeInTRE is P8a: the MCIM in the TRE goes from one home operator to the
// other.
func (r *Run) ChangeInTRE(ctx context.Context) error {
	r.oldIMSI = r.World.VNO.Attached(r.World.Machine.Role())
	return r.change(ctx, wire.InTRE)
}

// ChangeInUICC is P8c: the subscription in the UICC goes from SHO-A to SHO-B. The
// machine attaches by the card first, whose operator is to wake it.
func (r *Run) ChangeInUICC(ctx context.Context) error {
	w := r.World
	card, err := w.OwnCard(ctx)
	if err != nil {
		return err
	}
	r.oldCard.imsi = card.IMSI
	if r.oldCard.keys, err = w.SHOs[world.SHOA].Keys(ctx, card.IMSI); err != nil {
		return err
	}
	if err := w.Machine.UseUICC(wire.At(ctx, "P8c")); err != nil {
		return err
	}
	return r.change(ctx, wire.InUICC)
}

// change takes the subscription by which the machine is attached to the other
// home operator.
func (r *Run) change(ctx context.Context, placement wire.Placement) error {
	w := r.World
	from, to := world.SHOA, world.SHOB
	if w.Home(w.VNO.Attached(w.Machine.Role())) == world.SHOB {
		from, to = to, from
	}
	order, err := w.Subscriber.Change(w.Context(ctx), w.Machine.Role(), placement, from, to)
	if err != nil {
		return err
	}
	_, err = w.RO.Wait(ctx, order)
	return err
}
