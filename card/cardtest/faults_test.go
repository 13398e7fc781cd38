package cardtest_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"mcim/apdu"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/cardtest"
)

// Contents of EF.LOCI, which PIN1 opens.
var (
	lociBefore = usim.DefaultLOCI()
	lociAfter  = []byte{1, 2, 3, 4, 0x00, 0xF1, 0x10, 0x00, 0x01, 0xFF, 0x00}
	fileLOCI   = card.InApp(usim.AIDPrefix(), usim.EFLOCI)
)

// written is what a technician's write of EF.LOCI becomes on a card with a fault:
// the error, and what is in the file afterwards.
func written(t *testing.T, fault cardtest.Fault) (l *lab, after []byte, err error) {
	t.Helper()
	l = newLab(t)
	if before := l.read(t); !bytes.Equal(before, lociBefore) {
		t.Fatalf("EF.LOCI has %x, want %x", before, lociBefore)
	}
	l.card.spending = 0
	l.session = card.NewSession(cardtest.NewFaulty(l.card, fault), card.Options{})
	if _, err := l.session.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	err = l.write(ctx)
	if l.card.spending > 2 {
		t.Errorf("%+v: %d commands that spend, want a VERIFY and an UPDATE at most", fault, l.card.spending)
	}
	l.session = card.NewSession(l.card, card.Options{})
	return l, l.read(t), err
}

// write verifies PIN1 and writes EF.LOCI by a guard.
func (l *lab) write(ctx context.Context) error {
	pin, err := uicc.PadPIN("2468")
	if err != nil {
		return err
	}
	g := l.guard(card.GuardConfig{Allow: []string{iccid}})
	if err := g.Verify(ctx, uicc.RefPIN1, pin); err != nil {
		return err
	}
	return g.UpdateBinary(ctx, fileLOCI, 0, lociAfter)
}

// read resets the card and reads EF.LOCI.
func (l *lab) read(t *testing.T) []byte {
	t.Helper()
	ctx := t.Context()
	if _, err := l.session.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	pin, err := uicc.PadPIN("2468")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.guard(card.GuardConfig{}).Verify(ctx, uicc.RefPIN1, pin); err != nil {
		t.Fatal(err)
	}
	b, err := l.session.ReadFile(ctx, fileLOCI)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestFaultsOfMemory: memory that refuses, memory that only says that it took the write,
// and a power cut after each byte of it are told apart by the guard, and a second write
// makes good what was torn.
func TestFaultsOfMemory(t *testing.T) {
	t.Parallel()
	for _, sw := range []apdu.StatusWord{apdu.SWMemoryProblem, 0x9240} {
		_, after, err := written(t, cardtest.Fault{Kind: cardtest.Worn, SW: sw})
		if !errors.Is(err, sw) || !bytes.Equal(after, lociBefore) {
			t.Errorf("%v: %v, %x", sw, err, after)
		}
	}
	_, after, err := written(t, cardtest.Fault{Kind: cardtest.Worn, SW: apdu.SWOK})
	if !errors.Is(err, card.ErrReadBack) || !bytes.Equal(after, lociBefore) {
		t.Errorf("memory that does not notice: %v, %x", err, after)
	}
	for n := range len(lociAfter) + 1 {
		l, after, err := written(t, cardtest.Fault{Kind: cardtest.Cut, Bytes: n})
		torn := append(bytes.Clone(lociAfter[:n]), lociBefore[n:]...)
		if !errors.Is(err, card.ErrTimeout) || !bytes.Equal(after, torn) {
			t.Errorf("cut after %d bytes: %v, %x, want %x", n, err, after, torn)
		}
		if err := l.write(t.Context()); err != nil || !bytes.Equal(l.read(t), lociAfter) {
			t.Errorf("written again after a cut after %d bytes: %v", n, err)
		}
	}
	_, after, err = written(t, cardtest.Fault{At: 1, Kind: cardtest.Worn, SW: apdu.SWMemoryProblem})
	if err != nil || !bytes.Equal(after, lociAfter) {
		t.Errorf("memory that wears later: %v, %x", err, after)
	}
}

// TestFaultsOfLink: at whichever command a fault happens, the write ends with an error that
// says so, or it is done; it is never done twice, and no try of PIN1 is lost.
func TestFaultsOfLink(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]cardtest.Fault{
		"mute":     {Kind: cardtest.Mute},
		"wrong SW": {Kind: cardtest.WrongSW, SW: 0x6F00},
		"endless":  {Kind: cardtest.Endless, Always: true},
		"flipped":  {Kind: cardtest.Flip, Bit: 3},
	} {
		failed := 0
		for fault.At = 0; fault.At < 12; fault.At++ {
			l, after, err := written(t, fault)
			switch {
			case err == nil && !bytes.Equal(after, lociAfter):
				t.Errorf("%s at %d: success, and the file has %x", name, fault.At, after)
			case err != nil:
				failed++
			}
			if name == "endless" && err != nil && !errors.Is(err, card.ErrResponseLoop) {
				t.Errorf("%s at %d: %v", name, fault.At, err)
			}
			if tries, err := l.guard(card.GuardConfig{}).Tries(t.Context(), uicc.RefPIN1); err != nil || tries != 3 {
				t.Errorf("%s at %d: %d tries, %v", name, fault.At, tries, err)
			}
		}
		if failed == 0 {
			t.Errorf("%s: never noticed", name)
		}
	}
}

// TestSlow: an answer that comes in time is taken, one that does not is a timeout.
func TestSlow(t *testing.T) {
	t.Parallel()
	c := cardtest.NewFaulty(newLab(t).card, cardtest.Fault{Kind: cardtest.Slow, Wait: time.Millisecond}, cardtest.Fault{At: 1, Kind: cardtest.Slow, Wait: time.Hour})
	selectMF := []byte{0x00, 0xA4, 0x00, 0x0C, 0x02, 0x3F, 0x00}
	if answer, err := c.Transmit(t.Context(), selectMF); err != nil || !bytes.Equal(answer, []byte{0x90, 0x00}) {
		t.Errorf("%x, %v", answer, err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer stop()
	if _, err := c.Transmit(ctx, selectMF); !errors.Is(err, card.ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want ErrTimeout", err)
	}
}

// TestCutRecord: a record is torn within itself.
func TestCutRecord(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.read(t) // verifies PIN1
	c := cardtest.NewFaulty(l.card, cardtest.Fault{Kind: cardtest.Cut, Bytes: 1})
	ask := func(want string, command ...byte) {
		t.Helper()
		answer, err := c.Transmit(t.Context(), command)
		if got := string(answer); err != nil || got != want {
			t.Fatalf("%x: %x, %v, want %x", command, got, err, want)
		}
	}
	ask("\x90\x00", 0x00, 0xA4, 0x00, 0x0C, 0x02, 0x6F, 0xCA) // EF.MWIS
	update := []byte{0x00, 0xDC, 0x01, 0x04, 0x05, 1, 2, 3, 4, 5}
	if _, err := c.Transmit(t.Context(), update); !errors.Is(err, card.ErrTimeout) {
		t.Fatalf("%v, want ErrTimeout", err)
	}
	if _, err := c.Transmit(t.Context(), update); !errors.Is(err, card.ErrTimeout) {
		t.Fatalf("a card without power answered: %v", err)
	}
	if answer, err := l.card.Transmit(t.Context(), []byte{0x00, 0xB2, 0x01, 0x04, 0x05}); err != nil || string(answer) != "\x01\x00\x00\x00\x00\x90\x00" {
		t.Errorf("%x, %v", answer, err)
	}
}
