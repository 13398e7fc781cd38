package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"mcim/card/device"
	"mcim/card/dump"
	"mcim/hwtest/report"
)

type cardDiffCmd struct {
	A        string `arg:"" help:"A dump, or the URI of a card: pcsc:INDEX, pcsc:NAME, emul:usim, emul:IMAGE or replay:FILE."`
	B        string `arg:"" help:"What to compare it with, likewise."`
	PINFile  string `name:"pin-file" help:"File whose first line is PIN1 of card A." placeholder:"FILE"`
	PINFileB string `name:"pin-file-b" help:"File whose first line is PIN1 of card B." placeholder:"FILE"`
}

// Help is the long help text.
func (cardDiffCmd) Help() string {
	return `Compares two dumps (mcim card dump), two cards, or one with the other, field by field. Exit code 0:
equal, 1: they differ. Time and number of APDUs are not compared. That keys differ is told of two
cards; their values are not. PIN1 is verified where a file is named for it.

Examples:
  mcim card diff before.json after.json
  mcim card diff before.json pcsc:0 --pin-file-b pin.txt
  mcim card diff emul:card.img pcsc:0 --json`
}

// Run compares.
func (c *cardDiffCmd) Run(con console, ctx *contextHolder) error {
	a, err := dumpOf(ctx, c.A, c.PINFile)
	if err != nil {
		return err
	}
	b, err := dumpOf(ctx, c.B, c.PINFileB)
	if err != nil {
		return err
	}
	d := dump.Compare(a, b)
	if err := con.print(d, func(w io.Writer) error { return writeComparison(w, d) }); err != nil {
		return err
	}
	if !d.Equal {
		return errFailed
	}
	return nil
}

// dumpOf reads a card, or a dump in a file.
func dumpOf(ctx context.Context, name, pinFile string) (dump.Document, error) {
	if device.Check(name) == nil {
		return dumpCard(ctx, name, pinFile)
	}
	if pinFile != "" {
		return dump.Document{}, usage(fmt.Errorf("%s is no card, so that a PIN file for it is a mistake", name))
	}
	b, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return dump.Document{}, usage(fmt.Errorf("%q: no such file, and %w", name, device.ErrURI))
	case err != nil:
		return dump.Document{}, usage(err)
	}
	doc, err := dump.Parse(b)
	if err != nil {
		return dump.Document{}, usage(fmt.Errorf("%s: %w; make one by `mcim card dump`", name, err))
	}
	return doc, nil
}

// writeComparison writes a line for each file and below it one for each field.
func writeComparison(w io.Writer, c dump.Comparison) error {
	var b strings.Builder
	last := ""
	for _, d := range c.Differences {
		if path := cmp.Or(d.Path, "card"); path != last {
			last = path
			b.WriteString(path + "\n")
		}
		b.WriteString(report.Hang("  "+d.Field+"  ", shown(d.Old)+" -> "+shown(d.New)))
	}
	if n := len(c.NotCompared); n > 0 {
		b.WriteString(report.Hang(fmt.Sprintf("not compared (%d files with keys, not kept in a dump): ", n), strings.Join(c.NotCompared, ", ")))
	}
	switch {
	case !c.Equal:
	case len(c.NotCompared) > 0:
		b.WriteString("equal in all else\n")
	default:
		b.WriteString("equal\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// shown is a value on one line; long bytes are cut into pieces that fit.
func shown(v any) string {
	if v == nil {
		return "none"
	}
	s, ok := v.(string)
	if !ok {
		b, _ := json.Marshal(v) // came out of a document
		s = string(b)
	}
	const piece = 64
	var parts []string
	for len(s) > piece && !strings.Contains(s, " ") {
		parts, s = append(parts, s[:piece]), s[piece:]
	}
	return strings.Join(append(parts, s), " ")
}
