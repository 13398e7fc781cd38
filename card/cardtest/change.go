package cardtest

import (
	"errors"
	"testing"

	"mcim/card"
)

// changeCases are the cases about documents of changes.
func (s suite) changeCases() []suiteCase {
	return []suiteCase{
		{"changes are made and undone", s.facts.Change != nil, s.changesAndUndoes},
		{"changes that were broken off are completed", s.facts.Change != nil, s.completesChanges},
	}
}

// change applies a document and gives the undo document, "" where there was nothing to
// change.
func (s suite) change(t *testing.T, c card.Card, document string, resume bool) (undo string) {
	t.Helper()
	undo, err := s.facts.Change(t.Context(), c, document, resume)
	if err != nil {
		t.Fatal(err)
	}
	return undo
}

// nothingLeft fails where a document still has something to change.
func (s suite) nothingLeft(t *testing.T, c card.Card, document, when string) {
	t.Helper()
	if undo := s.change(t, c, document, false); undo != "" {
		t.Errorf("%s, there was still something to change: %s", when, undo)
	}
}

func (s suite) changesAndUndoes(t *testing.T) {
	c := s.start(t)
	undo := s.change(t, c, s.facts.Edit, false)
	if undo == "" {
		t.Fatal("the card has what Edit says already")
	}
	s.nothingLeft(t, c, s.facts.Edit, "after the change")
	redo := s.change(t, c, undo, false)
	s.nothingLeft(t, c, undo, "after the undo")
	if redo == "" {
		t.Error("the undo changed nothing")
	}
}

// completesChanges pulls the card out before the last APDU but two, which is a write or
// its proof.
func (s suite) completesChanges(t *testing.T) {
	c := s.start(t)
	counted := NewFaulty(c)
	undo := s.change(t, counted, s.facts.Edit, false)
	s.change(t, c, undo, false)
	undo, err := s.facts.Change(t.Context(), NewFaulty(c, Fault{At: counted.Sent() - 2, Kind: Removed}), s.facts.Edit, false)
	if !errors.Is(err, card.ErrRemoved) || undo == "" {
		t.Fatalf("got %v and the undo document %q, want ErrRemoved and one", err, undo)
	}
	s.change(t, c, undo, true)
	s.nothingLeft(t, c, s.facts.Edit, "after it was completed")
	s.change(t, c, undo, false)
	s.nothingLeft(t, c, undo, "after the undo")
}
