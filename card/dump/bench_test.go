package dump

import (
	"slices"
	"testing"
	"time"

	"mcim/card/cardtest"
)

// BenchmarkDump reads the software UICC behind pcscd, by turns with bare
// Transmits of one SELECT, as many as the dump has APDUs, and gives the median of
// the ratios of two turns: what else the machine does meets both alike.
func BenchmarkDump(b *testing.B) {
	uicc, _ := newCard(b)
	c := behindPCSCD(b, uicc)
	o := pin(b, "1234")
	meter := &cardtest.Meter{Card: c}
	apdus := read(b, meter, o).APDUs
	var dumps, bare, ratios []float64
	for b.Loop() {
		dumps = append(dumps, seconds(func() { read(b, c, o) }))
		bare = append(bare, seconds(func() {
			for range apdus {
				if _, err := c.Transmit(b.Context(), []byte{0x00, 0xA4, 0x00, 0x04, 0x02, 0x3F, 0x00}); err != nil {
					b.Fatal(err)
				}
			}
		}))
		ratios = append(ratios, dumps[len(dumps)-1]/bare[len(bare)-1])
	}
	meter.Report(b)
	b.ReportMetric(median(dumps)*1e3, "ms/dump")
	b.ReportMetric(median(bare)*1e6/float64(apdus), "us/bare_APDU")
	b.ReportMetric(median(ratios), "ratio_to_bare")
	b.ReportMetric(0, "ns/op") // of two turns, which nobody asks for
}

func seconds(f func()) float64 {
	start := time.Now()
	f()
	return time.Since(start).Seconds()
}

func median(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}
