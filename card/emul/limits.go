package emul

import (
	"fmt"

	"mcim/card/aka"
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
