package ro

import (
	"context"
	"errors"
	"maps"
	"sync"

	"mcim/flows/wire"
)

// patience is for orders that cannot end without their machine any more: they
// wait for its next contact.
type patience struct {
	mu      sync.Mutex
	contact map[string]chan struct{} // by machine; closed at its next contact
	stalled map[string]stall         // by order
	waiting map[*waiter]bool
}

// stall is why an order waits for its machine.
type stall struct {
	machine string
	why     *wire.Error
}

// waiter waits for the end of an order.
type waiter struct {
	order  string
	cancel context.CancelCauseFunc
}

func newPatience() *patience {
	return &patience{contact: map[string]chan struct{}{}, stalled: map[string]stall{}, waiting: map[*waiter]bool{}}
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

// heard says that the machine has made contact: its orders go on.
func (p *patience) heard(machine string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.contact[machine]; c != nil {
		close(c)
		delete(p.contact, machine)
	}
	maps.DeleteFunc(p.stalled, func(_ string, s stall) bool { return s.machine == machine })
}

// stall says why an order waits, unless contact is closed already.
func (p *patience) stall(order string, s stall, contact <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-contact:
		return
	default:
	}
	p.stalled[order] = s
	for w := range p.waiting {
		if w.order == order {
			w.cancel(s.why)
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
	if s, ok := p.stalled[order]; ok {
		cancel(s.why)
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
	_, ok := p.stalled[order]
	return ok
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
			p.stall(w.Order, stall{w.Mandate.Machine, wire.AsError(err, step)}, contact)
			select {
			case <-contact:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}
