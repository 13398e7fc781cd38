package hwtest

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcim/apdu"
	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/card"
	"mcim/card/cardtest"
	"mcim/card/device"
	"mcim/card/emul"
)

const (
	testICCID = "8988211000000467343"
	testIMSI  = "001010123456789"
)

// newProfile has the keys of no one: new ones each time.
func newProfile(t *testing.T) emul.Profile {
	t.Helper()
	p, err := emul.RandomProfile("usim")
	if err != nil {
		t.Fatal(err)
	}
	p.ICCID, p.IMSI = testICCID, testIMSI
	return p
}

func newCard(t *testing.T) *emul.Card {
	t.Helper()
	c, err := emul.New(newProfile(t))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// altered is a card whose answers the test changes, and whose commands it sees.
type altered struct {
	card.Card
	answer func(command, response []byte) []byte
	atr    []byte
	first  []byte // a command that each reset is followed by
	sent   [][]byte
}

func (a *altered) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	a.sent = append(a.sent, bytes.Clone(command))
	r, err := a.Card.Transmit(ctx, command)
	if err != nil || a.answer == nil {
		return r, err
	}
	return a.answer(command, bytes.Clone(r)), nil
}

func (a *altered) Reset(ctx context.Context) ([]byte, error) {
	atr, err := a.Card.Reset(ctx)
	if err != nil {
		return nil, err
	}
	if a.first != nil {
		if _, err := a.Card.Transmit(ctx, a.first); err != nil {
			return nil, err
		}
	}
	if a.atr != nil {
		return a.atr, nil
	}
	return atr, nil
}

func inspect(t *testing.T, c card.Card) CardInfo {
	t.Helper()
	info, err := InspectCard(t.Context(), &device.Card{Card: c, URI: "pcsc:0", Reader: "Reader 1", Driver: "Maker", Protocol: "T=0"})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func pointer[T any](v T) *T { return &v }

// fresh is what a card of the test profile says.
func fresh() CardInfo {
	const behindPIN = "PIN1 must be verified"
	return CardInfo{
		URI: "pcsc:0", Reader: "Reader 1", Driver: "Maker", Protocol: "T=0",
		ATR: ATRInfo{
			Hex:       "3b9f96801f878031e073fe211b674a357530350265f8",
			Protocols: []string{"T=0"}, Fi: 512, Di: 32, ClockKHz: 5000, BitRate: 312500,
			Voltage: []string{"5 V", "3 V", "1.8 V"}, ClockStop: "in the high state",
			Historical:   "8031e073fe211b674a357530350265",
			Capabilities: []string{"SELECT by file identifier", "SELECT by path", "SELECT by partial AID", "short file identifiers"},
			Channels:     4,
		},
		Family: FamilyInfo{Name: "usim", Exact: true, Model: "usim",
			Reason: "the ATR is that of model usim: UICC with a USIM, key files of the sysmoISIM-SJA5 family"},
		Kind:         "UICC",
		ICCID:        Reading{Value: testICCID},
		Applications: []Application{{"a0000000871002ff49ff0589", "USIM", "USIM"}, {"a0000000871004ff49ff0589", "ISIM", "ISIM"}},
		PINs: []PIN{
			{Ref: 0x01, Name: "PIN1 (01)", Enabled: pointer(true), Tries: pointer(3)},
			{Ref: 0x0A, Name: "ADM1", Enabled: pointer(true), Tries: pointer(3)},
			{Ref: 0x0B, Name: "ADM2", Enabled: pointer(true), Tries: pointer(3)},
			{Ref: 0x11, Name: "universal PIN", Enabled: pointer(true), Tries: pointer(3)},
			{Ref: 0x81, Name: "PIN2 (81)", Enabled: pointer(true), Tries: pointer(3)},
		},
		IMSI:        Reading{Why: behindPIN},
		HomeNetwork: Reading{Why: "the IMSI is not known"},
		MNCLength:   Reading{Value: "2"},
		Services:    Services{Why: behindPIN},
	}
}

func TestInspectCard(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(fresh(), inspect(t, newCard(t))); diff != "" {
		t.Error(diff)
	}
}

// TestInspectVerifiedCard: what lies behind PIN1 is shown where the card gives it.
func TestInspectVerifiedCard(t *testing.T) {
	t.Parallel()
	p := newProfile(t)
	c, err := emul.New(p)
	if err != nil {
		t.Fatal(err)
	}
	info := inspect(t, &altered{Card: c, first: verify(t, uicc.RefPIN1, pad(p.PIN1))})
	if diff := cmp.Diff(Reading{Value: testIMSI}, info.IMSI); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Reading{Value: "001-01"}, info.HomeNetwork); diff != "" {
		t.Error(diff)
	}
	if info.Services.Why != "" || len(info.Services.Available) == 0 || len(info.Services.Missing) == 0 {
		t.Errorf("services %+v", info.Services)
	}
	pin1 := info.PINs[0]
	if pin1.state() != "enabled, 3 tries left" {
		t.Errorf("PIN1 %s", pin1.state())
	}
}

func pad(pin secret.Bytes) secret.Bytes {
	padded, err := uicc.PadPIN(string(pin.Reveal()))
	if err != nil {
		panic(err)
	}
	return padded
}

func verify(t *testing.T, ref byte, pin secret.Bytes) []byte {
	t.Helper()
	b, err := uicc.Verify{Ref: ref, PIN: pin}.Command().Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestInspectSpendsNothing looks at each command that leaves, on cards of every
// kind, and at the counters afterwards.
func TestInspectSpendsNothing(t *testing.T) {
	t.Parallel()
	gsm := func(command, r []byte) []byte {
		if command[0] != 0xA0 {
			return []byte{0x6E, 0x00}
		}
		return r
	}
	for name, c := range map[string]*altered{
		"model":        {Card: newCard(t)},
		"unknown UICC": {Card: newCard(t), atr: []byte{0x3B, 0x00}},
		"SIM":          {Card: newCard(t), atr: []byte{0x3B, 0x00}, answer: gsm},
		"no card of ours": {Card: newCard(t), atr: []byte{0x3B, 0x00},
			answer: func(_, _ []byte) []byte { return []byte{0x6D, 0x00} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inspect(t, c)
			for _, b := range c.sent {
				command, err := apdu.ParseCommand(b)
				if err != nil {
					t.Fatal(err)
				}
				allowed := []byte{uicc.INSSelect, uicc.INSReadBinary, uicc.INSReadRecord, uicc.INSGetResponse}
				asks := command.INS == uicc.INSVerify && len(command.Data) == 0 && command.CLA == 0
				if !asks && !slices.Contains(allowed, command.INS) {
					t.Errorf("command %X was sent", b)
				}
				if asks && name != "model" && name != "unknown UICC" {
					t.Errorf("%X could spend a try of a card that is no UICC", b)
				}
			}
			again := inspect(t, c.Card)
			if diff := cmp.Diff(fresh(), again); diff != "" {
				t.Error("the card changed", diff)
			}
		})
	}
}

// TestInspectPINs shows counters that wrong PINs have brought down.
func TestInspectPINs(t *testing.T) {
	t.Parallel()
	wrong := secret.New([]byte("00000000"))
	for _, tt := range []struct {
		ref   byte
		spent int
		want  string
	}{
		{uicc.RefPIN1, 1, "enabled, 2 tries left"},
		{uicc.RefPIN1, 2, "enabled, 1 try left"},
		{uicc.RefPIN1, 3, "enabled, blocked"},
		{uicc.RefADM1, 1, "enabled, 2 tries left"},
	} {
		t.Run(fmt.Sprint(card.KeyName(tt.ref), tt.spent), func(t *testing.T) {
			t.Parallel()
			c := newCard(t)
			if _, err := c.Reset(t.Context()); err != nil {
				t.Fatal(err)
			}
			for range tt.spent {
				if _, err := c.Transmit(t.Context(), verify(t, tt.ref, wrong)); err != nil {
					t.Fatal(err)
				}
			}
			info := inspect(t, c)
			i := slices.IndexFunc(info.PINs, func(p PIN) bool { return p.Ref == tt.ref })
			if got := info.PINs[i].state(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestInspectSIM reads what a card that knows class A0 only gives.
func TestInspectSIM(t *testing.T) {
	t.Parallel()
	info := inspect(t, &altered{Card: newCard(t), atr: []byte{0x3B, 0x00}, answer: func(command, r []byte) []byte {
		if command[0] != 0xA0 {
			return []byte{0x6E, 0x00}
		}
		return r
	}})
	want := fresh()
	want.Kind = "SIM of class A0"
	want.ATR = ATRInfo{Hex: "3b00", Protocols: []string{"T=0"}, Fi: 372, Di: 1, ClockKHz: 5000, BitRate: 13440, Voltage: []string{"5 V"}}
	want.Family = FamilyInfo{Name: "unknown", Reason: "no known ATR and no historical bytes of a UICC"}
	want.Applications, want.ApplicationsWhy = []Application{}, "a SIM has no EF.DIR"
	want.Services.Why = "a SIM has no EF.UST"
	want.IMSI.Why = "CHV1 must be verified"
	want.PINs = []PIN{
		{Ref: 0x01, Name: "CHV1", Enabled: pointer(true), Tries: pointer(3)},
		{Ref: 0x81, Name: "CHV2", Tries: pointer(3)},
	}
	if diff := cmp.Diff(want, info); diff != "" {
		t.Error(diff)
	}
}

// TestInspectDamaged: each damage is told in its place, and the rest is there.
func TestInspectDamaged(t *testing.T) {
	t.Parallel()
	selected := func(fid string, ins byte, change func([]byte) []byte) func(command, r []byte) []byte {
		current := ""
		return func(command, r []byte) []byte {
			switch {
			case command[1] == uicc.INSSelect:
				current = hex.EncodeToString(command[5:min(len(command), 7)])
			case current == fid && command[1] == ins:
				return change(r)
			}
			return r
		}
	}
	status := func(sw ...byte) func([]byte) []byte { return func([]byte) []byte { return sw } }
	for _, tt := range []struct {
		name  string
		card  altered
		alter func(*CardInfo)
	}{
		{"ICCID that is none", altered{answer: selected("2fe2", uicc.INSReadBinary, func(r []byte) []byte {
			return append(bytes.Repeat([]byte{0xAA}, 10), r[len(r)-2:]...)
		})}, func(c *CardInfo) { c.ICCID = Reading{Why: "the file is damaged: malformed ICCID: digit 1 is A"} }},
		{"no ICCID", altered{answer: selected("2fe2", uicc.INSReadBinary, status(0x6A, 0x82))},
			func(c *CardInfo) { c.ICCID = Reading{Why: "not on the card"} }},
		{"memory problem", altered{answer: selected("2fe2", uicc.INSReadBinary, status(0x65, 0x81))},
			func(c *CardInfo) { c.ICCID = Reading{Why: "READ BINARY: 6581: memory problem"} }},
		{"record that is none", altered{answer: selected("2f00", uicc.INSReadRecord, func(r []byte) []byte {
			if r[0] != 0xFF {
				r[0] = 0x00
			}
			return r
		})}, func(c *CardInfo) {
			c.Applications, c.ApplicationsWhy = []Application{}, "record 1: malformed EF.DIR record: at byte 0: malformed TLV: tag 00"+
				"; record 2: malformed EF.DIR record: at byte 0: malformed TLV: tag 00"
		}},
		{"EF.DIR behind a key", altered{answer: selected("2f00", uicc.INSReadRecord, status(0x69, 0x82))},
			func(c *CardInfo) {
				c.Applications, c.ApplicationsWhy = []Application{}, "record 1: PIN1 must be verified"
			}},
		{"damaged ATR", altered{atr: []byte{0x3B, 0x9F, 0x96}}, func(c *CardInfo) {
			c.ATR = ATRInfo{Hex: "3b9f96", Why: "damaged ATR at byte 3: TD1 is missing"}
			c.Family = FamilyInfo{Name: "unknown", Reason: "no known ATR and no historical bytes of a UICC"}
		}},
		{"AD too short", altered{answer: selected("6fad", uicc.INSReadBinary, status(0x00, 0x90, 0x00))},
			func(c *CardInfo) {
				c.MNCLength = Reading{Why: "the file is damaged: EF.AD: malformed file content: 0 bytes left, want 2"}
			}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.card.Card = newCard(t)
			want := fresh()
			tt.alter(&want)
			if diff := cmp.Diff(want, inspect(t, &tt.card)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestInspectNoCard: a chip that refuses everything is told to be neither.
func TestInspectNoCard(t *testing.T) {
	t.Parallel()
	info := inspect(t, &altered{Card: newCard(t), atr: []byte{0x3B, 0x00}, answer: func(_, _ []byte) []byte { return []byte{0x6D, 0x00} }})
	for what, why := range map[string]string{"ICCID": info.ICCID.Why, "EF.DIR": info.ApplicationsWhy, "PINs": info.PINsWhy, "IMSI": info.IMSI.Why} {
		if !strings.HasPrefix(why, "neither a UICC (SELECT: 6D00") {
			t.Errorf("%s: %q", what, why)
		}
	}
	if info.Kind != "unknown" || info.ATR.Hex != "3b00" {
		t.Errorf("%+v", info)
	}
}

// TestInspectFaults cuts the inspection at each of its commands.
func TestInspectFaults(t *testing.T) {
	t.Parallel()
	whole := &altered{Card: newCard(t)}
	inspect(t, whole)
	for at := range whole.sent {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			t.Parallel()
			pulled := cardtest.NewFaulty(newCard(t), cardtest.Fault{At: at, Kind: cardtest.Removed})
			info, err := InspectCard(t.Context(), &device.Card{Card: pulled})
			if !errors.Is(err, card.ErrRemoved) || info.Incomplete == "" || info.ATR.Hex == "" {
				t.Errorf("pulled out: %v, %+v", err, info)
			}
			if pulled.Sent() != at+1 {
				t.Errorf("%d commands were sent to a card that was pulled out at %d", pulled.Sent(), at)
			}
			silent := cardtest.NewFaulty(newCard(t), cardtest.Fault{At: at, Kind: cardtest.Lost})
			info = inspect(t, silent)
			if info.Incomplete != "" || info.MNCLength.Value == "" && info.MNCLength.Why == "" {
				t.Errorf("silent once: %+v", info)
			}
		})
	}
}

// TestInspectSilent gives up on a card that never answers.
func TestInspectSilent(t *testing.T) {
	t.Parallel()
	silent := cardtest.NewFaulty(newCard(t), cardtest.Fault{Kind: cardtest.Mute, Always: true})
	info, err := InspectCard(t.Context(), &device.Card{Card: silent})
	if !errors.Is(err, card.ErrTimeout) || silent.Sent() != 2 || !strings.Contains(info.Incomplete, "answers nothing after its ATR") {
		t.Errorf("%d commands, %v", silent.Sent(), err)
	}
	later := cardtest.NewFaulty(newCard(t), cardtest.Fault{At: 5, Kind: cardtest.Mute, Always: true})
	info, err = InspectCard(t.Context(), &device.Card{Card: later})
	if !errors.Is(err, card.ErrTimeout) || later.Sent() != 5+maxFaults || !strings.Contains(info.Incomplete, "failed 3 times") {
		t.Errorf("%d commands, %v", later.Sent(), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := InspectCard(ctx, &device.Card{Card: newCard(t)}); !errors.Is(err, card.ErrTimeout) {
		t.Error(err)
	}
}

// TestInspectText: people see what is in the JSON, and no line is empty.
func TestInspectText(t *testing.T) {
	t.Parallel()
	info := inspect(t, newCard(t))
	info.Incomplete = "card removed"
	var b strings.Builder
	if err := info.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"card pcsc:0", "Reader 1", "Maker", "Fi 512, Di 32: up to 312500 bit/s at 5 MHz", "5 V, 3 V, 1.8 V", "4 logical channels",
		"ICCID          8988211000000467343", "possible by model usim", "USIM           a0000000871002ff49ff0589  \"USIM\"",
		"PIN1 (01)      enabled, 3 tries left", "IMSI           not known: PIN1 must be verified", "because        card removed",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	data, err := json.Marshal(info)
	if err != nil {
		t.Fatal(err)
	}
	var back CardInfo
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(info, back); diff != "" {
		t.Error(diff)
	}
}

// TestInspectTextVariants shows what the software UICC has not.
func TestInspectTextVariants(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		info CardInfo
		want []string
	}{
		{"nothing read", CardInfo{URI: "pcsc:1"}, []string{"card pcsc:1\n"}},
		{"unknown card", CardInfo{Kind: "unknown", Family: FamilyInfo{Name: "unknown", Reason: "no known ATR"}},
			[]string{"family         unknown, a guess (no known ATR)", "writing        refused: no card model fits this ATR"}},
		{"reserved speed", CardInfo{ATR: ATRInfo{Hex: "3b00"}}, []string{"speed          reserved value in TA1"}},
		{"one channel", CardInfo{ATR: ATRInfo{Channels: 1}}, []string{"channels       1 logical channel\n"}},
		{"many channels", CardInfo{ATR: ATRInfo{Channels: 8}}, []string{"channels       8 or more logical channels\n"}},
		{"foreign application", CardInfo{Applications: []Application{{AID: "a000000151"}}}, []string{"application    a000000151\n"}},
		{"label that hides", CardInfo{Applications: []Application{{"a0", "USIM", "a\x1b[2Jb"}}}, []string{`a0  "a\x1b[2Jb"`}},
		{"damaged ATR", CardInfo{ATR: ATRInfo{Hex: "3b", Why: "T0 is missing"}}, []string{"damaged        T0 is missing"}},
		{"no PIN", CardInfo{PINsWhy: "none named"}, []string{"PINs           not known: none named"}},
		{"PIN disabled", CardInfo{PINs: []PIN{{Name: "PIN1 (01)", Enabled: pointer(false), Why: "not needed"}}},
			[]string{"PIN1 (01)      disabled, tries not known: not needed"}},
		{"services", CardInfo{Services: Services{Available: []string{"SUCI"}, Missing: []string{"MSISDN"}}},
			[]string{"services       SUCI\n", "not there      MSISDN\n"}},
	} {
		var b strings.Builder
		if err := tt.info.WriteText(&b); err != nil {
			t.Fatal(err)
		}
		for _, want := range tt.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: no %q in\n%s", tt.name, want, b.String())
			}
		}
	}
}

func TestHomeNetwork(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ imsi, length, want string }{
		{"001010123456789", "2", "001-01"},
		{"310410123456789", "3", "310-410"},
		{"00101", "2", "001-01"},
		{"00101", "3", ""},
		{"", "2", ""},
		{"001010123456789", "", ""},
	} {
		got := homeNetwork(Reading{Value: tt.imsi}, Reading{Value: tt.length})
		if got.Value != tt.want || (got.Why == "") != (tt.want != "") {
			t.Errorf("%s, %s: %+v", tt.imsi, tt.length, got)
		}
	}
}

func TestApplicationKind(t *testing.T) {
	t.Parallel()
	for aid, want := range map[string]string{
		"a0000000871002ff33ff018900000100": "USIM", "a0000000871004ff33ff018900000100": "ISIM", "a000000087100a": "HPSIM",
		"a0000003431002": "CSIM", "a00000015141434c00": "", "a000000087": "", "": "",
	} {
		b, err := hex.DecodeString(aid)
		if err != nil {
			t.Fatal(err)
		}
		if got := applicationKind(b); got != want {
			t.Errorf("%s: %q, want %q", aid, got, want)
		}
	}
}

// FuzzInspectCard gives a reader whatever a chip could say: no panic, an end,
// and only commands that spend nothing.
func FuzzInspectCard(f *testing.F) {
	f.Add([]byte{0x90, 0x00}, []byte{0x3B, 0x00})
	f.Add([]byte{0x62, 0x03, 0x82, 0x01, 0x38, 0x90, 0x00}, []byte{0x3B, 0x9F, 0x96, 0x80})
	f.Add([]byte{0x61, 0x10}, []byte{})
	f.Fuzz(func(t *testing.T, answer, atr []byte) {
		c := &babbler{answer: answer, atr: atr}
		info, err := InspectCard(t.Context(), &device.Card{Card: c})
		if err == nil && info.ATR.Hex != hex.EncodeToString(atr) {
			t.Errorf("ATR %s", info.ATR.Hex)
		}
		if err := info.WriteText(&strings.Builder{}); err != nil {
			t.Error(err)
		}
	})
}

// babbler gives one answer to all commands.
type babbler struct{ answer, atr []byte }

func (b *babbler) Transmit(context.Context, []byte) ([]byte, error) {
	if len(b.answer) < 2 {
		return nil, card.ErrTimeout
	}
	return bytes.Clone(b.answer), nil
}
func (b *babbler) Reset(context.Context) ([]byte, error) { return b.atr, nil }
func (b *babbler) Close() error                          { return nil }
