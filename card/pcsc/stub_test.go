//go:build !cgo

package pcsc

import (
	"errors"
	"testing"
)

func TestBuiltWithoutPCSC(t *testing.T) {
	t.Parallel()
	if _, err := Open(t.Context(), "0", Options{}); !errors.Is(err, ErrNoPCSC) {
		t.Error(err)
	}
	if _, err := Readers(t.Context()); !errors.Is(err, ErrNoPCSC) {
		t.Error(err)
	}
	var events []Event
	for e := range Watch(t.Context()) {
		events = append(events, e)
	}
	if len(events) != 1 || !errors.Is(events[0].Err, ErrNoPCSC) {
		t.Errorf("%+v", events)
	}
	if err := UseSocket("/tmp/x"); err != nil {
		t.Error(err)
	}
}
