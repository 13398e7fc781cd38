package emul

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/cardtest"
)

func benchmarkCommand(b *testing.B, c *Card, command []byte) {
	b.Helper()
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Transmit(ctx, command); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "cmd/s")
}

func verifiedCard(b *testing.B, p Profile) *Card {
	b.Helper()
	c := newCard(b, p)
	for _, command := range []string{"00A4040C07A0000000871002", "002000010831323334FFFFFFFF"} {
		if got := send(b, c, command); got != "9000" {
			b.Fatal(got)
		}
	}
	return c
}

func BenchmarkReadBinary(b *testing.B) {
	benchmarkCommand(b, verifiedCard(b, testProfile(b)), unhex(b, "00B0870009"))
}

func BenchmarkSelect(b *testing.B) {
	benchmarkCommand(b, verifiedCard(b, testProfile(b)), unhex(b, "00A40004026F0700"))
}

// BenchmarkAuthenticate is AUTHENTICATE with a success each time: the vectors
// are made beforehand.
func BenchmarkAuthenticate(b *testing.B) {
	p := testProfile(b)
	benchmarkAuthenticate(b, p, verifiedCard(b, p))
}

// BenchmarkAuthenticateOnDisk has the SQN stored before each answer.
func BenchmarkAuthenticateOnDisk(b *testing.B) {
	p := testProfile(b)
	c := openCard(b, filepath.Join(b.TempDir(), "card"), &p)
	send(b, c, "00A4040C07A0000000871002")
	send(b, c, "002000010831323334FFFFFFFF")
	benchmarkAuthenticate(b, p, c)
}

func benchmarkAuthenticate(b *testing.B, p Profile, c *Card) {
	b.Helper()
	ctx, home := context.Background(), homeOf(b, p)
	const batch = 1024
	commands := make([][]byte, batch)
	b.ReportAllocs()
	n := batch
	for b.Loop() {
		if n == batch {
			b.StopTimer()
			for i := range commands {
				commands[i] = unhex(b, authenticate(nextVector(b, home))+"00")
			}
			n = 0
			b.StartTimer()
		}
		r, err := c.Transmit(ctx, commands[n])
		if err != nil || r[0] != tagSuccess {
			b.Fatalf("%x %v", r, err)
		}
		n++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "cmd/s")
}

// BenchmarkAKA is AKA as the driver does it, on a card of its own that has PIN1 verified:
// what goes over the line, and how long it takes without one.
func BenchmarkAKA(b *testing.B) {
	p := testProfile(b)
	c, home := newCard(b, p), homeOf(b, p)
	meter := &cardtest.Meter{Card: c}
	guard := card.NewGuard(card.NewSession(meter, card.Options{}), card.GuardConfig{ATR: mustReset(b, c)})
	pin, err := uicc.PadPIN(string(p.PIN1.Reveal()))
	if err != nil {
		b.Fatal(err)
	}
	if err := guard.Verify(b.Context(), uicc.RefPIN1, pin); err != nil {
		b.Fatal(err)
	}
	aka := func() {
		v := nextVector(b, home)
		r, err := guard.Authenticate(b.Context(), usim.AIDPrefix(), usim.Authenticate{RAND: v.RAND, AUTN: v.AUTN})
		if err != nil || !r.SW.OK() {
			b.Fatal(r.SW, err)
		}
	}
	aka() // finds the application
	for b.Loop() {
		*meter = cardtest.Meter{Card: c}
		aka()
	}
	meter.Report(b)
}

// BenchmarkIdleCards makes ten thousand cards, each with an identity and keys of its own,
// and gives the memory that they take.
func BenchmarkIdleCards(b *testing.B) {
	const count = 10_000
	p := testProfile(b)
	p.Model = "usim"
	profiles := make([]Profile, count)
	for i := range profiles {
		profiles[i] = p
		profiles[i].ICCID = withCheckDigit(fmt.Sprintf("899990100000%06d", i))
		profiles[i].IMSI = fmt.Sprintf("00101%010d", i)
		profiles[i].K, profiles[i].OPc, profiles[i].ADM1 = random(16), random(16), random(8)
	}
	closeCard(b, newCard(b, p)) // what all share
	var mib, perSecond float64
	for b.Loop() {
		before, start := heap(), time.Now()
		cards := make([]*Card, count)
		for i := range cards {
			cards[i] = newCard(b, profiles[i])
		}
		perSecond = count / time.Since(start).Seconds()
		mib = float64(heap()-before) / (1 << 20)
		runtime.KeepAlive(cards)
	}
	b.ReportMetric(mib, "MiB")
	b.ReportMetric(perSecond, "cards/s")
}

// heap is the memory in use, in bytes.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
