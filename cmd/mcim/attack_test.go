package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"mcim/flows"
	"mcim/flows/wire"
)

// TestAttackOutcome: the last line of an attack, and what is said of one that did
// not come as far as the defence.
func TestAttackOutcome(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		outcome attacked
		want    string
	}{
		{attacked{Attack: "replay", Verdict: "refused", Step: "P6.8", Defence: "it was\nused"}, "refused: replay at P6.8: it was used\n"},
		{attacked{Attack: "replay", Verdict: "succeeded"}, "succeeded: replay: no defence acted\n"},
	} {
		var b bytes.Buffer
		if err := tt.outcome.writeText(&b); err != nil || b.String() != tt.want {
			t.Errorf("%v, %q, want %q", err, b.String(), tt.want)
		}
	}
	var talk bytes.Buffer
	con := console{out: &talk, talk: &talk}
	if err := attackError(con, fmt.Errorf("on the way: %w", wire.Refuse("P4.4", "no order"))); !errors.Is(err, errFailed) || !strings.HasPrefix(talk.String(), "mcim: error: on the way") {
		t.Errorf("a role that refuses elsewhere: %v, %q", err, talk.String())
	}
	if err := attackError(con, flows.ErrNoAttack); !errors.Is(err, flows.ErrNoAttack) {
		t.Errorf("the environment: %v", err)
	}
}
