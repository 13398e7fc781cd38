package tpm_test

import (
	"testing"

	"github.com/google/go-tpm/tpm2"

	"mcim/tpm"
	"mcim/tpm/tpmtest"
)

func TestInfo(t *testing.T) {
	t.Parallel()
	m := tpmtest.Open(t)
	i, err := m.Info()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", i)
	if len(i.Missing()) > 0 || i.Maker != "IBM" {
		t.Errorf("missing %v, maker %q", i.Missing(), i.Maker)
	}
}

func BenchmarkSession(b *testing.B) {
	m := tpmtest.Open(b)
	eks, err := m.EKs()
	if err != nil {
		b.Fatal(err)
	}
	for _, ek := range eks {
		b.Run(ek.Type, func(b *testing.B) {
			m.PinEK(ek)
			for b.Loop() {
				k := m.KeepSession(tpm.InOut)
				if err := k.Use(nil, func(tpm2.Session) error { return nil }); err != nil {
					b.Fatal(err)
				}
				if err := k.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
