package device

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	seeded "math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/aka"
	"mcim/card/aka/suci"
	"mcim/card/cardtest"
	"mcim/card/change"
	"mcim/card/emul"
	"mcim/card/model"
	"mcim/card/pcsc"
	"mcim/card/trace"
)

// heard is a card that writes down every byte between the suite and it.
type heard struct {
	card.Card
	log *[]string
}

func (h heard) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	answer, err := h.Card.Transmit(ctx, command)
	*h.log = append(*h.log, fmt.Sprintf("%x > %x %s", command, answer, causeName(err)))
	return answer, err
}

func (h heard) Reset(ctx context.Context) ([]byte, error) {
	atr, err := h.Card.Reset(ctx)
	*h.log = append(*h.log, fmt.Sprintf("reset > %x %s", atr, causeName(err)))
	return atr, err
}

// causeName is the error of card.Card that err is. A card that was closed is gone.
func causeName(err error) string {
	if errors.Is(err, pcsc.ErrClosed) {
		return "removed"
	}
	for name, known := range map[string]error{"removed": card.ErrRemoved, "timeout": card.ErrTimeout, "command": card.ErrCommand} {
		if errors.Is(err, known) {
			return name
		}
	}
	if err != nil {
		return "other error"
	}
	return ""
}

// inserted is one card that is opened time and again, as one in a reader is: each
// time powered up anew.
type inserted struct {
	card.Card
	out bool
}

func (i *inserted) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if i.out {
		return nil, card.ErrRemoved
	}
	return i.Card.Transmit(ctx, command)
}

func (i *inserted) Close() error {
	i.out = true
	return nil
}

// backends is what the three runs of the suite share.
type backends struct {
	profile emul.Profile
	facts   cardtest.Facts
	dir     string // recordings
}

func newBackends(t *testing.T) *backends {
	t.Helper()
	profile, err := emul.RandomProfile("toolkit")
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.ByName("usim")
	if err != nil {
		t.Fatal(err)
	}
	pin, err := uicc.PadPIN(string(profile.PIN1.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	profile.ChannelKey, profile.ChannelLimit = secret.New(key), 230
	facts := cardtest.Facts{
		Pairing: true, ChannelKey: profile.ChannelKey, ChannelLimit: profile.ChannelLimit,
		ICCID: profile.ICCID, App: m.AID, Protected: card.InApp(m.AID, usim.EFIMSI), PIN1: pin, SpendTry: true, Seed: 812, Toolkit: true,
		ADM1: profile.ADM1,
		Edit: `{"files":[{"path":"ADF.USIM/EF.SPN","decoded":{"display":[],"name":"suite"}},{"path":"ADF.ISIM/EF.IMPU","record":2,
			"decoded":{"impu":"sip:suite@example.org"}},{"path":"MF/EF.PL","decoded":{"languages":["de","en"]}}]}`,
		Spare: true, Suspends: true, Channels: 20, SFI: 7, GSM: []uint16{usim.DFGSM, usim.EFIMSI},
		GSMWrites: &cardtest.GSMFacts{Binary: []uint16{usim.DFGSM, usim.EFLOCI}, Records: []uint16{0x7F10, 0x6F3A}, Cyclic: []uint16{0x7F10, 0x6F44}},
		PUK1:      profile.PUK1,
	}
	for code, value := range map[*secret.Bytes]secret.Bytes{&facts.PIN2: profile.PIN2, &facts.Universal: profile.Universal} {
		if *code, err = uicc.PadPIN(string(value.Reveal())); err != nil {
			t.Fatal(err)
		}
	}
	home, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	profile.SUCI = suci.PublicKey{Scheme: usim.SchemeA, ID: 9, Key: home.PublicKey().Bytes()}
	a, gsm, err := profile.Functions()
	if err != nil {
		t.Fatal(err)
	}
	facts.Auth = &cardtest.AuthFacts{
		AKA: a, GSM: gsm, ISIM: []byte{0xA0, 0, 0, 0, 0x87, 0x10, 0x04}, IMSI: usim.IMSI(profile.IMSI),
		SIDF: suci.Home{9: {Scheme: usim.SchemeA, Key: secret.New(home.Bytes())}},
	}
	return &backends{profile, facts, t.TempDir()}
}

// changer is cardtest.Facts.Change.
func changer(o change.Options) func(context.Context, card.Card, string, bool) (string, error) {
	return func(ctx context.Context, c card.Card, document string, resume bool) (undo string, err error) {
		d, err := change.Parse([]byte(document))
		if err == nil && resume {
			d, err = d.Resumed()
		}
		if err != nil {
			return "", err
		}
		o.Journal = func(_ string, b []byte) error {
			undo = string(b)
			return nil
		}
		_, err = change.Apply(ctx, c, d, o)
		return undo, err
	}
}

func (b *backends) card(t *testing.T) *emul.Card {
	t.Helper()
	c, err := emul.New(b.profile)
	if err != nil {
		t.Fatal(err)
	}
	c.Rand = seeded.NewChaCha8([32]byte{})
	return c
}

// run runs the whole suite and the drivers, with a home operator as new as the card, and gives
// every byte of it.
func (b *backends) run(t *testing.T, name string, open func(testing.TB) card.Card) (log []string) {
	t.Helper()
	block, err := aka.NewAES(b.profile.K)
	if err != nil {
		t.Fatal(err)
	}
	milenage, err := aka.NewMilenage(block, b.profile.OPc)
	if err != nil {
		t.Fatal(err)
	}
	facts := b.facts
	facts.Home = aka.NewSubscriber(milenage, b.profile.SQN, b.profile.AMF, nil).Next
	t.Run(name, func(t *testing.T) {
		cardtest.TestCard(t, func(t testing.TB) card.Card { return heard{open(t), &log} }, facts)
		if facts.SIM == nil { // they are about a USIM
			b.drive(t, open, &log)
		}
	})
	return log
}

// TestThreeBackends runs the whole suite, and the drivers above package card, on the
// software UICC in this process, on the same behind pcscd, and on a recording of the
// first: all three give the same bytes. Not parallel: the process reaches one pcscd, as in TestOpenReader.
func TestThreeBackends(t *testing.T) {
	for _, t0 := range []bool{false, true} {
		t.Run(fmt.Sprintf("Le left out %v", t0), func(t *testing.T) {
			b := newBackends(t)
			b.facts.Session.T0 = t0
			b.facts.Change = changer(change.Options{PIN1: b.facts.PIN1, ADM: b.profile.ADM1, Allow: []string{b.profile.ICCID}, Session: b.facts.Session})
			direct := b.run(t, "in process", b.recorded(b.card(t)))
			through := b.run(t, "behind pcscd", behindPCSCD(t, b.card(t)))
			replayed := b.run(t, "recording", b.replayed())
			if len(direct) < 250 {
				t.Errorf("only %d exchanges", len(direct))
			}
			if d := cmp.Diff(direct, through); d != "" {
				t.Errorf("behind pcscd: %s", d)
			}
			if d := cmp.Diff(direct, replayed); d != "" {
				t.Errorf("recording: %s", d)
			}
		})
	}
}

// TestThreeBackendsSIM is TestThreeBackends for a card that knows class A0 only.
func TestThreeBackendsSIM(t *testing.T) {
	b := newBackends(t)
	b.profile.Model, b.profile.Universal, b.profile.UniversalPUK = "2g", secret.Bytes{}, secret.Bytes{}
	b.profile.ADMs, b.profile.ChannelKey, b.profile.ChannelLimit = [9]secret.Bytes{}, secret.Bytes{}, 0 // a SIM has none of them
	b.facts.SIM = b.facts.Auth.GSM
	direct := b.run(t, "in process", b.recorded(b.card(t)))
	through := b.run(t, "behind pcscd", behindPCSCD(t, b.card(t)))
	replayed := b.run(t, "recording", b.replayed())
	if len(direct) < 50 {
		t.Errorf("only %d exchanges", len(direct))
	}
	if d := cmp.Diff(direct, through); d != "" {
		t.Errorf("behind pcscd: %s", d)
	}
	if d := cmp.Diff(direct, replayed); d != "" {
		t.Errorf("recording: %s", d)
	}
}

// recorded opens c and keeps a recording each time.
func (b *backends) recorded(c card.Card) func(testing.TB) card.Card {
	n := 0
	return func(t testing.TB) card.Card {
		n++
		if _, err := c.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
		file, err := os.Create(b.recording(n))
		if err != nil {
			t.Fatal(err)
		}
		var salt [16]byte
		_, _ = rand.Read(salt[:])
		w := trace.NewCassette(file, nil, salt)
		t.Cleanup(func() {
			if err := errors.Join(w.Err(), file.Close()); err != nil {
				t.Error(err)
			}
		})
		return trace.Tap(&inserted{Card: c}, trace.Options{KeepTestKeys: true}, w)
	}
}

func (b *backends) recording(n int) string { return filepath.Join(b.dir, fmt.Sprintf("%d.jsonl", n)) }

// replayed opens the recordings in their order.
func (b *backends) replayed() func(testing.TB) card.Card {
	n := 0
	return func(t testing.TB) card.Card {
		n++
		c, err := Open(t.Context(), "replay:"+b.recording(n), 0)
		if err != nil {
			t.Fatal(err)
		}
		if c.Real || !c.Spare {
			t.Errorf("%+v", c)
		}
		return c
	}
}

// behindPCSCD opens c in a reader.
func behindPCSCD(t *testing.T, c card.Card) func(testing.TB) card.Card {
	t.Helper()
	dir := fmt.Sprintf("/tmp/device-%d", os.Getpid())
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	played, err := PlayPrivate(t.Context(), dir, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(played.Close)
	if err := pcsc.UseSocket(played.Socket); err != nil {
		t.Fatal(err)
	}
	return func(t testing.TB) card.Card {
		open, err := Open(t.Context(), "pcsc:"+played.Reader, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		return open
	}
}
