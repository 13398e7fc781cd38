package device

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"mcim/card"
	"mcim/card/proc"
	"mcim/card/vpcd"
)

// ErrNotSeen says that pcscd did not power the card up in its virtual reader.
var ErrNotSeen = errors.New("the virtual reader does not see the card")

const (
	// powerUp is how long pcscd may take to power a card up.
	powerUp = 10 * time.Second
	// longTemp is how long the name of the folder for temporary files may be: a
	// socket lies below it, whose path has 107 bytes at most.
	longTemp = 70
)

// Played is a card in a virtual reader.
type Played struct {
	// Socket is for PCSCLITE_CSOCK_NAME; empty where pcscd is not ours.
	Socket string
	// Reader is the name of the reader; empty where pcscd is not ours.
	Reader string

	pcscd     *vpcd.PCSCD
	temporary *proc.Temp // folder to remove at the end; nil for the caller's
	link      *vpcd.Link
	stop      context.CancelFunc
	done      chan struct{} // closed when the card has left the reader
	err       error         // why; set before done is closed
}

// PlayPrivate starts a pcscd of its own in dir and puts c into its reader. It
// returns when the reader has powered the card up. An empty dir is a folder in
// the system's place for temporary files, short enough for a socket, which is
// gone after Close. It does not close c. Errors are those of vpcd.StartPCSCD and
// of Play.
func PlayPrivate(ctx context.Context, dir string, c card.Card) (*Played, error) {
	var temporary *proc.Temp
	if dir == "" {
		var err error
		if temporary, err = proc.NewTemp(shortTemp(), "pcscd"); err != nil {
			return nil, err
		}
		dir = temporary.Dir
	}
	p, err := playPrivate(ctx, dir, c)
	if err != nil {
		return nil, errors.Join(err, remove(temporary))
	}
	p.temporary = temporary
	return p, nil
}

func playPrivate(ctx context.Context, dir string, c card.Card) (*Played, error) {
	pcscd, err := vpcd.StartPCSCD(ctx, vpcd.Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	p, err := Play(ctx, pcscd.Addrs[0], c)
	if err != nil {
		if ctx.Err() == nil {
			err = cause(pcscd, err)
		}
		pcscd.Stop()
		return nil, err
	}
	p.pcscd, p.Socket, p.Reader = pcscd, pcscd.Socket, pcscd.Readers[0]
	return p, nil
}

func shortTemp() string {
	if dir := os.TempDir(); len(dir) <= longTemp {
		return dir
	}
	return "/tmp"
}

func remove(t *proc.Temp) error {
	if t == nil {
		return nil
	}
	return t.Remove()
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

// Close takes the card out of the reader, and ends pcscd if it is ours. It is
// safe to call twice.
func (p *Played) Close() {
	p.stop()
	<-p.done
	if p.pcscd != nil {
		p.pcscd.Stop()
	}
	_ = remove(p.temporary) // what cannot be removed is in a place that is cleaned up anyway
}
