package emul

import (
	"fmt"

	"mcim/card/aka"
	"mcim/card/model"
)

// maxAuthLimit is what three bytes have room for, as the limit of a profile package has
// them (authCounterMax of the TCA's interoperable profile).
const maxAuthLimit = 1<<24 - 1

// limits takes what the card counts and how it checks sequence numbers.
func (d *document) limits(p *Profile) error {
	for _, f := range []struct {
		field string
		value *int64
		max   int64
		set   func(int64)
	}{
		{"auth_limit", d.AuthLimit, maxAuthLimit, func(n int64) { p.AuthLimit = int(n) }},
		{"sqn_entries", d.SQNEntries, aka.ArraySize, func(n int64) { p.SQNEntries = int(n) }},
		{"sqn_delta", d.Delta, aka.MaxSEQ, func(n int64) { p.Delta = uint64(n) }},
		{"channel_limit", d.ChannelLimit, defaultChannelLimit, func(n int64) { p.ChannelLimit = int(n) }},
		{"sqn_age_limit", d.AgeLimit, aka.MaxSEQ, func(n int64) { p.AgeLimit = uint64(n) }},
	} {
		switch {
		case f.value == nil:
		case *f.value < 1 || *f.value > f.max:
			return &ProfileError{Field: f.field, Reason: fmt.Sprintf("want 1 to %d, or leave it out", f.max)}
		default:
			f.set(*f.value)
		}
	}
	return nil
}

// checkSQN looks at the sequence number and how the card checks it.
func (p *Profile) checkSQN() error {
	bad := func(field, reason string) error { return &ProfileError{Field: field, Reason: reason} }
	switch n := p.SQNEntries; {
	case p.SQN > aka.SQN(model.MaxSQN):
		return bad("sqn", "want 48 bits")
	case n < 0 || n > aka.ArraySize || n&(n-1) != 0:
		return bad("sqn_entries", fmt.Sprintf("want a power of two, 1 to %d", aka.ArraySize))
	case p.Delta > aka.MaxSEQ || p.AgeLimit > aka.MaxSEQ:
		return bad("sqn_delta", "sqn_delta and sqn_age_limit are SEQ, of 43 bits")
	}
	return nil
}
