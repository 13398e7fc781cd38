package ro

import (
	"context"
	"errors"

	"mcim/flows/engine"
	"mcim/flows/wire"
)

// BreakSessions ends the sessions with the machines as a lost link does: the
// operator hears of it when it speaks next.
func (r *RO) BreakSessions() {
	r.dpf.mu.Lock()
	defer r.dpf.mu.Unlock()
	for _, s := range r.dpf.sessions {
		_ = s.Close()
	}
}

// Settle waits until no order runs any more; those that wait for their machine
// to begin do not run. How an order ended, Wait tells. The error is that of Wait
// for an order that waits for its machine in the middle.
func (r *RO) Settle(ctx context.Context) error {
	for {
		running, err := r.engine.Pending(ctx)
		if err != nil || len(running) == 0 {
			return err
		}
		for _, p := range running {
			_, err := r.Wait(ctx, p.ID)
			if ctx.Err() != nil || r.patience.waits(p.ID) || errors.Is(err, engine.ErrInterrupted) || errors.Is(err, wire.ErrNotFound) {
				return err
			}
		}
	}
}
