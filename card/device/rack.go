package device

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"mcim/card"
	"mcim/card/proc"
	"mcim/card/vpcd"
)

// longTemp is how long the name of the folder for temporary files may be: a socket
// lies below it, whose path has 107 bytes at most.
const longTemp = 70

// Rack is cards in readers: each in one of a pcscd of its own, or one in that of
// another
// that Play has put it into.
type Rack struct {
	// Socket is for PCSCLITE_CSOCK_NAME; empty where pcscd is not ours.
	Socket string
	// Cards are in the order of the readers, as PC/SC programs list them.
	Cards []*Played

	pcscd     *vpcd.PCSCD // nil for another's
	temporary *proc.Temp  // folder to remove at the end; nil for the caller's
}

// PlayPrivate starts a pcscd of its own in dir and puts c into its reader. It
// returns when the reader has powered the card up. An empty dir is a folder in
// the system's place for temporary files, short enough for a socket, which is
// gone after Close. It does not close c. Errors are those of vpcd.StartPCSCD and
// of Play.
func PlayPrivate(ctx context.Context, dir string, c card.Card) (*Played, error) {
	r, err := PlayAll(ctx, dir, c)
	if err != nil {
		return nil, err
	}
	p := r.Cards[0]
	p.rack = r
	return p, nil
}

// PlayAll is PlayPrivate for up to vpcd.MaxSlots cards, all behind one pcscd.
func PlayAll(ctx context.Context, dir string, cards ...card.Card) (*Rack, error) {
	var temporary *proc.Temp
	if dir == "" {
		var err error
		if temporary, err = proc.NewTemp(shortTemp(), "pcscd"); err != nil {
			return nil, err
		}
		dir = temporary.Dir
	}
	pcscd, err := vpcd.StartPCSCD(ctx, vpcd.Config{Dir: dir, Slots: len(cards)})
	if err != nil {
		return nil, errors.Join(err, remove(temporary))
	}
	r := &Rack{Socket: pcscd.Socket, Cards: make([]*Played, len(cards)), pcscd: pcscd, temporary: temporary}
	if err := r.insert(ctx, cards); err != nil {
		if ctx.Err() == nil {
			err = cause(pcscd, err)
		}
		r.Close()
		return nil, err
	}
	return r, nil
}

// insert puts all cards into their readers at once: pcscd looks into each of them
// every 0.4 s only. The first error ends the others.
func (r *Rack) insert(ctx context.Context, cards []card.Card) error {
	all, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var inserting sync.WaitGroup
	for i, c := range cards {
		inserting.Go(func() {
			p, err := Play(all, r.pcscd.Addrs[i], c)
			if err != nil {
				if len(cards) > 1 {
					err = fmt.Errorf("card %d: %w", i+1, err)
				}
				stop(err)
				return
			}
			p.pcscd, p.Socket, p.Reader = r.pcscd, r.Socket, r.pcscd.Readers[i]
			r.Cards[i] = p
		})
	}
	inserting.Wait()
	return context.Cause(all)
}

// Close takes all cards out of their readers and ends the pcscd. It is safe to
// call twice.
func (r *Rack) Close() {
	for _, p := range r.Cards {
		if p != nil {
			p.Close()
		}
	}
	r.end()
}

// end ends the pcscd, whose readers are empty.
func (r *Rack) end() {
	if r.pcscd == nil {
		return
	}
	r.pcscd.Stop()
	_ = remove(r.temporary) // what cannot be removed is in a place that is cleaned up anyway
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
