//go:build cgo

package pcsc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ebfe/scard"

	"mcim/card"
)

const (
	minCommand = 4                 // bytes; one byte hangs some drivers
	maxCommand = 4 + 3 + 65535 + 2 // bytes, header, extended Lc, data, extended Le

	// poll is how often a state of pcscd that has no event is looked at.
	poll = 20 * time.Millisecond
	// settle is how long pcscd takes at most to see that a card was pulled out; it
	// looks every 400 ms.
	settle = time.Second
)

// Card is an open card in a reader; it implements card.Card.
//
// When a call fails with card.ErrTimeout, ErrReset or ErrTransmission, the card
// is in a state that nobody knows, and every call but Reset and Close fails in
// the same way. After card.ErrRemoved only Close is left: what is put into the
// reader next may be another card, so it has to be opened anew.
type Card struct {
	opts       Options
	reader     string
	s          *session
	card       *scard.Card
	wire       *transmitter
	atr        []byte
	insertions uint16 // of its reader when it was opened
	failed     error  // what every call fails with
	removed    bool   // and so does Reset
	closed     bool
}

var _ card.Card = (*Card)(nil)

// Open opens the card in a reader: name is the reader's name, its index in
// Readers, or a part of its name that no other has. It fails with ErrNoService,
// ErrPermission, ErrNoReader, ErrNoCard, ErrSharing, ErrMute, ErrProtocol or
// card.ErrTimeout.
func Open(ctx context.Context, name string, opts Options) (*Card, error) {
	if opts.Deadline <= 0 {
		opts.Deadline = DefaultDeadline
	}
	s, err := newSession(ctx, opts.Deadline)
	if err != nil {
		return nil, err
	}
	c := &Card{opts: opts, s: s}
	if err := c.open(ctx, name); err != nil {
		_ = c.s.release()
		return nil, err
	}
	return c, nil
}

func (c *Card) open(ctx context.Context, name string) error {
	names, err := c.s.list(ctx)
	if err != nil {
		return err
	}
	if c.reader, err = pick(names, name); err != nil {
		return err
	}
	if err := c.await(ctx); err != nil {
		return err
	}
	if err := c.connect(ctx); err != nil {
		return c.explain(err)
	}
	st, err := c.state(ctx)
	if err != nil {
		return c.explain(err)
	}
	c.insertions = insertions(st)
	return c.readATR(ctx)
}

// await waits for a card, as long as Options say.
func (c *Card) await(ctx context.Context) error {
	for end := time.Now().Add(c.opts.Wait); ; {
		st, err := c.state(ctx)
		if err != nil {
			return c.explain(err)
		}
		if st.EventState&scard.StatePresent != 0 || time.Now().After(end) {
			return nil // connect says what is wrong with an empty reader
		}
		if err := sleep(ctx, poll); err != nil {
			return timeout(ctx, c.opts.Wait, fmt.Sprintf("reader %q is empty", c.reader))
		}
	}
}

func (c *Card) connect(ctx context.Context) error {
	return c.s.call(ctx, func() error {
		var err error
		c.card, err = c.s.ctx.Connect(c.reader, c.mode(), scard.ProtocolAny)
		if err == nil && c.Protocol() == "" {
			return errors.Join(scard.ErrProtoMismatch, c.card.Disconnect(scard.LeaveCard))
		}
		if err == nil {
			c.wire, err = newTransmitter(c.card)
		}
		return err
	})
}

func (c *Card) mode() scard.ShareMode {
	if c.opts.Shared {
		return scard.ShareShared
	}
	return scard.ShareExclusive
}

// Reader is the name of the reader.
func (c *Card) Reader() string { return c.reader }

// ATR is the answer to reset that the card gave last, up to 33 bytes.
func (c *Card) ATR() []byte { return bytes.Clone(c.atr) }

// Protocol is "T=0" or "T=1".
func (c *Card) Protocol() string {
	switch c.card.ActiveProtocol() {
	case scard.ProtocolT0:
		return "T=0"
	case scard.ProtocolT1:
		return "T=1"
	default:
		return ""
	}
}

// Driver is who made the reader's driver or the reader, as far as the driver
// tells (vpcd does not); else it is empty.
func (c *Card) Driver(ctx context.Context) string {
	if c.usable() != nil {
		return ""
	}
	var name []byte
	if err := c.s.call(ctx, func() error {
		var err error
		name, err = c.card.GetAttrib(scard.AttrVendorName)
		return err
	}); err != nil {
		return ""
	}
	return strings.TrimRight(string(name), "\x00")
}

// Transmit is as in card.Card.
func (c *Card) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if len(command) < minCommand || len(command) > maxCommand {
		return nil, fmt.Errorf("%w: %d bytes, want %d to %d; nothing was sent", card.ErrCommand, len(command), minCommand, maxCommand)
	}
	var response []byte
	err := c.s.call(ctx, func() error {
		var err error
		response, err = c.wire.transmit(c.card.ActiveProtocol(), command)
		return err
	})
	if err != nil {
		return nil, c.fail(ctx, err)
	}
	if len(response) < 2 {
		return nil, c.fail(ctx, scard.ErrNotTransacted)
	}
	return response, nil
}

// Reset is as in card.Card. It is what brings back a card after card.ErrTimeout,
// ErrReset and ErrTransmission.
func (c *Card) Reset(ctx context.Context) ([]byte, error) {
	if c.closed || c.removed {
		return nil, c.usable()
	}
	if c.s.dead {
		if err := c.reopen(ctx); err != nil {
			return nil, c.fail(ctx, err)
		}
	}
	err := c.s.call(ctx, func() error {
		err := c.card.Reconnect(c.mode(), scard.ProtocolAny, scard.UnpowerCard)
		if err == nil && c.Protocol() == "" {
			return scard.ErrProtoMismatch
		}
		return err
	})
	if err != nil {
		return nil, c.fail(ctx, err)
	}
	if err := c.readATR(ctx); err != nil {
		return nil, c.fail(ctx, err)
	}
	c.failed = nil
	return c.ATR(), nil
}

// reopen connects to the card anew after its session died. pcscd gives the dead
// session's hold on the card up when its last call comes to an end.
func (c *Card) reopen(ctx context.Context) error {
	s, err := newSession(ctx, c.opts.Deadline)
	if err != nil {
		return err
	}
	_ = c.s.release()
	c.s = s
	for end := time.Now().Add(c.opts.Deadline); ; {
		err := c.connect(ctx)
		if err == nil {
			break
		}
		if !errors.Is(err, scard.ErrSharingViolation) || time.Now().After(end) || sleep(ctx, poll) != nil {
			s.kill() // no card is open in it: the next Reset tries again
			return err
		}
	}
	st, err := c.state(ctx)
	if err == nil && insertions(st) != c.insertions {
		return scard.ErrRemovedCard
	}
	return err
}

// Begin starts a transaction: until End no other program reaches the card. It
// waits for the end of another's.
func (c *Card) Begin(ctx context.Context) error {
	return c.do(ctx, func() error { return c.card.BeginTransaction() })
}

// End ends the transaction of Begin.
func (c *Card) End(ctx context.Context) error {
	return c.do(ctx, func() error { return c.card.EndTransaction(scard.LeaveCard) })
}

func (c *Card) do(ctx context.Context, f func() error) error {
	if err := c.usable(); err != nil {
		return err
	}
	if err := c.s.call(ctx, f); err != nil {
		return c.fail(ctx, err)
	}
	return nil
}

// Close gives the card back, and powers it down unless it is shared.
func (c *Card) Close() error {
	if c.closed {
		return nil
	}
	c.closed = true
	disposition := scard.UnpowerCard
	if c.opts.Shared {
		disposition = scard.LeaveCard
	}
	var err error
	if !c.s.dead && !c.removed {
		err = c.explain(c.s.call(context.Background(), func() error { return c.card.Disconnect(disposition) }))
	}
	if e := c.s.release(); err == nil && !c.removed {
		err = c.explain(e)
	}
	if errors.Is(err, ErrNoReader) || errors.Is(err, ErrNoCard) || errors.Is(err, ErrNoService) {
		return nil // gone meanwhile, so it is given back
	}
	return err
}

// usable is what a call fails with before it begins, or nil.
func (c *Card) usable() error {
	if c.closed {
		return fmt.Errorf("%w: reader %q", ErrClosed, c.reader)
	}
	return c.failed
}

func (c *Card) explain(err error) error { return explain(err, c.reader, bound.path) }

// fail explains the failure of a call, and decides what the card is still good
// for.
func (c *Card) fail(ctx context.Context, err error) error {
	explained := c.explain(err)
	switch {
	case errors.Is(explained, card.ErrTimeout) && !c.s.dead:
		return explained // ctx had ended before, so nothing happened
	case errors.Is(explained, ErrNoService), errors.Is(explained, ErrNoReader), errors.Is(explained, ErrNoCard):
		explained = removed(explained)
		c.removed = true
	case errors.Is(explained, ErrTransmission), errors.Is(explained, ErrMute):
		if gone := c.gone(ctx); gone != nil {
			explained = removed(gone)
			c.removed = true
		}
	}
	c.failed = explained
	return explained
}

// gone tells whether a card that did not answer was pulled out. pcscd needs
// some time to see it.
func (c *Card) gone(ctx context.Context) error {
	for end := time.Now().Add(settle); time.Now().Before(end); {
		st, err := c.state(ctx)
		switch {
		case errors.Is(err, card.ErrTimeout):
			return nil
		case err != nil:
			return c.explain(err)
		case st.EventState&scard.StatePresent == 0 || insertions(st) != c.insertions:
			return c.explain(scard.ErrRemovedCard)
		}
		if sleep(ctx, poll) != nil {
			return nil
		}
	}
	return nil
}

func (c *Card) state(ctx context.Context) (scard.ReaderState, error) {
	states, err := c.s.states(ctx, []string{c.reader})
	return states[0], err
}

func (c *Card) readATR(ctx context.Context) error {
	return c.explain(c.s.call(ctx, func() error {
		st, err := c.card.Status()
		if err == nil {
			c.atr = st.Atr
		}
		return err
	}))
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
