package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/card"
	"mcim/card/aka"
	"mcim/card/device"
	"mcim/card/emul"
	"mcim/card/rehearse"
	reporting "mcim/hwtest/report"
)

type cardAuthCmd struct {
	Card    string   `help:"Card: pcsc:INDEX, pcsc:NAME, emul:usim, emul:IMAGE or replay:FILE." placeholder:"URI" default:"pcsc:0"`
	Context []string `help:"What to try: 3g, ims, gba, naf, local, suci, gsm or all." placeholder:"CONTEXT" default:"all" enum:"3g,ims,gba,naf,local,suci,gsm,all"`
	PINFile string   `name:"pin-file" help:"File with PIN1, where it is not that of the profile any more." placeholder:"FILE"`
	NAF     string   `name:"naf" help:"Domain name of the server whose key is derived." placeholder:"NAME"`
	SUCIKey string   `name:"suci-key" help:"File with the home network's private key for SUCIs: 64 hexadecimal digits." placeholder:"FILE"`
	DryRun  bool     `help:"Say what would be sent, and send nothing of it."`
	operatorKeys
}

// Help is the long help text.
func (cardAuthCmd) Help() string {
	return `Lets the card authenticate in each context and compares its answers with an authentication centre
made of the profile, or of a K in a TPM, where it stays (--tpm, with --pin-file; AMF is 8000). It
begins with a challenge that spends no sequence number: the card's AUTS proves K and OPc. Where
they do not fit, known mix-ups are tried (OP for OPc, bytes in reverse, another algorithm), and the
one that fits the card is named. No RES and no key is printed.

Contexts: 3g (EPS and 5G too), ims (on the ISIM), gba (bootstrapping), naf (a server's key), local
(local key), suci (GET IDENTITY), gsm (GSM context, and RUN GSM ALGORITHM). 3g, ims and gba spend
a sequence number each, so a card that is not the command's own needs --allow. gba overwrites the
card's last bootstrapping. Exit code 1: something failed.

Examples:
  mcim card auth --profile card.toml --allow 8999901000000000013
  mcim card auth --profile card.toml --context 3g,gsm --dry-run
  mcim card auth --card emul:card.img --profile card.toml --context suci --suci-key home.txt --json
  mcim card auth --allow 8999901000000000013 --pin-file pin.txt --tpm device:/dev/tpmrm0 \
    --tpm-key 0x81010010 --opc-file opc.txt --ek-roots makers.pem`
}

// Validate checks what kong cannot.
func (c *cardAuthCmd) Validate() error {
	switch err := c.validate(); {
	case err != nil:
		return err
	case !c.given():
		return errors.New("no keys to compare with: give --profile FILE, or --tpm URI for a K in a TPM")
	case c.TPM != "" && c.PINFile == "":
		return errors.New("--tpm has no PIN1: give it with --pin-file")
	}
	return nil
}

// authResult is what --json prints.
type authResult struct {
	*rehearse.Report
	Steps  []authStep `json:"steps"` // what was sent, or with --dry-run would be
	DryRun bool       `json:"dry_run,omitempty"`
}

type authStep struct {
	Command string `json:"command"`
	Context string `json:"context,omitempty"`
	File    string `json:"file,omitempty"`
	Length  int    `json:"length"` // bytes of data
}

// Run tries the card.
func (c *cardAuthCmd) Run(con console, ctx *contextHolder) error {
	config, iccid, pin, done, err := c.config(ctx)
	defer func() { _ = done() }()
	if err != nil {
		return err
	}
	open, err := device.Open(ctx, c.Card, 0)
	if err != nil {
		return imageError(err)
	}
	defer func() { _ = open.Close() }()
	config.Session = card.NewSession(open, card.Options{})
	atr, err := config.Session.Reset(ctx)
	if err != nil {
		return err
	}
	if c.Profile != "" {
		if err := c.sameCard(ctx, config.Session, iccid); err != nil {
			return err
		}
	}
	config.Guard = card.NewGuard(config.Session, card.GuardConfig{ATR: bytes.Clone(atr), Allow: c.Allow, Spare: open.Spare, DryRun: c.DryRun})
	result, err := c.rehearse(ctx, config, pin)
	switch {
	case err != nil && answered(err):
		return failing(err)
	case err != nil:
		return err
	}
	err = con.print(result, result.writeText)
	if err == nil && result.Failed() {
		err = failedError{errors.New("the card and the operator's keys do not agree")}
	}
	return err
}

// sameCard refuses a profile of another card, whose PIN would only cost a try.
func (c *cardAuthCmd) sameCard(ctx context.Context, s *card.Session, want string) error {
	have, err := s.ICCID(ctx)
	if err != nil {
		return fmt.Errorf("cannot tell which card this is: %w", err)
	}
	if have != want {
		return usage(fmt.Errorf("the card is %s, the profile is of card %s; nothing was sent: name the profile of this card", have, want))
	}
	return nil
}

// rehearse verifies PIN1 and tries the contexts.
func (c *cardAuthCmd) rehearse(ctx context.Context, config rehearse.Config, pin secret.Bytes) (authResult, error) {
	if err := config.Guard.MaySpend(ctx); err != nil {
		return authResult{}, err
	}
	if err := config.Guard.Verify(ctx, uicc.RefPIN1, pin); err != nil {
		return authResult{}, err
	}
	report, err := rehearse.Run(ctx, config, c.contexts())
	if err != nil {
		return authResult{}, err
	}
	result := authResult{Report: report, Steps: []authStep{}, DryRun: c.DryRun}
	for _, s := range config.Guard.Plan() {
		result.Steps = append(result.Steps, authStep{s.Command, s.Context, s.File, s.Length})
	}
	return result, nil
}

func (c *cardAuthCmd) contexts() []rehearse.Context {
	if slices.Contains(c.Context, "all") {
		return rehearse.Contexts()
	}
	var list []rehearse.Context
	for _, name := range c.Context {
		list = append(list, rehearse.Context(name))
	}
	return list
}

// config is what the files say, with the ICCID of the card that they are of (empty with
// --tpm) and its PIN1. done is to be called when the keys are no longer needed.
func (c *cardAuthCmd) config(ctx context.Context) (config rehearse.Config, iccid string, pin secret.Bytes, done func() error, err error) {
	done = func() error { return nil }
	if len(c.NAF) > maxName || strings.ContainsAny(c.NAF, " /:@") {
		return config, "", pin, done, usage(fmt.Errorf("--naf %q is no domain name", c.NAF))
	}
	config.NAF, config.Random = c.NAF, rand.Reader
	if c.SUCIKey != "" {
		config.HomeKey, err = codeFile{"--suci-key", c.SUCIKey}.read(privateKey)
	}
	if err == nil && c.PINFile != "" {
		pin, err = codeFile{flagPIN, c.PINFile}.read(uicc.PadPIN)
	}
	switch {
	case err != nil:
	case c.TPM != "":
		done, err = c.keysInTPM(ctx, &config)
	default:
		iccid, err = c.keysInProfile(&config, &pin)
	}
	return config, iccid, pin, done, err
}

// keysInTPM has the keys of the home operator run in the TPM.
func (c *cardAuthCmd) keysInTPM(ctx context.Context, config *rehearse.Config) (done func() error, err error) {
	m, done, err := c.inTPM(ctx)
	if err != nil {
		return done, err
	}
	config.AKA, config.GSM, config.AMF = m, aka.NewGSM(m), separated
	config.Candidates, err = rehearse.CandidatesOver(m)
	return done, err
}

// separated is the AMF that is good for EPS and 5G too (TS 33.102, annex H).
var separated = [2]byte{0x80, 0}

// keysInProfile takes the keys of the profile, and its PIN1 where no other was given.
func (c *cardAuthCmd) keysInProfile(config *rehearse.Config, pin *secret.Bytes) (iccid string, err error) {
	p, err := emul.ReadProfile(c.Profile)
	if err != nil {
		return "", imageError(err)
	}
	if pin.Len() == 0 {
		if *pin, err = uicc.PadPIN(string(p.PIN1.Reveal())); err != nil {
			return "", err
		}
	}
	if config.AKA, config.GSM, err = p.Functions(); err != nil {
		return "", usage(err)
	}
	config.AMF, config.Candidates = p.AMF, rehearse.Candidates(p)
	return p.ICCID, nil
}

const (
	maxName    = 128 // characters: NAF_ID and IMPI have to fit one command
	privateLen = 32
)

// privateKey reads a private key of either profile of TS 33.501, C.3.4.
func privateKey(text string) (secret.Bytes, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != privateLen {
		return secret.Bytes{}, errors.New("want 64 hexadecimal digits, the private key")
	}
	return secret.New(b), nil
}

// writeText writes a table, and below it what is behind what did not pass.
func (r authResult) writeText(w io.Writer) error {
	var b bytes.Buffer
	if r.DryRun {
		r.writeSteps(&b)
		_, err := w.Write(b.Bytes())
		return err
	}
	fmt.Fprintf(&b, "%s\n\n", r.Keys)
	t := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(t, "CONTEXT\tATTEMPT\tVERDICT\tTHE CARD ANSWERED")
	for _, o := range r.Outcomes {
		answered := o.Answered
		if answered == "" {
			answered = "-"
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", o.Context, o.Name, o.Verdict, answered)
	}
	_ = t.Flush()
	r.writeReasons(&b)
	fmt.Fprintf(&b, "\nchallenges sent: %d, sequence numbers spent: %d\n", r.Authentications, r.Spent)
	_, err := w.Write(b.Bytes())
	return err
}

// writeReasons writes what is behind each failure, and once each why others did not
// come to a verdict.
func (r authResult) writeReasons(b *bytes.Buffer) {
	names := map[string][]string{}
	var reasons []string
	for _, o := range r.Outcomes {
		switch o.Verdict {
		case rehearse.Pass:
		case rehearse.Fail:
			fmt.Fprintf(b, "\n%s: fail (%s)\n", o.Name, o.Clause)
			b.WriteString(reporting.Hang("  sent: ", o.Sent))
			b.WriteString(reporting.Hang("  expected: ", o.Expected))
			b.WriteString(reporting.Hang("  why: ", o.Why))
		default:
			key := string(o.Verdict) + ": " + o.Why
			if names[key] == nil {
				reasons = append(reasons, key)
			}
			names[key] = append(names[key], o.Name)
		}
	}
	for _, key := range reasons {
		fmt.Fprintf(b, "\n%s", reporting.Hang("", key))
		b.WriteString(reporting.Hang("  ", strings.Join(names[key], ", ")))
	}
}

func (r authResult) writeSteps(b *bytes.Buffer) {
	for _, s := range r.Steps {
		what := s.Command
		if s.Context != "" {
			what += " (" + s.Context + ")"
		}
		fmt.Fprintf(b, "%s, %d bytes: would be sent\n", what, s.Length)
	}
	b.WriteString("nothing sent\n")
}
