package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"mcim/apdu"
	"mcim/apdu/cat"
	"mcim/card"
	"mcim/card/device"
	"mcim/card/toolkit"
	reporting "mcim/hwtest/report"
)

type cardToolkitCmd struct {
	Card      string        `help:"Card to serve: pcsc:INDEX, pcsc:NAME, emul:toolkit, emul:IMAGE or replay:FILE." placeholder:"URI" default:"pcsc:0"`
	Allow     []string      `help:"ICCID of a card that may be told what it then writes." placeholder:"ICCID"`
	AllowHost []string      `name:"allow-host" help:"Server that the card may open a TCP channel to." placeholder:"HOST:PORT"`
	Envelope  []string      `help:"ENVELOPE to send at the start, in hexadecimal digits." placeholder:"HEX"`
	For       time.Duration `help:"How long to serve the card, as in 30s or 5m: timers, data and what it asks for when polled." placeholder:"TIME" default:"0s"`
}

// Help is the long help text.
func (cardToolkitCmd) Help() string {
	return `Resets the card, sends TERMINAL PROFILE, and plays the terminal to what the card asks for (91xx),
until it is quiet, and for --for TIME after that. Each proactive command is printed in words, with
what was answered. It is a machine without display, keypad and radio: it has timers, REFRESH, time,
and TCP channels to the servers of --allow-host; it sends no message and makes no call.

A terminal profile can make a card write. So it goes to cards of a known model only that --allow
names, as what writes in mcim card apdu does. emul:MODEL and replay: need no --allow.

Examples:
  mcim card toolkit --card emul:toolkit --for 15s
  mcim card toolkit --card pcsc:0 --allow 8999901000000000013 --json
  mcim card toolkit --card emul:toolkit --allow-host 127.0.0.1:7 --for 1m
  mcim card toolkit --card emul:toolkit --envelope D30782020181900101`
}

// maxServing bounds --for.
const maxServing = 24 * time.Hour

// Run serves the card.
func (c *cardToolkitCmd) Run(con console, ctx *contextHolder) error {
	envelopes, err := c.envelopes()
	if err != nil {
		return usage(err)
	}
	if c.For < 0 || c.For > maxServing {
		return usage(fmt.Errorf("--for %s: want 0s to %s", c.For, maxServing))
	}
	servers, err := toolkit.ResolveAllow(ctx, c.AllowHost)
	if err != nil {
		return usage(fmt.Errorf("--allow-host %w", err))
	}
	open, err := device.Open(ctx, c.Card, 0)
	if err != nil {
		return imageError(err)
	}
	defer func() { _ = open.Close() }()
	config := toolkit.Config{Allow: servers}
	if !con.json {
		config.Heard = func(e toolkit.Entry) { _ = con.printNow(nil, func(w io.Writer) error { return writeEntry(w, e) }) }
	}
	log, err := c.serve(ctx, open, config, envelopes)
	var no *card.CommandError
	if errors.Is(err, apdu.ErrUnsupported) {
		err = fmt.Errorf("%w: it takes no toolkit commands in class 80, as a SIM of class A0 does not", err)
	}
	if errors.As(err, &no) || errors.Is(err, toolkit.ErrBusy) || errors.Is(err, toolkit.ErrEndless) {
		err = failedError{err}
	}
	text := func(w io.Writer) error {
		if len(log) == 0 && err == nil {
			_, err := fmt.Fprintln(w, "the card asks for nothing")
			return err
		}
		return nil
	}
	return errors.Join(con.print(log, text), err)
}

// envelopes are the arguments as bytes.
func (c *cardToolkitCmd) envelopes() ([][]byte, error) {
	var list [][]byte
	for _, text := range c.Envelope {
		b, err := hex.DecodeString(strings.NewReplacer(" ", "", ":", "").Replace(text))
		if err != nil || len(b) < 1 || len(b) > 255 {
			return nil, fmt.Errorf("--envelope %.20s: want 1 to 255 bytes, as hexadecimal digits", text)
		}
		list = append(list, b)
	}
	return list, nil
}

// serve plays the terminal to the card, if the guard lets it.
func (c *cardToolkitCmd) serve(ctx context.Context, open *device.Card, config toolkit.Config, envelopes [][]byte) ([]toolkit.Entry, error) {
	session := card.NewSession(open, card.Options{})
	atr, err := session.Reset(ctx)
	if err != nil {
		return nil, err
	}
	guard := card.NewGuard(session, card.GuardConfig{ATR: atr, Allow: c.Allow, Spare: open.Spare})
	profile, err := cat.TerminalProfile{Profile: toolkit.DefaultProfile()}.Command().Bytes()
	if err != nil {
		return nil, err
	}
	if err := guard.PrepareRaw(ctx, profile); err != nil {
		return nil, refused(err)
	}
	terminal, err := toolkit.Start(ctx, session, config)
	if err != nil {
		return nil, err
	}
	defer terminal.Close()
	for _, e := range envelopes {
		if _, err := terminal.RawEnvelope(ctx, e); err != nil {
			return terminal.Log(), err
		}
	}
	return terminal.Log(), c.poll(ctx, terminal)
}

// pollEvery is how often a card is polled that does not say how often.
const pollEvery = 5 * time.Second

// poll serves the card for the time.
func (c *cardToolkitCmd) poll(ctx context.Context, terminal *toolkit.Terminal) error {
	end := time.Now().Add(c.For)
	for {
		if err := terminal.Poll(ctx); err != nil {
			return err
		}
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		if err := terminal.Wait(ctx, min(left, pollEvery)); err != nil {
			return err
		}
	}
}

// writeEntry is an entry in words.
func writeEntry(w io.Writer, e toolkit.Entry) error {
	var b strings.Builder
	line := func(first, text string) { b.WriteString(reporting.Hang(first, text)) }
	if e.Envelope != "" {
		line("> ", "ENVELOPE, "+e.Envelope)
		for _, f := range e.Fields {
			line("    ", f)
		}
		line("    ", e.Status)
		if len(e.Data) > 0 {
			line("    ", hex.EncodeToString(e.Data))
		}
	} else {
		line("< ", e.Command)
		for _, f := range e.Fields {
			line("    ", f)
		}
		line("  = ", strings.Join(e.Answered, "; "))
		if e.Why != "" {
			line("    ", "("+e.Why+")")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
