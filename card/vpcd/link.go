package vpcd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"mcim/card"
)

// Errors of a Link; those of its card come wrapped.
var (
	// ErrNoReader: nothing listens at the address of the reader.
	ErrNoReader = errors.New("no virtual reader")
	// ErrReaderGone: the reader closed the connection; its pcscd has ended.
	ErrReaderGone = errors.New("virtual reader is gone")
)

// Control messages, one byte each. Only getATR has an answer.
const (
	powerOff = 0x00
	powerOn  = 0x01
	reset    = 0x02
	getATR   = 0x04
)

const (
	minCommand = 4     // bytes; less is no APDU
	maxMessage = 65535 // bytes, by the length field
	maxATR     = 33    // bytes, TS with the 32 of ISO/IEC 7816-3, 8.1

	// silence is how long the reader may leave a power message without the next
	// one. It asks for the ATR every 400 ms at the latest.
	silence = 10 * time.Second
	// absence is how long a card stays out of the reader before it enters again.
	// pcscd looks every 400 ms, and when a command broke off and a card is there at
	// the next look, it can hold the reader for empty for ever.
	absence = time.Second
)

// wrongLength answers what is no command APDU.
var wrongLength = [...]byte{0x67, 0x00}

// errSilence: what looked like a power message was none.
var errSilence = errors.New("reader waits for an answer to a power message")

// Stats counts what went over the link between reader and card.
type Stats struct {
	APDUs int64 // commands that the card answered
	Bytes int64 // bytes of those commands and of their responses
}

// Link is a card in a virtual reader.
type Link struct {
	addr    string
	card    card.Card
	conn    net.Conn
	silence time.Duration
	absence time.Duration
	atr     []byte
	powered bool

	apdus, bytes atomic.Int64
	present      chan struct{}
	presentOnce  sync.Once
}

// Dial puts c into the virtual reader at addr ("127.0.0.1:PORT"). It fails with
// ErrNoReader where none listens. Where another card is in the reader, c waits
// until that one leaves; leave a reader empty for a second between two cards, or
// pcscd may not see the second. Call Serve next.
func Dial(ctx context.Context, addr string, c card.Card) (*Link, error) {
	l := &Link{addr: addr, card: c, silence: silence, absence: absence, present: make(chan struct{})}
	return l, l.dial(ctx)
}

func (l *Link) dial(ctx context.Context) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", l.addr)
	if err != nil {
		return fmt.Errorf("%w at %s: start pcscd with vsmartcard-vpcd, or give the port of its reader (35963 by default): %w",
			ErrNoReader, l.addr, err)
	}
	l.conn = conn
	return nil
}

// Serve puts c into the virtual reader at addr until ctx ends; see Link.Serve.
func Serve(ctx context.Context, addr string, c card.Card) error {
	l, err := Dial(ctx, addr, c)
	if err != nil {
		return err
	}
	return l.Serve(ctx)
}

// Stats may be called at any time, from any goroutine. An APDU is counted
// before its response leaves.
func (l *Link) Stats() Stats { return Stats{APDUs: l.apdus.Load(), Bytes: l.bytes.Load()} }

// Present is closed when the reader has powered the card up and got its ATR
// for the first time.
func (l *Link) Present() <-chan struct{} { return l.present }

// Serve answers the reader until the card leaves it: the end of ctx (returns
// its error), an error of the card (returned; a card that cannot answer counts
// as pulled out), or the end of pcscd (ErrReaderGone). It does not close the
// card.
//
// A message of less than 4 bytes never reaches the card and is answered 6700,
// as is what the card refuses with card.ErrCommand. Messages 00, 01 and 02 are
// power commands to the card, which have no answer. A program that sends one of
// them as its command waits for one, though, and with it all pcscd: that shows
// as silence, and ends by the card leaving the reader and entering it again.
func (l *Link) Serve(ctx context.Context) error {
	for {
		err := l.serve(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !errors.Is(err, errSilence) {
			return err
		}
		select {
		case <-time.After(l.absence):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := l.dial(ctx); err != nil {
			return err
		}
	}
}

// serve answers on one connection and closes it.
func (l *Link) serve(ctx context.Context) error {
	conn := l.conn
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() {
		stop()
		_ = conn.Close()
	}()
	if err := l.reset(ctx); err != nil {
		return err
	}
	r, err := newReader(conn)
	if err != nil {
		return err
	}
	var out []byte
	for quiet := false; ; { // quiet: the last message was one without an answer
		msg, err := r.next()
		if err != nil {
			return l.readError(err)
		}
		answer, err := l.answer(ctx, msg)
		if err != nil {
			return err
		}
		if answer == nil {
			quiet = true
			if err := conn.SetReadDeadline(time.Now().Add(l.silence)); err != nil {
				return l.readError(err)
			}
			continue
		}
		if quiet {
			quiet = false
			if err := conn.SetReadDeadline(time.Time{}); err != nil {
				return l.readError(err)
			}
		}
		out = append(binary.BigEndian.AppendUint16(out[:0], uint16(len(answer))), answer...)
		if _, err := conn.Write(out); err != nil {
			return l.readError(err)
		}
		if l.powered {
			l.presentOnce.Do(func() { close(l.present) })
		}
	}
}

// answer gives what to answer to a message: nothing (nil) to a power message.
func (l *Link) answer(ctx context.Context, msg []byte) ([]byte, error) {
	if len(msg) != 1 {
		return l.transmit(ctx, msg)
	}
	switch msg[0] {
	case getATR:
		return l.atr, nil
	case powerOff:
		l.powered = false
		return nil, nil
	case powerOn, reset:
		l.powered = true
		return nil, l.reset(ctx)
	default:
		return l.transmit(ctx, msg)
	}
}

// transmit gives the card's answer to a command, or ours where it is none.
func (l *Link) transmit(ctx context.Context, command []byte) ([]byte, error) {
	if len(command) < minCommand {
		return wrongLength[:], nil
	}
	response, err := l.card.Transmit(ctx, command)
	switch {
	case errors.Is(err, card.ErrCommand):
		return wrongLength[:], nil
	case err != nil:
		return nil, fmt.Errorf("card in the virtual reader: %w", err)
	case len(response) < 2 || len(response) > maxMessage:
		return nil, fmt.Errorf("card in the virtual reader: response of %d bytes, want 2 to %d", len(response), maxMessage)
	}
	l.apdus.Add(1)
	l.bytes.Add(int64(len(command) + len(response)))
	return response, nil
}

// reset powers the card up anew and keeps its ATR.
func (l *Link) reset(ctx context.Context) error {
	atr, err := l.card.Reset(ctx)
	if err != nil {
		return fmt.Errorf("reset of the card in the virtual reader: %w", err)
	}
	if len(atr) < 2 || len(atr) > maxATR {
		return fmt.Errorf("card in the virtual reader: answer to reset of %d bytes, want 2 to %d", len(atr), maxATR)
	}
	l.atr = bytes.Clone(atr)
	return nil
}

func (l *Link) readError(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errSilence
	}
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: pcscd closed the connection to %s, as it does when it ends", ErrReaderGone, l.addr)
	}
	return fmt.Errorf("%w: %w", ErrReaderGone, err)
}
