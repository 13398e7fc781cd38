package trace

import (
	"bytes"
	"slices"
	"sync"

	"mcim/apdu/secret"
)

// Range is a part of a message that was taken out: bytes From to To-1.
type Range struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// Redactor holds secrets to look for. The zero value is ready; it may be used
// from any goroutine, and be given secrets while it is in use.
type Redactor struct {
	mu     sync.Mutex
	values []secret.Bytes
}

// Add adds secrets. Empty ones are left out. Short ones match by chance, which
// takes out more than there is to hide, but never less.
func (r *Redactor) Add(values ...secret.Bytes) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range values {
		if v.Len() > 0 {
			r.values = append(r.values, v)
		}
	}
}

// Ranges finds the secrets in a message, in order and without overlap.
func (r *Redactor) Ranges(message []byte) []Range {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []Range
	for _, v := range r.values {
		value := v.Reveal()
		for from := 0; ; from++ {
			i := bytes.Index(message[from:], value)
			if i < 0 {
				break
			}
			from += i
			found = append(found, Range{from, from + len(value)})
		}
	}
	return merge(found)
}

// merge puts ranges in order and joins those that touch.
func merge(ranges []Range) []Range {
	slices.SortFunc(ranges, func(a, b Range) int { return a.From - b.From })
	var merged []Range
	for _, r := range ranges {
		if n := len(merged); n > 0 && r.From <= merged[n-1].To {
			merged[n-1].To = max(merged[n-1].To, r.To)
			continue
		}
		if r.From < r.To {
			merged = append(merged, r)
		}
	}
	return merged
}

// redacted gives a copy of a message with the ranges set to 00.
func redacted(message []byte, ranges []Range) []byte {
	clean := bytes.Clone(message)
	for _, r := range ranges {
		clear(clean[r.From:r.To])
	}
	return clean
}
