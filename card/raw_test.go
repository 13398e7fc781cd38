package card_test

import (
	"context"
	"encoding/hex"
	"testing"

	"mcim/apdu"
	"mcim/card"
	"mcim/card/model"
)

// TestRaw sends raw commands: each case has the whole exchange, so that what is
// refused is seen not to be sent.
func TestRaw(t *testing.T) {
	t.Parallel()
	mf := []string{"00a40004023f0000", "9000"}
	asked := script(iccidScript(), mf) // for a command that writes or spends
	for name, c := range map[string]struct {
		change   func(*card.GuardConfig)
		command  string
		exchange []string
		cause    error // of the refusal; nil: it is sent and answered
	}{
		"reading":             {nil, "00b0000009", []string{"00b0000009", "6981"}, nil},
		"reading, unknown":    {func(c *card.GuardConfig) { c.ATR = nil; c.Allow = nil }, "00a40004026f07", []string{"00a40004026f07", "6119"}, nil},
		"asking for tries":    {nil, "00200001", []string{"00200001", "63c1"}, nil},
		"asking with Lc 0":    {nil, "0020000100", []string{"0020000100", "63c1"}, nil},
		"writing":             {nil, "00d6000001aa", script(asked, []string{"00d6000001aa", "9000"}), nil},
		"writing, not listed": {func(c *card.GuardConfig) { c.Allow = []string{"1"} }, "00d6000001aa", iccidScript(), card.ErrNotAllowed},
		"writing, spare":      {func(c *card.GuardConfig) { c.Allow, c.Spare = nil, true }, "00d6000001aa", script(asked, []string{"00d6000001aa", "9000"}), nil},
		"writing, unknown":    {func(c *card.GuardConfig) { c.ATR = nil }, "00d6000001aa", nil, model.ErrUnknown},
		"dry run":             {func(c *card.GuardConfig) { c.DryRun = true }, "00d6000001aa", nil, card.ErrDryRun},
		"PIN":                 {nil, "0020000108" + pinPlain, script(asked, []string{"00200001", "63c2", "0020000108" + pinPlain, "63c1"}), nil},
		"PIN, last try":       {nil, "0020000108" + pinPlain, script(asked, []string{"00200001", "63c1"}), card.ErrTriesLow},
		"PIN cut, last try":   {nil, "00200001083132", script(asked, []string{"00200001", "63c1"}), card.ErrTriesLow},
		"PIN, blocked":        {nil, "0020000108" + pinPlain, script(asked, []string{"00200001", "6983"}), card.ErrTriesLow},
		"PIN, not told":       {nil, "0026000108" + pinPlain, script(asked, []string{"00200001", "9000"}), card.ErrTriesUnknown},
		"PIN in class A0":     {nil, "a020000208" + pinPlain, script(asked, []string{"00200081", "63c1"}), card.ErrTriesLow},
		"PIN on a channel":    {nil, "0120000108" + pinPlain, script(asked, []string{"00200001", "63c1"}), card.ErrTriesLow},
		"PIN2 on a channel":   {nil, "0120008108" + pinPlain, asked, card.ErrTriesUnknown},
		"PUK2 on a channel":   {nil, "412c008110" + pinPlain + pinPlain, asked, card.ErrTriesUnknown},
		"higher floor":        {func(c *card.GuardConfig) { c.Floor = 3 }, "0020000108" + pinPlain, script(asked, []string{"00200001", "63c2"}), card.ErrTriesLow},
		"PUK":                 {nil, "002c000110" + pinPlain + pinPlain, script(asked, []string{"002c0001", "63ca", "002c000110" + pinPlain + pinPlain, "63c9"}), nil},
		"PUK, last try":       {nil, "002c000110" + pinPlain + pinPlain, script(asked, []string{"002c0001", "63c1"}), card.ErrTriesLow},
		"PUK, class A0":       {nil, "a02c000010" + pinPlain + pinPlain, script(asked, []string{"002c0001", "63c1"}), card.ErrTriesLow},
		"PUK, not told":       {nil, "002c000110" + pinPlain + pinPlain, script(asked, []string{"002c0001", "6982"}), card.ErrTriesUnknown},
		"card management":     {nil, "8482000010" + pinPlain + pinPlain, nil, card.ErrNoRule},
		"for ever":            {nil, "00e80000", nil, card.ErrNoRule},
		"VERIFY of a vendor":  {nil, "8020000108" + pinPlain, nil, card.ErrNoRule},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := known(t)
			if c.change != nil {
				c.change(&config)
			}
			g := guardOn(t, config, c.exchange...)
			command := unhex(t, c.command)
			err := g.PrepareRaw(context.Background(), command)
			var answer []byte
			if err == nil {
				answer, err = g.Raw(context.Background(), command)
			}
			if c.cause != nil {
				refusal(t, err, c.cause)
				if len(g.Plan()) > 0 {
					t.Errorf("plan %v of what was refused", g.Plan())
				}
				return
			}
			if want := c.exchange[len(c.exchange)-1]; err != nil || hex.EncodeToString(answer) != want {
				t.Errorf("%x, %v, want %s", answer, err, want)
			}
			if (len(g.Plan()) == 1) != card.Spends(command) {
				t.Errorf("plan %v", g.Plan())
			}
		})
	}
}

func TestRawNoCommand(t *testing.T) {
	t.Parallel()
	if _, err := guardOn(t, known(t)).Raw(context.Background(), []byte{0, 0xA4}); err == nil {
		t.Error("two bytes were sent")
	}
	if card.Spends([]byte{0, 0x20}) {
		t.Error("two bytes spend")
	}
}

// TestSpendsUnknown: what nobody knows may spend, whatever its class.
func TestSpendsUnknown(t *testing.T) {
	t.Parallel()
	reading := 0
	for cla := range 256 {
		for ins := range 256 {
			if !card.Spends([]byte{byte(cla), byte(ins), 0, 0, 1, 0}) {
				reading++
				if name := card.CommandName(apdu.Command{INS: byte(ins)}); name == "VERIFY PIN" || name == "AUTHENTICATE" || name == "UPDATE BINARY" {
					t.Errorf("class %02X: %s is said to spend nothing", cla, name)
				}
			}
		}
	}
	if reading == 0 || reading > 128*11+128*6+11 {
		t.Errorf("%d commands are said to spend nothing", reading)
	}
}
