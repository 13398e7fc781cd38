package device

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mcim/card"
	"mcim/card/cardtest"
	"mcim/card/emul"
	"mcim/card/pcsc"
	"mcim/card/trace"
	"mcim/card/vpcd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newCard(t *testing.T) *emul.Card {
	t.Helper()
	p, err := emul.RandomProfile("usim")
	if err != nil {
		t.Fatal(err)
	}
	c, err := emul.New(p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestURI(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		uri, scheme, name string
	}{
		{"pcsc:0", "pcsc", "0"},
		{`pcsc:"ACS ACR39U"`, "pcsc", "ACS ACR39U"},
		{"pcsc:a:b", "pcsc", "a:b"},
		{"emul:usim", "emul", "usim"},
		{"replay:x.jsonl", "replay", "x.jsonl"},
		{"emul:/x/card.img", "emul", "/x/card.img"},
	} {
		scheme, name, err := split(tt.uri)
		if err != nil || scheme != tt.scheme || name != tt.name {
			t.Errorf("%s: %q, %q, %v", tt.uri, scheme, name, err)
		}
	}
	for _, uri := range []string{"", "pcsc", "pcsc:", `pcsc:""`, "usb:0", ":0", "PCSC:0", "replay:"} {
		if err := Check(uri); !errors.Is(err, ErrURI) {
			t.Errorf("%q: %v", uri, err)
		}
		if _, err := Open(t.Context(), uri, 0); !errors.Is(err, ErrURI) {
			t.Errorf("%q: %v", uri, err)
		}
	}
}

// TestOpenEmulated opens a fresh card, one in an image, and what is neither.
func TestOpenEmulated(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	profile, err := emul.RandomProfile("usim")
	if err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(dir, "card.img")
	made, err := emul.Open(image, &profile)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), "emul:"+image, 0); !errors.Is(err, emul.ErrImageBusy) {
		t.Errorf("in use: %v", err)
	}
	if err := made.Close(); err != nil {
		t.Fatal(err)
	}
	iccids := map[string]string{}
	for _, uri := range []string{"emul:usim", "emul:" + image} {
		c, err := Open(t.Context(), uri, 0)
		if err != nil {
			t.Fatal(err)
		}
		if c.Real || c.URI != uri || c.Reader != "" || c.Spare != (uri == "emul:usim") {
			t.Errorf("%+v", c)
		}
		if iccids[uri], err = card.NewSession(c, card.Options{}).ICCID(t.Context()); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if iccids["emul:"+image] != profile.ICCID || iccids["emul:usim"] == profile.ICCID {
		t.Errorf("%v", iccids)
	}
	for _, name := range []string{"nomodel", filepath.Join(dir, "none.img")} {
		if _, err := Open(t.Context(), "emul:"+name, 0); !errors.Is(err, ErrNoImage) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "text"), []byte("no image"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), "emul:"+filepath.Join(dir, "text"), 0); err == nil {
		t.Error("a text was taken for an image")
	}
	if _, err := Open(t.Context(), "replay:"+filepath.Join(dir, "text"), 0); !errors.Is(err, trace.ErrForeign) {
		t.Errorf("a text as a recording: %v", err)
	}
}

// TestOpenReader reaches a card through a pcscd of its own. The process reaches
// one pcscd only, so its folder has the same name in each run of the test.
func TestOpenReader(t *testing.T) {
	dir := fmt.Sprintf("/tmp/device-%d", os.Getpid())
	defer func() { _ = os.RemoveAll(dir) }()
	c := newCard(t)
	direct, err := card.NewSession(c, card.Options{}).ICCID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	played, err := PlayPrivate(t.Context(), dir, c)
	if err != nil {
		t.Fatal(err)
	}
	defer played.Close()
	if err := pcsc.UseSocket(played.Socket); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), "pcsc:9", 0); !errors.Is(err, pcsc.ErrNoReader) {
		t.Error(err)
	}
	open, err := Open(t.Context(), "pcsc:"+played.Reader, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if !open.Real || open.Reader != played.Reader || open.Protocol != "T=0" {
		t.Errorf("%+v", open)
	}
	before := played.Stats()
	through, err := card.NewSession(open, card.Options{}).ICCID(t.Context())
	if err != nil || through != direct {
		t.Errorf("ICCID %s, want %s, %v", through, direct, err)
	}
	if after := played.Stats(); after.APDUs <= before.APDUs || after.Bytes <= before.Bytes {
		t.Errorf("the link counts %+v after %+v", after, before)
	}
	if err := open.Close(); err != nil {
		t.Error(err)
	}
}

// TestPlayPrivate leaves nothing of its pcscd behind.
func TestPlayPrivate(t *testing.T) {
	t.Parallel()
	played, err := PlayPrivate(t.Context(), "", newCard(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(played.Socket); err != nil {
		t.Error(err)
	}
	played.Close()
	played.Close() // twice is allowed
	if _, err := os.Stat(filepath.Dir(played.Socket)); !os.IsNotExist(err) {
		t.Errorf("the folder of pcscd is left: %v", err)
	}
	if err := played.Wait(t.Context()); !errors.Is(err, context.Canceled) {
		t.Errorf("the card left the reader by %v", err)
	}
}

// TestPlayPrivateInFolder keeps a folder that the caller named, and refuses one
// where another pcscd is.
func TestPlayPrivateInFolder(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "device-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	played, err := PlayPrivate(t.Context(), dir, newCard(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := PlayPrivate(t.Context(), dir, newCard(t)); !errors.Is(err, vpcd.ErrBusy) {
		t.Errorf("a second one: %v", err)
	}
	if err := played.Wait(canceled()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	played.Close()
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
	if _, err := PlayPrivate(t.Context(), filepath.Join(dir, strings.Repeat("long", 30)), newCard(t)); err == nil {
		t.Error("a socket with a path that is too long")
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// TestTemporaryFolder: a private pcscd starts where TMPDIR is too long for a
// socket, and leaves nothing behind when it cannot start.
func TestTemporaryFolder(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("long", 20))
	t.Setenv("TMPDIR", long)
	if got := shortTemp(); got != "/tmp" {
		t.Errorf("long: %s", got)
	}
	short, err := os.MkdirTemp("/tmp", "device-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(short) }()
	t.Setenv("TMPDIR", short)
	if _, err := PlayPrivate(canceled(), "", newCard(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if left, err := os.ReadDir(short); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	t.Setenv("TMPDIR", filepath.Join(short, "none"))
	if _, err := PlayPrivate(t.Context(), "", newCard(t)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

// TestPlay puts a card into the reader of a pcscd that another one started.
func TestPlay(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "device-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	p, err := vpcd.StartPCSCD(t.Context(), vpcd.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	first, err := Play(t.Context(), p.Addrs[0], newCard(t))
	if err != nil {
		t.Fatal(err)
	}
	if first.Socket != "" || first.Reader != "" {
		t.Errorf("%q, %q of a pcscd that is not ours", first.Socket, first.Reader)
	}
	for range 3 { // the second and third find that the place to wait is taken, too
		if _, err := play(t.Context(), p.Addrs[0], newCard(t), 300*time.Millisecond); !errors.Is(err, ErrNotSeen) ||
			!strings.Contains(err.Error(), "another card may be in the reader") {
			t.Errorf("a reader with a card: %v", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := Play(ctx, p.Addrs[0], newCard(t)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the end of ctx: %v", err)
	}
	p.Stop()
	if err := first.Wait(t.Context()); !errors.Is(err, vpcd.ErrReaderGone) {
		t.Errorf("pcscd ended: %v", err)
	}
	first.Close()
	if _, err := Play(t.Context(), p.Addrs[0], newCard(t)); !errors.Is(err, vpcd.ErrNoReader) {
		t.Errorf("no reader: %v", err)
	}
}

// TestPlayBrokenCard: a card that gives no ATR is never in the reader.
func TestPlayBrokenCard(t *testing.T) {
	t.Parallel()
	pulled := cardtest.NewFaulty(newCard(t), cardtest.Fault{Kind: cardtest.Removed, Always: true})
	_, _ = pulled.Transmit(t.Context(), []byte{0, 0xA4, 0, 0})
	if _, err := PlayPrivate(t.Context(), "", pulled); !errors.Is(err, ErrNotSeen) || !errors.Is(err, card.ErrRemoved) {
		t.Error(err)
	}
}
