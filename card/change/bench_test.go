package change

import (
	"testing"

	"mcim/card/cardtest"
)

// BenchmarkApply changes six files and undoes that, on the software UICC in this
// process. It gives the APDUs of one of the two, the bytes of their commands and answers,
// and the least time that those take on the line of a modern card.
func BenchmarkApply(b *testing.B) {
	c := newCard(b)
	d := parsed(b, edits)
	var meter *cardtest.Meter
	for b.Loop() {
		var undo []byte
		meter = &cardtest.Meter{Card: c}
		if _, err := Apply(b.Context(), meter, d, options(b, &undo)); err != nil {
			b.Fatal(err)
		}
		if _, err := Apply(b.Context(), c, parsed(b, string(undo)), options(b, new([]byte))); err != nil {
			b.Fatal(err)
		}
	}
	meter.Report(b)
	b.ReportMetric(b.Elapsed().Seconds()*1e3/float64(2*b.N), "ms/apply")
	b.ReportMetric(0, "ns/op") // of two, which nobody asks for
}
