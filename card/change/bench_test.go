package change

import (
	"testing"
	"time"

	"mcim/card"
)

// BenchmarkApply changes six files and undoes that, on the software UICC in this
// process. It gives the APDUs of one of the two, the bytes of their commands and answers,
// and the least time that those take on the line of a modern card.
func BenchmarkApply(b *testing.B) {
	c := newCard(b)
	d := parsed(b, edits)
	var apdus, bytes int
	var floor time.Duration
	for b.Loop() {
		var undo []byte
		heard := &tap{Card: c}
		if _, err := Apply(b.Context(), heard, d, options(b, &undo)); err != nil {
			b.Fatal(err)
		}
		if _, err := Apply(b.Context(), c, parsed(b, string(undo)), options(b, new([]byte))); err != nil {
			b.Fatal(err)
		}
		apdus, bytes, floor = len(heard.commands), 0, 0
		for i, command := range heard.commands {
			bytes += len(command) + len(heard.answers[i])
			floor += card.FastLine().Floor(command, heard.answers[i])
		}
	}
	b.ReportMetric(float64(apdus), "APDUs")
	b.ReportMetric(float64(bytes), "bytes")
	b.ReportMetric(floor.Seconds()*1e3, "ms_link_floor")
	b.ReportMetric(b.Elapsed().Seconds()*1e3/float64(2*b.N), "ms/apply")
	b.ReportMetric(0, "ns/op") // of two, which nobody asks for
}
