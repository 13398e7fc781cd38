package world

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"mcim/card/device"
	"mcim/flows/m2me"
	"mcim/flows/store"
	"mcim/flows/wire"
	"mcim/tpm"
)

// ErrCardKept says that the card has not got back what was in it before the lab,
// which is therefore still there.
var ErrCardKept = errors.New("the card has not got back what was in it before")

// Debt is what a lab has of hardware that is not its own, and has to give back.
type Debt struct {
	Card string // URI of the card that the lab has written; empty if it has written none
	TPM  string // URI of the TPM in which the lab has its handles; empty if it is the lab's own
	// ICCID of the card that the caller named when the lab was made; empty if none was.
	ICCID string
}

// None says whether nothing has to be given back.
func (d Debt) None() bool { return d.Card == "" && d.TPM == "" }

// Owes reads from a lab's folder what it has to give back, without devices.
// Errors are those of store.OpenLab and of the stores.
func Owes(ctx context.Context, c Config) (d Debt, err error) {
	err = withLab(ctx, c, func(w *World) error {
		d, err = w.owes(ctx)
		return err
	})
	return d, err
}

func (w *World) owes(ctx context.Context) (Debt, error) {
	known, err := w.device(ctx)
	if err != nil {
		return Debt{}, err
	}
	s, b, err := w.openBefore(ctx)
	if err != nil {
		return Debt{}, err
	}
	d := Debt{ICCID: b.ICCID}
	if known.Claimed {
		d.TPM = known.URI
	}
	if s == nil {
		return d, nil
	}
	wrote, err := w.wroteCard(ctx)
	if wrote && !b.Back {
		d.Card = known.Card
	}
	return d, errors.Join(err, s.Close())
}

func (w *World) wroteCard(ctx context.Context) (bool, error) {
	return m2me.New(m2me.Config{Serial: w.serial, Store: w.stores[wire.MachineRole(w.serial)]}).WroteCard(ctx)
}

// GivenBack is what hardware has got back that is not a lab's own.
type GivenBack struct {
	Card bool          // what was in it before
	TPM  []tpm.Removed // NV indices and handles
}

// GiveBack ends a lab that is open and deletes it, after it has given back what it
// has of hardware that is not its own: a card that it has written gets what was in
// it when the lab was made, a TPM its handles. The keys that the card has now are in
// the lab alone; sequence numbers do not go back. With leaveCard the card stays as it
// is. What was given back is told also where something else failed; then the
// lab is still there. The error is ErrCardKept, or that of a device or the stores.
func (w *World) GiveBack(ctx context.Context, leaveCard bool) (back GivenBack, err error) {
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := errors.Join(w.closeTo(1), w.openStore(ctx, wire.MachineRole(w.serial))); err != nil {
		return back, err
	}
	if !leaveCard {
		if back.Card, err = w.restoreCard(ctx); err != nil {
			return back, fmt.Errorf("%w (%w): lab %s has it, and is kept", ErrCardKept, err, w.lab.Dir)
		}
	}
	if back.TPM, err = w.releaseTPM(ctx); err != nil {
		return back, err
	}
	if err := w.closeTo(1); err != nil {
		return back, err
	}
	w.closers = nil // the lab is closed by its removal
	return back, w.lab.Remove()
}

// Remove opens a lab and gives it back. c.Card is where the card is, if it is not
// where it was. One that is all in software owes nothing: it goes, whatever is
// damaged in it. Errors are those of GiveBack and of store.OpenLab.
func Remove(ctx context.Context, c Config) (GivenBack, error) {
	w, err := openLab(c)
	if err != nil {
		return GivenBack{}, err
	}
	hardware := w.lab.Config.Hardware
	if len(hardware) == 0 {
		return GivenBack{}, w.lab.Remove()
	}
	back, err := w.GiveBack(ctx, c.LeaveCard)
	if errors.Is(err, store.ErrDamaged) || errors.Is(err, store.ErrKey) {
		err = fmt.Errorf("%w (%w): what lab %s has in %s was not given back: put that file back from a copy of the lab and remove it again, or give it up with rm -r",
			ErrDamaged, err, w.lab.Dir, strings.Join(hardware, " and "))
	}
	return back, err
}

// releaseTPM gives back what a TPM has of the lab; the lab's own goes with it.
func (w *World) releaseTPM(ctx context.Context) (removed []tpm.Removed, err error) {
	d, err := w.owes(ctx)
	if err != nil || d.TPM == "" {
		return nil, err
	}
	err = w.withTPM(ctx, func(t *tpm.TPM) (err error) {
		removed, err = t.Release()
		return err
	})
	return removed, err
}

// restoreCard writes back to the card what was in it, and says whether it had to.
func (w *World) restoreCard(ctx context.Context) (bool, error) {
	d, err := w.owes(ctx)
	if err != nil || d.Card == "" {
		return false, err
	}
	err = w.restore(ctx, cmp.Or(w.config.Card, d.Card))
	return err == nil, err
}

func (w *World) restore(ctx context.Context, uri string) error {
	s, b, err := w.openBefore(ctx)
	if err != nil {
		return err
	}
	w.later(s.Close)
	keys, back, err := b.content(ctx, s, w.config)
	if err != nil {
		return err
	}
	if err := w.useCard(device.Open(ctx, uri, deadline)); err != nil {
		return err
	}
	if err := m2me.WriteCard(ctx, w.tapped, keys, back); err != nil {
		return fmt.Errorf("%s: %w", uri, err)
	}
	b.Back = true
	return befores.Put(ctx, s, beforeKey, b)
}

// withLab opens the machine's store, and nothing else of a lab, for use.
func withLab(ctx context.Context, c Config, use func(*World) error) (err error) {
	w, err := openLab(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := w.openStore(ctx, wire.MachineRole(w.serial)); err != nil {
		return w.damaged(err)
	}
	return w.damaged(use(w))
}

// withTPM opens a lab and its TPM alone, if it has one, for use.
func withTPM(ctx context.Context, c Config, use func(*tpm.TPM) error) error {
	return withLab(ctx, c, func(w *World) error { return w.withTPM(ctx, use) })
}

func (w *World) withTPM(ctx context.Context, use func(*tpm.TPM) error) error {
	known, err := w.device(ctx)
	if err != nil || !known.Claimed {
		return err
	}
	t, err := tpm.Open(ctx, w.tpmURI(known), w.tpmOptions(known))
	if err != nil {
		return err
	}
	return errors.Join(use(t), t.Close())
}
