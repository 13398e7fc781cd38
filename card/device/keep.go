package device

import (
	"context"

	"mcim/card"
)

// keptKey is the key of a kept card in a context.
type keptKey struct{}

// kept is a card that stays open.
type kept struct {
	Card
	atr []byte
}

// Keep gives a context in which Open gives c, as it is, for its URI, and closing what
// Open gave does not close c. It is for who runs command after command on one card. c
// was reset, with the answer atr.
func Keep(ctx context.Context, c *Card, atr []byte) context.Context {
	return context.WithValue(ctx, keptKey{}, &kept{*c, atr})
}

// open gives the card to one user.
func (k *kept) open() *Card {
	c := k.Card
	c.Card, c.ATR = lent{k}, k.atr
	return &c
}

// lent is a kept card in the hands of a user.
type lent struct{ *kept }

// Transmit implements card.Card.
func (l lent) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	return l.Card.Transmit(ctx, command)
}

// Reset implements card.Card.
func (l lent) Reset(ctx context.Context) ([]byte, error) {
	atr, err := l.Card.Reset(ctx)
	if err == nil {
		l.atr = append([]byte(nil), atr...)
	}
	return atr, err
}

// Close leaves the card open.
func (lent) Close() error { return nil }

var _ card.Card = lent{}
