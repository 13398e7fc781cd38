package ro_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcim/apdu/secret"
	"mcim/card/aka"
	"mcim/flows/auc"
	"mcim/flows/sho"
	"mcim/flows/wire"
	"mcim/flows/wire/wiretest"
)

func keysOf(p wire.PCID) auc.Keys {
	return auc.Keys{K: secret.New(p.K), OPc: secret.New(p.OPc), SQN: aka.SQNFromBytes([6]byte(p.SQN))}
}

// begun is the steps of a procedure that have begun, without those that the
// scripted machine or PVA leave out.
func begun(l *lab, prefix string) []string {
	return slices.DeleteFunc(l.Begun(), func(path string) bool { return !strings.HasPrefix(path, prefix) })
}

func TestFirstProvisioning(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	result := l.first()
	if result.Slot != 1 || !strings.HasPrefix(result.IMSI, "00101") {
		t.Errorf("result %+v", result)
	}
	if got := l.state("sho-a", result.IMSI); got != sho.Active {
		t.Errorf("subscription is %s", got)
	}
	if got := l.vno.Attached(machine); got != result.IMSI {
		t.Errorf("attached by %s", got)
	}
	want := []string{
		"P1.9", "P1.2", "P1.3", "P1.4", "P2.3", "P2.4", "P2.5", "P2.6", "P2.7", "P2.8", "P4.2", "P4.3", "P4.4",
		"P4.5", "P4.6", "P4.7", "P4.7/P5c.1", "P4.7/P5c.2", "P4.7/P5c.5", "P4.8",
		"P6.1", "P6.2", "P6.3", "P6.4", "P6.5", "P6.6", "P6.11", "P6.12", "P6.12/P7.2", "P6.12/P7.3", "P7.4", "P7.5",
	}
	if diff := cmp.Diff(want, l.Begun()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"quote", "state", "deliver", "activate", "erase"}, l.machine.Calls()); diff != "" {
		t.Error(diff)
	}
	err := l.machine.Attach(l.T.Context(), slices.Collect(keysIn(l.pcids))[0])
	wiretest.Refused(t, err, wire.ErrRefused, "P2.3")
}

func keysIn(m map[string]wire.PCID) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func TestChangeInTRE(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	old := l.first()
	order, err := l.subscriber.Change(t.Context(), machine, wire.InTRE, "sho-a", "sho-b")
	if err != nil {
		t.Fatal(err)
	}
	result, err := l.wait(order)
	if err != nil {
		t.Fatal(err)
	}
	if result.Slot != 2 || l.state("sho-a", old.IMSI) != sho.Closed || l.state("sho-b", result.IMSI) != sho.Active {
		t.Errorf("slot %d, old %s, new %s", result.Slot, l.state("sho-a", old.IMSI), l.state("sho-b", result.IMSI))
	}
	want := []string{
		"P8a.1", "P8a.2", "P8a.3", "P8a.4", "P8a.5", "P8a.6", "P8a.7", "P8a.8", "P8a.8/P5c.1", "P8a.8/P5c.2", "P8a.8/P5c.5",
		"P8a.9", "P8a.9/P6.1", "P8a.9/P6.2", "P8a.9/P6.3", "P8a.9/P6.4", "P8a.9/P6.5", "P8a.10", "P8a.10/P6.6",
		"P8a.11", "P8a.12", "P8a.12/P7.2", "P8a.12/P7.3", "P8a.13", "P8a.14",
	}
	if diff := cmp.Diff(want, begun(l, "P8a")); diff != "" {
		t.Error(diff)
	}
	if _, err := l.sho["sho-a"].Keys(t.Context(), old.IMSI); err == nil {
		t.Error("the old operator still has the key")
	}
	err = l.machine.Attach(wire.At(t.Context(), "P7.1"), old.IMSI)
	wiretest.Refused(t, err, wire.ErrRefused, "P7.2")
}

// orderUICC orders the change of a UICC to SHO-B, by which the machine is attached.
func orderUICC(l *lab, imsi string) (order string) {
	t := l.T
	t.Helper()
	keys, err := auc.New(l.store, l.supplier.Rand).NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	err = l.sho["sho-a"].Import(t.Context(), sho.Card{IMSI: imsi, ICCID: "8900101000000000018", Machine: machine, Subscriber: "subscriber", Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.machine.Attach(wire.At(l.machine.Node.Context(t.Context()), "P7.1"), imsi); err != nil {
		t.Fatal(err)
	}
	order, err = l.subscriber.Change(t.Context(), machine, wire.InUICC, "sho-a", "sho-b")
	if err != nil {
		t.Fatal(err)
	}
	return order
}

func TestChangeInUICC(t *testing.T) {
	t.Parallel()
	const imsi = "001010000000001"
	l := newLab(t, nil)
	result, err := l.wait(orderUICC(l, imsi))
	if err != nil {
		t.Fatal(err)
	}
	if l.state("sho-a", imsi) != sho.Closed || l.state("sho-b", result.IMSI) != sho.Active {
		t.Errorf("old %s, new %s", l.state("sho-a", imsi), l.state("sho-b", result.IMSI))
	}
	want := []string{
		"P8c.1", "P8c.2", "P8c.3", "P8c.4", "P8c.5", "P8c.5/P5c.1", "P8c.5/P5c.2", "P8c.5/P5c.5",
		"P8c.6", "P8c.6/P6.1", "P8c.6/P6.2", "P8c.6/P6.3", "P8c.6/P6.4", "P8c.6/P6.5", "P8c.7", "P8c.7/P6.6", "P8c.8", "P8c.9", "P8c.9/P7.2", "P8c.9/P7.3",
	}
	if diff := cmp.Diff(want, begun(l, "P8c")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"wake", "quote", "state", "deliver", "replace", "activate"}, l.machine.Calls()); diff != "" {
		t.Error(diff)
	}
}

// TestOrderWaitsForMachine: an order that has begun to change the UICC does not
// end because the card is gone; it says so, and ends when the machine is back, in
// this process or a later one.
func TestOrderWaitsForMachine(t *testing.T) {
	t.Parallel()
	for _, later := range []bool{false, true} {
		t.Run(fmt.Sprintf("in a later process %v", later), func(t *testing.T) {
			t.Parallel()
			const imsi = "001010000000001"
			l := newLab(t, nil)
			var back atomic.Bool
			l.machine.Replace = func() error {
				if back.Load() {
					return nil
				}
				return wire.Errorf(wire.CodeUnavailable, "", "no card")
			}
			order := orderUICC(l, imsi)
			for range 2 { // whoever asks, and whenever
				_, err := l.wait(order)
				wiretest.Refused(t, err, wire.ErrUnavailable, "P8c.8")
			}
			if err := l.ro.Settle(t.Context()); !errors.Is(err, wire.ErrUnavailable) {
				t.Errorf("Settle: %v", err)
			}
			if list, err := l.ro.Pending(t.Context()); err != nil || len(list) != 1 || list[0].Order != order {
				t.Errorf("orders %+v, %v", list, err)
			}
			if l.state("sho-a", imsi) != sho.Closing {
				t.Errorf("the old subscription is %s", l.state("sho-a", imsi))
			}
			back.Store(true)
			if later {
				if err := l.ro.Close(); err != nil {
					t.Fatal(err)
				}
				reopen(l, t.Context(), nil)
			} else if _, err := l.machine.Contact(wire.At(l.machine.Node.Context(t.Context()), "P7.3")); err != nil {
				t.Fatal(err)
			}
			result, err := l.wait(order)
			if err != nil || l.state("sho-a", imsi) != sho.Closed || l.state("sho-b", result.IMSI) != sho.Active {
				t.Errorf("%+v, %v; old %s", result, err, l.state("sho-a", imsi))
			}
		})
	}
}
