package flows

import (
	"context"
	"fmt"
	"time"

	"mcim/flows/auc"
	"mcim/flows/wire"
	"mcim/flows/world"
	"mcim/tpm/mcim"
)

// Run is a lab on its way through the procedures, with what its proofs have to
// know of the time before.
type Run struct {
	World *world.World

	pcid identity // while it is in use
	old  identity // in the TRE before P8a
	card identity // in the UICC before P8c
}

// identity is a subscription, or the provisional identity, that will have been.
type identity struct {
	imsi    string
	keys    auc.Keys     // as its home has them; none of a provisional identity
	remnant mcim.Remnant // its K in the TRE; none where it was in the UICC
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
	r.pcid.imsi = w.VNO.Attached(w.Machine.Role())
	placement, err := w.Machine.Placement(ctx)
	if err != nil || placement != "" || r.pcid.imsi == "" {
		return err // it has its subscription, or the network is a false one
	}
	r.pcid.remnant, err = w.Machine.Remnant(r.pcid.imsi)
	return err
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
	w := r.World
	imsi := w.VNO.Attached(w.Machine.Role())
	home, ok := w.SHOs[w.Home(imsi)]
	if !ok {
		return fmt.Errorf("%s is attached by %q, which is no subscription", w.Machine.Role(), imsi)
	}
	keys, err := home.Keys(ctx, imsi)
	if err != nil {
		return err
	}
	remnant, err := w.Machine.Remnant(imsi)
	if err != nil {
		return err
	}
	r.old = identity{imsi, keys, remnant}
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
	r.card.imsi = card.IMSI
	if r.card.keys, err = w.SHOs[world.SHOA].Keys(ctx, card.IMSI); err != nil {
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
