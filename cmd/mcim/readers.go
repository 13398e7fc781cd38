package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"text/tabwriter"

	"mcim/card/model"
	"mcim/card/pcsc"
)

type readersCmd struct{}

// Help is the long help text.
func (readersCmd) Help() string {
	return `INDEX is what --card pcsc:INDEX takes; FAMILY is what the answer to reset of the card lets guess.

Examples:
  mcim readers
  mcim readers --json`
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
func (readersCmd) Run(con console, ctx *contextHolder) error {
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
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(t, "INDEX\tREADER\tSTATE\tATR\tFAMILY")
		for _, r := range rows {
			_, _ = fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\n", r.Index, r.Name, r.State, r.ATR, r.Family)
		}
		return t.Flush()
	})
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
