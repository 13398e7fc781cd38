package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"mcim/card/model"
	"mcim/card/pcsc"
	reporting "mcim/hwtest/report"
)

type readersCmd struct {
	Watch bool `help:"Go on, and tell of readers and cards that come and go, until interrupted."`
}

// Help is the long help text.
func (readersCmd) Help() string {
	return `INDEX is what --card pcsc:INDEX takes; FAMILY is what the answer to reset of the card lets guess.

Examples:
  mcim readers
  mcim readers --json
  mcim readers --watch`
}

// readerRow is one reader in the output.
type readerRow struct {
	Index  int    `json:"index"`
	Name   string `json:"name"`
	Card   bool   `json:"card"`
	ATR    string `json:"atr,omitempty"`
	Family string `json:"family,omitempty"`
	State  string `json:"state"`
}

// Run lists the readers.
func (c readersCmd) Run(con console, ctx *contextHolder) error {
	if c.Watch {
		return watchReaders(con, ctx)
	}
	list, err := pcsc.Readers(ctx)
	if err != nil {
		return err
	}
	rows := []readerRow{}
	for _, r := range list {
		row := readerRow{Index: r.Index, Name: r.Name, Card: r.Card, ATR: hex.EncodeToString(r.ATR), State: readerState(r)}
		if guess, err := model.GuessFamily(r.ATR); err == nil && len(r.ATR) > 0 {
			row.Family = guess.Name
		}
		rows = append(rows, row)
	}
	return con.print(rows, func(w io.Writer) error {
		if len(rows) == 0 {
			_, err := fmt.Fprintln(w, "no readers: connect one, or run `mcim emulate --private` for a virtual one")
			return err
		}
		return writeReaders(w, rows)
	})
}

// readerEvent is something that happened to a reader, in the output of --watch.
type readerEvent struct {
	Event  string `json:"event"` // as pcsc.EventKind tells it
	Reader string `json:"reader,omitempty"`
	ATR    string `json:"atr,omitempty"`
	Why    string `json:"why,omitempty"` // where the service is lost
}

// watchReaders prints what happens until ctx ends.
func watchReaders(con console, ctx context.Context) error {
	for e := range pcsc.Watch(ctx) {
		event := readerEvent{Event: e.Kind.String(), Reader: e.Reader, ATR: hex.EncodeToString(e.ATR)}
		if e.Err != nil {
			event.Why = e.Err.Error()
		}
		if err := con.print(event, event.writeText); err != nil {
			return err
		}
	}
	return nil
}

func (e readerEvent) writeText(w io.Writer) error {
	text := reporting.Hang(fmt.Sprintf("%-20s", e.Event), e.Reader+e.Why)
	if e.ATR != "" {
		text += fmt.Sprintf("%-20sATR %s\n", "", e.ATR)
	}
	_, err := io.WriteString(w, text)
	return err
}

// writeReaders writes the readers as a table, the ATR below its reader: both are
// too long for one line.
func writeReaders(w io.Writer, rows []readerRow) error {
	name, state := len("READER"), len("STATE")
	for _, r := range rows {
		name, state = max(name, utf8.RuneCountInString(r.Name)), max(state, len(r.State))
	}
	var b strings.Builder
	row := func(index, reader, condition, family string) {
		b.WriteString(strings.TrimRight(fmt.Sprintf("%-5s  %-*s  %-*s  %s", index, name, reader, state, condition, family), " ") + "\n")
	}
	row("INDEX", "READER", "STATE", "FAMILY")
	for _, r := range rows {
		row(strconv.Itoa(r.Index), r.Name, r.State, r.Family)
		if r.ATR != "" {
			b.WriteString("       ATR " + r.ATR + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func readerState(r pcsc.Reader) string {
	switch {
	case !r.Card:
		return "empty"
	case r.Mute:
		return "mute card"
	case r.Exclusive:
		return "card in exclusive use"
	case r.InUse:
		return "card in use"
	default:
		return "card"
	}
}
