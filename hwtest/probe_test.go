package hwtest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"mcim/apdu"
	"mcim/apdu/uicc"
	"mcim/card"
	"mcim/card/cardtest"
	"mcim/card/device"
)

func probeCard(t *testing.T, c card.Card) (CardInfo, CardProbe) {
	t.Helper()
	d := &device.Card{Card: c, URI: "pcsc:0"}
	info, err := InspectCard(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ProbeCard(t.Context(), d, info)
	if err != nil {
		t.Fatal(err)
	}
	info.Probe = &p
	return info, p
}

func (p CardProbe) app(t *testing.T, kind string) ProbedApplication {
	t.Helper()
	i := slices.IndexFunc(p.Applications, func(a ProbedApplication) bool { return a.Kind == kind })
	if i < 0 {
		t.Fatalf("%s was not asked for: %+v", kind, p.Applications)
	}
	return p.Applications[i]
}

// TestProbeCard: what the software UICC can do is found, and nothing was sent that
// writes or spends.
func TestProbeCard(t *testing.T) {
	t.Parallel()
	c := &altered{Card: newCard(t)}
	info, p := probeCard(t, c)
	if !p.app(t, "USIM").There || !p.app(t, "ISIM").Listed || p.app(t, "ISD-R").There || p.app(t, "ISD-R").Why == "" {
		t.Errorf("applications: %+v", p.Applications)
	}
	if info.ATR.Channels != 4 {
		t.Errorf("the ATR tells %d channels", info.ATR.Channels)
	}
	if !p.ClassA0 || p.ExtendedLength || p.Channels != 20 {
		t.Errorf("class A0 %v, long lengths %v, %d channels", p.ClassA0, p.ExtendedLength, p.Channels)
	}
	known := map[string]bool{}
	for _, command := range p.Commands {
		known[command.Name] = command.Known
	}
	if !known["STATUS"] || !known["GET IDENTITY"] || !known["SUSPEND UICC"] || known["GET DATA"] {
		t.Errorf("commands: %+v", p.Commands)
	}
	harmless := []byte{uicc.INSSelect, uicc.INSReadBinary, uicc.INSReadRecord, uicc.INSGetResponse, uicc.INSManageChannel, uicc.INSStatus}
	for _, b := range c.sent {
		command, err := apdu.ParseCommand(b)
		asks := err == nil && len(command.Data) == 0 && (command.INS == uicc.INSVerify || command.P1 == 0xFF && command.P2 == 0xFF)
		if err != nil || !asks && !slices.Contains(harmless, command.INS) {
			t.Errorf("command %X was sent", b)
		}
	}
	var text bytes.Buffer
	if err := info.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text.String()) {
		if len(line) > 101 {
			t.Errorf("line of %d characters: %s", len(line), line)
		}
	}
}

// TestProbeOddCards: a card that lies in EF.DIR, has an ISD that EF.DIR leaves out,
// knows neither class A0 nor channels, and takes long lengths.
func TestProbeOddCards(t *testing.T) {
	t.Parallel()
	isim := unhex(t, "a0000000871004")
	isd := unhex(t, isdAID)
	_, p := probeCard(t, &altered{Card: newCard(t), answer: func(command, r []byte) []byte {
		switch {
		case command[0] == classGSM:
			return []byte{0x6E, 0x00}
		case command[1] == uicc.INSManageChannel:
			return []byte{0x6D, 0x00}
		case len(command) > 5 && bytes.HasPrefix(command[5:], isim):
			return []byte{0x6A, 0x82}
		case len(command) > 5 && bytes.HasPrefix(command[5:], isd):
			return []byte{0x90, 0x00}
		case command[1] == 0xCA && command[3] == 0x7F:
			return []byte{0x01, 0x02, 0x90, 0x00}
		case command[1] == uicc.INSReadBinary && len(command) == 7:
			return append(unhex(t, "98881211000040643734"), 0x90, 0x00)
		}
		return r
	}})
	if a := p.app(t, "ISIM"); !a.Listed || a.There || !strings.Contains(a.state(), "does not find it") {
		t.Errorf("ISIM: %+v", a)
	}
	if a := p.app(t, "ISD"); a.Listed || !a.There || !strings.Contains(a.state(), "does not list it") {
		t.Errorf("ISD: %+v", a)
	}
	if len(p.Data) != 3 || p.Data[2].Value != "0102" || p.Data[0].Why == "" {
		t.Errorf("data: %+v", p.Data)
	}
	if p.ClassA0 || p.Channels != 1 {
		t.Errorf("class A0 %v, %d channels", p.ClassA0, p.Channels)
	}
}

// TestProbeRemoved: a card that is pulled out ends the probe with what was found.
func TestProbeRemoved(t *testing.T) {
	t.Parallel()
	info := inspect(t, newCard(t))
	for _, at := range []int{0, 5, 12, 20} {
		c := cardtest.NewFaulty(newCard(t), cardtest.Fault{At: at, Kind: cardtest.Removed})
		if _, err := ProbeCard(t.Context(), &device.Card{Card: c}, info); !errors.Is(err, card.ErrRemoved) {
			t.Errorf("pulled out at command %d: %v", at, err)
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
