package ro

import (
	"context"
	"errors"
	"sync"

	"mcim/flows/wire"
)

// patience is for orders that cannot end without their machine any more: they
// wait for its next contact.
type patience struct {
	mu      sync.Mutex
	contact map[string]chan struct{} // by machine; closed at its next contact
	stalled map[string]*wire.Error   // by order: why it waits
	waiting map[*waiter]bool
}

// waiter waits for the end of an order.
type waiter struct {
	order  string
	cancel context.CancelCauseFunc
}

func newPatience() *patience {
	return &patience{contact: map[string]chan struct{}{}, stalled: map[string]*wire.Error{}, waiting: map[*waiter]bool{}}
}

// next is closed at the machine's next contact.
func (p *patience) next(machine string) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.contact[machine] == nil {
		p.contact[machine] = make(chan struct{})
	}
	return p.contact[machine]
}

// heard says that the machine has made contact.
func (p *patience) heard(machine string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.contact[machine]; c != nil {
		close(c)
		delete(p.contact, machine)
	}
}

// stall says why an order waits; nil that it goes on.
func (p *patience) stall(order string, why *wire.Error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if why == nil {
		delete(p.stalled, order)
		return
	}
	p.stalled[order] = why
	for w := range p.waiting {
		if w.order == order {
			w.cancel(why)
		}
	}
}

// watch is ctx that also ends when the order stalls, or has stalled; why is then
// its cause.
func (p *patience) watch(ctx context.Context, order string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &waiter{order, cancel}
	p.mu.Lock()
	defer p.mu.Unlock()
	if why := p.stalled[order]; why != nil {
		cancel(why)
	}
	p.waiting[w] = true
	return ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.waiting, w)
		cancel(nil)
	}
}

// waits says whether the order waits for its machine.
func (p *patience) waits(order string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stalled[order] != nil
}

// insist does f again and again until it succeeds or is refused, each time when
// the machine has made contact: the UICC that it changes is of use to nobody
// before it is finished (SR-18). The order stays open meanwhile, also for a later
// process, and Wait tells why.
func (w *work) insist(step string, f func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		p := w.ro.patience
		for {
			contact := p.next(w.Mandate.Machine)
			err := f(ctx)
			if !errors.Is(err, wire.ErrUnavailable) || ctx.Err() != nil {
				return err
			}
			p.stall(w.Order, wire.AsError(err, step))
			select {
			case <-contact:
				p.stall(w.Order, nil)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}
