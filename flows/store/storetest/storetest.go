package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mcim/apdu/secret"
	"mcim/flows/store"
)

type contract struct {
	Name string            `cbor:"name"`
	IMSI string            `cbor:"imsi"`
	Tags map[string]uint64 `cbor:"tags"`
}

const (
	contracts store.Bucket[contract] = "contract"
	others    store.Bucket[contract] = "other"
	counters  store.Bucket[uint64]   = "counter"
	keys      store.Secrets          = "key"
	pins      store.Secrets          = "pin"
)

// Test runs the suite; each call of open opens the same store anew, after the
// one before was closed.
func Test(t *testing.T, open func(t *testing.T) *store.Store) {
	for name, test := range map[string]func(*testing.T, func() *store.Store){
		"values": testValues, "transactions": testTx, "secrets": testSecrets, "records": testRecords,
		"journal": testJournal, "spend": testSpend, "writers": testWriters, "model": testModel,
	} {
		t.Run(name, func(t *testing.T) {
			test(t, func() *store.Store { return open(t) })
		})
	}
}

func check(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func testValues(t *testing.T, open func() *store.Store) {
	ctx, s := t.Context(), open()
	a, b := contract{"A", "001010000000001", map[string]uint64{"x": 1}}, contract{Name: "B"}
	check(t, contracts.Put(ctx, s, "2", b), nil)
	check(t, contracts.Put(ctx, s, "1", b), nil)
	check(t, contracts.Put(ctx, s, "1", a), nil)
	check(t, contracts.Insert(ctx, s, "1", b), store.ErrExists)
	check(t, contracts.Insert(ctx, s, "3", b), nil)
	check(t, contracts.Delete(ctx, s, "3"), nil)
	check(t, contracts.Delete(ctx, s, "3"), nil)
	check(t, others.Put(ctx, s, "1", b), nil)
	check(t, contracts.Update(ctx, s, "2", func(c *contract) error { c.IMSI = "7"; return nil }), nil)
	check(t, contracts.Update(ctx, s, "9", func(*contract) error { return nil }), store.ErrNotFound)
	own := errors.New("own")
	check(t, contracts.Update(ctx, s, "2", func(c *contract) error { c.IMSI = "8"; return own }), own)
	check(t, s.Close(), nil)

	s = open()
	got, err := contracts.List(ctx, s)
	check(t, err, nil)
	b.IMSI = "7"
	if diff := cmp.Diff([]store.Entry[contract]{{Key: "1", Value: a}, {Key: "2", Value: b}}, got); diff != "" {
		t.Error(diff)
	}
	_, err = contracts.Get(ctx, s, "3")
	check(t, err, store.ErrNotFound)
	_, err = store.Bucket[uint64]("contract").Get(ctx, s, "1")
	check(t, err, store.ErrDamaged)
	if err := store.Bucket[secret.Bytes]("leak").Put(ctx, s, "1", secret.New([]byte{1})); err == nil {
		t.Error("a secret was stored as a value")
	}
	check(t, s.Close(), nil)
}

func testTx(t *testing.T, open func() *store.Store) {
	ctx, s := t.Context(), open()
	own := errors.New("own")
	check(t, s.Tx(ctx, func(tx *store.Tx) error {
		check(t, contracts.Put(ctx, tx, "1", contract{Name: "A"}), nil)
		check(t, keys.Put(ctx, tx, "1", secret.New([]byte("k"))), nil)
		_, err := contracts.Get(ctx, tx, "1")
		check(t, err, nil)
		return own
	}), own)
	_, err := contracts.Get(ctx, s, "1")
	check(t, err, store.ErrNotFound)
	_, err = keys.Get(ctx, s, "1")
	check(t, err, store.ErrNotFound)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic got lost")
			}
		}()
		_ = s.Tx(ctx, func(tx *store.Tx) error {
			check(t, contracts.Put(ctx, tx, "1", contract{}), nil)
			panic("x")
		})
	}()
	check(t, s.Tx(ctx, func(tx *store.Tx) error { return contracts.Put(ctx, tx, "2", contract{Name: "B"}) }), nil)
	got, err := contracts.List(ctx, s)
	check(t, err, nil)
	if len(got) != 1 || got[0].Key != "2" {
		t.Errorf("got %v", got)
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	check(t, contracts.Put(done, s, "3", contract{}), context.Canceled)
	check(t, s.Close(), nil)
}

func testSecrets(t *testing.T, open func() *store.Store) {
	ctx, s := t.Context(), open()
	k := secret.New([]byte("0123456789abcdef"))
	check(t, keys.Put(ctx, s, "imsi", secret.New([]byte("old"))), nil)
	check(t, keys.Put(ctx, s, "imsi", k), nil)
	check(t, pins.Put(ctx, s, "empty", secret.Bytes{}), nil)
	check(t, s.Close(), nil)
	s = open()
	got, err := keys.Get(ctx, s, "imsi")
	check(t, err, nil)
	if diff := cmp.Diff(k.Reveal(), got.Reveal()); diff != "" {
		t.Error(diff)
	}
	if got, err := pins.Get(ctx, s, "empty"); err != nil || got.Len() != 0 {
		t.Errorf("got %d bytes, %v", got.Len(), err)
	}
	_, err = pins.Get(ctx, s, "imsi")
	check(t, err, store.ErrNotFound)
	check(t, keys.Delete(ctx, s, "imsi"), nil)
	_, err = keys.Get(ctx, s, "imsi")
	check(t, err, store.ErrNotFound)
	check(t, s.Close(), nil)
}

func testRecords(t *testing.T, open func() *store.Store) {
	ctx, s := t.Context(), open()
	at := time.UnixMilli(1234567).UTC()
	want := []store.Record{
		{Seq: 1, At: at, Kind: "order", Key: "7", Message: []byte{1, 2}},
		{Seq: 2, At: at.Add(time.Second), Kind: "verdict", Key: "8"},
		{Seq: 3, At: at, Kind: "receipt", Key: "7", Message: []byte{3}},
	}
	for _, r := range want {
		seq, err := store.Append(ctx, s, r)
		check(t, err, nil)
		if seq != r.Seq {
			t.Errorf("got number %d, want %d", seq, r.Seq)
		}
	}
	check(t, s.Close(), nil)
	s = open()
	for key, want := range map[string][]store.Record{"": want, "7": {want[0], want[2]}, "9": nil} {
		got, err := store.Records(ctx, s, key)
		check(t, err, nil)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("records of %q: %s", key, diff)
		}
	}
	check(t, s.Close(), nil)
}

func testJournal(t *testing.T, open func() *store.Store) {
	ctx, s := t.Context(), open()
	for _, want := range []store.State{store.Fresh, store.Cut} {
		state, err := store.Intend(ctx, s, "a", "verify PIN1")
		check(t, err, nil)
		if state != want {
			t.Errorf("got state %d, want %d", state, want)
		}
	}
	_, err := store.Intend(ctx, s, "a", "verify ADM1")
	check(t, err, store.ErrIntent)
	_, err = store.Intend(ctx, s, "b", "x")
	check(t, err, nil)
	_, err = store.Result[string](ctx, s, "a")
	check(t, err, store.ErrNotFound)
	check(t, store.Outcome(ctx, s, "a", "9000"), nil)
	check(t, store.Outcome(ctx, s, "c", "9000"), store.ErrNotFound)
	check(t, s.Close(), nil)
	s = open()
	state, err := store.Intend(ctx, s, "a", "verify PIN1")
	if err != nil || state != store.Done {
		t.Errorf("got state %d, %v", state, err)
	}
	result, err := store.Result[string](ctx, s, "a")
	if err != nil || result != "9000" {
		t.Errorf("got %q, %v", result, err)
	}
	pending, err := store.Pending(ctx, s)
	check(t, err, nil)
	if diff := cmp.Diff([]string{"b"}, pending); diff != "" {
		t.Error(diff)
	}
	check(t, store.Forget(ctx, s, "a"), nil)
	state, err = store.Intend(ctx, s, "a", "verify ADM1")
	if err != nil || state != store.Fresh {
		t.Errorf("after forgetting: state %d, %v", state, err)
	}
	check(t, s.Close(), nil)
}

// spending is a thing that counts how often it was spent, as a card does.
type spending struct {
	spent int
	cut   error // what do ends with after it has spent
}

func (c *spending) do(context.Context) (int, error) { c.spent++; return c.spent, c.cut }

func (c *spending) probe(context.Context) (int, bool, error) { return c.spent, c.spent > 0, nil }

func testSpend(t *testing.T, open func() *store.Store) {
	ctx, s := t.Context(), open()
	spend := func(key string, c *spending) (int, error) { return store.Spend(ctx, s, key, "x", c.do, c.probe) }
	whole, cut := &spending{}, &spending{cut: errors.New("card removed")}
	for range 3 {
		n, err := spend("whole", whole)
		if n != 1 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
	}
	_, err := spend("cut", cut)
	check(t, err, cut.cut)
	check(t, s.Close(), nil)
	s = open()
	for range 2 {
		n, err := spend("cut", cut)
		if n != 1 || err != nil {
			t.Errorf("after the cut: got %d, %v", n, err)
		}
	}
	// Cut before anything was spent: the probe finds nothing, so it is done.
	_, err = store.Intend(ctx, s, "early", "x")
	check(t, err, nil)
	if n, err := spend("early", &spending{}); n != 1 || err != nil {
		t.Errorf("after the early cut: got %d, %v", n, err)
	}
	check(t, s.Close(), nil)
}

func testWriters(t *testing.T, open func() *store.Store) {
	ctx, s := t.Context(), open()
	check(t, counters.Put(ctx, s, "n", 0), nil)
	var wg sync.WaitGroup
	failed := make(chan error, 8)
	for i := range 8 {
		wg.Go(func() {
			for j := range 10 {
				err := counters.Update(ctx, s, "n", func(n *uint64) error { *n++; return nil })
				if err == nil {
					err = contracts.Put(ctx, s, fmt.Sprintf("%d-%d", i, j), contract{})
				}
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		t.Error(err)
	default:
	}
	n, err := counters.Get(ctx, s, "n")
	if n != 80 || err != nil {
		t.Errorf("counted %d, %v, want 80", n, err)
	}
	check(t, s.Close(), nil)
}
