package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"mcim/apdu"
	"mcim/card/device"
	"mcim/card/explain"
	"mcim/card/trace"
	reporting "mcim/hwtest/report"
)

type traceCmd struct {
	Show    traceShowCmd    `cmd:"" help:"List what is in a trace: a line for each APDU, reset and TPM command."`
	Explain traceExplainCmd `cmd:"" help:"Say in words what each APDU of a trace asks and what the card answers."`
	Replay  traceReplayCmd  `cmd:"" help:"Send a trace to a card and show the first byte that differs."`
}

type traceShowCmd struct {
	File      string `arg:"" help:"Trace, as trace.jsonl of mcim demo." placeholder:"FILE"`
	Kind      string `help:"Only these: apdu, reset or tpm." enum:"apdu,reset,tpm," default:"" placeholder:"KIND"`
	Procedure string `help:"Only what belongs to this procedure, as P8c." placeholder:"NAME"`
}

// Help is the long help text.
func (traceShowCmd) Help() string {
	return `N counts the lines, TIME is that of the first byte in UTC, BYTES are those of command and
response, US the microseconds until the answer.

Examples:
  mcim trace show demo/trace.jsonl
  mcim trace show demo/trace.jsonl --kind tpm --procedure P8c --json`
}

// traceRow is a line of the table.
type traceRow struct {
	N         int       `json:"n"`
	Time      time.Time `json:"time"`
	Kind      string    `json:"kind"`
	Procedure string    `json:"procedure,omitempty"`
	Step      string    `json:"step,omitempty"`
	Name      string    `json:"name"`
	Status    string    `json:"status"`
	Bytes     int       `json:"bytes"`
	Micros    int64     `json:"us"`
}

// Run prints the table.
func (c *traceShowCmd) Run(con console) error {
	rec, err := readTrace(c.File)
	if err != nil {
		return err
	}
	rows := []traceRow{}
	for _, l := range rec.Lines {
		if (c.Kind == "" || c.Kind == l.Kind) && (c.Procedure == "" || c.Procedure == l.Procedure) {
			rows = append(rows, rowOf(l))
		}
	}
	return con.print(rows, func(w io.Writer) error {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		_, _ = fmt.Fprintln(t, "N\tTIME\tSTATUS\tBYTES\tUS\t  NAME")
		for _, r := range rows {
			_, _ = fmt.Fprintf(t, "%d\t%s\t%s\t%d\t%d\t  %s\n", r.N, r.Time.UTC().Format("15:04:05.000"), r.Status, r.Bytes, r.Micros, shortened(r.Name))
		}
		return t.Flush()
	})
}

// shortened is a name of the table, that of a long path cut.
func shortened(name string) string {
	const most = 48
	if len(name) <= most {
		return name
	}
	return name[:most-3] + "..."
}

func rowOf(l trace.Line) traceRow {
	r := traceRow{
		N: l.N, Time: l.Time, Kind: l.Kind, Procedure: l.Procedure, Step: l.Step, Name: l.Name,
		Bytes: len(l.Command) + len(l.Response) + len(l.ATR) + l.RequestBytes + l.ResponseBytes, Micros: l.Duration.Microseconds(),
	}
	response, err := apdu.ParseResponse(l.Response)
	switch {
	case l.Err != nil:
		r.Status = "error"
	case l.Kind == "tpm":
		r.Status = l.RC
	case l.Kind == "reset":
		r.Status = "ATR"
	case err == nil:
		r.Status = response.SW.String()
	}
	return r
}

type traceExplainCmd struct {
	File string `arg:"" help:"Trace, as trace.jsonl of mcim demo." placeholder:"FILE"`
}

// Help is the long help text.
func (traceExplainCmd) Help() string {
	return `Names the file that each command means, decodes parameters, contents and data objects, and tells
what the status word says. Secret bytes are not in a trace, and only counted.

Examples:
  mcim trace explain demo/trace.jsonl
  mcim trace explain demo/trace.jsonl --json`
}

// explained is an exchange with its bytes and their explanation.
type explained struct {
	N        int    `json:"n"`
	APDU     string `json:"command_apdu,omitempty"`
	Response string `json:"response_apdu,omitempty"`
	explain.Explanation
}

// Run prints the explanations.
func (c *traceExplainCmd) Run(con console) error {
	rec, err := readTrace(c.File)
	if err != nil {
		return err
	}
	list := []explained{}
	var reader explain.Reader
	for _, l := range rec.Lines {
		switch l.Kind {
		case "apdu":
			list = append(list, explainOne(&reader, l.N, l.Exchange))
		case "reset":
			reader.Reset()
			list = append(list, explained{N: l.N, Explanation: explain.ATR(l.ATR, l.Err)})
		}
	}
	return con.print(list, func(w io.Writer) error {
		for _, x := range list {
			x.write(w)
		}
		return nil
	})
}

func explainOne(r *explain.Reader, n int, e trace.Exchange) explained {
	return explained{n, fmt.Sprintf("%x", e.Command), fmt.Sprintf("%x", e.Response), r.Explain(e)}
}

// write writes a few lines: what was asked, what came.
func (x explained) write(w io.Writer) {
	say := func(prefix, text string) { _, _ = io.WriteString(w, reporting.Hang(prefix, foldable(text))) }
	say(fmt.Sprintf("%5d ", x.N), x.Command)
	if x.APDU != "" {
		say("      >>> ", x.APDU)
	}
	for _, s := range x.Sent {
		say("          ", s)
	}
	if x.Response != "" {
		say("      <<< ", x.Response)
	}
	for _, s := range x.Answer {
		say("          ", s)
	}
	say("          ", x.Status)
}

// foldable is text in which words that no line has room for are cut.
func foldable(text string) string {
	const room = 80
	words := strings.Fields(text)
	for i, word := range words {
		var parts []string
		for ; len(word) > room; word = word[room:] {
			parts = append(parts, word[:room])
		}
		words[i] = strings.Join(append(parts, word), " ")
	}
	return strings.Join(words, " ")
}

type traceReplayCmd struct {
	File string `arg:"" help:"Trace, as trace.jsonl of mcim demo." placeholder:"FILE"`
	Card string `help:"Card to send it to: pcsc:INDEX, pcsc:NAME, emul:usim, emul:IMAGE or replay:FILE. Without it the file is checked alone." placeholder:"URI"`
}

// Help is the long help text.
func (traceReplayCmd) Help() string {
	return `Sends the recorded commands and resets in their order and compares each answer, but for bytes that
are secret and not in the file. Exit code 1 tells that an answer differs. Commands with secret
bytes, as VERIFY, are not sent; what depends on them may differ. A trace with commands that write
or spend (VERIFY, UPDATE, AUTHENTICATE) is refused on a card in a reader: replay it to emul: or
replay: instead. Two traces are compared by --card replay:FILE.

Examples:
  mcim trace replay session.jsonl
  mcim trace replay session.jsonl --card emul:card.img
  mcim trace replay session.jsonl --card replay:other.jsonl --json`
}

// replayResult is the outcome of a replay.
type replayResult struct {
	trace.Replayed
	Equal      bool   `json:"equal"`
	Difference string `json:"difference,omitempty"`
	Line       int    `json:"line,omitempty"`   // of the file
	Offset     int    `json:"offset,omitempty"` // of the byte in the message
}

// Run replays the trace.
func (c *traceReplayCmd) Run(con console, ctx *contextHolder) error {
	rec, err := readTrace(c.File)
	if err != nil {
		return err
	}
	open := &device.Card{Card: rec.Cassette()}
	if c.Card != "" {
		if open, err = device.Open(ctx, c.Card, 0); err != nil {
			return imageError(err)
		}
	}
	defer func() { _ = open.Close() }()
	done, err := rec.Replay(ctx, open.Card, open.Real)
	result := replayResult{Replayed: done, Equal: err == nil}
	var different *trace.DifferenceError
	switch {
	case errors.Is(err, trace.ErrSpends):
		return usage(err)
	case errors.As(err, &different):
		result.Difference, result.Line, result.Offset = different.Error(), different.Line, different.Offset
		err = errFailed
	}
	return errors.Join(con.print(result, result.write), err)
}

func (r replayResult) write(w io.Writer) error {
	verdict := "every answer is as recorded"
	switch {
	case r.Difference != "":
		verdict = "the first difference: " + r.Difference
	case !r.Equal:
		verdict = "broken off"
	}
	_, err := fmt.Fprintf(w, "%d commands and %d resets compared, %d left out; %d answers have secret bytes\n%s",
		r.Commands, r.Resets, r.Withheld, r.Hidden, reporting.Hang("", verdict))
	return err
}

func readTrace(path string) (*trace.Recording, error) {
	rec, err := trace.ReadFile(path)
	return rec, imageError(err)
}
