package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/card"
	"mcim/card/device"
	"mcim/card/dump"
)

type cardDumpCmd struct {
	Card    string `help:"Card to read: pcsc:INDEX, pcsc:NAME, emul:usim, emul:IMAGE or replay:FILE." placeholder:"URI" default:"pcsc:0"`
	PINFile string `name:"pin-file" help:"File whose first line is PIN1, for what needs it." placeholder:"FILE"`
}

// Help is the long help text.
func (cardDumpCmd) Help() string {
	return `Writes one JSON document to standard output: "atr", "iccid", "apdus", "seconds", and "files", each
with "path", "name", "structure", "fcp", "raw", "records" or "objects", "decoded", and "error" where
it cannot be read. Nothing is written. With --pin-file PIN1 is verified first, if two tries or more
are left; without it no try can be spent. Exit code 1: it was wrong, or not presented. Keys are
"[redacted]", key files of the card's maker are not read.

Examples:
  mcim card dump
  mcim card dump --card pcsc:1 --pin-file pin.txt
  mcim card dump --card emul:card.img --pin-file pin.txt`
}

// Run reads the card.
func (c *cardDumpCmd) Run(con console, ctx *contextHolder) error {
	doc, err := dumpCard(ctx, c.Card, c.PINFile)
	if err != nil {
		return err
	}
	return con.print(doc, func(w io.Writer) error { return writeJSON(w, doc) })
}

// dumpCard reads the card with that URI, with PIN1 out of a file if one is named.
func dumpCard(ctx context.Context, uri, pinFile string) (dump.Document, error) {
	pin, err := readPIN(pinFile)
	if err != nil {
		return dump.Document{}, err
	}
	open, err := device.Open(ctx, uri, 0)
	if err != nil {
		return dump.Document{}, imageError(err)
	}
	defer func() { _ = open.Close() }()
	doc, err := dump.Read(ctx, open, dump.Options{PIN1: pin})
	var guarded *card.RefusalError
	switch {
	case errors.Is(err, card.ErrWrongPIN):
		err = failing(fmt.Errorf("%w; check the first line of %s before another try is spent", err, pinFile))
	case errors.As(err, &guarded):
		err = failing(err)
	}
	return doc, err
}

// readPIN reads the PIN in the first line of a file, padded; empty for no file.
func readPIN(file string) (secret.Bytes, error) {
	if file == "" {
		return secret.Bytes{}, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return secret.Bytes{}, imageError(fmt.Errorf("--pin-file: %w", err))
	}
	line, _, _ := strings.Cut(string(b), "\n")
	pin, err := uicc.PadPIN(strings.TrimSpace(line))
	if err != nil {
		return secret.Bytes{}, usage(fmt.Errorf("--pin-file %s: its first line is no PIN: %w", file, err))
	}
	return pin, nil
}
