package cardtest

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"mcim/apdu"
	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/aka"
)

// Facts are what the suite has to know of the card under test.
type Facts struct {
	ICCID string // digits
	// App is the start of the AID of an application in EF.DIR.
	App []byte
	// Protected is a transparent file that can be read after PIN1 only.
	Protected card.File
	// PIN1 is the right PIN, 8 bytes. Without it the cases about PINs are left
	// out.
	PIN1 secret.Bytes
	// PUK1, 8 bytes, PIN2, the USIM's own, and Universal are other codes of the card;
	// the cases about one are left out without it.
	PUK1, PIN2, Universal secret.Bytes
	// Pairing: EF.IPS and EF.IPD (USIM service 102) are there and empty, and ADM1 may write
	// them.
	Pairing bool
	// ChannelKey is the key of a secure channel that the card shares with the terminal.
	// Without it the cases about one are left out. ChannelLimit is how many commands one
	// connection carries, 220 or more; 0: not to be tried.
	ChannelKey   secret.Bytes
	ChannelLimit int
	// Spare allows changes of the card, which are made good.
	Spare bool
	// Suspends says that the card knows SUSPEND UICC.
	Suspends bool
	// Channels is the number of logical channels, the basic one included; 0 is unknown.
	Channels int
	// GSM is the path of Protected in class A0; nil where the card does not know it.
	GSM []uint16
	// GSMWrites is what the cases that write in class A0 go by; nil leaves them out.
	GSMWrites *GSMFacts
	// SFI is the short identifier of Protected; 0 for none.
	SFI byte
	// SpendTry allows one wrong VERIFY of PIN1, which the right one makes up for.
	SpendTry bool
	// Session are the settings of the sessions on the card.
	Session card.Options
	// NoChannels leaves out the cases about logical channels.
	NoChannels bool
	// Toolkit: the card asks for what the card "toolkit" of package card/model has.
	Toolkit bool
	// Home is the card's home operator: the next vector over a RAND, as
	// aka.Subscriber.Next. Without it, or without PIN1, the case about AUTHENTICATE is
	// left out. It spends two sequence numbers.
	Home func(rand [16]byte) (aka.Vector, error)
	// Change makes the changes of a document, or completes those of an undo document,
	// and gives the undo document, "" where there is nothing to change (package
	// card/change). Without it the cases about changes are left out; they put back
	// what they change.
	Change func(ctx context.Context, c card.Card, document string, resume bool) (undo string, err error)
	// Edit is a document that changes two files or more.
	Edit string
	// Auth is what the cases about the contexts of AUTHENTICATE go by; without it, Home
	// or PIN1 they are left out.
	Auth *AuthFacts
	// ADM1 is the right code of ADM1, 8 bytes, of a card in whose application files may be
	// made and taken away again. Without it the cases about that are left out.
	ADM1 secret.Bytes
	// SIM is A3 and A8 of the home operator of a card that knows class A0 only. With it the
	// cases are those about such a card, which need ICCID, PIN1 and GSM.
	SIM aka.GSM
	// Seed is that of everything random in the suite: with the same seed, two cards
	// of the same state are sent the same bytes.
	Seed uint64
}

// suite is one run; every case opens the card anew.
type suite struct {
	open  func(testing.TB) card.Card
	facts Facts
}

// TestCard is the suite that every card.Card has to pass. open gives the card
// under test, powered and not yet used, each time it is called; the suite closes
// it. It writes files only as facts allow, and puts them back.
func TestCard(t *testing.T, open func(testing.TB) card.Card, facts Facts) {
	s := suite{open, facts}
	cases := slices.Concat(s.basics(), s.authCases(), s.changeCases(), s.pinCases(), s.channelCases(), s.selectionCases(),
		s.suspendCases(), s.toolkitCases(), s.fileCases(), s.objectCases(), s.gsmCases(), s.secureCases(),
		s.pairingCases())
	if facts.SIM != nil {
		cases = s.simCases()
	}
	for _, c := range cases {
		if c.applies {
			t.Run(c.name, c.run)
		}
	}
}

// suiteCase is a case of the suite; it applies as the facts of the card have it.
type suiteCase struct {
	name    string
	applies bool
	run     func(*testing.T)
}

// basics are the cases about commands, files, PIN1, AUTHENTICATE and channels.
func (s suite) basics() []suiteCase {
	pin := s.facts.PIN1.Len() > 0
	return []suiteCase{
		{"what is no command is refused", true, s.refusesNoCommand},
		{"reset gives the ATR", true, s.resetGivesATR},
		{"reset clears the selection", true, s.resetClearsSelection},
		{"a deadline that is over is a timeout", true, s.deadlineOver},
		{"files are found", true, s.filesAreFound},
		{"what is not there is refused", true, s.refusesWhatIsNotThere},
		{"every command gets an answer", true, s.answersEverything},
		{"a PIN opens a file until reset", pin, s.pinUntilReset},
		{"a wrong PIN costs a try", pin && s.facts.SpendTry, s.wrongPIN},
		{"AUTHENTICATE agrees with home", pin && s.facts.Home != nil, s.authenticates},
		{"logical channels are apart", !s.facts.NoChannels, s.channels},
		{"close twice", true, s.closeTwice},
	}
}

func (s suite) start(t *testing.T) card.Card {
	t.Helper()
	c := s.open(t)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

func (s suite) session(t *testing.T) *card.Session {
	t.Helper()
	return card.NewSession(s.start(t), s.facts.Session)
}

var selectMF = []byte{0x00, 0xA4, 0x00, 0x04, 0x02, 0x3F, 0x00}

func (s suite) refusesNoCommand(t *testing.T) {
	c, ctx := s.start(t), t.Context()
	for _, b := range [][]byte{nil, {}, {0x00}, {0x00, 0xA4, 0x00}} {
		if answer, err := c.Transmit(ctx, b); !errors.Is(err, card.ErrCommand) {
			t.Errorf("%x: %x %v, want ErrCommand", b, answer, err)
		}
	}
	if answer, err := c.Transmit(ctx, selectMF); err != nil || len(answer) < 2 {
		t.Errorf("after the refusal: %x %v", answer, err)
	}
}

func (s suite) resetGivesATR(t *testing.T) {
	c, ctx := s.start(t), t.Context()
	first, err := c.Reset(ctx)
	if err != nil {
		t.Fatal(err)
	}
	first = bytes.Clone(first)
	if _, err := card.ParseATR(first); err != nil {
		t.Error(err)
	}
	second, err := c.Reset(ctx)
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("second reset: %x %v, the first gave %x", second, err, first)
	}
}

func (s suite) resetClearsSelection(t *testing.T) {
	session, ctx := s.session(t), t.Context()
	if _, err := session.Select(ctx, card.InMF(uicc.FIDEFICCID)); err != nil {
		t.Fatal(err)
	}
	read := uicc.ReadBinary{Ne: 1}.Command()
	if _, err := session.Do(ctx, read); err != nil {
		t.Error("before the reset:", err)
	}
	if _, err := session.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := session.Do(ctx, read); !isStatusWord(err) {
		t.Errorf("no file is selected after a reset, reading gave %v", err)
	}
}

func isStatusWord(err error) bool {
	var refused *card.CommandError
	return errors.As(err, &refused)
}

func (s suite) deadlineOver(t *testing.T) {
	c := s.start(t)
	over, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	if answer, err := c.Transmit(over, selectMF); !errors.Is(err, card.ErrTimeout) {
		t.Errorf("transmit: %x %v, want ErrTimeout", answer, err)
	}
	if atr, err := c.Reset(over); !errors.Is(err, card.ErrTimeout) {
		t.Errorf("reset: %x %v, want ErrTimeout", atr, err)
	}
	if _, err := c.Reset(t.Context()); err != nil {
		t.Fatalf("reset after the timeout: %v", err)
	}
	if _, err := c.Transmit(t.Context(), selectMF); err != nil {
		t.Errorf("after the timeout: %v", err)
	}
}

func (s suite) filesAreFound(t *testing.T) {
	session, ctx := s.session(t), t.Context()
	if fcp, err := session.Select(ctx, card.InMF()); err != nil || fcp.Descriptor.Type != uicc.Directory {
		t.Errorf("MF: %+v %v", fcp, err)
	}
	if iccid, err := session.ICCID(ctx); err != nil || iccid != s.facts.ICCID {
		t.Errorf("ICCID %q %v, want %q", iccid, err, s.facts.ICCID)
	}
	fcp, err := session.Select(ctx, card.InApp(s.facts.App))
	if err != nil || !bytes.HasPrefix(fcp.AID, s.facts.App) {
		t.Errorf("application: %+v %v", fcp, err)
	}
	if _, err := session.Select(ctx, s.facts.Protected); err != nil {
		t.Errorf("a file that a PIN protects can be selected: %v", err)
	}
}

func (s suite) refusesWhatIsNotThere(t *testing.T) {
	session, ctx := s.session(t), t.Context()
	if _, err := session.Select(ctx, card.InMF(0x6FFE)); !errors.Is(err, apdu.ErrNotFound) {
		t.Errorf("file: %v, want ErrNotFound", err)
	}
	if _, err := session.Do(ctx, uicc.SelectAID([]byte("no such AID")).Command()); !errors.Is(err, apdu.ErrNotFound) {
		t.Errorf("application: %v, want ErrNotFound", err)
	}
	for _, c := range []apdu.Command{{INS: 0x02}, {CLA: 0xB0, INS: uicc.INSSelect}} {
		if _, err := session.Do(ctx, c); !errors.Is(err, apdu.ErrUnsupported) {
			t.Errorf("class %02X, instruction %02X: %v, want ErrUnsupported", c.CLA, c.INS, err)
		}
	}
}

// random is what the seed gives, from its beginning in every case.
func (s suite) random() *rand.Rand { return rand.New(rand.NewPCG(s.facts.Seed, 0)) }

// answersEverything sends commands that read, with fields at random.
func (s suite) answersEverything(t *testing.T) {
	c, ctx := s.start(t), t.Context()
	random := s.random()
	instructions := []byte{uicc.INSSelect, uicc.INSReadBinary, uicc.INSReadRecord, uicc.INSStatus, uicc.INSGetResponse}
	for range 200 {
		command := apdu.Command{
			INS: instructions[random.IntN(len(instructions))], P1: byte(random.Uint32()), P2: byte(random.Uint32()),
			Data: make([]byte, random.IntN(20)), Ne: random.IntN(257),
		}
		for i := range command.Data {
			command.Data[i] = byte(random.Uint32())
		}
		b, err := command.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		answer, err := c.Transmit(ctx, b)
		if err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		if _, err := apdu.ParseResponse(answer); err != nil || len(answer) > apdu.MaxShortNe+2 {
			t.Errorf("%x: answer of %d bytes", b, len(answer))
		}
	}
}

func (s suite) guard(t *testing.T) (*card.Session, *card.Guard) {
	t.Helper()
	session := s.session(t)
	atr, err := session.Reset(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return session, card.NewGuard(session, card.GuardConfig{ATR: bytes.Clone(atr)})
}

func (s suite) pinUntilReset(t *testing.T) {
	ctx := t.Context()
	session, guard := s.guard(t)
	closed := func(when string) {
		t.Helper()
		if _, err := session.ReadFile(ctx, s.facts.Protected); !errors.Is(err, apdu.ErrAccess) {
			t.Errorf("%s: %v, want ErrAccess", when, err)
		}
	}
	closed("before the PIN")
	if err := guard.Verify(ctx, uicc.RefPIN1, s.facts.PIN1); err != nil {
		t.Fatal(err)
	}
	if _, err := session.ReadFile(ctx, s.facts.Protected); err != nil {
		t.Errorf("after the PIN: %v", err)
	}
	if _, err := session.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	closed("after a reset")
}

func (s suite) wrongPIN(t *testing.T) {
	ctx := t.Context()
	session, guard := s.guard(t)
	before := s.tries(t, guard)
	wrong := bytes.Clone(s.facts.PIN1.Reveal())
	wrong[0] ^= 0x01
	var refused *card.PINError
	if err := guard.Verify(ctx, uicc.RefPIN1, secret.New(wrong)); !errors.As(err, &refused) || refused.Tries != before-1 {
		t.Fatalf("got %v, want a *PINError with %d tries", err, before-1)
	}
	if _, err := session.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	if after := s.tries(t, guard); after != before-1 {
		t.Errorf("%d tries after a reset, want %d", after, before-1)
	}
	if err := guard.Verify(ctx, uicc.RefPIN1, s.facts.PIN1); err != nil {
		t.Fatal(err)
	}
	if _, err := session.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	if after := s.tries(t, guard); after < before {
		t.Errorf("%d tries after the right PIN, want %d", after, before)
	}
}

func (s suite) tries(t *testing.T, g *card.Guard) int {
	t.Helper()
	n, err := g.Tries(t.Context(), uicc.RefPIN1)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// authenticates runs AKA twice, then with a forged AUTN, then with one sent before.
func (s suite) authenticates(t *testing.T) {
	ctx := t.Context()
	_, guard := s.guard(t)
	random := s.random()
	ask := func(a usim.Authenticate) (apdu.StatusWord, usim.AuthenticateResponse) {
		t.Helper()
		r, err := guard.Authenticate(ctx, s.facts.App, a)
		if err != nil {
			t.Fatal(err)
		}
		if !r.SW.OK() {
			return r.SW, usim.AuthenticateResponse{}
		}
		answer, err := usim.ParseAuthenticate(r.Data)
		if err != nil {
			t.Fatal(err)
		}
		return r.SW, answer
	}
	if sw, _ := ask(usim.Authenticate{}); sw != apdu.SWSecurityStatus {
		t.Errorf("before the PIN: %v, want 6982", sw)
	}
	if err := guard.Verify(ctx, uicc.RefPIN1, s.facts.PIN1); err != nil {
		t.Fatal(err)
	}
	var last usim.Authenticate
	for range 2 {
		var challenge [16]byte
		for i := range challenge {
			challenge[i] = byte(random.Uint32())
		}
		v, err := s.facts.Home(challenge)
		if err != nil {
			t.Fatal(err)
		}
		last = usim.Authenticate{RAND: v.RAND, AUTN: v.AUTN}
		if sw, a := ask(last); !bytes.Equal(a.RES, v.XRES.Bytes()) || a.CK != v.CK || a.IK != v.IK {
			t.Errorf("%v: RES, CK and IK are not those of the home operator", sw)
		}
	}
	forged := last
	forged.AUTN[15] ^= 0x01
	if sw, _ := ask(forged); sw != apdu.SWAuthenticationMAC {
		t.Errorf("a forged AUTN: %v, want 9862", sw)
	}
	if sw, a := ask(last); a.AUTS == nil {
		t.Errorf("an AUTN for the second time: %v, want AUTS", sw)
	}
}

func (s suite) channels(t *testing.T) {
	c, ctx := s.start(t), t.Context()
	basic := card.NewSession(c, s.facts.Session)
	if _, err := basic.Select(ctx, card.InMF(uicc.FIDEFICCID)); err != nil {
		t.Fatal(err)
	}
	other, err := basic.OpenChannel(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Select(ctx, card.InApp(s.facts.App)); err != nil {
		t.Errorf("on channel %d: %v", other.Channel(), err)
	}
	if _, err := basic.Do(ctx, uicc.ReadBinary{Ne: 1}.Command()); err != nil {
		t.Errorf("the basic channel lost its file: %v", err)
	}
	if err := other.CloseChannel(ctx); err != nil {
		t.Error(err)
	}
	again, err := basic.OpenChannel(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := basic.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	class, err := card.ClassOn(0x00, again.Channel())
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.Transmit(ctx, append([]byte{class}, selectMF[1:]...))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := apdu.ParseResponse(b); err != nil || r.SW != apdu.SWChannelNotSupported {
		t.Errorf("channel %d after a reset: %v %v, want 6881", again.Channel(), r.SW, err)
	}
}

func (s suite) closeTwice(t *testing.T) {
	c := s.open(t)
	for i := range 2 {
		if err := c.Close(); err != nil {
			t.Errorf("close %d: %v", i+1, err)
		}
	}
	if answer, err := c.Transmit(t.Context(), selectMF); err == nil {
		t.Errorf("a closed card answers %x", answer)
	}
}
