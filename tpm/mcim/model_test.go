package mcim

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"mcim/card/aka"
)

// model is what the operators know of the slots.
type model struct {
	state [SlotCount]Lifecycle
	auc   [SlotCount]*aka.Subscriber
	last  [SlotCount]*Package
}

// TestStoreFollowsItsModel runs random procedures against the TPM and against a
// model of a few lines.
func TestStoreFollowsItsModel(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for n := 1; n < SlotCount; n++ { // from now on a slot is Deleted, not Empty
		l.installed(n)
	}
	rapid.Check(t, func(t *rapid.T) {
		m := &model{}
		for n := 1; n < SlotCount; n++ {
			if _, err := l.store.Erase(n, nil); err != nil {
				t.Fatal(err)
			}
			m.state[n] = Deleted
		}
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			n := rapid.IntRange(1, SlotCount-1).Draw(t, "slot")
			step := rapid.SampledFrom(modelSteps()).Draw(t, "step")
			step.do(m, t, l, n)
			if got := l.slots(); got[1].State != m.state[1] || got[2].State != m.state[2] {
				t.Fatalf("%s in slot %d: %s, %s; want %s, %s", step.name, n, got[1].State, got[2].State, m.state[1], m.state[2])
			}
		}
	})
}

type modelStep struct {
	name string
	do   func(*model, *rapid.T, *lab, int)
}

func (s modelStep) String() string { return s.name }

func modelSteps() []modelStep {
	return []modelStep{
		{"install", (*model).install}, {"replay", (*model).replay}, {"activate", (*model).activate},
		{"deactivate", (*model).deactivate}, {"erase", (*model).erase}, {"attach", (*model).attach},
		{"restart", func(_ *model, _ *rapid.T, l *lab, _ int) { l.reopen() }},
	}
}

func (m *model) install(t *rapid.T, l *lab, n int) {
	sub := newSubscription(l)
	p := l.build(n, sub, nil)
	_, err := l.store.Install(l.bytes(p), today, nil)
	if m.state[n] == Active {
		wantReject(l, err, CheckSpace)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	m.state[n], m.auc[n], m.last[n] = Installed, home(l, sub), p
}

func (m *model) replay(t *rapid.T, l *lab, n int) {
	if m.last[n] == nil {
		return
	}
	_, err := l.store.Install(l.bytes(m.last[n]), today, nil)
	if m.state[n] == Installed {
		if err != nil {
			t.Fatalf("the receipt once more: %v", err)
		}
		return
	}
	wantReject(l, err, CheckFreshness)
}

func (m *model) activate(t *rapid.T, l *lab, n int) {
	err := l.store.Activate(n)
	if m.state[n] == Deleted {
		wantIs(l, err, ErrState)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if other := SlotCount - n; m.state[other] == Active && other != n {
		m.state[other] = Inactive
	}
	m.state[n] = Active
}

func (m *model) deactivate(t *rapid.T, l *lab, n int) {
	err := l.store.Deactivate(n)
	if m.state[n] != Active && m.state[n] != Inactive {
		wantIs(l, err, ErrState)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	m.state[n] = Inactive
}

func (m *model) erase(t *rapid.T, l *lab, n int) {
	if _, err := l.store.Erase(n, nil); err != nil {
		t.Fatal(err)
	}
	m.state[n] = Deleted
}

func (m *model) attach(t *rapid.T, l *lab, n int) {
	c, err := l.store.Open(n)
	if m.state[n] != Active {
		wantIs(l, err, ErrState)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	v := next(l, m.auc[n])
	if r, err := c.Authenticate(v.RAND, v.AUTN); err != nil || r.RES != v.XRES {
		t.Fatal(err)
	}
	var used *aka.SyncError
	if _, err := c.Authenticate(v.RAND, v.AUTN); !errors.As(err, &used) {
		t.Fatalf("the same challenge again: %v", err)
	}
}
