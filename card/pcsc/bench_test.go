//go:build cgo

package pcsc

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mcim/card/proc"
	"mcim/card/vpcd"
)

const cardProcessEnv = "MCIM_PCSC_TEST_CARD"

// okCard answers 9000 at once.
type okCard struct{}

func (okCard) Transmit(context.Context, []byte) ([]byte, error) { return []byte{0x90, 0x00}, nil }
func (okCard) Reset(context.Context) ([]byte, error)            { return testATR, nil }
func (okCard) Close() error                                     { return nil }

// cardProcess is the process of its own that plays the card in the benchmark.
func cardProcess() {
	log.Fatal(vpcd.Serve(context.Background(), os.Getenv(cardProcessEnv), okCard{}))
}

// BenchmarkTransmitAgainstC sends commands through pcscd by turns from here, with
// the deadline on, and from a C program of the same loop, and gives the median of the
// ratios of neighbours. The card is in a process of its own for both.
func BenchmarkTransmitAgainstC(b *testing.B) {
	const perRound = 1000
	program := compile(b)
	p := startPCSCD(b, vpcd.Config{})
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	child, err := proc.Start(b.Context(), proc.Spec{Path: self, Env: []string{cardProcessEnv + "=" + p.Addrs[0]}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(child.Stop)
	var ours, theirs, ratios []float64
	for b.Loop() {
		us, them := ourRound(b, perRound), cRound(b, program, p.Readers[0], perRound)
		ours, theirs = append(ours, us.Seconds()*1e6), append(theirs, them.Seconds()*1e6)
		ratios = append(ratios, us.Seconds()/them.Seconds())
	}
	b.ReportMetric(median(ours), "us/APDU")
	b.ReportMetric(median(theirs), "C_us/APDU")
	b.ReportMetric(median(ratios), "ratio_to_C")
	b.ReportMetric(0, "ns/op") // of a round, which nobody asks for
}

func compile(b *testing.B) string {
	b.Helper()
	flags, err := exec.Command("pkg-config", "--cflags", "--libs", "libpcsclite").Output()
	if err != nil {
		b.Fatal(err)
	}
	program := filepath.Join(b.TempDir(), "bench")
	args := append([]string{"-O2", "-Wall", "-o", program, "testdata/bench.c"}, strings.Fields(string(flags))...)
	if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return program
}

func ourRound(b *testing.B, n int) time.Duration {
	b.Helper()
	c, err := Open(b.Context(), "0", Options{Wait: 5 * time.Second})
	if err != nil {
		b.Fatal(err)
	}
	command := []byte{0x00, 0xA4, 0x00, 0x04, 0x02, 0x3F, 0x00}
	start := time.Now()
	for range n {
		response, err := c.Transmit(b.Context(), command)
		if err != nil || len(response) != 2 || response[0] != 0x90 {
			b.Fatal(response, err)
		}
	}
	each := time.Since(start) / time.Duration(n)
	if err := c.Close(); err != nil {
		b.Fatal(err)
	}
	return each
}

func cRound(b *testing.B, program, reader string, n int) time.Duration {
	b.Helper()
	out, err := exec.Command(program, reader, strconv.Itoa(n)).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	if err != nil {
		b.Fatal(err)
	}
	ns, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		b.Fatal(err)
	}
	return time.Duration(ns)
}

func median(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}
