package auc_test

import (
	"crypto/rand"
	"errors"
	"testing"

	"mcim/card/aka"
	"mcim/flows/auc"
	"mcim/flows/store"
)

const imsi = "001010000000001"

func newCentre(t *testing.T) (*auc.Centre, *store.Store) {
	s, err := store.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return auc.New(s, rand.Reader), s
}

// usim is the other end of the keys, with every SQN entry at sqn.
func usim(t *testing.T, k auc.Keys, sqn aka.SQN) *aka.USIM {
	block, err := aka.NewAES(k.K)
	if err != nil {
		t.Fatal(err)
	}
	m, err := aka.NewMilenage(block, k.OPc)
	if err != nil {
		t.Fatal(err)
	}
	return aka.NewUSIM(m, aka.NewSQNArray(sqn), nil)
}

func TestVectorsAndResynchronisation(t *testing.T) {
	t.Parallel()
	c, s := newCentre(t)
	k, err := c.NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Enter(t.Context(), s, imsi, k); err != nil {
		t.Fatal(err)
	}
	card := usim(t, k, 0)
	for range 3 {
		v, err := c.Vector(t.Context(), imsi)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := card.Authenticate(v.RAND, v.AUTN); err != nil || string(got.RES.Bytes()) != string(v.XRES) {
			t.Fatalf("answer to a vector: %v", err)
		}
	}

	ahead, err := aka.NewSQN(1000, 0)
	if err != nil {
		t.Fatal(err)
	}
	card = usim(t, k, ahead)
	v, err := c.Vector(t.Context(), imsi)
	if err != nil {
		t.Fatal(err)
	}
	var failure *aka.SyncError
	if _, err := card.Authenticate(v.RAND, v.AUTN); !errors.As(err, &failure) {
		t.Fatalf("got %v, want a synchronisation failure", err)
	}
	if v, err = c.Resync(t.Context(), imsi, v.RAND, failure.AUTS[:]); err != nil {
		t.Fatal(err)
	}
	if _, err := card.Authenticate(v.RAND, v.AUTN); err != nil {
		t.Errorf("after resynchronisation: %v", err)
	}
}

func TestWhatTheCentreRefuses(t *testing.T) {
	t.Parallel()
	c, s := newCentre(t)
	if _, err := c.Vector(t.Context(), imsi); !errors.Is(err, auc.ErrUnknown) {
		t.Errorf("unknown identity: %v", err)
	}
	k, err := c.NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Enter(t.Context(), s, imsi, k); err != nil {
		t.Fatal(err)
	}
	for _, auts := range [][]byte{nil, make([]byte, 13), make([]byte, 14)} {
		if _, err := c.Resync(t.Context(), imsi, [16]byte{}, auts); !errors.Is(err, auc.ErrAUTS) {
			t.Errorf("AUTS of %d bytes: %v", len(auts), err)
		}
	}
	if err := c.Forget(t.Context(), s, imsi); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Vector(t.Context(), imsi); !errors.Is(err, auc.ErrUnknown) {
		t.Errorf("after Forget: %v", err)
	}
}
