package card_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mcim/apdu/uicc"
	"mcim/card"
	"mcim/card/cardtest"
	"mcim/card/device"
	"mcim/card/pcsc"
	"mcim/card/trace"
)

// How many readers the private pcscd of this process has.
const readers = 4

// rack is those readers, each with a slot for scripts. It is started by the first test
// that needs it.
type rack struct {
	start sync.Once
	err   error
	rack  *device.Rack
	dir   string
	free  chan int
	slots [readers]slot
}

var shared = &rack{free: make(chan int, readers)}

// TestMain takes the readers away at the end.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "card")
	if err != nil {
		log.Fatal(err)
	}
	shared.dir = dir
	code := m.Run()
	if shared.rack != nil {
		shared.rack.Close()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// slot is the card in a reader: now this script, then that one.
type slot struct {
	mu   sync.Mutex
	card card.Card
}

func (s *slot) insert(c card.Card) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.card = c
}

// Transmit implements card.Card.
func (s *slot) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.card == nil {
		return nil, card.ErrRemoved
	}
	return s.card.Transmit(ctx, command)
}

// Reset implements card.Card: all scripts have the same ATR.
func (s *slot) Reset(context.Context) ([]byte, error) { return []byte{0x3B, 0x00}, nil }

// Close implements card.Card.
func (s *slot) Close() error { return nil }

// open starts the readers where they do not run yet.
func (r *rack) open(t *testing.T) {
	t.Helper()
	r.start.Do(func() {
		var cards []card.Card
		for i := range r.slots {
			cards = append(cards, &r.slots[i])
			r.free <- i
		}
		if r.rack, r.err = device.PlayAll(context.Background(), r.dir, cards...); r.err == nil {
			r.err = pcsc.UseSocket(r.rack.Socket)
		}
	})
	if r.err != nil {
		t.Fatal(r.err)
	}
}

// exchange is a command that a driver sent, and what it got.
type exchange struct {
	command, answer []byte
	failed          bool
}

// secret tells a command with a PIN in it.
func (e exchange) secret() bool {
	switch e.command[1] {
	case uicc.INSVerify, uicc.INSChangePIN, uicc.INSDisablePIN, uicc.INSEnablePIN, uicc.INSUnblockPIN:
		return len(e.command) > 5
	}
	return false
}

// played is a card that plays a written exchange (cardtest.Script). At the end of the
// test the same commands go to the same script in a reader of pcscd, and to a recording
// of what the driver had: all answers have to be the same, byte for byte. PINs are not
// recorded here: their hashes are slow on purpose, and the suite has them (package device).
type played struct {
	*cardtest.Script
	sent []exchange
}

func newScript(t *testing.T, lines ...string) *played {
	t.Helper()
	s := &played{Script: cardtest.NewScript(t, lines...)}
	t.Cleanup(func() {
		if t.Failed() || len(s.sent) == 0 {
			return
		}
		s.same(t, "behind pcscd", s.behindPCSCD(t, lines))
		if !slices.ContainsFunc(s.sent, exchange.secret) {
			s.same(t, "recording", s.recording(t))
		}
	})
	return s
}

func (s *played) same(t *testing.T, name string, again []exchange) {
	t.Helper()
	if d := cmp.Diff(s.sent, again, cmp.AllowUnexported(exchange{})); d != "" {
		t.Errorf("%s: %s", name, d)
	}
}

// Transmit implements card.Card.
func (s *played) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	answer, err := s.Script.Transmit(ctx, command)
	if ctx.Err() == nil && !errors.Is(err, card.ErrCommand) { // nothing was sent otherwise
		s.sent = append(s.sent, exchange{slices.Clone(command), bytes.Clone(answer), err != nil})
	}
	return answer, err
}

// again sends the same to another card.
func (s *played) again(t *testing.T, c card.Card) (got []exchange) {
	t.Helper()
	for _, e := range s.sent {
		answer, err := c.Transmit(context.Background(), e.command)
		got = append(got, exchange{e.command, bytes.Clone(answer), err != nil})
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	return got
}

func (s *played) behindPCSCD(t *testing.T, lines []string) []exchange {
	t.Helper()
	shared.open(t)
	i := <-shared.free
	defer func() {
		shared.slots[i].insert(nil)
		shared.free <- i
	}()
	c, err := pcsc.Open(context.Background(), fmt.Sprint(i), pcsc.Options{Wait: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	shared.slots[i].insert(cardtest.NewScript(t, lines...))
	return s.again(t, c)
}

// recording is the script once more, recorded, and the card that is made of that.
func (s *played) recording(t *testing.T) []exchange {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script.jsonl")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := trace.NewCassette(file, nil, [16]byte{1})
	var lines []string
	for _, e := range s.sent {
		lines = append(lines, fmt.Sprintf("%x", e.command), fmt.Sprintf("%x", e.answer))
	}
	s.again(t, trace.Tap(cardtest.NewScript(t, lines...), trace.Options{KeepTestKeys: true}, w))
	if err := errors.Join(w.Err(), file.Close()); err != nil {
		t.Fatal(err)
	}
	c, err := device.Open(context.Background(), "replay:"+path, 0)
	if err != nil {
		t.Fatal(err)
	}
	return s.again(t, c)
}
