package trace

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"mcim/card"
)

// playerOf is a Player of a session, and what it tells.
func playerOf(t *testing.T, script ...string) (*Player, *[]string) {
	t.Helper()
	told := &[]string{}
	p, err := NewPlayer(read(t, recordOf(t, Options{}, true, script...)).Cassette(), func(err error) { *told = append(*told, err.Error()) })
	if err != nil {
		t.Fatal(err)
	}
	return p, told
}

func played(t *testing.T, p *Player, commands ...string) string {
	t.Helper()
	var answers []string
	for _, c := range commands {
		var answer []byte
		var err error
		if c == "RESET" {
			answer, err = p.Reset(t.Context())
		} else {
			answer, err = p.Transmit(t.Context(), unhex(t, c))
		}
		if err != nil {
			t.Fatalf("%s: %v", c, err)
		}
		answers = append(answers, hex.EncodeToString(answer))
	}
	return strings.Join(answers, " ")
}

// TestPlayerResets: a reader resets as it likes.
func TestPlayerResets(t *testing.T) {
	t.Parallel()
	const a, b, c = "00a40004026f07", "00b0000002", "00b0000003"
	for _, tt := range []struct {
		name, commands, answers string
	}{
		{"as recorded", "RESET " + a + " " + b + " RESET " + c, "3b00 9001 01029000 3b00 9003"},
		{"twice at the start", "RESET RESET " + a, "3b00 3b00 9001"},
		{"in between begins anew", "RESET " + a + " RESET " + a + " " + b, "3b00 9001 3b00 9001 01029000"},
		{"none where one is recorded", "RESET " + a + " " + b + " " + c, "3b00 9001 01029000 9003"},
		{"behind the end", "RESET " + a + " " + b + " RESET " + c + " RESET " + a, "3b00 9001 01029000 3b00 9003 3b00 9001"},
	} {
		p, told := playerOf(t, "RESET", "", a, "9001", b, "01029000", "RESET", "", c, "9003")
		if got := played(t, p, strings.Fields(tt.commands)...); got != tt.answers || len(*told) > 0 {
			t.Errorf("%s: %s, want %s; %q", tt.name, got, tt.answers, *told)
		}
	}
	late, told := playerOf(t, a, "9001", "RESET", "", b, "9002") // recorded from the middle of a session on
	if got := played(t, late, "RESET", a, "RESET", b); got != "3b00 9001 3b00 9002" || len(*told) > 0 {
		t.Errorf("%s, %q", got, *told)
	}
}

// TestPlayerIsNeverAtALoss: what is not recorded is answered 6F00 and told, and the
// recording waits.
func TestPlayerIsNeverAtALoss(t *testing.T) {
	t.Parallel()
	const sel, pin, status = "00a40004026f07", "0020000108 31323334ffffffff", "80f2000000"
	p, told := playerOf(t, "RESET", "", sel, "9001", pin, "9000", status, "")
	got := played(t, p, "RESET", "00a40004026f46", sel, "0020000108 39393939ffffffff", pin, status, status)
	if got != "3b00 6f00 9001 6f00 9000 6f00 6f00" {
		t.Error(got)
	}
	want := []string{
		"line 3, SELECT 6F07: byte 6 is 46, recorded is 07",
		"line 4, VERIFY PIN: another secret than the recorded one in bytes 5 to 12",
		"line 5, STATUS: recorded is card did not answer in time",
		"line 6, STATUS: the recording has ended",
	}
	if len(*told) != len(want) {
		t.Fatalf("%q", *told)
	}
	for i := range want {
		if !strings.HasPrefix((*told)[i], want[i]) {
			t.Errorf("%q, want %q", (*told)[i], want[i])
		}
	}
	if _, err := p.Transmit(t.Context(), []byte{0}); !errors.Is(err, card.ErrCommand) {
		t.Errorf("no command: %v", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := p.Transmit(ended, unhex(t, sel)); !errors.Is(err, card.ErrTimeout) {
		t.Errorf("after the end of ctx: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestPlayerNeedsAnATR(t *testing.T) {
	t.Parallel()
	rec := read(t, recordOf(t, Options{}, true, "00a40004026f07", "9000"))
	if _, err := NewPlayer(rec.Cassette(), nil); !errors.Is(err, ErrNoATR) {
		t.Error(err)
	}
}
