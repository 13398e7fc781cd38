package device

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"mcim/card"
	"mcim/card/vpcd"
)

// ErrNotSeen says that pcscd did not power the card up in its virtual reader.
var ErrNotSeen = errors.New("the virtual reader does not see the card")

// powerUp is how long pcscd may take to power a card up.
const powerUp = 10 * time.Second

// Played is a card in a virtual reader.
type Played struct {
	// Socket is for PCSCLITE_CSOCK_NAME; empty where pcscd is not ours.
	Socket string
	// Reader is the name of the reader; empty where pcscd is not ours.
	Reader string

	pcscd *vpcd.PCSCD
	rack  *Rack // that ends with this card; nil where others are in it
	link  *vpcd.Link
	stop  context.CancelFunc
	done  chan struct{} // closed when the card has left the reader
	err   error         // why; set before done is closed
}

// Play puts c into the virtual reader at addr ("HOST:PORT"), which another pcscd
// has, and returns when the reader has powered it up. It fails with
// vpcd.ErrNoReader, ErrNotSeen, and the error of ctx.
func Play(ctx context.Context, addr string, c card.Card) (*Played, error) {
	return play(ctx, addr, c, powerUp)
}

func play(ctx context.Context, addr string, c card.Card, wait time.Duration) (*Played, error) {
	link, err := dial(ctx, addr, c, wait)
	if err != nil {
		return nil, err
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	p := &Played{link: link, stop: stop, done: make(chan struct{})}
	go func() {
		p.err = link.Serve(serving)
		close(p.done)
	}()
	if err := p.seen(ctx, addr, wait); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// dial reaches the reader. One with a card and another that waits for its place
// does not even take the connection.
func dial(ctx context.Context, addr string, c card.Card, wait time.Duration) (*vpcd.Link, error) {
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	link, err := vpcd.Dial(limited, addr, c)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		<-limited.Done() // package net knows of the deadline a moment before
	}
	switch {
	case err == nil:
		return link, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case limited.Err() != nil:
		return nil, notSeen(addr, wait)
	default:
		return nil, err
	}
}

func notSeen(addr string, wait time.Duration) error {
	return fmt.Errorf("%w within %s: another card may be in the reader at %s, take it out first", ErrNotSeen, wait, addr)
}

// seen waits until the reader has powered the card up.
func (p *Played) seen(ctx context.Context, addr string, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-p.link.Present():
		return nil
	case <-p.done:
		return fmt.Errorf("%w: %w", ErrNotSeen, p.err)
	case <-timer.C:
		return notSeen(addr, wait)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stats is what went over the link between reader and card.
func (p *Played) Stats() vpcd.Stats { return p.link.Stats() }

// endTime is more than a pcscd needs to end, whose connections have closed.
const endTime = 2 * time.Second

// Cause is err, which the card or its reader gave, or what is behind it: our pcscd
// has ended (proc.ErrEnded).
func (p *Played) Cause(err error) error {
	if p == nil {
		return err
	}
	return cause(p.pcscd, err)
}

func cause(pcscd *vpcd.PCSCD, err error) error {
	if pcscd == nil || err == nil {
		return err
	}
	select {
	case <-pcscd.Done():
	case <-time.After(endTime):
	}
	if ended := pcscd.Err(); ended != nil {
		return fmt.Errorf("its %w", ended)
	}
	return err
}

// Wait returns when the card has left the reader, with the reason, or when ctx
// has ended, with its error.
func (p *Played) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.Cause(p.err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close takes the card out of the reader, and ends a pcscd that PlayPrivate started
// for it. It is safe to call twice.
func (p *Played) Close() {
	p.stop()
	<-p.done
	if p.rack != nil {
		p.rack.end()
	}
}
