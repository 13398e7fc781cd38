package card_test

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"mcim/apdu"
	"mcim/apdu/uicc"
	"mcim/card"
	"mcim/card/cardtest"
)

func sendHex(t *testing.T, s *card.Session, command string) (string, error) {
	t.Helper()
	c, err := apdu.ParseCommand(unhex(t, command))
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Send(context.Background(), c)
	return hex.EncodeToString(r.Bytes()), err
}

func TestSend(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("aa", 256)
	for _, c := range []struct {
		name, command string
		options       card.Options
		script        []string
		want          string
	}{
		{"plain", "00a40004023f0000", card.Options{}, []string{"00a40004023f0000", "62029000"}, "62029000"},
		{"refused", "00a40004026f0700", card.Options{}, []string{"00a40004026f0700", "6a82"}, "6a82"},
		{"proactive command pending", "00b0000001", card.Options{}, []string{"00b0000001", "aa9110"}, "aa9110"},
		{"61xx", "00a40004023f0000", card.Options{}, []string{"00a40004023f0000", "6103", "00c0000003", "aabbcc9000"}, "aabbcc9000"},
		{"61xx of class 80", "80f2000000", card.Options{}, []string{"80f2000000", "6101", "00c0000001", "aa9000"}, "aa9000"},
		{"61xx with data in front", "00a40004023f0000", card.Options{},
			[]string{"00a40004023f0000", "aa6102", "00c0000002", "bbcc9000"}, "aabbcc9000"},
		{"61xx in several parts", "80e2910003bf2d0000", card.Options{},
			[]string{"80e2910003bf2d0000", "6100", "00c0000000", long + "6102", "00c0000002", "bbcc9000"}, long + "bbcc9000"},
		{"GET RESPONSE with another length", "00a40004023f0000", card.Options{},
			[]string{"00a40004023f0000", "6110", "00c0000010", "6c02", "00c0000002", "aabb9000"}, "aabb9000"},
		{"GET RESPONSE refused", "00a40004023f0000", card.Options{}, []string{"00a40004023f0000", "6110", "00c0000010", "6f00"}, "6f00"},
		{"6Cxx", "00b0000000", card.Options{}, []string{"00b0000000", "6c02", "00b0000002", "aabb9000"}, "aabb9000"},
		{"6C00", "00b0000010", card.Options{}, []string{"00b0000010", "6c00", "00b0000000", long + "9000"}, long + "9000"},
		{"6Cxx of case 1", "80f20000", card.Options{}, []string{"80f20000", "6c02", "80f2000002", "aabb9000"}, "aabb9000"},
		{"6Cxx of case 3 ends it: nothing was asked for", "00d60000011a", card.Options{}, []string{"00d60000011a", "6c02"}, "6c02"},
		{"9Fxx of class A0", "a0a40000023f00", card.Options{}, []string{"a0a40000023f00", "9f02", "a0c0000002", "aabb9000"}, "aabb9000"},
		{"9Fxx of class 00 means nothing", "00a40000023f00", card.Options{}, []string{"00a40000023f00", "9f02"}, "9f02"},
		{"warning with data", "00a40004023f0000", card.Options{}, []string{"00a40004023f0000", "62026283"}, "62026283"},
		{"warning, data wait", "00a40004023f0000", card.Options{},
			[]string{"00a40004023f0000", "6283", "00c0000000", "6c02", "00c0000002", "aabb9000"}, "aabb6283"},
		{"warning, nothing waits", "00a40004023f0000", card.Options{}, []string{"00a40004023f0000", "6283", "00c0000000", "6f00"}, "6283"},
		{"warning behind 61xx", "00a40004023f0000", card.Options{}, []string{"00a40004023f0000", "6102", "00c0000002", "aabb6283"}, "aabb6283"},
		{"retry counter is no warning", "002000010831323334ffffffff", card.Options{}, []string{"002000010831323334ffffffff", "63c2"}, "63c2"},
		{"T=0 sends no Le", "00a40004023f0000", card.Options{T0: true},
			[]string{"00a40004023f00", "6102", "00c0000002", "aabb9000"}, "aabb9000"},
		{"T=0 keeps the Le of case 2", "00b0000002", card.Options{T0: true}, []string{"00b0000002", "aabb9000"}, "aabb9000"},
		{"extended form where asked for", "00b00000000100", card.Options{}, []string{"00b00000000100", "aa9000"}, "aa9000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := card.NewSession(newScript(t, c.script...), c.options)
			got, err := sendHex(t, s, c.command)
			if err != nil || got != c.want {
				t.Errorf("got %s %v, want %s", got, err, c.want)
			}
		})
	}
}

func TestSendEndsEndlessCards(t *testing.T) {
	t.Parallel()
	for name, script := range map[string][]string{
		"61xx for ever":        {"00a40004023f0000", "6101", "00c0000001", "aa6101", "00c0000001", "aa6101", "00c0000001", "aa6101"},
		"6Cxx to and fro":      {"00a40004023f0000", "6c01", "00a40004023f0001", "6c02", "00a40004023f0002", "6c01", "00a40004023f0001", "6c02"},
		"6Cxx against itself":  {"00a40004023f0000", "6c05", "00a40004023f0005", "6c05"},
		"6C00 against Le of 0": {"00a40004023f0000", "6c00"},
	} {
		s := card.NewSession(newScript(t, script...), card.Options{Rounds: 4})
		if _, err := sendHex(t, s, "00a40004023f0000"); !errors.Is(err, card.ErrResponseLoop) {
			t.Errorf("%s: %v, want ErrResponseLoop", name, err)
		}
	}
}

func TestSendErrors(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := card.NewSession(cardtest.NewScript(t, "00b0000001", "90"), card.Options{}) // no reader passes one byte on
	if _, err := s.Send(ctx, uicc.ReadBinary{Ne: 1}.Command()); !errors.Is(err, apdu.ErrMalformed) || !strings.Contains(err.Error(), "READ BINARY") {
		t.Errorf("short response: %v", err)
	}
	if _, err := s.Send(ctx, uicc.ReadBinary{}.Command()); !errors.Is(err, card.ErrCommand) || !errors.Is(err, uicc.ErrField) {
		t.Errorf("command that cannot be built: %v", err)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Send(over, uicc.ReadBinary{Ne: 1}.Command()); !errors.Is(err, card.ErrTimeout) {
		t.Errorf("context over: %v", err)
	}
	if _, err := s.Reset(over); !errors.Is(err, card.ErrTimeout) {
		t.Errorf("reset with context over: %v", err)
	}
}

func TestDo(t *testing.T) {
	t.Parallel()
	s := card.NewSession(newScript(t, "00b0000002", "aabb9000", "00b0000001", "6982"), card.Options{})
	data, err := s.Do(context.Background(), uicc.ReadBinary{Ne: 2}.Command())
	if err != nil || hex.EncodeToString(data) != "aabb" {
		t.Errorf("got %x %v", data, err)
	}
	_, err = s.Do(context.Background(), uicc.ReadBinary{Ne: 1}.Command())
	var refused *card.CommandError
	if !errors.As(err, &refused) || refused.Command != "READ BINARY" || !errors.Is(err, apdu.ErrAccess) || !errors.Is(err, apdu.SWSecurityStatus) {
		t.Errorf("got %v, want a *CommandError with 6982", err)
	}
}

func TestClassByte(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cla     byte
		channel int
		want    byte // 0xFF: ErrClass
	}{
		{0x00, 0, 0x00}, {0x00, 3, 0x03}, {0x00, 4, 0x40}, {0x00, 19, 0x4F},
		{0x80, 0, 0x80}, {0x80, 2, 0x82}, {0x80, 5, 0xC1},
		{0x0C, 3, 0x0F}, {0x08, 4, 0x60}, {0x84, 1, 0x85}, {0x10, 6, 0x52},
		{0xA0, 0, 0xA0}, {0x03, 3, 0x03}, {0x4F, 19, 0x4F},
		{0x0C, 4, 0xFF}, {0x04, 4, 0xFF}, {0xA0, 1, 0xFF}, {0x20, 1, 0xFF},
		{0x01, 0, 0xFF}, {0x01, 2, 0xFF}, {0x40, 0, 0xFF}, {0x00, 20, 0xFF}, {0x00, -1, 0xFF},
	} {
		got, err := card.ClassOn(c.cla, c.channel)
		switch {
		case c.want == 0xFF:
			if !errors.Is(err, card.ErrClass) {
				t.Errorf("%02X on %d: %02X %v, want ErrClass", c.cla, c.channel, got, err)
			}
			continue
		case err != nil || got != c.want:
			t.Errorf("%02X on %d: %02X %v, want %02X", c.cla, c.channel, got, err, c.want)
		}
		if back, _ := card.ClassChannel(got); back != c.channel {
			t.Errorf("%02X names channel %d, want %d", got, back, c.channel)
		}
	}
}

func TestChannels(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := card.NewSession(newScript(t,
		"0070000001", "019000", // open 1
		"01a40004023f0000", "6101", "01c0000001", "aa9000",
		"0070000001", "049000", // open 4
		"40a40004023f0000", "6101", "40c0000001", "bb9000",
		"c0f2000000", "cc9000",
		"00708001", "9000", // close 1
		"00a4000c023f00", "9000",
		"0070000001", "029000", // open 2, lost by reset
	), card.Options{})
	one, err := s.OpenChannel(ctx)
	if err != nil || one.Channel() != 1 {
		t.Fatal(one, err)
	}
	if got, err := sendHex(t, one, "00a40004023f0000"); got != "aa9000" || err != nil {
		t.Errorf("channel 1: %s %v", got, err)
	}
	four, err := s.OpenChannel(ctx)
	if err != nil || four.Channel() != 4 {
		t.Fatal(four, err)
	}
	if got, err := sendHex(t, four, "00a40004023f0000"); got != "bb9000" || err != nil {
		t.Errorf("channel 4: %s %v", got, err)
	}
	if got, err := sendHex(t, four, "80f2000000"); got != "cc9000" || err != nil {
		t.Errorf("channel 4, class 80: %s %v", got, err)
	}
	if err := one.CloseChannel(ctx); err != nil {
		t.Error(err)
	}
	if err := one.CloseChannel(ctx); err != nil {
		t.Error("close twice:", err)
	}
	if err := s.CloseChannel(ctx); err != nil {
		t.Error("close the basic channel:", err)
	}
	if _, err := sendHex(t, one, "00a4000c023f00"); !errors.Is(err, card.ErrChannelClosed) {
		t.Errorf("closed channel: %v", err)
	}
	if _, err := sendHex(t, s, "00a4000c023f00"); err != nil {
		t.Error(err)
	}
	two, err := s.OpenChannel(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := sendHex(t, two, "00a4000c023f00"); !errors.Is(err, card.ErrChannelClosed) {
		t.Errorf("channel after reset: %v", err)
	}
}

// TestLeaks: what was opened by hand or refused to close is told, too.
func TestLeaks(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := card.NewSession(newScript(t,
		"0070000001", "019000",
		"00700002", "9000", // by hand
		"00708001", "6985", // the card does not close it
		"00708002", "9000",
	), card.Options{})
	want := func(when string, numbers ...int) {
		t.Helper()
		if got := s.Leaks(); !slices.Equal(got, numbers) {
			t.Errorf("%s: %d, want %d", when, got, numbers)
		}
	}
	want("new")
	one, err := s.OpenChannel(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sendHex(t, s, "00700002"); err != nil {
		t.Fatal(err)
	}
	want("opened", 1, 2)
	var refused *card.CommandError
	if err := one.CloseChannel(ctx); !errors.As(err, &refused) {
		t.Errorf("close: %v", err)
	}
	if _, err := sendHex(t, one, "00708002"); !errors.Is(err, card.ErrChannelOwner) {
		t.Errorf("of another session: %v", err)
	}
	if _, err := sendHex(t, s, "00708002"); err != nil {
		t.Error(err)
	}
	want("closed", 1)
	if _, err := s.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	want("reset")
}

func TestOpenChannelRefused(t *testing.T) {
	t.Parallel()
	s := card.NewSession(newScript(t,
		"0070000001", "6881",
		"0070000001", "9000",
		"0070000001", "149000",
		"0070000001", "009000"), card.Options{})
	if _, err := s.OpenChannel(context.Background()); !errors.Is(err, apdu.ErrUnsupported) {
		t.Errorf("no channels: %v", err)
	}
	for range 3 {
		if _, err := s.OpenChannel(context.Background()); !errors.Is(err, card.ErrChannelNumber) {
			t.Errorf("impossible number: %v", err)
		}
	}
}
