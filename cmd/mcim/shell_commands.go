package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"mcim/apdu/ef"
	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/card"
	"mcim/card/explain"
	reporting "mcim/hwtest/report"
)

// where is what select, pwd and status print.
type where struct {
	Path   string   `json:"path"`
	Answer []string `json:"answer,omitempty"` // of the card, in words
}

func (p where) writeText(w io.Writer) error {
	text := p.Path + "\n"
	for _, line := range p.Answer {
		text += reporting.Hang("  ", foldable(line))
	}
	_, err := io.WriteString(w, text)
	return err
}

// here prints where the card is, with its last answer where that is asked for.
func (s *shell) here(con console, answer bool) error {
	p := where{Path: s.reader.Place().String()}
	if answer {
		p.Answer = s.last.Answer
	}
	return con.print(p, p.writeText)
}

type shellSelectCmd struct {
	Where string `arg:"" help:"Name (EF.IMSI), path (ADF.USIM/EF.IMSI, 3F00/2FE2), file identifier, AID, or .. for the parent." placeholder:"WHERE"`
}

// Help is the long help text.
func (shellSelectCmd) Help() string {
	return `A name is looked for in the current directory first. ADF.USIM and ADF.ISIM are found in EF.DIR.

Examples:
  > select EF.ICCID
  > select ADF.USIM
  > select 7FFF/6F07`
}

// Run selects.
func (c *shellSelectCmd) Run(con console, ctx *contextHolder) error {
	s := ctx.shell
	if err := s.selects(ctx, c.Where); err != nil {
		return cardError(err)
	}
	return s.here(con, true)
}

// cardError tells what the card refuses from a card that is lost.
func cardError(err error) error {
	if err != nil && answered(err) {
		return failedError{err}
	}
	return err
}

type shellReadCmd struct {
	Record int `arg:"" optional:"" help:"Number of the record, from 1; without it all are read." placeholder:"N"`
}

// Help is the long help text.
func (shellReadCmd) Help() string {
	return `Reads a transparent file whole, and of one with records all or one. Keys are not shown.

Examples:
  > read
  > read 2`
}

// content is a file, or one record of it.
type content struct {
	Record  int             `json:"record,omitempty"`
	Raw     string          `json:"raw,omitempty"` // hexadecimal; not that of keys
	Decoded json.RawMessage `json:"decoded,omitempty"`
	Error   string          `json:"error,omitempty"` // why it is not decoded
}

// fileContent is what read prints.
type fileContent struct {
	Path    string    `json:"path"`
	Content []content `json:"content"`
}

func (f fileContent) writeText(w io.Writer) error {
	var b strings.Builder
	b.WriteString(f.Path + "\n")
	for _, c := range f.Content {
		prefix := "  "
		if c.Record > 0 {
			prefix = fmt.Sprintf("  %3d  ", c.Record)
		}
		for _, text := range []string{c.Raw, string(c.Decoded), c.Error} {
			if text != "" {
				b.WriteString(reporting.Hang(prefix, foldable(text)))
				prefix = strings.Repeat(" ", len(prefix))
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Run reads the file.
func (c *shellReadCmd) Run(con console, ctx *contextHolder) error {
	s := ctx.shell
	at := s.reader.Place()
	if at.FID == 0 {
		return usage(errors.New("no file is selected: select one first"))
	}
	f := fileContent{Path: at.String()}
	records, fcp, err := s.read(ctx, at.FID, c.Record)
	if err != nil {
		return cardError(err)
	}
	for i, b := range records {
		one := decoded(at.File, b)
		if fcp.Descriptor.Type.HasRecords() {
			one.Record = max(c.Record, i+1)
		}
		f.Content = append(f.Content, one)
	}
	return con.print(f, f.writeText)
}

func decoded(f *ef.File, b []byte) content {
	if f == nil {
		return content{Raw: hex.EncodeToString(b)}
	}
	var c content
	if !f.Secret {
		c.Raw = hex.EncodeToString(b)
	}
	v, err := f.Decode(b)
	if err == nil && v != nil {
		c.Decoded, err = json.Marshal(v)
	}
	switch {
	case err != nil:
		c.Error = err.Error()
	case v == nil:
		c.Error = "not in use: all FF"
	}
	return c
}

type shellListCmd struct{}

// Help is the long help text.
func (shellListCmd) Help() string {
	return `Asks for each file that mcim knows in this directory. What was selected is selected again.

Examples:
  > ls`
}

// Run lists.
func (shellListCmd) Run(con console, ctx *contextHolder) error {
	list, err := ctx.shell.list(ctx)
	if err != nil {
		return cardError(err)
	}
	return con.print(list, func(w io.Writer) error {
		for _, f := range list {
			if _, err := fmt.Fprintf(w, "%-22s %s  %s\n", f.Name, f.FID, f.What); err != nil {
				return err
			}
		}
		return nil
	})
}

type shellPlaceCmd struct{}

// Help is the long help text.
func (shellPlaceCmd) Help() string {
	return `Nothing is sent.

Examples:
  > pwd`
}

// Run prints the place.
func (shellPlaceCmd) Run(con console, ctx *contextHolder) error { return ctx.shell.here(con, false) }

type shellStatusCmd struct{}

// Help is the long help text.
func (shellStatusCmd) Help() string {
	return `Sends STATUS. The PINs are shown with their tries by pin status.

Examples:
  > status`
}

// Run asks.
func (shellStatusCmd) Run(con console, ctx *contextHolder) error {
	if _, err := ctx.shell.session.Do(ctx, uicc.Status{}.Command()); err != nil {
		return cardError(err)
	}
	return ctx.shell.here(con, true)
}

type shellVerifyCmd struct {
	Key          string `arg:"" help:"Which one: pin1, universal, pin2, adm1 to adm10." placeholder:"KEY" enum:"pin1,universal,pin2,adm1,adm2,adm3,adm4,adm5,adm6,adm7,adm8,adm9,adm10"`
	Hex          bool   `help:"Of an ADM: it is given in hexadecimal, 16 digits." xor:"form"`
	Text         bool   `help:"Of an ADM: it is given in text, 8 characters." xor:"form"`
	CodeFile     string `name:"code-file" help:"File with the code, where nobody can be asked." placeholder:"FILE"`
	SpendLastTry string `name:"spend-last-try" help:"Let the last try be spent on the card with this ICCID, or one that the card does not tell." placeholder:"ICCID"`
}

// Help is the long help text.
func (shellVerifyCmd) Help() string {
	return `The retry counter is read first: with fewer than 2 tries, or a counter that the card does not tell,
nothing is sent without --spend-last-try. An empty code sends nothing. What was verified holds until
the next reset. The application of pin2 and universal is selected.

Examples:
  > verify pin1
  > verify adm1 --hex`
}

// Run verifies.
func (c *shellVerifyCmd) Run(con console, ctx *contextHolder) error {
	target := pinTarget{Key: c.Key}
	if target.isADM() != (c.Hex || c.Text) {
		return usage(errors.New("an ADM is given in hexadecimal or in text, and a PIN in neither: verify adm1 --hex, verify pin1"))
	}
	code, err := c.code(ctx.shell)
	if err != nil {
		return err
	}
	s := ctx.shell
	guard := card.NewGuard(s.session, card.GuardConfig{ATR: s.atr, Allow: s.command.Allow, Spare: s.open.Spare, SpendLastTry: c.SpendLastTry, Refused: s.refused})
	if err := guard.SelectFor(ctx, target.ref()); err != nil {
		return cardError(err)
	}
	if err := guard.Verify(ctx, target.ref(), code); err != nil {
		if answered(err) {
			return failing(err)
		}
		return err
	}
	s.verified = true
	text := c.Key + " is verified"
	return con.print(map[string]string{"verified": c.Key}, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, text)
		return err
	})
}

// code asks for the code, or reads it from the file.
func (c *shellVerifyCmd) code(s *shell) (secret.Bytes, error) {
	encode := uicc.PadPIN
	switch {
	case c.Hex:
		encode = uicc.ADMHex
	case c.Text:
		encode = uicc.ADMText
	}
	switch {
	case c.CodeFile != "":
		return codeFile{"--code-file", c.CodeFile}.read(encode)
	case s.ask == nil:
		return secret.Bytes{}, usage(errors.New("there is no terminal to ask for the code: give --code-file FILE"))
	}
	text, err := s.ask(c.Key + ": ")
	if err != nil {
		return secret.Bytes{}, err
	}
	if text == "" {
		return secret.Bytes{}, usage(errors.New("no code was given, and nothing was sent"))
	}
	code, err := encode(text)
	if err != nil {
		return code, usage(fmt.Errorf("%w; it has %d characters", err, len(text)))
	}
	return code, nil
}

type shellResetCmd struct{}

// Help is the long help text.
func (shellResetCmd) Help() string {
	return `Nothing is selected or verified afterwards.

Examples:
  > reset`
}

// Run resets.
func (shellResetCmd) Run(con console, ctx *contextHolder) error {
	s := ctx.shell
	if err := s.reset(ctx); err != nil {
		return err
	}
	x := explained{Explanation: explain.ATR(s.atr, nil)}
	return con.print(where{Path: "MF", Answer: x.Answer}, where{Path: "MF", Answer: x.Answer}.writeText)
}

type shellHelpCmd struct {
	Command []string `arg:"" optional:"" help:"Command." placeholder:"COMMAND"`
}

// Help is the long help text.
func (shellHelpCmd) Help() string {
	return `The same as COMMAND -h.

Examples:
  > help
  > help select`
}

// Run helps.
func (c *shellHelpCmd) Run(con console, ctx *contextHolder) error {
	g, err := ctx.shell.grammar(con)
	if err != nil {
		return err
	}
	if code := g.run(ctx, con, append(c.Command, "-h")); code != exitPass {
		return exitError{errors.New("no such command"), code}
	}
	return nil
}

type shellQuitCmd struct{}

// Help is the long help text.
func (shellQuitCmd) Help() string {
	return `As Ctrl-D does.

Examples:
  > quit`
}

// Run ends.
func (shellQuitCmd) Run(ctx *contextHolder) error {
	ctx.shell.quit = true
	return nil
}
