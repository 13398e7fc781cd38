package cardtest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"mcim/apdu/uicc"
	"mcim/card"
	"mcim/card/cardtest"
	"mcim/card/model"
)

// broken is a software UICC with one mistake.
type broken struct {
	card.Card
	mistake string
	closed  bool
	atr     []byte
	suci    []byte
}

func (b *broken) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	switch {
	case b.mistake == "answers anything" && len(command) < 4:
		return []byte{0x67, 0x00}, nil
	case b.mistake == "ignores deadlines":
		ctx = context.WithoutCancel(ctx)
	case b.mistake == "needs no PIN" && len(command) == 5 && command[1] == uicc.INSReadBinary:
		return append(make([]byte, command[4]), 0x90, 0x00), nil
	case b.mistake == "counts no tries" && len(command) == 4 && command[1] == uicc.INSVerify:
		return []byte{0x63, 0xC3}, nil
	}
	answer, err := b.Card.Transmit(ctx, command)
	b.simMistake(command, answer)
	if b.mistake == "swallows the status word" && err == nil && len(answer) == 2 {
		return answer[:1], nil
	}
	return b.authMistake(command, answer), err
}

func (b *broken) Reset(ctx context.Context) ([]byte, error) {
	switch {
	case b.mistake == "ignores deadlines":
		ctx = context.WithoutCancel(ctx)
	case b.mistake == "keeps its state over a reset" && b.atr != nil && ctx.Err() == nil:
		return b.atr, nil
	}
	atr, err := b.Card.Reset(ctx)
	b.atr = atr
	if b.mistake == "gives half an ATR" && err == nil {
		return atr[:len(atr)/2], nil
	}
	return atr, err
}

func (b *broken) Close() error {
	if b.mistake == "closes once" && b.closed {
		return errors.New("closed already")
	}
	b.closed = true
	return b.Card.Close()
}

const mistakeVariable = "CARDTEST_MISTAKE"

// TestBroken is a whole run of the suite on a broken card, in a process of its
// own: TestSuiteFindsMistakes starts it.
func TestBroken(t *testing.T) {
	mistake := os.Getenv(mistakeVariable)
	if mistake == "" {
		return
	}
	fresh, facts := subscribed(t)
	if strings.HasPrefix(mistake, "as a SIM, ") {
		fresh, facts = simOf(t, model.Milenage)
	}
	open := func(t testing.TB) card.Card {
		b := &broken{Card: fresh(t), mistake: mistake}
		if mistake == "keeps its state over a reset" {
			b.atr = []byte{0x3B, 0x00}
		}
		return b
	}
	cardtest.TestCard(t, open, facts)
}

// TestSuiteFindsMistakes holds the suite to failing in the case that is meant.
func TestSuiteFindsMistakes(t *testing.T) {
	t.Parallel()
	for mistake, failing := range map[string]string{
		"answers anything":               "what_is_no_command_is_refused",
		"ignores deadlines":              "a_deadline_that_is_over_is_a_timeout",
		"needs no PIN":                   "a_PIN_opens_a_file_until_reset",
		"counts no tries":                "a_wrong_PIN_costs_a_try",
		"swallows the status word":       "every_command_gets_an_answer",
		"keeps its state over a reset":   "reset_clears_the_selection",
		"gives half an ATR":              "reset_gives_the_ATR",
		"closes once":                    "close_twice",
		"makes any MAC-S":                "a_challenge_of_SEQ_0_proves_the_keys",
		"gives a wrong Kc":               "the_GSM_context_agrees_with_home",
		"gives a wrong SRES in class A0": "RUN_GSM_ALGORITHM_agrees_with_home",
		"has a GSM context in the ISIM":  "the_IMS_context_agrees_with_home",
		"derives another server key":     "GBA_agrees_with_home",
		"has another local key":          "GBA_agrees_with_home",
		"gives one SUCI for ever":        "the_SUCI_is_that_of_the_subscriber",
		"as a SIM, needs no CHV1":        "CHV1_opens_a_file_until_reset",
		"as a SIM, has another ICCID":    "a_SIM_is_known_by_its_ICCID",
		"as a SIM, gives a wrong Kc":     "RUN_GSM_ALGORITHM_agrees_with_home",
		"takes half of an AUTN":          "malformed_challenges_are_refused",
	} {
		command := exec.Command(os.Args[0], "-test.run=^TestBroken$")
		command.Env = append(os.Environ(), mistakeVariable+"="+mistake)
		out, err := command.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "--- FAIL: TestBroken/"+failing) {
			t.Errorf("a card that %s: %v, want %s to fail:\n%s", mistake, err, failing, out)
		}
	}
}
