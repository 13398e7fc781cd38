package securechannel_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"mcim/apdu"
	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/aka"
	"mcim/card/cardtest"
	"mcim/card/emul"
	"mcim/card/model"
	"mcim/card/securechannel"
	"mcim/card/trace"
)

// required is a card that insists on a secure channel.
func required(t *testing.T) (emul.Profile, *emul.Card) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mine.toml")
	text := "name = \"mine\"\ntitle = \"insists on a secure channel\"\nextends = \"usim\"\nsecure_channel = \"required\"\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := emul.RandomProfile(path)
	if err != nil {
		t.Fatal(err)
	}
	p.ChannelLimit = 230
	c, err := emul.New(p)
	if err != nil {
		t.Fatal(err)
	}
	c.Rand = rand.NewChaCha8([32]byte{})
	return p, c
}

// again is one card that is opened time and again.
type again struct {
	card.Card
	closed bool
}

func (a *again) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if a.closed {
		return nil, card.ErrRemoved
	}
	return a.Card.Transmit(ctx, command)
}

func (a *again) Close() error {
	a.closed = true
	return nil
}

// TestRequired runs the suite on a card that insists on a secure channel, over one.
func TestRequired(t *testing.T) {
	t.Parallel()
	p, c := required(t)
	block, err := aka.NewAES(p.K)
	if err != nil {
		t.Fatal(err)
	}
	milenage, err := aka.NewMilenage(block, p.OPc)
	if err != nil {
		t.Fatal(err)
	}
	pin, err := uicc.PadPIN(string(p.PIN1.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	app := p.Card.Family.AID
	cardtest.TestCard(t, func(t testing.TB) card.Card {
		if _, err := c.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
		ch, err := securechannel.Open(t.Context(), &again{Card: c}, p.ChannelKey, securechannel.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return ch
	}, cardtest.Facts{
		ICCID: p.ICCID, App: app, Protected: card.InApp(app, usim.EFIMSI), PIN1: pin, SpendTry: true,
		Home: aka.NewSubscriber(milenage, p.SQN, p.AMF, nil).Next,
	})
}

// TestRequiredRefuses: outside of the channel 6989, and no try is spent.
func TestRequiredRefuses(t *testing.T) {
	t.Parallel()
	p, c := required(t)
	ctx := t.Context()
	session := card.NewSession(c, card.Options{})
	pin, err := uicc.PadPIN(string(p.PIN1.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	app := p.Card.Family.AID
	send := func(c apdu.Command, want apdu.StatusWord) {
		t.Helper()
		r, err := session.Send(ctx, c)
		if err != nil || r.SW != want {
			t.Errorf("%s: %v %v, want %v", card.CommandName(c), r.SW, err, want)
		}
	}
	if _, err := session.Select(ctx, card.InApp(app, usim.EFIMSI)); err != nil {
		t.Fatal(err)
	}
	send(uicc.ReadBinary{Ne: 9}.Command(), apdu.SWSecureChannel)
	send(uicc.UpdateBinary{Data: []byte{1}}.Command(), apdu.SWSecureChannel)
	send(usim.Authenticate{}.Command(), apdu.SWSecureChannel)
	send(apdu.Command{INS: uicc.INSVerify, P2: uicc.RefPIN1, Data: pin.Reveal()}, apdu.SWSecureChannel)
	send(apdu.Command{INS: uicc.INSVerify, P2: uicc.RefPIN1}, 0x63C3)
	send(apdu.Command{CLA: 0xA0, INS: uicc.INSVerify, P2: 1, Data: pin.Reveal()}, apdu.SWSecureChannel)
	if _, err := session.Select(ctx, card.InMF(uicc.FIDEFICCID)); err != nil {
		t.Fatal(err)
	}
	send(uicc.ReadBinary{Ne: 10}.Command(), apdu.SWOK)
	ch, err := securechannel.Open(ctx, c, p.ChannelKey, securechannel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	inside := card.NewSession(ch, card.Options{})
	if err := card.NewGuard(inside, card.GuardConfig{}).Verify(ctx, uicc.RefPIN1, pin); err != nil {
		t.Fatal(err)
	}
	if _, err := inside.ReadFile(ctx, card.InApp(app, usim.EFIMSI)); err != nil {
		t.Error("inside:", err)
	}
	// A PIN that was verified inside opens nothing outside.
	if _, err := session.Select(ctx, card.InApp(app, usim.EFIMSI)); err != nil {
		t.Fatal(err)
	}
	send(uicc.ReadBinary{Ne: 9}.Command(), apdu.SWSecureChannel)
	send(usim.Authenticate{}.Command(), apdu.SWSecureChannel)
}

// TestTap: a trace between driver and card shows the channel's commands alone, one above
// it the commands themselves.
func TestTap(t *testing.T) {
	t.Parallel()
	p, c := required(t)
	var below, above bytes.Buffer
	lower := trace.Tap(c, trace.Options{}, trace.NewWriter(&below, nil))
	ch, err := securechannel.Open(t.Context(), lower, p.ChannelKey, securechannel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	session := card.NewSession(trace.Tap(ch, trace.Options{}, trace.NewWriter(&above, nil)), card.Options{})
	if _, err := session.ReadFile(t.Context(), card.InMF(uicc.FIDEFICCID)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"SELECT", "READ BINARY"} {
		if bytes.Contains(below.Bytes(), []byte(name)) || !bytes.Contains(above.Bytes(), []byte(name)) {
			t.Errorf("%s: want it above the channel alone", name)
		}
	}
	if !bytes.Contains(below.Bytes(), []byte("TRANSACT DATA")) {
		t.Error("no TRANSACT DATA below the channel")
	}
}

// TestNoChannel: cards without one, and with another.
func TestNoChannel(t *testing.T) {
	t.Parallel()
	p, err := emul.RandomProfile("usim")
	if err != nil {
		t.Fatal(err)
	}
	c, err := emul.New(p)
	if err != nil {
		t.Fatal(err)
	}
	key := secret.New(make([]byte, 16))
	if _, err := securechannel.Open(t.Context(), c, key, securechannel.Options{}); !errors.Is(err, securechannel.ErrNoChannel) {
		t.Errorf("a card without a key: %v, want ErrNoChannel", err)
	}
	other := uicc.SecureEndpoints{Endpoints: []uicc.SecureEndpoint{{Type: uicc.EndpointApplication}}}.Bytes()
	for name, script := range map[string]struct {
		answer []byte
		want   error
	}{
		"an application's endpoint": {append(other, 0x90, 0x00), securechannel.ErrNoChannel},
		"no endpoints":              {[]byte{0x90, 0x00}, uicc.ErrSecureChannel},
		"for ever":                  {append(bytes.Clone(other), 0x62, 0xF1), uicc.ErrSecureChannel},
		"another Le for ever":       {[]byte{0x6C, 0x10}, card.ErrResponseLoop},
		"technical problem":         {[]byte{0x6F, 0x00}, apdu.SWTechnicalProblem},
		"half a status word":        {[]byte{0x90}, apdu.ErrMalformed},
	} {
		faulty := cardtest.NewFaulty(c, cardtest.Fault{Kind: cardtest.Answer, Answer: script.answer, Always: true})
		if _, err := securechannel.Open(t.Context(), faulty, key, securechannel.Options{}); !errors.Is(err, script.want) {
			t.Errorf("%s: %v, want %v", name, err, script.want)
		}
	}
}

// TestKeptInImage: the key outlives the process, and a card that insists has to have one.
func TestKeptInImage(t *testing.T) {
	t.Parallel()
	p, _ := required(t)
	path := filepath.Join(t.TempDir(), "card.img")
	for _, profile := range []*emul.Profile{&p, nil} {
		c, err := emul.Open(path, profile)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := securechannel.Open(t.Context(), c, p.ChannelKey, securechannel.Options{}); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil || bytes.Contains(b, p.ChannelKey.Reveal()) {
		t.Errorf("the key lies in the image unsealed, or %v", err)
	}
	p.ChannelKey, p.ChannelLimit = secret.Bytes{}, 0
	var bad *emul.ProfileError
	if _, err := emul.New(p); !errors.As(err, &bad) || bad.Field != "channel_key" {
		t.Errorf("without a key: %v", err)
	}
	var wrong *model.FileError
	if _, err := model.ParseCard("x", []byte("name = \"x\"\ntitle = \"x\"\nextends = \"usim\"\nsecure_channel = \"always\"\n")); !errors.As(err, &wrong) || wrong.Line != 4 {
		t.Errorf("secure_channel = always: %v, want line 4", err)
	}
}
