package vpcd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"mcim/card"
)

// fakeReader is the driver's end of the link.
type fakeReader struct {
	t    *testing.T
	l    net.Listener
	conn net.Conn
}

func newFakeReader(t *testing.T) *fakeReader {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &fakeReader{t: t, l: l}
	t.Cleanup(func() {
		_ = l.Close()
		if r.conn != nil {
			_ = r.conn.Close()
		}
	})
	return r
}

func (r *fakeReader) accept() {
	r.t.Helper()
	conn, err := r.l.Accept()
	if err != nil {
		r.t.Fatal(err)
	}
	r.conn = conn
}

// insert starts a Link of c and returns it with what Serve will return.
func (r *fakeReader) insert(ctx context.Context, c card.Card) (*Link, <-chan error) {
	r.t.Helper()
	l, err := Dial(ctx, r.l.Addr().String(), c)
	if err != nil {
		r.t.Fatal(err)
	}
	l.silence, l.absence = 20*time.Millisecond, time.Millisecond
	r.accept()
	served := make(chan error, 1)
	go func() { served <- l.Serve(ctx) }()
	return l, served
}

// send sends messages in the driver's way, the length in a segment of its own.
func (r *fakeReader) send(msgs ...[]byte) {
	r.t.Helper()
	for _, m := range msgs {
		for _, part := range [][]byte{binary.BigEndian.AppendUint16(nil, uint16(len(m))), m} {
			if _, err := r.conn.Write(part); err != nil {
				r.t.Fatal(err)
			}
		}
	}
}

func (r *fakeReader) receive() []byte {
	r.t.Helper()
	var n [2]byte
	_, err := io.ReadFull(r.conn, n[:])
	msg := make([]byte, binary.BigEndian.Uint16(n[:]))
	if err == nil {
		_, err = io.ReadFull(r.conn, msg)
	}
	if err != nil {
		r.t.Fatalf("no answer: %v", err)
	}
	return msg
}

func (r *fakeReader) exchange(msg, want []byte) {
	r.t.Helper()
	r.send(msg)
	if got := r.receive(); !bytes.Equal(got, want) {
		r.t.Errorf("%x is answered %x, want %x", msg, got, want)
	}
}

func TestMessages(t *testing.T) {
	t.Parallel()
	c := &fakeCard{transmit: func(command []byte) ([]byte, error) {
		if command[1] == 0xEE {
			return nil, fmt.Errorf("%w: Lc says 9", card.ErrCommand)
		}
		return append(bytes.Clone(command[4:]), 0x90, 0x00), nil
	}}
	ctx, cancel := context.WithCancel(t.Context())
	r := newFakeReader(t)
	l, served := r.insert(ctx, c)

	r.exchange([]byte{4}, testATR) // presence poll before power on
	select {
	case <-l.Present():
		t.Error("present before power on")
	default:
	}
	r.send([]byte{powerOn})
	r.exchange([]byte{getATR}, testATR)
	<-l.Present()
	r.send([]byte{powerOff}, []byte{powerOn})
	r.exchange([]byte{getATR}, testATR)

	r.exchange([]byte{0, 0xA4, 0, 4}, []byte{0x90, 0})
	long := append([]byte{0, 0xA4, 0, 4}, bytes.Repeat([]byte{0x5A}, maxMessage-4-2)...)
	r.exchange(long, append(bytes.Clone(long[4:]), 0x90, 0))
	for _, none := range [][]byte{{}, {3}, {5}, {0xA0}, {0, 0xA4}, {0, 0xA4, 0}} {
		r.exchange(none, wrongLength[:])
	}
	r.exchange([]byte{0, 0xEE, 0, 0, 9}, wrongLength[:]) // the card says that it is no command
	r.send([]byte{reset})
	r.exchange([]byte{getATR}, testATR)

	if want := (Stats{APDUs: 2, Bytes: int64(4 + 2 + len(long) + len(long) - 2)}); l.Stats() != want {
		t.Errorf("counted %+v, want %+v", l.Stats(), want)
	}
	cancel()
	if err := <-served; !errors.Is(err, context.Canceled) {
		t.Errorf("Serve gives %v", err)
	}
	if c.resets != 4 { // one on entering the reader, two power ups, one reset
		t.Errorf("%d resets, want 4", c.resets)
	}
}

// Several messages in one segment, and one in many, are the same.
func TestSegments(t *testing.T) {
	t.Parallel()
	r := newFakeReader(t)
	r.insert(t.Context(), &fakeCard{})
	if _, err := r.conn.Write([]byte{0, 1, 4, 0, 4, 0, 0xA4, 0, 4, 0}); err != nil {
		t.Fatal(err)
	}
	for _, b := range []byte{5, 0, 0xB0, 0, 0, 0} {
		time.Sleep(time.Millisecond)
		if _, err := r.conn.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range [][]byte{testATR, {0x90, 0}, {0x90, 0}} {
		if got := r.receive(); !bytes.Equal(got, want) {
			t.Errorf("answer %d is %x, want %x", i, got, want)
		}
	}
}

func TestCardLeaves(t *testing.T) {
	t.Parallel()
	atr := func(n int) func() ([]byte, error) {
		return func() ([]byte, error) { return make([]byte, n), nil }
	}
	answer := func(n int) func([]byte) ([]byte, error) {
		return func([]byte) ([]byte, error) { return make([]byte, n), nil }
	}
	for name, c := range map[string]struct {
		card *fakeCard
		is   error
		says string
	}{
		"pulled out":    {&fakeCard{transmit: func([]byte) ([]byte, error) { return nil, card.ErrRemoved }}, card.ErrRemoved, "card removed"},
		"mute":          {&fakeCard{transmit: func([]byte) ([]byte, error) { return nil, card.ErrTimeout }}, card.ErrTimeout, "in time"},
		"no answer":     {&fakeCard{transmit: answer(0)}, nil, "response of 0 bytes"},
		"half a status": {&fakeCard{transmit: answer(1)}, nil, "response of 1 bytes"},
		"long answer":   {&fakeCard{transmit: answer(65536)}, nil, "response of 65536 bytes"},
		"no reset":      {&fakeCard{reset: func() ([]byte, error) { return nil, card.ErrRemoved }}, card.ErrRemoved, "reset"},
		"empty ATR":     {&fakeCard{reset: atr(0)}, nil, "answer to reset of 0 bytes"},
		"long ATR":      {&fakeCard{reset: atr(34)}, nil, "answer to reset of 34 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newFakeReader(t)
			l, served := r.insert(t.Context(), c.card)
			if _, err := r.conn.Write([]byte{0, 5, 0, 0xB0, 0, 0, 0}); err != nil {
				t.Log(err) // a card without ATR has left already
			}
			err := <-served
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !bytes.Contains([]byte(err.Error()), []byte(c.says)) {
				t.Errorf("got %v, want %v: %s", err, c.is, c.says)
			}
			if n, err := r.conn.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Error("the connection is still open")
			}
			if l.Stats() != (Stats{}) {
				t.Errorf("counted %+v without an answer", l.Stats())
			}
		})
	}
}

// A program sends the one byte 00 as its command; only silence shows it.
func TestCommandThatLooksLikePower(t *testing.T) {
	t.Parallel()
	for _, b := range []byte{powerOff, powerOn, reset} {
		ctx, cancel := context.WithCancel(t.Context())
		r := newFakeReader(t)
		_, served := r.insert(ctx, &fakeCard{})
		r.send([]byte{b})
		if _, err := r.conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("%02x: %v, want the card to leave", b, err)
		}
		_ = r.conn.Close()
		r.accept()
		time.Sleep(40 * time.Millisecond) // silence means nothing after an answer or at the start
		r.exchange([]byte{getATR}, testATR)
		time.Sleep(40 * time.Millisecond)
		r.exchange([]byte{getATR}, testATR)
		cancel()
		if err := <-served; !errors.Is(err, context.Canceled) {
			t.Errorf("%02x: Serve gives %v", b, err)
		}
	}
}

func TestReaderGoesInTheMiddleOfAMessage(t *testing.T) {
	t.Parallel()
	r := newFakeReader(t)
	_, served := r.insert(t.Context(), &fakeCard{})
	if _, err := r.conn.Write([]byte{0, 5, 0}); err != nil {
		t.Fatal(err)
	}
	_ = r.conn.Close()
	if err := <-served; !errors.Is(err, ErrReaderGone) {
		t.Errorf("got %v", err)
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte{0, 1, 4, 0, 4, 0, 0xA4, 0, 4, 0, 5, 0, 0xB0, 0, 0, 0}, byte(3))
	f.Add([]byte{0xff, 0xff, 0}, byte(1))
	f.Fuzz(func(t *testing.T, stream []byte, cut byte) {
		a, b := net.Pipe() // no file descriptor: the parser alone
		defer func() { _ = a.Close() }()
		go func() {
			defer func() { _ = b.Close() }()
			for rest := stream; len(rest) > 0; {
				n := min(len(rest), int(cut)+1)
				if _, err := b.Write(rest[:n]); err != nil {
					return
				}
				rest = rest[n:]
			}
		}()
		r := &reader{buf: make([]byte, 8)}
		r.read = a.Read
		var again []byte
		for {
			msg, err := r.next()
			if err != nil {
				break
			}
			again = append(binary.BigEndian.AppendUint16(again, uint16(len(msg))), msg...)
		}
		if !bytes.HasPrefix(stream, again) {
			t.Errorf("%x reads as %x", stream, again)
		}
	})
}
