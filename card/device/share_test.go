package device

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"mcim/apdu/secret"
	"mcim/card"
	"mcim/card/cardtest"
	"mcim/card/emul"
	"mcim/card/trace"
)

// shareable is a card that is taken for a physical one, and what others are told of it.
func shareable(t *testing.T) (emul.Profile, *emul.Card) {
	t.Helper()
	p, err := emul.RandomProfile("usim")
	if err != nil {
		t.Fatal(err)
	}
	p.PIN1 = secret.New([]byte("1234"))
	c, err := emul.New(p)
	if err != nil {
		t.Fatal(err)
	}
	return p, c
}

func answerOf(t *testing.T, c card.Card, command string) string {
	t.Helper()
	b, err := hex.DecodeString(command)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Transmit(t.Context(), b)
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return hex.EncodeToString(answer)
}

const (
	wrongPIN = "00200001083939393939393939"
	rightPIN = "002000010831323334ffffffff"
	askPIN   = "0020000100"
)

// TestShare: others use a card that they may write to as if it were theirs, and the
// guard shows only where they would spend the last try.
func TestShare(t *testing.T) {
	t.Parallel()
	p, own := shareable(t)
	direct, err := emul.New(p)
	if err != nil {
		t.Fatal(err)
	}
	var told []error
	given, err := (&Card{Card: own, Real: true}).Share([]string{p.ICCID}, func(err error) { told = append(told, err) })
	if err != nil {
		t.Fatal(err)
	}
	atr, err := given.Reset(t.Context())
	want, derr := direct.Reset(t.Context())
	if err != nil || derr != nil || !bytes.Equal(atr, want) {
		t.Fatalf("%x, %v, %v", atr, err, derr)
	}
	for _, command := range []string{
		"00b0000000", // nothing is selected
		"00a4040007a0000000871002", "00a40004026f07", wrongPIN, "00b0000009", rightPIN, "00b0000009", "00d600000100", wrongPIN, wrongPIN, askPIN,
	} {
		if got, want := answerOf(t, given, command), answerOf(t, direct, command); got != want {
			t.Errorf("%s: %s, the card alone answers %s", command, got, want)
		}
	}
	if len(told) > 0 {
		t.Errorf("told: %v", told)
	}
	if got := answerOf(t, given, wrongPIN); got != "6985" || len(told) != 1 || !errors.Is(told[0], card.ErrTriesLow) {
		t.Errorf("the last try: %s, %v", got, told)
	}
	if got := answerOf(t, given, askPIN); got != "63c1" {
		t.Errorf("then the counter is %s", got)
	}
}

// TestShareOfAnother: to a card that is not on the list others may send what reads.
func TestShareOfAnother(t *testing.T) {
	t.Parallel()
	_, own := shareable(t)
	var told []error
	given, err := (&Card{Card: own, Real: true}).Share(nil, func(err error) { told = append(told, err) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := given.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := answerOf(t, given, "00a40004022fe2"); got[:2] != "61" {
		t.Error(got)
	}
	if got := answerOf(t, given, rightPIN); got != "6985" || len(told) != 1 || !errors.Is(told[0], card.ErrNotAllowed) {
		t.Errorf("%s, %v", got, told)
	}
	if got := answerOf(t, given, "00b0000001"); got != "989000" { // EF.ICCID is still selected
		t.Error(got)
	}
	pulled := cardtest.NewFaulty(own, cardtest.Fault{Kind: cardtest.Removed, Always: true})
	given, err = (&Card{Card: pulled, Real: true}).Share(nil, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := given.Reset(t.Context()); !errors.Is(err, card.ErrRemoved) {
		t.Errorf("a card that was pulled out: %v", err)
	}
}

// TestShareSoftware: nothing stands before a card in this process, which is there to be
// used up, and a recording needs its ATR.
func TestShareSoftware(t *testing.T) {
	t.Parallel()
	_, own := shareable(t)
	given, err := (&Card{Card: own}).Share(nil, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"63c2", "63c1", "63c0"} {
		if got := answerOf(t, given, wrongPIN); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if _, err := (&Card{Card: (&trace.Recording{}).Cassette()}).Share(nil, nil); !errors.Is(err, trace.ErrNoATR) {
		t.Error(err)
	}
}
