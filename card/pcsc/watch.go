//go:build cgo

package pcsc

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/ebfe/scard"
)

const (
	// plugAndPlay is the reader by whose state pcscd tells that readers changed.
	plugAndPlay = `\\?PnP?\Notification`
	// relist is how often the list of readers is read in any case: one that comes
	// between the list and the wait for a change is not reported as one.
	relist = time.Second
	// retry is how often a pcscd that does not answer is tried.
	retry = 100 * time.Millisecond
)

// Watch reports what happens to readers and cards until ctx ends, and closes the
// channel then. One goroutine watches all readers, and survives the end of pcscd.
// It waits for its reader: read on, or end ctx.
func Watch(ctx context.Context) <-chan Event {
	m := &monitor{events: make(chan Event)}
	go func() {
		defer close(m.events)
		m.run(ctx)
	}()
	return m.events
}

type monitor struct {
	events chan Event
	known  []scard.ReaderState // of all readers, as reported
}

func (m *monitor) emit(ctx context.Context, e Event) {
	select {
	case m.events <- e:
	case <-ctx.Done():
	}
}

// run watches in one session after the other.
func (m *monitor) run(ctx context.Context) {
	for lost := false; ctx.Err() == nil; {
		s, err := newSession(ctx, DefaultDeadline)
		if err == nil {
			if lost {
				m.emit(ctx, Event{Kind: ServiceFound})
			}
			lost, m.known = false, nil
			err = m.watch(ctx, s)
			_ = s.release()
		}
		if !lost && ctx.Err() == nil {
			m.emit(ctx, Event{Kind: ServiceLost, Err: err})
			lost = true
		}
		select {
		case <-time.After(retry):
		case <-ctx.Done():
		}
	}
}

// watch reports until the session fails.
func (m *monitor) watch(ctx context.Context, s *session) error {
	for {
		names, err := s.list(ctx)
		if err != nil {
			return err
		}
		m.plug(ctx, names)
		states := append(slices.Clone(m.known), scard.ReaderState{Reader: plugAndPlay})
		err = s.change(ctx, states, relist)
		switch {
		case errors.Is(err, scard.ErrTimeout), errors.Is(err, scard.ErrUnknownReader):
			continue
		case err != nil:
			return explain(err, strings.Join(names, ", "), bound.path)
		}
		for i := range m.known {
			m.update(ctx, i, states[i])
		}
	}
}

// plug reports readers that are new or gone.
func (m *monitor) plug(ctx context.Context, names []string) {
	var known []scard.ReaderState
	for _, st := range m.known {
		if slices.Contains(names, st.Reader) {
			known = append(known, st)
			continue
		}
		if st.CurrentState&scard.StatePresent != 0 {
			m.emit(ctx, Event{Kind: CardRemoved, Reader: st.Reader})
		}
		m.emit(ctx, Event{Kind: ReaderRemoved, Reader: st.Reader})
	}
	for _, n := range names {
		if !slices.ContainsFunc(known, func(st scard.ReaderState) bool { return st.Reader == n }) {
			known = append(known, scard.ReaderState{Reader: n})
			m.emit(ctx, Event{Kind: ReaderAdded, Reader: n})
		}
	}
	m.known = known
}

// update reports what became of the card in reader i. A card that was changed
// for another shows in the count of insertions only.
func (m *monitor) update(ctx context.Context, i int, now scard.ReaderState) {
	before := m.known[i].CurrentState
	had, has := before&scard.StatePresent != 0, now.EventState&scard.StatePresent != 0
	swapped := had && has && uint16(before>>16) != insertions(now)
	if had && !has || swapped {
		m.emit(ctx, Event{Kind: CardRemoved, Reader: now.Reader})
	}
	if !had && has || swapped {
		m.emit(ctx, Event{Kind: CardInserted, Reader: now.Reader, ATR: atrOf(now)})
	}
	m.known[i].CurrentState = now.EventState &^ scard.StateChanged
}
