//go:build !cgo

package pcsc

import (
	"context"
)

// Card is a card in a reader; in this build there is none.
type Card struct{}

// Readers lists the readers; in this build it fails with ErrNoPCSC.
func Readers(context.Context) ([]Reader, error) { return nil, ErrNoPCSC }

// Watch reports what happens to readers; in this build one ServiceLost with
// ErrNoPCSC.
func Watch(context.Context) <-chan Event {
	events := make(chan Event, 1)
	events <- Event{Kind: ServiceLost, Err: ErrNoPCSC}
	close(events)
	return events
}

// Open opens the card in a reader; in this build it fails with ErrNoPCSC.
func Open(context.Context, string, Options) (*Card, error) { return nil, ErrNoPCSC }

// LibraryVersion is empty in this build.
func LibraryVersion() string { return "" }

// Transmit fails with ErrNoPCSC.
func (*Card) Transmit(context.Context, []byte) ([]byte, error) { return nil, ErrNoPCSC }

// Reset fails with ErrNoPCSC.
func (*Card) Reset(context.Context) ([]byte, error) { return nil, ErrNoPCSC }

// Begin fails with ErrNoPCSC.
func (*Card) Begin(context.Context) error { return ErrNoPCSC }

// End fails with ErrNoPCSC.
func (*Card) End(context.Context) error { return ErrNoPCSC }

// Close does nothing.
func (*Card) Close() error { return nil }

// ATR is empty.
func (*Card) ATR() []byte { return nil }

// Reader is empty.
func (*Card) Reader() string { return "" }

// Protocol is empty.
func (*Card) Protocol() string { return "" }

// Driver is empty.
func (*Card) Driver(context.Context) string { return "" }
