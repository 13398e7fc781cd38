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
	"mcim/card/change"
	"mcim/card/device"
	"mcim/hwtest/report"
)

// changeCodes are the flags that give the rights for changes.
type changeCodes struct {
	PINFile     string `name:"pin-file" help:"File whose first line is PIN1." placeholder:"FILE"`
	ADMHexFile  string `name:"adm-hex-file" help:"File with the ADM of the card's model in hexadecimal: 16 digits." placeholder:"FILE" xor:"code"`
	ADMTextFile string `name:"adm-text-file" help:"File with the ADM of the card's model in text: 8 characters." placeholder:"FILE" xor:"code"`
}

// options reads the files that the flags name.
func (c *changeCodes) options() (o change.Options, err error) {
	if o.PIN1, err = readPIN(c.PINFile); err != nil {
		return o, err
	}
	o.ADM, err = c.adm()
	return o, err
}

func (c *changeCodes) adm() (secret.Bytes, error) {
	switch {
	case c.ADMHexFile != "":
		return codeFile{flagADMHex, c.ADMHexFile}.read(uicc.ADMHex)
	case c.ADMTextFile != "":
		return codeFile{flagADMText, c.ADMTextFile}.read(uicc.ADMText)
	}
	return secret.Bytes{}, nil
}

type cardPlanCmd struct {
	Changes string `arg:"" help:"What files shall have: a dump that was edited, whole or only the files that are meant."`
	Card    string `help:"Card: pcsc:INDEX, pcsc:NAME, emul:usim, emul:IMAGE or replay:FILE." placeholder:"URI" default:"pcsc:0"`
	changeCodes
}

// Help is the long help text.
func (cardPlanCmd) Help() string {
	return `Shows which bytes and values "mcim card apply" would change, which right each change needs and
whether it is there. Nothing is written. Exit code 0: all of it can be done, or there is nothing to
do; 1: it cannot, for the reasons that are shown.

The document has the shape of a dump ("mcim card dump", kept with "> card.json"), whole or with some
files. Of a file, edit "decoded" or the bytes ("raw", "records"): the one that differs from the card
counts. "[redacted]" leaves a value as it is; a file with "error" is left alone. A file may have
"record" (a number from 1) with "raw" or "decoded" of that one record, or "offset" with "raw" of a
part. EF.ICCID, EF.ARR, cyclic files and key files of the card's maker are not changed.

Examples:
  mcim card plan card.json --pin-file pin.txt
  mcim card plan card.json --pin-file pin.txt --adm-hex-file adm.txt --json`
}

// Run makes the plan and shows it.
func (c *cardPlanCmd) Run(con console, ctx *contextHolder) error {
	doc, err := readChanges(c.Changes)
	if err != nil {
		return err
	}
	o, err := c.options()
	if err != nil {
		return err
	}
	return showPlan(con, ctx, c.Card, doc, o)
}

// showPlan reads the card and prints what a document changes of it.
func showPlan(con console, ctx context.Context, uri string, doc change.Document, o change.Options) error {
	open, err := device.Open(ctx, uri, 0)
	if err != nil {
		return imageError(err)
	}
	defer func() { _ = open.Close() }()
	plan, err := change.Make(ctx, open, doc, o)
	if err != nil {
		return changeError(err)
	}
	if err := con.print(plan, func(w io.Writer) error { return writePlan(w, plan, true) }); err != nil {
		return err
	}
	if !plan.Feasible {
		return errFailed
	}
	return nil
}

// readChanges reads a document of changes.
func readChanges(file string) (change.Document, error) {
	f, err := os.Open(file)
	if err != nil {
		return change.Document{}, imageError(err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, change.MaxDocument+1))
	if err != nil {
		return change.Document{}, imageError(err)
	}
	doc, err := change.Parse(b)
	if err != nil {
		return change.Document{}, usage(fmt.Errorf("%s: %w; `mcim card dump` makes one to edit", file, err))
	}
	return doc, nil
}

// changeError is the error of a card that could not be read for a change.
func changeError(err error) error {
	switch {
	case errors.Is(err, card.ErrWrongPIN):
		return failing(fmt.Errorf("%w; check the file with the code before another try is spent", err))
	case answered(err):
		return failing(err)
	}
	return err
}

// writePlan writes the changes, what is in their way, and a line that sums up.
func writePlan(w io.Writer, p change.Plan, dry bool) error {
	var b strings.Builder
	if p.ICCID != "" {
		b.WriteString("card " + p.ICCID + "\n")
	}
	bytes := 0
	for _, c := range p.Changes {
		bytes += c.Length
		writeChange(&b, c)
	}
	for _, n := range p.Problems {
		where := strings.TrimSpace(n.Path + recordText(n.Record))
		if where != "" {
			where += ": "
		}
		b.WriteString(report.Hang("not possible: ", where+n.Why))
	}
	for _, right := range p.Needs {
		b.WriteString(report.Hang("needs ", right+": give it by "+rightFlags(right)))
	}
	b.WriteString(report.Hang("", fmt.Sprintf("%s, %s; %d as the document says, %d left alone",
		count(len(p.Changes), "write"), count(bytes, "byte"), p.Unchanged, len(p.LeftAlone))))
	if dry {
		b.WriteString("nothing written\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func recordText(record int) string {
	if record == 0 {
		return ""
	}
	return fmt.Sprintf(" record %d", record)
}

func writeChange(b *strings.Builder, c change.Change) {
	where := fmt.Sprintf("bytes %d to %d", c.Offset, c.Offset+c.Length-1)
	switch {
	case c.Record > 0:
		where = fmt.Sprintf("record %d, %s", c.Record, count(c.Length, "byte"))
	case c.Length == 1:
		where = fmt.Sprintf("byte %d", c.Offset)
	}
	b.WriteString(report.Hang(c.Path+"  ", where+"; "+rightText(c)))
	for _, s := range c.Bytes {
		b.WriteString(report.Hang(fmt.Sprintf("  byte %d  ", s.Offset), shown(s.Old)+" -> "+shown(s.New)))
	}
	for _, f := range c.Fields {
		b.WriteString(report.Hang("  "+f.Name+"  ", shown(f.Old)+" -> "+shown(f.New)))
	}
}

func rightText(c change.Change) string {
	switch {
	case c.RightNow && c.Right == "always":
		return "needs no right"
	case c.RightNow:
		return "needs " + c.Right + ", which is there"
	case c.Right == "unknown":
		return "which right it needs is not known"
	}
	return "needs " + c.Right
}

// rightFlags names the flags that give a right.
func rightFlags(right string) string {
	var flags []string
	if strings.Contains(right, "PIN1") || strings.Contains(right, "universal") {
		flags = append(flags, flagPIN)
	}
	if strings.Contains(right, "ADM") {
		flags = append(flags, flagADMHex, flagADMText)
	}
	return strings.Join(flags, " or ")
}
