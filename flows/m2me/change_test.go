package m2me_test

import (
	"fmt"
	"testing"

	"mcim/card/cardtest"
	"mcim/flows"
	"mcim/flows/wire"
	"mcim/flows/world"
)

// TestChangesAgainAndAgain: the operator of each placement changes there and back
// and there, in any order, also while the other placement has an MCIM.
func TestChangesAgainAndAgain(t *testing.T) {
	t.Parallel()
	l := newLab(t, world.Config{}, provisioned)
	l.change(wire.InTRE)
	l.change(wire.InTRE)
	l.must(l.Machine.UseUICC(wire.At(l.ctx(), "P8c")))
	for range 3 {
		l.change(wire.InUICC)
	}
	l.change(wire.InTRE) // whose MCIM is INACTIVE, and stays the machine's only one
	l.change(wire.InTRE)
	l.must(l.Machine.UseUICC(wire.At(l.ctx(), "P8c")))
	_, inactive := l.served(wire.InTRE)
	l.change(wire.InUICC)
	l.change(wire.InUICC)
	if held, err := l.Machine.Holds(inactive.IMSI); !held || err != nil {
		t.Errorf("the changes of the UICC have cost the MCIM in the TRE: held %v, %v", held, err)
	}
}

// TestChangeOfUICCWhileTREIsActive: the machine attaches by the UICC from then on.
func TestChangeOfUICCWhileTREIsActive(t *testing.T) {
	t.Parallel()
	l := newLab(t, world.Config{}, provisioned)
	l.change(wire.InUICC)
	l.must(l.Machine.Close())
	l.must(l.Machine.PowerOn(l.ctx()))
	if placement, err := l.Machine.Placement(l.ctx()); err != nil || placement != wire.InUICC {
		t.Errorf("after power-on: %s, %v", placement, err)
	}
}

// TestCardPulledOut: at every fifth command of P8c.8 and P8c.9 the card is pulled
// out, goes mute after it has done the command, or before. The order then waits
// with a reason, and ends as soon as the card is back and the machine powered on.
func TestCardPulledOut(t *testing.T) {
	t.Parallel()
	l := newLab(t, world.Config{}, provisioned)
	l.must(l.Machine.UseUICC(wire.At(l.ctx(), "P8c")))
	whole, cut := l.Device.Card, 0
	kinds := []cardtest.Kind{cardtest.Removed, cardtest.Mute, cardtest.Lost}
	for at := 0; ; at += 5 {
		_, before := l.served(wire.InUICC)
		l.insert(cardtest.NewFaulty(whole, cardtest.Fault{At: at, Kind: kinds[cut%len(kinds)], Always: true}))
		order := l.order(wire.InUICC)
		_, err := l.RO.Wait(l.ctx(), order)
		l.insert(whole)
		if err == nil {
			l.serves(wire.InUICC, before.IMSI)
			break // the whole change has fewer commands
		}
		cut++
		step := wire.AsError(err, "").Step
		if step != "P8c.8" && step != "P8c.9" && step != "P7.2" && step != "P7.3" {
			t.Fatalf("command %d: %v", at, err)
		}
		refused(t, err, wire.ErrUnavailable, step, "put the machine's card back")
		l.must(l.Machine.PowerOn(l.ctx()))
		if _, err := l.RO.Wait(l.ctx(), order); err != nil {
			t.Fatalf("command %d, with the card back: %v", at, err)
		}
		l.serves(wire.InUICC, before.IMSI)
	}
	if cut < 5 {
		t.Errorf("only %d of the changes were cut", cut)
	}
}

// TestCardPulledOutAndNextProcess: the order that waits for the card ends in a
// later process.
func TestCardPulledOutAndNextProcess(t *testing.T) {
	t.Parallel()
	l := newLab(t, world.Config{}, provisioned)
	l.must(l.Machine.UseUICC(wire.At(l.ctx(), "P8c")))
	for _, at := range []int{6, 20, 30} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			_, before := l.served(wire.InUICC)
			l.insert(cardtest.NewFaulty(l.Device.Card, cardtest.Fault{At: at, Kind: cardtest.Removed}))
			_, err := l.RO.Wait(l.ctx(), l.order(wire.InUICC))
			if err == nil {
				t.Fatal("the change succeeded without the card")
			}
			dir := l.Dir()
			l.must(l.Close())
			if l.World, err = world.Open(l.ctx(), world.Config{Dir: dir, InProcess: true}); err != nil {
				t.Fatal(err)
			}
			l.run = flows.NewRun(l.World)
			l.must(l.Resume(l.ctx()))
			l.serves(wire.InUICC, before.IMSI)
		})
	}
}
