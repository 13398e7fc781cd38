package card_test

import (
	"errors"
	"fmt"
	"testing"

	"mcim/apdu"
	"mcim/apdu/secret"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/aka"
)

// scripted is a guard over an application with a card that gives the answer to an
// AUTHENTICATE with this challenge.
func scripted(t *testing.T, v aka.Vector, answer string) *card.Guard {
	t.Helper()
	c := newScript(t, append(dirScript(),
		"00a404040c"+aidUSIM+"00", fcpADF+"9000",
		fmt.Sprintf("00880081 22 10%x 10%x 00", v.RAND, v.AUTN), answer)...)
	return card.NewGuard(card.NewSession(c, card.Options{}), card.GuardConfig{})
}

func milenageOf(t *testing.T, k byte) aka.Algorithm {
	t.Helper()
	key := make([]byte, 16)
	key[0] = k
	block, err := aka.NewAES(secret.New(key))
	if err != nil {
		t.Fatal(err)
	}
	m, err := aka.NewMilenage(block, secret.New(key))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// autsOf is the answer of a card with the keys of a that has seen sqn.
func autsOf(t *testing.T, a aka.Algorithm, v aka.Vector, sqn aka.SQN) string {
	t.Helper()
	_, err := aka.NewUSIM(a, aka.NewSQNArray(sqn), nil).Authenticate(v.RAND, v.AUTN)
	var sync *aka.SyncError
	if !errors.As(err, &sync) {
		t.Fatal(err)
	}
	return fmt.Sprintf("dc0e%x9000", sync.AUTS)
}

// TestProveKeys is what a card may answer to a challenge of SEQ 0.
func TestProveKeys(t *testing.T) {
	t.Parallel()
	right, other := milenageOf(t, 1), milenageOf(t, 2)
	v, err := aka.NewVector(right, [16]byte{7}, 0, [2]byte{0x80, 0})
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := aka.NewVector(other, [16]byte{7}, 0, [2]byte{0x80, 0})
	if err != nil {
		t.Fatal(err)
	}
	seen, err := aka.NewSQN(4711, 3)
	if err != nil {
		t.Fatal(err)
	}
	highest := aka.NewSQNArray(seen)
	foreign := autsOf(t, other, wrong, seen)
	success := func(v aka.Vector) string {
		return fmt.Sprintf("db08%x10%x10%x9000", v.XRES.Bytes(), v.CK, v.IK)
	}
	for name, c := range map[string]struct {
		answer string
		want   card.KeyProof
		err    error
	}{
		"AUTS":              {autsOf(t, right, v, seen), card.KeyProof{SQN: highest.Highest()}, nil},
		"AUTS of other K":   {foreign, card.KeyProof{}, aka.ErrAUTS},
		"MAC":               {"9862", card.KeyProof{}, aka.ErrMAC},
		"RES":               {success(v), card.KeyProof{Unchecked: true}, nil},
		"RES of other K":    {success(wrong), card.KeyProof{}, aka.ErrMAC},
		"PIN not verified":  {"6982", card.KeyProof{}, apdu.ErrAccess},
		"nothing":           {"9000", card.KeyProof{}, usim.ErrAuthenticate},
		"half of an answer": {"db0811229000", card.KeyProof{}, usim.ErrAuthenticate},
	} {
		g := scripted(t, v, c.answer)
		got, err := g.ProveKeys(t.Context(), usim.AIDPrefix(), right, [16]byte{7})
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %+v %v, want %+v %v", name, got, err, c.want, c.err)
		}
		if plan := g.Plan(); len(plan) != 1 || plan[0].Command != "AUTHENTICATE" {
			t.Errorf("%s: plan %+v", name, plan)
		}
	}
}

// TestProveKeysDry sends nothing.
func TestProveKeysDry(t *testing.T) {
	t.Parallel()
	g := card.NewGuard(card.NewSession(newScript(t), card.Options{}), card.GuardConfig{DryRun: true})
	if _, err := g.ProveKeys(t.Context(), usim.AIDPrefix(), milenageOf(t, 1), [16]byte{}); !errors.Is(err, card.ErrDryRun) || len(g.Plan()) != 1 {
		t.Errorf("got %v, plan %+v", err, g.Plan())
	}
}
