package cardtest

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"mcim/apdu"
	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/securechannel"
)

// secureCases are the cases about the secure channel between terminal and card.
func (s suite) secureCases() []suiteCase {
	there := s.facts.ChannelKey.Len() > 0
	return []suiteCase{
		{"all of this works over a secure channel", there, s.basicsOverChannel},
		{"a secure channel hides PIN, RES, CK and IK", there && s.facts.PIN1.Len() > 0 && s.facts.Home != nil, s.hides},
		{"a secure channel wants the right key", there, s.wrongChannelKey},
		{"a repeated or changed message is refused", there, s.repeatsMessages},
		{"blocks out of order are refused", there, s.blocksOutOfOrder},
		{"a changed or repeated answer is found out", there, s.changesAnswers},
		{"a secure channel that was cut is opened anew", there, s.cutsChannel},
		{"what waits inside a secure channel is not for outside", there, s.keepsApart},
		{"a secure channel ends when it is terminated", there, s.terminates},
		{"a secure channel is used up", there && s.facts.ChannelLimit > 0, s.usesUp},
	}
}

// reader is random numbers as bytes.
type reader struct{ *rand.Rand }

func (r reader) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return len(b), nil
}

// onWire is a card between driver and card: it keeps what passes, and may change it.
type onWire struct {
	card.Card
	commands, answers [][]byte
	change            func(command, answer []byte) []byte // nil: nothing
}

func (w *onWire) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	answer, err := w.Card.Transmit(ctx, command)
	if err == nil && w.change != nil {
		answer = w.change(command, bytes.Clone(answer))
	}
	w.commands, w.answers = append(w.commands, bytes.Clone(command)), append(w.answers, bytes.Clone(answer))
	return answer, err
}

// saw reports whether a value passed in one piece.
func (w *onWire) saw(value []byte) bool {
	return slices.ContainsFunc(slices.Concat(w.commands, w.answers), func(b []byte) bool { return bytes.Contains(b, value) })
}

// messages are the commands that carried a protected message.
func (w *onWire) messages() (all [][]byte) {
	for _, c := range w.commands {
		if c[1] == uicc.INSTransactData && c[2]&uicc.TransactHasData != 0 {
			all = append(all, c)
		}
	}
	return all
}

// over opens a secure channel on a card.
func (s suite) over(t testing.TB, c card.Card) *securechannel.Channel {
	t.Helper()
	ch, err := securechannel.Open(t.Context(), c, s.facts.ChannelKey, securechannel.Options{Rand: reader{s.random()}})
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// wired is a card with an onWire in front of it and a channel over both.
func (s suite) wired(t *testing.T) (*onWire, *securechannel.Channel) {
	t.Helper()
	w := &onWire{Card: s.start(t)}
	return w, s.over(t, w)
}

// basicsOverChannel runs the first cases once more, over secure channels.
func (s suite) basicsOverChannel(t *testing.T) {
	inner := suite{open: func(t testing.TB) card.Card { return s.over(t, s.open(t)) }, facts: s.facts}
	for _, c := range inner.basics() {
		if c.applies {
			t.Run(c.name, c.run)
		}
	}
}

// secrets verifies PIN1 and runs AKA on c, and gives what must not be seen.
func (s suite) secrets(t *testing.T, c card.Card, challenge byte) map[string][]byte {
	t.Helper()
	ctx := t.Context()
	guard := card.NewGuard(card.NewSession(c, s.facts.Session), card.GuardConfig{})
	if err := guard.Verify(ctx, uicc.RefPIN1, s.facts.PIN1); err != nil {
		t.Fatal(err)
	}
	v, err := s.facts.Home([16]byte{challenge})
	if err != nil {
		t.Fatal(err)
	}
	r, err := guard.Authenticate(ctx, s.facts.App, usim.Authenticate{RAND: v.RAND, AUTN: v.AUTN})
	if err != nil || !r.SW.OK() {
		t.Fatalf("%v %v", r.SW, err)
	}
	a, err := usim.ParseAuthenticate(r.Data)
	if err != nil || a.CK != v.CK {
		t.Fatalf("%v, or not the CK of the home operator", err)
	}
	return map[string][]byte{"PIN1": s.facts.PIN1.Reveal(), "RES": a.RES, "CK": a.CK[:], "IK": a.IK[:]}
}

func (s suite) hides(t *testing.T) {
	w := &onWire{Card: s.start(t)}
	for name, value := range s.secrets(t, w, 1) {
		if !w.saw(value) {
			t.Errorf("without the channel %s was not seen either: this proves nothing", name)
		}
	}
	if _, err := w.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.commands, w.answers = nil, nil
	hidden := s.secrets(t, s.over(t, w), 2)
	hidden["the channel's key"] = s.facts.ChannelKey.Reveal()
	for name, value := range hidden {
		if w.saw(value) {
			t.Errorf("%s passed in the clear", name)
		}
	}
	if len(w.messages()) == 0 {
		t.Error("nothing passed through the channel")
	}
}

func (s suite) wrongChannelKey(t *testing.T) {
	c := s.start(t)
	wrong := bytes.Clone(s.facts.ChannelKey.Reveal())
	wrong[0] ^= 1
	for _, o := range []struct {
		key  secret.Bytes
		want error
	}{{secret.New(wrong), securechannel.ErrKey}, {secret.New(wrong[1:]), securechannel.ErrKeyLength}} {
		_, err := securechannel.Open(t.Context(), c, o.key, securechannel.Options{Rand: reader{s.random()}})
		if !errors.Is(err, o.want) {
			t.Errorf("key of %d bytes: %v, want %v", o.key.Len(), err, o.want)
		}
	}
	if _, err := s.over(t, c).Transmit(t.Context(), selectMF); err != nil {
		t.Error("with the right key:", err)
	}
}

// sends sends a command as it is and gives the status word.
func sends(t *testing.T, c card.Card, command []byte) apdu.StatusWord {
	t.Helper()
	b, err := c.Transmit(t.Context(), command)
	if err != nil {
		t.Fatal(err)
	}
	r, err := apdu.ParseResponse(b)
	if err != nil {
		t.Fatal(err)
	}
	return r.SW
}

const swIncorrectMAC apdu.StatusWord = 0x6988

func (s suite) repeatsMessages(t *testing.T) {
	w, ch := s.wired(t)
	works := func(when string) {
		t.Helper()
		if b, err := ch.Transmit(t.Context(), selectMF); err != nil || len(b) < 2 {
			t.Fatalf("%s: %x %v", when, b, err)
		}
	}
	works("first")
	sent := w.messages()
	if len(sent) != 1 {
		t.Fatalf("%d messages", len(sent))
	}
	if sw := sends(t, w, sent[0]); sw != swIncorrectMAC {
		t.Errorf("repeated: %v, want 6988", sw)
	}
	changed := bytes.Clone(sent[0])
	changed[len(changed)-1] ^= 1
	if sw := sends(t, w, changed); sw != swIncorrectMAC {
		t.Errorf("changed: %v, want 6988", sw)
	}
	works("after the refusals")
}

func (s suite) blocksOutOfOrder(t *testing.T) {
	w, ch := s.wired(t)
	block := func(left byte, want apdu.StatusWord) {
		t.Helper()
		b, err := uicc.TransactData{Remaining: left, Container: []byte{1, 2, 3}}.Command().Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if sw := sends(t, w, b); sw != want {
			t.Errorf("%d blocks to follow: %v, want %v", left, sw, want)
		}
	}
	block(3, uicc.SWTransaction)
	block(1, apdu.SWIncorrectP1P2)
	block(2, uicc.SWTransaction)
	block(2, apdu.SWIncorrectP1P2)
	block(1, uicc.SWTransaction)
	block(0, swIncorrectMAC)
	block(1, uicc.SWTransaction)
	if sw := sends(t, w, []byte{0x00, uicc.INSTransactData, uicc.TransactAbort, 0x00}); sw != apdu.SWOK {
		t.Errorf("abort: %v", sw)
	}
	if sw := sends(t, w, []byte{0x00, uicc.INSTransactData, 0x00, 0x00, 0x00}); sw != apdu.SWConditionsNotSatisfied {
		t.Errorf("nothing waits: %v, want 6985", sw)
	}
	if _, err := ch.Transmit(t.Context(), selectMF); err != nil {
		t.Error("after the refusals:", err)
	}
}

func (s suite) changesAnswers(t *testing.T) {
	w, ch := s.wired(t)
	var first []byte // taken in the connection that repeats it
	container := func(command, answer []byte) bool {
		return command[1] == uicc.INSTransactData && command[2]&uicc.TransactHasData == 0 && len(answer) > 2
	}
	for _, c := range []struct {
		name   string
		want   error
		change func(answer []byte) []byte
	}{
		{"untouched", nil, func(b []byte) []byte {
			first = b
			return b
		}},
		{"repeated", securechannel.ErrReplayed, func([]byte) []byte { return first }},
		{"changed", securechannel.ErrTampered, func(b []byte) []byte {
			b[len(b)/2] ^= 1
			return b
		}},
		{"no container", securechannel.ErrTampered, func(b []byte) []byte { return b[len(b)-2:] }},
		{"refused", securechannel.ErrRefused, func([]byte) []byte { return []byte{0x69, 0x88} }},
		{"expired", securechannel.ErrExpired, func([]byte) []byte { return []byte{0x69, 0x89} }},
	} {
		w.change = func(command, answer []byte) []byte {
			if container(command, answer) {
				return c.change(answer)
			}
			return answer
		}
		if b, err := ch.Transmit(t.Context(), selectMF); !errors.Is(err, c.want) {
			t.Errorf("%s: %x %v, want %v", c.name, b, err, c.want)
		}
		w.change = nil
		if c.want == nil {
			continue
		}
		if b, err := ch.Transmit(t.Context(), selectMF); !errors.Is(err, securechannel.ErrBroken) || !errors.Is(err, c.want) {
			t.Errorf("after %s: %x %v, want ErrBroken and the cause", c.name, b, err)
		}
		if _, err := ch.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func (s suite) cutsChannel(t *testing.T) {
	ctx := t.Context()
	c := s.start(t)
	faulty := NewFaulty(c)
	s.over(t, faulty)
	opening := faulty.Sent()
	for at := opening; at < opening+2; at++ {
		if _, err := c.Reset(ctx); err != nil {
			t.Fatal(err)
		}
		ch := s.over(t, NewFaulty(c, Fault{At: at, Kind: Mute}))
		if b, err := ch.Transmit(ctx, selectMF); !errors.Is(err, card.ErrTimeout) {
			t.Errorf("command %d without an answer: %x %v, want ErrTimeout", at, b, err)
		}
		if b, err := ch.Transmit(ctx, selectMF); !errors.Is(err, securechannel.ErrBroken) {
			t.Errorf("after it: %x %v, want ErrBroken", b, err)
		}
		if _, err := ch.Reset(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := ch.Transmit(ctx, selectMF); err != nil {
			t.Errorf("after a reset: %v", err)
		}
	}
	for at := range opening {
		if _, err := c.Reset(ctx); err != nil {
			t.Fatal(err)
		}
		cut := NewFaulty(c, Fault{At: at, Kind: Mute})
		if _, err := securechannel.Open(ctx, cut, s.facts.ChannelKey, securechannel.Options{Rand: reader{s.random()}}); !errors.Is(err, card.ErrTimeout) {
			t.Errorf("opening, command %d without an answer: %v, want ErrTimeout", at, err)
		}
	}
}

// keepsApart lets the answer to a SELECT wait, which is asked for outside and inside.
func (s suite) keepsApart(t *testing.T) {
	w, ch := s.wired(t)
	getResponse := []byte{0x00, uicc.INSGetResponse, 0x00, 0x00, 0x01}
	for _, c := range []struct {
		name string
		from card.Card
		want byte
	}{{"inside", ch, 0x61}, {"outside", w.Card, apdu.SWConditionsNotSatisfied.SW1()}} {
		if sw := sends(t, ch, selectMF); sw.SW1() != 0x61 {
			t.Fatalf("SELECT without Le: %v, want 61xx", sw)
		}
		if sw := sends(t, c.from, getResponse); sw.SW1() != c.want {
			t.Errorf("GET RESPONSE %s: %v, want %02Xxx", c.name, sw, c.want)
		}
	}
	if sw := sends(t, ch, getResponse); sw != apdu.SWConditionsNotSatisfied {
		t.Errorf("after it was asked for outside: %v, want 6985", sw)
	}
	nested := []byte{0x00, uicc.INSManageSecureChannel, 0x00, byte(uicc.FirstResponseBlock), 0x00}
	if sw := sends(t, ch, nested); sw != apdu.SWConditionsNotSatisfied {
		t.Errorf("MANAGE SECURE CHANNEL inside: %v, want 6985", sw)
	}
}

func (s suite) terminates(t *testing.T) {
	ctx := t.Context()
	w, ch := s.wired(t)
	if _, err := ch.Transmit(ctx, selectMF); err != nil {
		t.Fatal(err)
	}
	forged, err := uicc.ManageSecureChannel{
		Procedure: uicc.TerminateSA, Block: uicc.FirstCommandBlock, Data: uicc.TerminateRequest{IsMaster: true}.Bytes(),
	}.Command().Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if sw := sends(t, w, forged); sw != apdu.SWReferencedDataNotFound {
		t.Errorf("the end of another association: %v, want 6A88", sw)
	}
	if err := ch.Terminate(ctx); err != nil {
		t.Fatal(err)
	}
	if sw := sends(t, w, w.messages()[0]); sw != apdu.SWSecureChannel {
		t.Errorf("TRANSACT DATA after the end: %v, want 6989", sw)
	}
	if b, err := ch.Transmit(ctx, selectMF); !errors.Is(err, securechannel.ErrBroken) || !errors.Is(err, securechannel.ErrExpired) {
		t.Errorf("after the end: %x %v, want ErrBroken and ErrExpired", b, err)
	}
	if err := ch.Terminate(ctx); !errors.Is(err, securechannel.ErrBroken) {
		t.Errorf("the end once more: %v, want ErrBroken", err)
	}
	if _, err := w.Transmit(ctx, selectMF); err != nil {
		t.Errorf("without the channel: %v", err)
	}
}

func (s suite) usesUp(t *testing.T) {
	ctx := t.Context()
	_, ch := s.wired(t)
	status := []byte{0x80, uicc.INSStatus, 0x00, 0x0C}
	for n := range s.facts.ChannelLimit {
		if _, err := ch.Transmit(ctx, status); err != nil {
			t.Fatalf("command %d of %d: %v", n+1, s.facts.ChannelLimit, err)
		}
	}
	if b, err := ch.Transmit(ctx, status); !errors.Is(err, securechannel.ErrExpired) {
		t.Errorf("one more: %x %v, want ErrExpired", b, err)
	}
	if _, err := ch.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.Transmit(ctx, status); err != nil {
		t.Errorf("after a reset: %v", err)
	}
}
