package world

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"mcim/card"
	"mcim/card/cardtest"
	"mcim/card/trace"
)

func TestCardCost(t *testing.T) {
	t.Parallel()
	for command, want := range map[string]Spend{
		"00a40004023f0000":         {},
		"00b0000009":               {},
		"00200001":                 {}, // asks for the counter
		"002c000100":               {}, // the same
		"00200001083132":           {PINTries: 1},
		"a020000108313233":         {PINTries: 1},
		"002c00011031323334":       {PINTries: 1, CardWrites: 1},
		"00880081221000":           {Auths: 1},
		"00d600000155":             {CardWrites: 1},
		"01dc010401ff":             {CardWrites: 1},
		"00040000":                 {CardWrites: 1}, // DEACTIVATE FILE of the current one
		"80e60c00":                 {CardWrites: 1},
		"00d60000000003aabbcc":     {CardWrites: 1}, // extended length
		"00":                       {},
		"002000010000083132333435": {PINTries: 1},
	} {
		b, err := hex.DecodeString(command)
		if err != nil {
			t.Fatal(err)
		}
		if got := cardCost(b); got != want {
			t.Errorf("%s spends %s, want %s", command, got, want)
		}
	}
}

// TestBound: what would go past the bound does not reach the card, what spends
// nothing does, and the first refusal is kept.
func TestBound(t *testing.T) {
	t.Parallel()
	ctx, s := context.Background(), &Spent{}
	update, read := []byte{0, 0xD6, 0, 0, 1, 0x55}, []byte{0, 0xB0, 0, 0, 1}
	script := cardtest.NewScript(t, "00d600000155", "9000", "00d600000155", "6581", "00b0000001", "559000")
	c := bounded{trace.Tap(script, trace.Options{}, s), s}
	s.Bound(Spend{CardWrites: 2})
	for range 2 { // one that fails has been sent, too
		if _, err := c.Transmit(ctx, update); err != nil || s.Refused() != nil {
			t.Fatal(err, s.Refused())
		}
	}
	_, err := c.Transmit(ctx, update)
	var over *BudgetError
	if !errors.As(err, &over) || !errors.Is(err, card.ErrBudget) || over.Cost != (Spend{CardWrites: 1}) || over.Left != (Spend{}) ||
		!strings.HasPrefix(err.Error(), "UPDATE BINARY was not sent: it would spend 1 card write past what was declared (left: nothing);") {
		t.Errorf("past the bound: %v", err)
	}
	if _, err := c.Transmit(ctx, read); err != nil {
		t.Error(err)
	}
	if err := s.admitTPM("NV_Increment"); !errors.As(err, &over) || over.Command != "NV_Increment" {
		t.Errorf("NV_Increment: %v", err)
	}
	if err := s.admitTPM("NV_Read"); err != nil {
		t.Error(err)
	}
	if !errors.As(s.Refused(), &over) || over.Command != "UPDATE BINARY" || s.Total() != (Spend{CardWrites: 2}) {
		t.Errorf("refused first: %v, spent %s", s.Refused(), s.Total())
	}
	s.Bound(s.Total().Plus(Spend{NVWrites: 1}))
	if err := s.admitTPM("NV_Increment"); err != nil || s.Refused() != nil {
		t.Error(err, s.Refused())
	}
}

// TestTryAgain: what the TPM wants to be sent again it has not begun.
func TestTryAgain(t *testing.T) {
	t.Parallel()
	s := &Spent{}
	for _, rc := range []tpm2.TPMRC{tpm2.TPMRCRetry, tpm2.TPMRCNVRate, tpm2.TPMRCSuccess, tpm2.TPMRCFailure} {
		if err := s.WriteTPM(trace.TPMExchange{Name: "NV_Increment", RC: uint32(rc)}); err != nil {
			t.Fatal(err)
		}
	}
	if s.Total() != (Spend{NVWrites: 2}) {
		t.Errorf("spent %s", s.Total())
	}
}
