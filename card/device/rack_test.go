package device

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"mcim/card"
	"mcim/card/cardtest"
	"mcim/card/emul"
	"mcim/card/pcsc"
	"mcim/card/vpcd"
)

// series are n cards, with the profiles that they were made of.
func series(t *testing.T, n int) ([]emul.Profile, []card.Card) {
	t.Helper()
	first, err := emul.RandomProfile("usim")
	if err != nil {
		t.Fatal(err)
	}
	profiles, err := first.Series(n)
	if err != nil {
		t.Fatal(err)
	}
	var cards []card.Card
	for _, p := range profiles {
		c, err := emul.New(p)
		if err != nil {
			t.Fatal(err)
		}
		cards = append(cards, c)
	}
	return profiles, cards
}

// TestSixteenCards asks the cards behind one pcscd for their ICCIDs, all at once and
// again and again: each answers for itself, in the order of the readers, and goes on
// when another is pulled out, which only who uses that one sees. Not parallel: the
// process reaches one pcscd, as in TestOpenReader.
func TestSixteenCards(t *testing.T) {
	profiles, cards := series(t, vpcd.MaxSlots)
	dir := fmt.Sprintf("/tmp/device-%d", os.Getpid())
	defer func() { _ = os.RemoveAll(dir) }()
	rack, err := PlayAll(t.Context(), dir, cards...)
	if err != nil {
		t.Fatal(err)
	}
	defer rack.Close()
	if err := pcsc.UseSocket(rack.Socket); err != nil {
		t.Fatal(err)
	}
	const pulled, rounds = 5, 50
	var warm, all sync.WaitGroup
	warm.Add(len(cards))
	out := make(chan struct{}) // closed when the card was pulled out
	for i := range cards {
		all.Go(func() {
			begun := sync.OnceFunc(warm.Done)
			defer begun()
			open, err := Open(t.Context(), fmt.Sprintf("pcsc:%d", i), 10*time.Second)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = open.Close() }()
			if open.Reader != rack.Cards[i].Reader {
				t.Errorf("reader %d is %s, want %s", i, open.Reader, rack.Cards[i].Reader)
			}
			for round := 0; round < rounds || i == pulled; round++ {
				iccid, err := card.NewSession(open, card.Options{}).ICCID(t.Context())
				switch {
				case err != nil && i == pulled && errors.Is(err, card.ErrRemoved):
					return
				case err != nil:
					t.Errorf("card %d: %v", i, err)
					return
				case iccid != profiles[i].ICCID:
					t.Errorf("reader %d has card %s, want %s", i, iccid, profiles[i].ICCID)
				}
				if begun(); round == rounds/2 && i != pulled {
					<-out // the rest comes after that
				}
			}
		})
	}
	warm.Wait()
	rack.Cards[pulled].Close()
	close(out)
	all.Wait()
}

// TestPlayAllRefused: where one card cannot be played none is, and no more than
// pcscd has readers.
func TestPlayAllRefused(t *testing.T) {
	t.Parallel()
	_, cards := series(t, 3)
	broken := cardtest.NewFaulty(cards[1], cardtest.Fault{Kind: cardtest.Removed, Always: true})
	_, _ = broken.Transmit(t.Context(), []byte{0, 0xA4, 0, 0})
	if _, err := PlayAll(t.Context(), "", cards[0], broken, cards[2]); !errors.Is(err, ErrNotSeen) || !strings.HasPrefix(err.Error(), "card 2: ") {
		t.Error(err)
	}
	if _, err := PlayAll(t.Context(), "", make([]card.Card, vpcd.MaxSlots+1)...); err == nil || !strings.Contains(err.Error(), "one pcscd has 1 to 16") {
		t.Error(err)
	}
}
