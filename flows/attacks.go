package flows

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"mcim/card/proc"
	"mcim/flows/store"
	"mcim/flows/wire"
	"mcim/flows/world"
)

// Attack is one that a defence has to stop at a certain step.
type Attack struct {
	Name string
	// Steps are those of TR 33.812 digest, 4.4, at which the refusal may come.
	Steps []string
	Text  string
	// prepare says what the attacker does to the lab, run what happens; its error
	// is the refusal.
	prepare func(*attacker) world.Attack
	mount   func(*attacker, context.Context) error
}

// attacker is one attack on its way.
type attacker struct {
	run   *Run
	world *world.World
	other string // IMSI in the package of the other machine
}

// Attacks are all that RunAttack knows.
func Attacks() []Attack {
	return []Attack{
		{"platform", []string{"P5c"}, "a module that nobody approved runs: one PCR differs from the reference", nil, (*attacker).platform},
		{"replay", []string{"P6.8"}, "an old package is delivered again", nil, (*attacker).replay},
		{"redirect", []string{"P6.8"}, "the package of another machine is delivered", (*attacker).carrier, (*attacker).redirect},
		{"autn", []string{"P2.7", "P7.3"}, "a false network challenges with an AUTN of its own", (*attacker).falseNetwork, (*attacker).autn},
	}
}

// Refusal is a defence that acted.
type Refusal struct {
	Attack  string
	Step    string // as in Attack.Steps
	Defence string // what it said
}

// Errors of RunAttack.
var (
	// ErrNoAttack: there is none of that name.
	ErrNoAttack = errors.New("no such attack")
	// ErrSucceeded: the attacker got what it wanted.
	ErrSucceeded = errors.New("no defence acted")
	// ErrNotReached: the attack was over before a defence could act.
	ErrNotReached = errors.New("the attack did not come as far as the defence")
)

// FindAttack is the attack of that name, or ErrNoAttack.
func FindAttack(name string) (Attack, error) {
	var names []string
	for _, a := range Attacks() {
		if a.Name == name {
			return a, nil
		}
		names = append(names, a.Name)
	}
	return Attack{}, fmt.Errorf("%w: %q: there are %s", ErrNoAttack, name, strings.Join(names, ", "))
}

// RunAttack mounts an attack on a temporary lab: a new one where c.Dir is empty,
// or else a copy of the lab there, which is made where there is none and which the
// attack does not change. It runs the lab up to the attack and mounts that; opened
// hears of the lab before. The Refusal is the defence that acted; the error is
// ErrNoAttack, ErrSucceeded, ErrNotReached, or says why there is no lab: that of
// world.Copy or world.Open, or of opened.
func RunAttack(ctx context.Context, c world.Config, name string, opened func(*world.World) error) (refusal Refusal, err error) {
	a, err := FindAttack(name)
	if err != nil {
		return Refusal{}, err
	}
	folder, err := proc.NewTemp("", "lab")
	if err != nil {
		return Refusal{}, err
	}
	defer func() { err = errors.Join(err, folder.Remove()) }()
	dir := folder.Dir
	if err := scene(ctx, c, dir); err != nil {
		return Refusal{}, err
	}
	by := &attacker{}
	if c.Dir = dir; a.prepare != nil {
		c.Attack = a.prepare(by)
	}
	w, err := world.OpenOrCreate(ctx, c)
	if err != nil {
		return Refusal{}, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := opened(w); err != nil {
		return Refusal{}, err
	}
	by.world, by.run = w, NewRun(w)
	return a.judge(a.mount(by, ctx))
}

// scene copies the lab of c, if one is named, to dir. One that is not there is
// made first, and its machine supplied, as mcim lab init does.
func scene(ctx context.Context, c world.Config, dir string) error {
	if c.Dir == "" {
		return nil
	}
	err := world.Copy(ctx, c, dir)
	if !errors.Is(err, store.ErrNoLab) && !errors.Is(err, world.ErrUnfinished) {
		return err
	}
	made := c
	made.InProcess = true // the attack will need the one pcscd that a process can reach
	w, err := world.OpenOrCreate(ctx, made)
	if err != nil {
		return err
	}
	if err := errors.Join(NewRun(w).Supply(ctx), w.Close()); err != nil {
		return err
	}
	return world.Copy(ctx, c, dir)
}

// judge tells the refusal that is meant from others.
func (a Attack) judge(err error) (Refusal, error) {
	var refused *wire.Error
	switch {
	case err == nil:
		return Refusal{}, fmt.Errorf("%s: %w", a.Name, ErrSucceeded)
	case errors.As(err, &refused):
		for _, step := range a.Steps {
			if refused.Step == step || strings.HasPrefix(refused.Step, step+".") {
				return Refusal{a.Name, step, refused.Text}, nil
			}
		}
	}
	return Refusal{}, fmt.Errorf("%s: %w: %w", a.Name, ErrNotReached, err)
}

// upTo runs what the lab has not behind it yet, to the point where the machine is
// attached by its provisional identity or an operational one. An order that was
// cut in the lab comes to its end.
func (a *attacker) upTo(ctx context.Context) error {
	supplied, err := a.world.Supplied(ctx)
	if err != nil {
		return err
	}
	if !supplied {
		if err := a.run.Supply(ctx); err != nil {
			return err
		}
	}
	cut, err := a.world.Cut(ctx)
	if err != nil {
		return err
	}
	if cut {
		return a.world.Resume(ctx)
	}
	return a.run.Bootstrap(ctx)
}

// platform: the module is loaded after the machine has got its bearer, since a
// machine that boots with it does not even come that far: the TPM refuses K_PCID.
// The attack has succeeded when an MCIM was released to that machine; that its TRE
// and its TPM would not let it use that MCIM is another defence.
func (a *attacker) platform(ctx context.Context) error {
	if err := a.upTo(ctx); err != nil {
		return err
	}
	if err := a.world.Tamper(); err != nil {
		return err
	}
	before := len(a.world.Carried())
	err := a.next(ctx)
	if len(a.world.Carried()) > before {
		return nil
	}
	return err
}

// next is the procedure in which the machine gets its next package.
func (a *attacker) next(ctx context.Context) error {
	placement, err := a.world.Machine.Placement(ctx)
	if err != nil {
		return err
	}
	if placement == "" {
		return a.run.Provision(ctx)
	}
	return a.run.change(ctx, placement)
}

func (a *attacker) replay(ctx context.Context) error {
	if err := a.upTo(ctx); err != nil {
		return err
	}
	if err := a.next(ctx); err != nil {
		return err
	}
	old, err := a.run.last()
	if err != nil {
		return err
	}
	if err := a.next(ctx); err != nil {
		return err
	}
	return a.run.deliver(ctx, old)
}

func (a *attacker) falseNetwork() world.Attack { return world.Attack{FalseNetwork: true} }

func (a *attacker) autn(ctx context.Context) error { return a.upTo(ctx) }

// carrier gives the machine a package that was made for another one.
func (a *attacker) carrier() world.Attack {
	return world.Attack{Carrier: func(_ string, p wire.PackageMessage) wire.PackageMessage {
		other, imsi, err := a.world.ForAnotherMachine(p)
		if err != nil {
			return wire.PackageMessage{Order: p.Order} // refused as no package at all
		}
		a.other = imsi
		return other
	}}
}

// redirect has succeeded when the other machine's subscription is in this TRE,
// even if the receipt then tells its operator.
func (a *attacker) redirect(ctx context.Context) error {
	err := a.upTo(ctx)
	if err == nil && a.other == "" { // else in the order that was cut
		err = a.next(ctx)
	}
	if a.other == "" {
		return err
	}
	held, herr := a.world.Machine.Holds(a.other)
	if held {
		return nil
	}
	return errors.Join(err, herr)
}
