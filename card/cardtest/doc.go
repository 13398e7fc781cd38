// Package cardtest holds what tests of cards share: Script, a card that follows
// a written exchange; Faulty, a wrapper that makes any card misbehave; and
// TestCard, the suite that everything that calls itself a card.Card has to pass.
package cardtest
