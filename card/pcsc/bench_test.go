//go:build cgo

package pcsc

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
// the deadline on, and from a C program of the same loop, and gives the ratio of
// the medians. The card is in a process of its own for both, the turns are short,
// so that whatever else the machine does meets both alike.
func BenchmarkTransmitAgainstC(b *testing.B) {
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
	c, err := Open(b.Context(), "0", Options{Wait: 5 * time.Second, Shared: true})
	if err != nil {
		b.Fatal(err)
	}
	theirTurn := startC(b, p.Readers[0])
	var ours, theirs []float64
	for b.Loop() {
		ours = append(ours, ourTurn(b, c))
		theirs = append(theirs, theirTurn())
	}
	b.ReportMetric(median(ours), "us/APDU")
	b.ReportMetric(median(theirs), "C_us/APDU")
	b.ReportMetric(median(ours)/median(theirs), "ratio_to_C")
	b.ReportMetric(0, "ns/op") // of two turns, which nobody asks for
	if err := c.Close(); err != nil {
		b.Error(err)
	}
}

const perTurn = 250

// ourTurn gives the microseconds of each command, after some for warming up.
func ourTurn(b *testing.B, c *Card) float64 {
	b.Helper()
	transmit := func(n int) {
		command := []byte{0x00, 0xA4, 0x00, 0x04, 0x02, 0x3F, 0x00}
		for range n {
			response, err := c.Transmit(b.Context(), command)
			if err != nil || len(response) != 2 || response[0] != 0x90 {
				b.Fatal(response, err)
			}
		}
	}
	transmit(perTurn / 5)
	start := time.Now()
	transmit(perTurn)
	return time.Since(start).Seconds() * 1e6 / perTurn
}

// startC starts the C program; what it returns is a turn of it.
func startC(b *testing.B, reader string) func() float64 {
	b.Helper()
	cmd := exec.Command(compile(b), reader)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			b.Error(err)
		}
	})
	return func() float64 {
		var ns int
		if _, err := fmt.Fprintln(in, perTurn); err != nil {
			b.Fatal(err)
		}
		if _, err := fmt.Fscan(out, &ns); err != nil {
			b.Fatal(err)
		}
		return float64(ns) / 1000 / perTurn
	}
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

func median(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}
