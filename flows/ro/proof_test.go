package ro_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mcim/flows/flowtest"
	"mcim/flows/ro"
	"mcim/flows/store"
	"mcim/flows/wire"
	"mcim/flows/wire/wiretest"
)

func TestErasureIsProven(t *testing.T) {
	t.Parallel()
	t.Run("of the old MCIM", func(t *testing.T) {
		t.Parallel()
		var l *lab
		deliveries := 0
		l = newLab(t, func(c *ro.Config) {
			c.Carrier = func(_ string, p wire.PackageMessage) wire.PackageMessage {
				if deliveries++; deliveries == 2 {
					l.machine.Epochs[1]-- // so that erasing leads to the epoch of before
				}
				return p
			}
		})
		l.first()
		order, err := l.subscriber.Change(t.Context(), machine, wire.InTRE, "sho-a", "sho-b")
		if err != nil {
			t.Fatal(err)
		}
		_, err = l.wait(order)
		wiretest.Refused(t, err, wire.ErrRefused, "P8a.13")
	})
	t.Run("by the machine's own TRE", func(t *testing.T) {
		t.Parallel()
		l := newLab(t, nil)
		l.machine.New = func(order string) string {
			l.machine.TRE = flowtest.NewTRE(t)
			return l.imsi(order)
		}
		order, err := l.subscriber.First(t.Context(), machine, "sho-a", time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.arrive(l.batch("b1", 1)[0].ID); err != nil {
			t.Fatal(err)
		}
		_, err = l.wait(order)
		wiretest.Refused(t, err, wire.ErrRefused, "P7.5")
	})
}

func TestStatementOnAnotherMachineIsRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	foreign := l.pva.Supply(l.machine.Platform("m2me/2"))
	l.pva.Change = func(*wire.Verdict) { // from then on the PVA mixes machines up
		l.Script("pva", func(s *wire.Server) {
			wire.PathRecord.Handle(s, []string{"ro"}, func(context.Context, wire.Peer, wire.MachineRequest) (wire.PlatformMessage, error) {
				return wire.PlatformMessage{Signed: foreign}, nil
			})
		})
	}
	order, err := l.subscriber.First(t.Context(), machine, "sho-a", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.arrive(l.batch("b1", 1)[0].ID); err != nil {
		t.Fatal(err)
	}
	_, err = l.wait(order)
	wiretest.Refused(t, err, wire.ErrRefused, "P6.3")
}

func TestLostSessionIsOpenedAgain(t *testing.T) {
	t.Parallel()
	var l *lab
	l = newLab(t, func(c *ro.Config) {
		c.Carrier = func(_ string, p wire.PackageMessage) wire.PackageMessage {
			l.ro.BreakSessions()
			return p
		}
	})
	var once sync.Once // in the middle of the activation: the answer is lost
	l.machine.New = func(order string) string {
		once.Do(l.ro.BreakSessions)
		return l.imsi(order)
	}
	l.first()
}

func TestSignedMessagesAreRecorded(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.first()
	all, err := store.Records(t.Context(), l.store, "")
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, r := range all {
		kinds = append(kinds, r.Kind)
	}
	if diff := cmp.Diff([]string{"order", "verdict", "platform", "package", "receipt", "erasure"}, kinds); diff != "" {
		t.Error(diff)
	}
}

func TestPendingAndSettle(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	order, err := l.subscriber.First(t.Context(), machine, "sho-a", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	// It waits for its machine, so nothing runs.
	if err := l.ro.Settle(t.Context()); err != nil {
		t.Error(err)
	}
	pending := func() []ro.Pending {
		t.Helper()
		list, err := l.ro.Pending(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	if diff := cmp.Diff([]ro.Pending{{Order: order, Machine: machine, Procedure: "P4"}}, pending()); diff != "" {
		t.Error(diff)
	}
	if err := l.arrive(l.batch("b1", 1)[0].ID); err != nil {
		t.Fatal(err)
	}
	if err := l.ro.Settle(t.Context()); err != nil {
		t.Error(err)
	}
	if got := pending(); len(got) != 0 {
		t.Errorf("after the end: %+v", got)
	}
	if _, err := l.wait(order); err != nil {
		t.Error(err)
	}
}

func TestExpiredIdentityComesBackWithAnotherKey(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *ro.Config) { c.Validity, c.Quarantine = 100*time.Hour, 10*time.Hour })
	old := l.batch("one", 1)[0]
	l.Pass(105 * time.Hour)
	if got := l.batch("two", 1)[0].ID; got == old.ID {
		t.Error("given out in quarantine")
	}
	l.Pass(10 * time.Hour)
	again := l.batch("three", 1)[0]
	if again.ID != old.ID || bytes.Equal(again.K, old.K) || bytes.Equal(again.OPc, old.OPc) {
		t.Errorf("after the quarantine: %s, want %s with other keys", again.ID, old.ID)
	}
}

func TestBatchIsRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	good := wire.BatchRequest{Batch: "b", Count: 1, HPKE: l.supplier.Identity.Box.PublicKey().Bytes()}
	unnamed, long := good, good
	unnamed.Batch, long.Batch = "", strings.Repeat("b", 65)
	for _, req := range []wire.BatchRequest{unnamed, long} {
		_, err := wire.Ask(t.Context(), l.supplier.Contacts, "ro", wire.PathPCIDBatch, req)
		wiretest.Refused(t, err, wire.ErrInvalid, "P1.1")
	}
	if _, err := wire.Ask(t.Context(), l.machine.Node.Contacts, "ro", wire.PathPCIDBatch, good); !errors.Is(err, wire.ErrRefused) {
		t.Errorf("ordered by a machine: %v", err)
	}
}
