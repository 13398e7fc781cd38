package report

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"mcim/flows/wire"
)

// play gives a chart a story: steps in each other, at the same time, failed, and a
// negative proof.
func play(c *Chart) {
	at := time.Unix(0, 0)
	step := func(path, from, to, text string) func(error) {
		e := wire.Event{Path: path, Name: path[strings.LastIndex(path, "/")+1:], From: from, To: to, Text: text, Time: at}
		c.Step(e)
		return func(err error) {
			at = at.Add(1500 * time.Microsecond)
			e.End, e.Err, e.Time = true, err, at
			c.Step(e)
		}
	}
	c.Case("P4", "registration")
	step("P4.1", "m2me/12345678", "ro", "contact")(nil)
	outer := step("P4.7", "ro", "sho-a", "platform validation (P5c)")
	step("P4.7/P5c.3", "m2me/12345678", "m2me/12345678", "a text that is longer than what fits into the column between the names and the outcome")(nil)
	outer(nil)
	one, two := step("P4.5", "ro", "sho-a", "one"), step("P4.8", "ro", "sho-a", "two")
	one(nil)
	two(errors.New("refused, for a reason that is told in full"))
	c.Proof("the old K gets no service")
	step("P7.2", "m2me/12345678", "vno", "not shown")(errors.New("not shown"))
	c.Negative(Negative{Name: "the old K gets no service", Verdict: Pass})
	c.Negative(Negative{Name: "another", Verdict: Fail})
	_ = step("P8c.8", "ro", "m2me/12345678", "cut")
	c.Negative(Negative{Name: "a proof of it", Verdict: NotRun})
}

func TestChart(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	play(NewChart(&b))
	want := legend + `
P4  registration
  P4.1   m2me -> ro             contact ................................................ ok (1.5 ms)
  P4.7   ro -> sho-a            platform validation (P5c)
    P5c.3  m2me                 a text that is longer than what fits into the column
                                between the names and the outcome ...................... ok (1.5 ms)
  P4.7   ro -> sho-a            end .................................................... ok (3.0 ms)
  P4.5   ro -> sho-a            one
  P4.8   ro -> sho-a            two
  P4.5   ro -> sho-a            end .................................................... ok (1.5 ms)
  P4.8   ro -> sho-a            end ......................................................... failed
    refused, for a reason that is told in full
  proof  the old K gets no service ......................................................... refused
  proof  another .............................................................................. fail
  P8c.8  ro -> m2me             cut
  proof  a proof of it ..................................................................... not run
`
	if got := b.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	for line := range strings.Lines(b.String()) {
		if utf8.RuneCountInString(line) > Width+1 {
			t.Errorf("%d characters: %s", utf8.RuneCountInString(line), line)
		}
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{0: "(0.0 ms)", 99 * time.Millisecond: "(99.0 ms)", 250 * time.Millisecond: "(250 ms)", 1500 * time.Millisecond: "(1.50 s)"} {
		if got := duration(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestWriteText(t *testing.T) {
	t.Parallel()
	r := sample()
	r.Negatives = append(r.Negatives, Negative{Procedure: "P2", Name: "old K", Verdict: Fail, Detail: "it was accepted"})
	r.Procedures = append(r.Procedures, Procedure{ID: "P4", Title: "registration", Placement: "tre", Verdict: NotRun, Reason: "the budget is too small"})
	r.Environment = Environment{Before: []string{"P1"}, NotProven: []string{"the weather"}, Card: "software UICC", GivenBack: 3}
	r.Conclude()
	var b bytes.Buffer
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"P2   initial connectivity  tre   pass       250.0 ms", "P4: not run\n    the budget is too small\n", "P1: the lab had it behind it\n",
		"  P2   fail     old K\n                it was accepted\n", "  - the weather\n", "\nverdict: fail\n", "has 3 NV indices and handles back",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
