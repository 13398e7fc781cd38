package wire

import (
	"context"
	"errors"
	"time"
)

// Backoff bounds how often a call is tried again after ErrUnavailable: "bounded
// retry, old service kept" (TR 33.812, failure handling of every procedure).
// The zero value is 5 tries, waiting 50 ms after the first and twice as long
// after each further one, 1 s at most.
type Backoff struct {
	// Attempts is how often the call is made at all; 0 is 5, 1 is no retry.
	Attempts int
	// First is the wait after the first try; 0 is 50 ms.
	First time.Duration
	// Max is the longest wait; 0 is 1 s.
	Max time.Duration
}

func (b Backoff) withDefaults() Backoff {
	if b.Attempts <= 0 {
		b.Attempts = 5
	}
	if b.First <= 0 {
		b.First = 50 * time.Millisecond
	}
	if b.Max <= 0 {
		b.Max = time.Second
	}
	return b
}

// Retry calls f until it returns something other than ErrUnavailable, the
// attempts are used up, or ctx ends; the error is then that of the last call. A
// call whose answer was lost is made again, so what f asks for must be
// idempotent.
func Retry[T any](ctx context.Context, b Backoff, f func(context.Context) (T, error)) (T, error) {
	b = b.withDefaults()
	wait := min(b.First, b.Max)
	for attempt := 1; ; attempt++ {
		v, err := f(ctx)
		if err == nil || !errors.Is(err, ErrUnavailable) || attempt == b.Attempts || ctx.Err() != nil {
			return v, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return v, err
		case <-timer.C:
		}
		wait = min(2*wait, b.Max)
	}
}
