package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"mcim/card"
	"mcim/card/device"
	"mcim/card/explain"
	"mcim/card/trace"
)

type cardAPDUCmd struct {
	APDUs        []string `arg:"" name:"hex" help:"Commands in hexadecimal digits, each as one argument." placeholder:"HEX"`
	Card         string   `help:"Card to send them to: pcsc:INDEX, pcsc:NAME, emul:usim, emul:IMAGE or replay:FILE." placeholder:"URI" default:"pcsc:0"`
	Allow        []string `help:"ICCID of a card that commands may write to or spend of." placeholder:"ICCID"`
	Record       string   `help:"New file for a recording, for --card replay:FILE and mcim trace." placeholder:"FILE"`
	KeepTestKeys bool     `help:"Show and record the keys in answers (AUTHENTICATE, key files): for test cards."`
}

// Help is the long help text.
func (cardAPDUCmd) Help() string {
	return `Resets the card, sends the commands as they are, and explains the answers: nothing is fetched or
repeated, so that 61xx and 6Cxx show. What only reads goes to every card. What writes or spends goes
to a card of a known model that --allow names, and a PIN or PUK only while two tries are left or
more; what mcim has no rule for (TERMINATE, EXTERNAL AUTHENTICATE) is refused. A command of that
kind also costs some to read ICCID and counter. emul:usim and replay: need no --allow.

A PIN on a command line is seen by others on the machine: use test cards. In the output and in a
recording it is 00, and so are the keys in answers without --keep-test-keys.

Examples:
  mcim card apdu 00A40004022FE2 00B000000A
  mcim card apdu 00A40004023F00 --card emul:usim --json
  mcim card apdu 0020000100 --card pcsc:1 --record session.jsonl
  mcim card apdu 002000010831323334FFFFFFFF --card emul:card.img --allow 8999901000000000013`
}

// Run sends the commands.
func (c *cardAPDUCmd) Run(con console, ctx *contextHolder) error {
	commands, err := c.commands()
	if err != nil {
		return usage(err)
	}
	open, err := device.Open(ctx, c.Card, 0)
	if err != nil {
		return imageError(err)
	}
	defer func() { _ = open.Close() }()
	heard := newListener(ctx)
	if ctx.shell != nil {
		return c.inShell(con, ctx, open, commands, heard)
	}
	sinks := []trace.Sink{heard}
	var recording *trace.Writer
	if c.Record != "" {
		file, err := os.OpenFile(c.Record, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return usage(recordError(err))
		}
		defer func() { _ = file.Close() }()
		var salt [16]byte
		_, _ = rand.Read(salt[:]) // never fails
		recording = trace.NewCassette(file, nil, salt)
		sinks = append(sinks, recording)
	}
	tapped := trace.Tap(open, trace.Options{Sensitive: trace.KeyFiles(), KeepTestKeys: c.KeepTestKeys}, sinks...)
	err = c.send(ctx, tapped, open, commands, heard)
	if recording != nil {
		err = errors.Join(err, recording.Err())
	}
	return errors.Join(heard.print(con), err)
}

// inShell is Run in a shell: what has to be known of the session from its beginning on,
// which bytes of it are secret, the shell knows.
func (c *cardAPDUCmd) inShell(con console, ctx *contextHolder, open *device.Card, commands [][]byte, heard *listener) error {
	if c.Record != "" || c.KeepTestKeys {
		return usage(errors.New("--record and --keep-test-keys need a session from its reset on: use mcim card apdu"))
	}
	ctx.shell.heard = heard
	defer func() { ctx.shell.heard = nil }()
	err := c.send(ctx, open, open, commands, heard)
	return errors.Join(heard.print(con), err)
}

func recordError(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("--record: %w; name a new file", err)
	}
	return fmt.Errorf("--record: %w; check the path and who may write there", err)
}

// commands are the arguments as bytes; spaces and colons between bytes are allowed.
func (c *cardAPDUCmd) commands() ([][]byte, error) {
	var list [][]byte
	for i, text := range c.APDUs {
		b, err := hex.DecodeString(strings.NewReplacer(" ", "", ":", "").Replace(text))
		if err != nil || len(b) < 4 {
			return nil, fmt.Errorf("argument %d is no APDU: want 4 bytes or more, as hexadecimal digits", i+1)
		}
		list = append(list, b)
	}
	return list, nil
}

// send resets the card, unless a shell keeps it, and sends the commands; what the guard
// asks besides is not explained.
func (c *cardAPDUCmd) send(ctx *contextHolder, to card.Card, open *device.Card, commands [][]byte, heard *listener) error {
	session, atr := card.NewSession(to, card.Options{}), open.ATR
	if atr == nil {
		var err error
		if atr, err = session.Reset(ctx); err != nil {
			return err
		}
	}
	guard := card.NewGuard(session, card.GuardConfig{ATR: atr, Allow: c.Allow, Spare: open.Spare})
	at := ctx.place()
	if err := guard.PrepareRaw(ctx, commands...); err != nil {
		return refused(err)
	}
	if ctx.shell != nil {
		if err := ctx.shell.back(ctx, at); err != nil {
			return err
		}
	}
	for _, command := range commands {
		_, err := guard.Raw(ctx, command)
		if err != nil {
			return refused(err)
		}
		heard.take()
	}
	return nil
}

// refused marks a refusal of the guard that another command line gets round as a
// mistake of the caller.
func refused(err error) error {
	if errors.Is(err, card.ErrNotAllowed) || errors.Is(err, card.ErrNoRule) {
		return usage(err)
	}
	return err
}

// listener explains the exchanges that it is told to take.
type listener struct {
	reader    *explain.Reader
	last      trace.Exchange
	explained []explained
}

// place is where the card of the shell is.
func (h *contextHolder) place() explain.Place {
	if h.shell == nil {
		return explain.Place{}
	}
	return h.shell.reader.Place()
}

// newListener begins after a reset, or where the card of the shell is.
func newListener(ctx *contextHolder) *listener {
	if ctx.shell == nil {
		return &listener{reader: &explain.Reader{}}
	}
	return &listener{reader: ctx.shell.reader.Clone()}
}

// print prints what was explained.
func (l *listener) print(con console) error {
	return con.print(l.explained, func(w io.Writer) error {
		for _, x := range l.explained {
			x.write(w)
		}
		return nil
	})
}

// WriteAPDU implements trace.Sink.
func (l *listener) WriteAPDU(e trace.Exchange) error {
	l.last = e
	return nil
}

// take explains the last exchange.
func (l *listener) take() {
	l.explained = append(l.explained, explainOne(l.reader, len(l.explained)+1, l.last))
}
