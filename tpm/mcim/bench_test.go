package mcim

import (
	"testing"

	"mcim/card/aka"
)

// BenchmarkAKAWithSQN is a whole AKA of the TRE: K in the TPM under the full
// policy, and the sequence number on disk and counted before RES is released.
func BenchmarkAKAWithSQN(b *testing.B) {
	l := newLab(b)
	_, auc, _ := l.installed(1)
	m := l.open(1)
	first := next(b, auc)
	challenges := make([]aka.Vector, 0, b.N)
	for range b.N {
		challenges = append(challenges, next(b, auc))
	}
	// The first one opens session and file of sequence numbers, which are kept.
	if _, err := m.Authenticate(first.RAND, first.AUTN); err != nil {
		b.Fatal(err)
	}
	before := l.tpm.Commands()
	b.ResetTimer()
	for _, v := range challenges {
		if _, err := m.Authenticate(v.RAND, v.AUTN); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "AKA/s")
	b.ReportMetric(float64(l.tpm.Commands()-before)/float64(b.N), "TPM-commands/AKA")
}
