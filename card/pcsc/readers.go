//go:build cgo

package pcsc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ebfe/scard"
)

// LibraryVersion is the version of the PC/SC library that the program was built
// with.
func LibraryVersion() string { return scard.Version() }

// Readers lists the readers in the order of their index; none is no error. It
// fails with ErrNoService or ErrPermission.
func Readers(ctx context.Context) ([]Reader, error) {
	s, err := newSession(ctx, DefaultDeadline)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.release() }()
	for {
		names, err := s.list(ctx)
		if err != nil {
			return nil, err
		}
		states, err := s.states(ctx, names)
		if errors.Is(err, scard.ErrUnknownReader) {
			continue // it went away in between
		}
		if err != nil {
			return nil, explain(err, strings.Join(names, ", "), bound.path)
		}
		readers := make([]Reader, len(names))
		for i, st := range states {
			readers[i] = describe(i, st)
		}
		return readers, nil
	}
}

func describe(i int, st scard.ReaderState) Reader {
	return Reader{
		Index: i, Name: st.Reader, ATR: atrOf(st),
		Card:      st.EventState&scard.StatePresent != 0,
		Mute:      st.EventState&scard.StateMute != 0,
		InUse:     st.EventState&(scard.StateInuse|scard.StateExclusive) != 0,
		Exclusive: st.EventState&scard.StateExclusive != 0,
	}
}

// atrOf is the ATR of the card that is there; scard keeps that of the last one.
func atrOf(st scard.ReaderState) []byte {
	if st.EventState&scard.StatePresent == 0 {
		return nil
	}
	return st.Atr
}

// list gives the names of all readers.
func (s *session) list(ctx context.Context) ([]string, error) {
	var names []string
	err := s.call(ctx, func() error {
		var err error
		names, err = s.ctx.ListReaders()
		return err
	})
	if errors.Is(err, scard.ErrNoReadersAvailable) {
		return nil, nil
	}
	return names, explain(err, "", bound.path)
}

// states gives the states of readers as they are now. Its errors are those of
// scard.
func (s *session) states(ctx context.Context, names []string) ([]scard.ReaderState, error) {
	states := make([]scard.ReaderState, len(names))
	for i, n := range names {
		states[i].Reader = n
	}
	return states, s.change(ctx, states, 0)
}

// change waits until a reader is in another state than its CurrentState; after
// wait, which has to be less than the deadline, the error is scard.ErrTimeout.
func (s *session) change(ctx context.Context, states []scard.ReaderState, wait time.Duration) error {
	if len(states) == 0 {
		return nil // scard panics
	}
	asked := make([]scard.ReaderState, len(states))
	for i, st := range states {
		asked[i] = scard.ReaderState{Reader: fmt.Sprintf("%s\x00%d", st.Reader, s.key), CurrentState: st.CurrentState}
	}
	if err := s.call(ctx, func() error { return s.ctx.GetStatusChange(asked, wait) }); err != nil {
		return err
	}
	for i := range states {
		states[i].EventState, states[i].Atr = asked[i].EventState, asked[i].Atr
	}
	return nil
}

// insertions counts the cards that came and went in a reader.
func insertions(st scard.ReaderState) uint16 { return uint16(st.EventState >> 16) }
