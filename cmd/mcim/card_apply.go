package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"mcim/card/change"
	"mcim/card/device"
	"mcim/hwtest/report"
)

type cardApplyCmd struct {
	Changes string `arg:"" optional:"" help:"What files shall have: a dump that was edited, or an undo file."`
	Card    string `help:"Card: pcsc:INDEX, pcsc:NAME, emul:usim, emul:IMAGE or replay:FILE." placeholder:"URI" default:"pcsc:0"`
	changeCodes
	Allow  []string `help:"ICCID of a card that may be changed." placeholder:"ICCID"`
	DryRun bool     `help:"Show the plan, and write nothing."`
	Undo   string   `help:"New file for what undoes the changes (default: undo-ICCID-TIME.json)." placeholder:"FILE"`
	Resume string   `help:"Complete what was broken off, by its undo file." placeholder:"FILE"`
}

// Help is the long help text.
func (cardApplyCmd) Help() string {
	return `Changes the files that the document names ("mcim card plan -h" tells what it may say), on a card of
a known model with its ICCID in --allow: first all checks, then an undo file, then the writes, each
read back. Keys are written first and EF.IMSI last. The undo file has what is overwritten, keys in
the clear; it is safe on disk before the first write, and never replaces another file.

What was broken off, by an error, Ctrl-C or a power cut, is completed with --resume and the undo
file, or undone by the undo file as the document. Both refuse a card that something else has changed
meanwhile. Exit code 1: the changes cannot be made, or the card refused one.

Examples:
  mcim card apply card.json --adm-hex-file adm.txt --pin-file pin.txt --allow ICCID
  mcim card apply card.json --undo before.json --pin-file pin.txt --allow ICCID
  mcim card apply --resume before.json --pin-file pin.txt --allow ICCID
  mcim card apply before.json --pin-file pin.txt --allow ICCID`
}

// applied is what --json prints.
type applied struct {
	change.Result
	Undo string `json:"undo,omitempty"` // the undo file
}

// Run makes the changes.
func (c *cardApplyCmd) Run(con console, ctx *contextHolder) error {
	doc, err := c.document()
	if err != nil {
		return err
	}
	o, err := c.options()
	if err != nil {
		return err
	}
	if c.DryRun {
		return showPlan(con, ctx, c.Card, doc, o)
	}
	open, err := device.Open(ctx, c.Card, 0)
	if err != nil {
		return imageError(err)
	}
	defer func() { _ = open.Close() }()
	done := applied{Undo: c.Resume}
	o.Allow, o.Spare, o.Progress = c.Allow, open.Spare, progress(con)
	if c.Resume == "" {
		o.Journal = c.journal(con, &done)
	}
	done.Result, err = change.Apply(ctx, open, doc, o)
	if err != nil && done.ICCID == "" {
		return changeError(err)
	}
	return errors.Join(con.print(done, done.writeText), done.ended(err))
}

// document reads what is to be done; of --resume, the changes that the undo file
// would undo.
func (c *cardApplyCmd) document() (change.Document, error) {
	switch {
	case c.Resume != "" && c.Changes != "":
		return change.Document{}, usage(errors.New("--resume takes the changes from the undo file: name no other document"))
	case c.Resume != "" && c.Undo != "":
		return change.Document{}, usage(errors.New("--resume has its undo file already: --undo is for new changes"))
	case c.Resume == "" && c.Changes == "":
		return change.Document{}, usage(errors.New("name a document of changes, or --resume and an undo file"))
	case c.Resume == "":
		return readChanges(c.Changes)
	}
	doc, err := readChanges(c.Resume)
	if err != nil {
		return doc, err
	}
	if doc, err = doc.Resumed(); err != nil {
		return doc, usage(fmt.Errorf("--resume %s: %w; name the one that apply wrote", c.Resume, err))
	}
	return doc, nil
}

// journal keeps the undo document in a new file, and tells which.
func (c *cardApplyCmd) journal(con console, done *applied) func(string, []byte) error {
	return func(iccid string, undo []byte) error {
		file := c.Undo
		if file == "" {
			file = fmt.Sprintf("undo-%s-%s.json", iccid, time.Now().Format("20060102-150405.000000"))
		}
		if err := keep(file, undo); err != nil {
			return usage(undoError(err))
		}
		done.Undo = file
		if !con.json {
			con.say("undo file: %s", file)
		}
		return nil
	}
}

func undoError(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("--undo: %w; name a new file; nothing was written to the card", err)
	}
	return fmt.Errorf("--undo: %w; check the path and who may write there; nothing was written to the card", err)
}

// keep writes a new file that only its owner may read, safe from a power cut.
func keep(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// progress tells of each write, where people watch.
func progress(con console) func(int, int, change.Change) {
	if !isTerminal(con.talk) {
		return nil
	}
	return func(done, of int, c change.Change) {
		con.say("writing %d of %d: %s%s", done+1, of, c.Path, recordText(c.Record))
	}
}

// isTerminal tells whether people read what is written to w.
func isTerminal(w io.Writer) bool {
	if o, ok := w.(outlet); ok {
		w = o.Writer
	}
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// ended is the error that ends the command, with what to do then.
func (a *applied) ended(err error) error {
	var broken *change.BrokenError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, change.ErrNotFeasible):
		return errFailed
	case errors.As(err, &broken):
		said := fmt.Errorf("%w; complete it by `mcim card apply --resume %s`, or undo it by `mcim card apply %s`", err, a.Undo, a.Undo)
		if answered(err) && !errors.Is(err, context.Canceled) {
			return failing(said)
		}
		return said
	case answered(err):
		return failing(err)
	}
	return err
}

// writeText writes the changes and how many were made.
func (a *applied) writeText(w io.Writer) error {
	if err := writePlan(w, a.Plan, false); err != nil {
		return err
	}
	end := "nothing written\n"
	if n := len(a.Changes); a.Feasible && n > 0 && a.Undo != "" {
		end = report.Hang("", fmt.Sprintf("%d of %d written and read back; undo file %s", a.Written, n, a.Undo))
	}
	_, err := io.WriteString(w, end)
	return err
}
