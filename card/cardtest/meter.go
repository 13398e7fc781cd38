package cardtest

import (
	"context"
	"testing"
	"time"

	"mcim/card"
)

// Meter is a Card that counts what goes over the line to it, for benchmarks.
type Meter struct {
	card.Card
	APDUs int
	Bytes int // of commands and answers, status words included
	// Floor is the least time that they take on the line of a modern card
	// (card.FastLine).
	Floor time.Duration
}

// Transmit implements card.Card.
func (m *Meter) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	answer, err := m.Card.Transmit(ctx, command)
	m.APDUs++
	m.Bytes += len(command) + len(answer)
	m.Floor += card.FastLine().Floor(command, answer)
	return answer, err
}

// Report gives the counts to the benchmark.
func (m *Meter) Report(b *testing.B) {
	b.Helper()
	b.ReportMetric(float64(m.APDUs), "APDUs")
	b.ReportMetric(float64(m.Bytes), "bytes")
	b.ReportMetric(m.Floor.Seconds()*1e3, "ms_link_floor")
}
