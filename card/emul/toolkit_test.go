package emul

import (
	"encoding/hex"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"mcim/apdu"
	"mcim/apdu/cat"
	"mcim/apdu/ef"
	"mcim/card/model"
)

// exchange sends commands and compares the answers, both in hex.
func exchange(t *testing.T, c *Card, lines ...string) {
	t.Helper()
	for i := 0; i < len(lines); i += 2 {
		command, err := hex.DecodeString(lines[i])
		if err != nil {
			t.Fatal(err)
		}
		answer, err := c.Transmit(t.Context(), command)
		if got := hex.EncodeToString(answer); err != nil || got != lines[i+1] {
			t.Fatalf("%s: %s %v, want %s", lines[i], got, err, lines[i+1])
		}
	}
}

func newOf(t *testing.T, model string) *Card {
	t.Helper()
	p, err := RandomProfile(model)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func moreTime() cat.Proactive {
	return cat.NewProactive(cat.CommandDetails{Number: 1, Type: cat.TypeMoreTime}, cat.DeviceTerminal)
}

const (
	sendProfile = "801000000108"
	askedTime   = "d009" + "8103010200" + "82028182"
	doneTime    = "801400000c" + "8103010200" + "02028281" + "830100"
	poll        = "80f2000c"
	menu        = "80c2000009" + "d307" + "82020181" + "900101" + "00"
)

// TestQuietCard has a card without toolkit: it answers as one that knows none.
func TestQuietCard(t *testing.T) {
	t.Parallel()
	exchange(t, newOf(t, "usim"), sendProfile, "9000", poll, "9000", "801200000b", "6d00", doneTime, "6d00", menu, "6d00",
		"0012000000", "6d00", "a01000000108", "9000")
}

func TestProactiveSession(t *testing.T) {
	t.Parallel()
	c := newOf(t, "usim")
	if err := c.Queue(moreTime(), moreTime()); err != nil {
		t.Fatal(err)
	}
	exchange(t, c,
		poll, "9000", "801200000b", "6985", menu, "6985", // before the terminal profile
		"8010000000", "6700", "801001000108", "6a86",
		sendProfile, "910b", poll, "910b", "00a4000c023fff", "6a82", // a refusal stays one
		doneTime, "6985", // nothing was fetched
		"8012000000", "6c0b", "801200000b", askedTime+"9000", "801200000b", askedTime+"9000",
		poll, "9000", menu, "9300", // while it waits for the answer
		"8014000001"+"81", "6a80", "801400000c"+"8103020200"+"02028281"+"830100", "6a80", "801401000c"+doneTime[10:], "6a86",
		doneTime, "910b", "801201000b", "6a86",
		"a01000000108", "9000", // class A0 has no 91xx here
	)
}

func TestProactiveEnds(t *testing.T) {
	t.Parallel()
	c := newOf(t, "usim")
	if err := c.Queue(moreTime()); err != nil {
		t.Fatal(err)
	}
	exchange(t, c, sendProfile, "910b")
	if _, err := c.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	exchange(t, c, sendProfile, "9000", poll, "9000", "801200000b", "6985", menu, "9000", "80c20000020102", "6a80", "80c2010000", "6a86")
	long := cat.NewProactive(cat.CommandDetails{Number: 1, Type: cat.TypeSendData}, cat.DeviceChannel, &cat.ChannelData{Data: make(ef.Hex, 240)})
	if err := c.Queue(long, moreTime()); err != nil {
		t.Fatal(err)
	}
	wrong := cat.NewProactive(cat.CommandDetails{}, cat.DeviceChannel, &cat.ChannelData{Data: make(ef.Hex, 250)})
	if err := c.Queue(wrong); !errors.Is(err, cat.ErrValue) {
		t.Errorf("a command of more than 256 bytes: %v", err)
	}
	if err := c.Queue(cat.NewProactive(cat.CommandDetails{}, cat.DeviceChannel, &cat.IMEI{})); !errors.Is(err, cat.ErrValue) {
		t.Errorf("a command that cannot be encoded: %v", err)
	}
	exchange(t, c, poll, "91ff")
}

// TestLongestProactive has a command of 256 bytes, which 9100 announces.
func TestLongestProactive(t *testing.T) {
	t.Parallel()
	c := newOf(t, "usim")
	p := cat.NewProactive(cat.CommandDetails{Number: 1, Type: cat.TypeSendData}, cat.DeviceChannel, &cat.ChannelData{Data: make(ef.Hex, 241)})
	if err := c.Queue(p); err != nil {
		t.Fatal(err)
	}
	b, err := p.Bytes()
	if err != nil || len(b) != 256 {
		t.Fatal(len(b), err)
	}
	exchange(t, c, sendProfile, "9100", "8012000000", hex.EncodeToString(b)+"9000")
}

// TestQueueIsBounded queues more than there is room for.
func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	c := newOf(t, "usim")
	for range 3 * maxQueue {
		if err := c.Queue(moreTime()); err != nil {
			t.Fatal(err)
		}
	}
	exchange(t, c, sendProfile, "910b")
	for range maxQueue - 1 {
		exchange(t, c, "801200000b", askedTime+"9000", doneTime, "910b")
	}
	exchange(t, c, "801200000b", askedTime+"9000", doneTime, "9000")
}

// TestScript follows the toolkit of the card of that name.
func TestScript(t *testing.T) {
	t.Parallel()
	p, err := RandomProfile("toolkit")
	if err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "card")
	c, err := Open(image, &p)
	if err != nil {
		t.Fatal(err)
	}
	asked := func(c *Card) []string {
		t.Helper()
		var names []string
		for {
			answer, err := c.Transmit(t.Context(), []byte{0x80, 0xF2, 0x00, 0x0C})
			if err != nil {
				t.Fatal(err)
			}
			if answer[0] != 0x91 {
				return names
			}
			b, err := c.Transmit(t.Context(), []byte{0x80, 0x12, 0, 0, answer[1]})
			if err != nil {
				t.Fatal(err)
			}
			p, err := cat.DecodeProactive(b[:len(b)-2])
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, p.Name())
			result := cat.ResultOK
			if p.Details().Type == cat.TypeDisplayText {
				result = cat.ResultBeyond
			}
			sendCommand(t, c, cat.NewResponse(p.Details(), cat.Result{General: result}).Command())
		}
	}
	full, err := cat.NewProfile(7, "profile download", "REFRESH")
	if err != nil {
		t.Fatal(err)
	}
	sendCommand(t, c, cat.TerminalProfile{Profile: full}.Command())
	sendCommand(t, c, cat.TerminalProfile{Profile: full}.Command()) // a second one starts nothing
	want := "SET UP EVENT LIST|POLL INTERVAL|PROVIDE LOCAL INFORMATION, date, time and time zone|TIMER MANAGEMENT, start|DISPLAY TEXT"
	if got := strings.Join(asked(c), "|"); got != want {
		t.Errorf("at the start %s, want %s", got, want)
	}
	sendCommand(t, c, cat.TimerExpiration(1, cat.TimerValue{Seconds: 10}).Command())
	if got := strings.Join(asked(c), "|"); got != "OPEN CHANNEL|SEND DATA, send" {
		t.Errorf("after the timer %s", got)
	}
	sendCommand(t, c, cat.DataAvailable(cat.ChannelStatus{Channel: 1, State: cat.LinkUp}, 5).Command())
	if got := strings.Join(asked(c), "|"); got != "RECEIVE DATA|GET CHANNEL STATUS|CLOSE CHANNEL" {
		t.Errorf("with data %s", got)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(image, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = again.Close() })
	sendCommand(t, again, cat.TerminalProfile{Profile: full}.Command())
	if got := strings.Join(asked(again), "|"); got != want {
		t.Errorf("from its image %s", got)
	}
}

func sendCommand(t *testing.T, c *Card, command apdu.Command) {
	t.Helper()
	b, err := command.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Transmit(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := apdu.ParseResponse(answer); err != nil || !r.SW.OK() {
		t.Fatalf("%x: %x %v", b, answer, err)
	}
}

// TestRefreshOnChange updates a file that ADM may update and one that PIN1 may.
func TestRefreshOnChange(t *testing.T) {
	t.Parallel()
	adm := func(c *Card) string { return "0020000a08" + hex.EncodeToString(c.pins[1].value.Reveal()) }
	begin := func(profile string) *Card {
		c := newOf(t, "usim")
		c.layout = &model.Card{Applications: c.layout.Applications, Toolkit: &model.Toolkit{RefreshOnChange: true}}
		c.resetToolkit()
		exchange(t, c, profile, "9000", adm(c), "9000", "00a4040c07a0000000871002", "9000", "00a4000c026f07", "9000")
		return c
	}
	const (
		update = "00d60000" + "09" + "080910101032547698"
		imsi   = "d012" + "8103010101" + "82028182" + "92" + "07" + "01" + "3f007fff6f07"
	)
	c := begin("8010000003" + "000080")
	exchange(t, c, update, "9114", update, "9114", "8012000014", imsi+"9000",
		update, "9000", // it changed again while the REFRESH was under way
		"801400000c"+"8103010101"+"02028281"+"830100", "9114")
	exchange(t, begin("8010000003"+"000000"), update, "9000")
}
