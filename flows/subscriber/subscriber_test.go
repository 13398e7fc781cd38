package subscriber_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"mcim/flows/store"
	"mcim/flows/subscriber"
	"mcim/flows/wire"
	"mcim/flows/wire/wiretest"
)

const machine = "m2me/1"

// world is a subscriber with a scripted home operator, which takes every mandate
// that is in order.
type world struct {
	*wiretest.Lab
	subscriber *subscriber.Subscriber
	store      *store.Store
	mandates   []wire.Mandate
	refuse     error
}

func newWorld(t *testing.T) *world {
	w := &world{Lab: wiretest.New(t)}
	var err error
	if w.store, err = store.Open(t.Context(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.store.Close() })
	for _, role := range []string{"sho-a", "sho-b"} {
		id := w.Identity(role)
		w.Script(role, func(s *wire.Server) {
			by := []string{wire.KindSubscriber}
			wire.PathContract.Handle(s, by, func(_ context.Context, _ wire.Peer, req wire.MandateMessage) (wire.OrderRequest, error) {
				m, _, err := wire.VerifyMandate(id, req.Signed, w.Now())
				if err != nil || w.refuse != nil {
					return wire.OrderRequest{}, cmpErr(err, w.refuse)
				}
				w.mandates = append(w.mandates, m)
				return wire.OrderRequest{Order: wire.OrderID(m)}, nil
			})
			wire.PathStatus.Handle(s, by, func(context.Context, wire.Peer, wire.StatusRequest) (wire.StatusAnswer, error) {
				return wire.StatusAnswer{IMSI: "001010000000001"}, nil
			})
		})
	}
	w.subscriber = subscriber.New(subscriber.Config{NodeConfig: w.Config("subscriber"), Store: w.store, Validity: time.Hour})
	t.Cleanup(func() { _ = w.subscriber.Close() })
	return w
}

func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func TestMandatesSayWhatTheSubscriberWants(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bound := w.Now().Add(time.Minute)
	first, err := w.subscriber.First(t.Context(), machine, "sho-a", bound)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.subscriber.Change(t.Context(), machine, wire.InTRE, "sho-a", "sho-b"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.subscriber.Change(t.Context(), machine, wire.InUICC, "sho-a", "sho-b"); err != nil {
		t.Fatal(err)
	}
	for i, want := range []wire.Mandate{
		{Placement: wire.InTRE, NewSHO: "sho-a", Bound: bound},
		{Placement: wire.InTRE, OldSHO: "sho-a", OldIMSI: "001010000000001", NewSHO: "sho-b"},
		{Placement: wire.InUICC, OldSHO: "sho-a", OldIMSI: "001010000000001", NewSHO: "sho-b"},
	} {
		got := w.mandates[i]
		want.ID, want.Machine, want.Made, want.Expires = got.ID, machine, w.Now(), w.Now().Add(time.Hour)
		if got != want {
			t.Errorf("mandate %d: %+v, want %+v", i, got, want)
		}
	}
	if w.mandates[0].ID == w.mandates[1].ID {
		t.Error("two mandates with one id")
	}
	if got := w.Begun(); !slices.Equal(got, []string{"P1.9", "P8a.1"}) {
		t.Errorf("steps %v", got)
	}
	records, err := store.Records(t.Context(), w.store, first)
	if err != nil || len(records) != 1 {
		t.Errorf("%d records of the first mandate, %v", len(records), err)
	}
}

func TestRefusalComesBackWithItsStep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.refuse = wire.Refuse("P1.9", "no credit")
	_, err := w.subscriber.First(t.Context(), machine, "sho-a", time.Time{})
	wiretest.Refused(t, err, wire.ErrRefused, "P1.9")
	_, err = w.subscriber.First(t.Context(), machine, "sho-c", time.Time{})
	wiretest.Refused(t, err, wire.ErrUnavailable, "P1.9")
	if records, err := store.Records(t.Context(), w.store, ""); err != nil || len(records) != 0 {
		t.Errorf("%d records, %v", len(records), err)
	}
}

// TestFirstAgain gives the mandate of a run that was cut once more, and a new one
// where it is for another operator.
func TestFirstAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := func(sho string) {
		t.Helper()
		if _, err := w.subscriber.First(t.Context(), machine, sho, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	if done, err := subscriber.Contracted(t.Context(), w.store, machine); err != nil || done {
		t.Fatalf("contracted before: %v, %v", done, err)
	}
	w.refuse = wire.Errorf(wire.CodeInternal, "", "cut")
	if _, err := w.subscriber.First(t.Context(), machine, "sho-a", time.Time{}); err == nil {
		t.Fatal("the failure of the SHO is lost")
	}
	if done, err := subscriber.Contracted(t.Context(), w.store, machine); err != nil || done {
		t.Fatalf("contracted without an order: %v, %v", done, err)
	}
	w.refuse = nil
	first("sho-a")
	if done, err := subscriber.Contracted(t.Context(), w.store, machine); err != nil || !done {
		t.Fatalf("not contracted: %v, %v", done, err)
	}
	first("sho-a")
	first("sho-b")
	ids := map[string]int{}
	for _, m := range w.mandates {
		ids[m.NewSHO+" "+m.ID]++
	}
	if len(ids) != 2 {
		t.Errorf("mandates %v, want one for each operator, however often given", ids)
	}
}
