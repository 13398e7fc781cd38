package emul

import (
	"fmt"
	"testing"
	"time"
)

// zeros is a source of random bytes that are all 0.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// suspendable is a card whose tokens are all 0, with a clock.
func suspendable(t *testing.T) (c *Card, clock *time.Time) {
	t.Helper()
	c, clock = newCard(t, testProfile(t)), &time.Time{}
	c.Rand, c.Now = zeros{}, func() time.Time { return *clock }
	return c, clock
}

const (
	suspendHour = "80760000 04 0001 0201 0A = 013C 0000000000000000 9000"
	resumeIt    = "80760100 08 0000000000000000 = "
)

func TestSuspend(t *testing.T) {
	t.Parallel()
	for _, script := range []struct {
		name  string
		lines []string
	}{
		{"the state comes back once", []string{
			selectUSIM, verifyPIN1, "00700000 01 = 019000", "01A4080C 02 2FE2 = 9000",
			suspendHour, "RESET =", "RESET =", resumeIt + "9000",
			"00B08700 09 = ~9000", "01B00000 01 = ~9000", "00200081 = 63C3",
			"RESET =", resumeIt + "6985",
			"00B08700 09 = 6A82", "01B00000 01 = 6881",
		}},
		{"by GET RESPONSE", []string{
			selectUSIM, verifyPIN1,
			"80760000 04 0001 0201 = 610A", "00C00000 0A = 013C 0000000000000000 9000",
			"RESET =", resumeIt + "9000", "00B08700 09 = ~9000",
		}},
		{"a wrong token", []string{
			selectUSIM, verifyPIN1, suspendHour, "RESET =",
			"80760100 08 0000000000000001 = 6982",
			resumeIt + "6985", // there is one attempt
			"00B08700 09 = 6A82",
		}},
		{"what is not the first command", []string{
			selectUSIM, verifyPIN1, suspendHour, "RESET =",
			"00A4000C 02 3F00 = 9000", resumeIt + "6985",
		}},
		{"commands before the power goes", []string{
			selectUSIM, verifyPIN1, suspendHour, "00B08700 09 = ~9000", "RESET =", resumeIt + "6985",
		}},
		{"resumed with the power on", []string{suspendHour, resumeIt + "6985"}},
		{"what cannot be", []string{
			resumeIt + "6985",
			"80760000 04 0501 0201 = 6A80", // unit
			"80760000 04 0001 0200 = 6A80",
			"80760000 04 0202 0201 = 6A80", // the minimum is more
			"80760000 04 0302 0304 = 6985", // more than the card can
			"80760000 02 0001 = 6700",
			"80760100 07 00000000000000 = 6700",
			"80760001 04 0001 0201 = 6A86",
			"80760200 04 0001 0201 = 6A86",
			"00760000 04 0001 0201 = 6E00",
			"00700000 01 = 019000",
			"81760000 04 0001 0201 = 6E00",
			"80760000 04 0001 0304 0A = 0218 0000000000000000 9000", // a day, and no more
		}},
	} {
		t.Run(script.name, func(t *testing.T) {
			t.Parallel()
			c, _ := suspendable(t)
			run(t, c, script.lines...)
		})
	}
}

func TestSuspendTime(t *testing.T) {
	t.Parallel()
	for late, want := range map[time.Duration]string{time.Hour - 1: "9000", time.Hour: "6985"} {
		c, clock := suspendable(t)
		run(t, c, suspendHour, "RESET =")
		*clock = clock.Add(late)
		run(t, c, resumeIt+want)
	}
}

// TestSuspendTokens: each suspension has a token of its own.
func TestSuspendTokens(t *testing.T) {
	t.Parallel()
	c, seen := newCard(t, testProfile(t)), map[string]bool{}
	for range 4 {
		seen[send(t, c, "80760000 04 0001 0201 0A")] = true
	}
	if len(seen) != 4 {
		t.Error(fmt.Sprint(seen))
	}
}

// TestSuspendProactive: the card is not suspended while a proactive command waits, and
// knows the terminal's profile afterwards.
func TestSuspendProactive(t *testing.T) {
	t.Parallel()
	c, _ := suspendable(t)
	if err := c.Queue(moreTime()); err != nil {
		t.Fatal(err)
	}
	run(t, c, "80100000 01 08 = ~91..", "80760000 04 0001 0201 0A = 6985")
	c.toolkit.queue = nil
	run(t, c, suspendHour, "RESET =", resumeIt+"9000")
	if c.toolkit.profile == nil {
		t.Error("the terminal's profile is lost")
	}
}
