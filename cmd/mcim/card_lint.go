package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"mcim/card"
	"mcim/card/device"
	"mcim/card/emul"
	"mcim/card/lint"
	"mcim/hwtest/report"
)

type cardLintCmd struct {
	Dump    string   `arg:"" optional:"" help:"A dump (mcim card dump) to judge in the place of a card."`
	Card    string   `help:"Card: pcsc:INDEX, pcsc:NAME, emul:usim, emul:IMAGE or replay:FILE." placeholder:"URI" default:"pcsc:0"`
	PINFile string   `name:"pin-file" help:"File whose first line is PIN1, for what needs it." placeholder:"FILE"`
	Rule    []string `help:"Judge this rule alone; may be given again." placeholder:"ID"`
	List    bool     `help:"Print all rules with their clauses, and read no card."`
	operatorKeys
}

// Help is the long help text.
func (cardLintCmd) Help() string {
	return `Answers why a card does not register: judges files, services, access rules and PIN states by
rules, and says for each finding how bad it is, by which clause, and what to change. Nothing is
written. A rule that needs what cannot be read is "not judged", with the reason; without --pin-file
those are most. PIN1 is verified if two tries or more are left.

With --profile the card gets a challenge of these keys with sequence number 0, which spends none:
its answer proves K and OPc, and tells its SQN, which is compared with "sqn" of the profile. It has
to be named with --allow; a software card need not. --tpm has the same done with a K that is in a
TPM, and stays there; the SQN is not compared then.

Exit code 0: no finding is an error (there may be warnings); 1: one is.

Examples:
  mcim card lint --pin-file pin.txt
  mcim card lint --profile card.toml --allow 8999901000000000013 --json
  mcim card lint dump.json
  mcim card lint --rule acc-imsi --rule ad-mnc-length --pin-file pin.txt
  mcim card lint --list`
}

// Validate checks what kong cannot.
func (c *cardLintCmd) Validate() error {
	if c.Dump != "" && (c.PINFile != "" || c.given() || c.Allow != nil) {
		return fmt.Errorf("%s is a dump: --pin-file, --profile, --tpm and --allow are for a card", c.Dump)
	}
	if err := c.validate(); err != nil {
		return err
	}
	_, err := c.rules()
	return err
}

// rules are those that --rule names, or all.
func (c *cardLintCmd) rules() ([]lint.Rule, error) {
	all := lint.Rules()
	if len(c.Rule) == 0 {
		return all, nil
	}
	for _, id := range c.Rule {
		if !slices.ContainsFunc(all, func(r lint.Rule) bool { return r.ID == id }) {
			return nil, fmt.Errorf("there is no rule %q; mcim card lint --list names all", id)
		}
	}
	return slices.DeleteFunc(all, func(r lint.Rule) bool { return !slices.Contains(c.Rule, r.ID) }), nil
}

// Run judges.
func (c *cardLintCmd) Run(con console, ctx *contextHolder) error {
	rules, err := c.rules()
	if err != nil {
		return usage(err)
	}
	if c.List {
		return con.print(rules, func(w io.Writer) error { return writeRules(w, rules) })
	}
	subject, err := c.subject(ctx)
	if err != nil {
		return err
	}
	result := lint.Judge(subject, rules)
	if err := con.print(result, func(w io.Writer) error { return writeLint(w, result, subject) }); err != nil {
		return err
	}
	if result.Errors > 0 {
		return errFailed
	}
	return nil
}

// subject reads the dump or the card.
func (c *cardLintCmd) subject(ctx context.Context) (lint.Subject, error) {
	if c.Dump != "" {
		doc, err := dumpOf(ctx, c.Dump, "")
		return lint.Subject{Document: doc}, err
	}
	pin, err := readPIN(c.PINFile)
	if err != nil {
		return lint.Subject{}, err
	}
	var operator *lint.Operator
	var own emul.Profile
	if c.given() {
		var done func() error
		own, operator, done, err = c.operator(ctx, pin)
		defer func() { _ = done() }()
		if err != nil {
			return lint.Subject{}, err
		}
	}
	open, err := device.Open(ctx, c.Card, 0)
	if err != nil {
		return lint.Subject{}, imageError(err)
	}
	defer func() { _ = open.Close() }()
	if pin.Len() == 0 && c.Profile != "" {
		if err := belongs(ctx, open, own); err != nil {
			return lint.Subject{}, err
		}
		pin = operator.PIN1
	}
	s, err := lint.Read(ctx, open, lint.Options{PIN1: pin})
	if err == nil && operator != nil {
		operator.Spare = open.Spare
		s.AKA, err = lint.Rehearse(ctx, open, s, *operator, card.Options{})
	}
	if errors.Is(err, card.ErrWrongPIN) {
		err = usage(fmt.Errorf("%w; check PIN1 in %s before another try is spent", err, cmp.Or(c.PINFile, c.Profile)))
	}
	return s, err
}

// belongs makes sure that the profile is of this card before its PIN is presented.
func belongs(ctx context.Context, c card.Card, p emul.Profile) error {
	session := card.NewSession(c, card.Options{})
	if _, err := session.Reset(ctx); err != nil {
		return err
	}
	iccid, err := session.ICCID(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("cannot tell whether the profile is of this card, and its PIN is not presented; give --pin-file: %w", err)
	case iccid != p.ICCID:
		return usage(fmt.Errorf("the profile is of card %s, and this is %s: its PIN is not presented; give --pin-file if its keys are meant all the same", p.ICCID, iccid))
	}
	return nil
}

// writeRules writes all rules.
func writeRules(w io.Writer, rules []lint.Rule) error {
	var b strings.Builder
	for _, r := range rules {
		fmt.Fprintf(&b, "%-8s %s  (%s)\n", r.Severity, r.ID, r.Clause)
		b.WriteString(report.Hang("         ", r.What))
	}
	fmt.Fprintf(&b, "%s\n", plural(len(rules), "rule"))
	_, err := io.WriteString(w, b.String())
	return err
}

// writeLint writes the findings, what was not judged, and the counts.
func writeLint(w io.Writer, r lint.Report, s lint.Subject) error {
	var b strings.Builder
	b.WriteString(report.Hang("card ", cmp.Or(r.ICCID, "of unknown ICCID")+pinLine(s)))
	for _, f := range r.Findings {
		where := f.Found
		if f.Path != "" {
			where = f.Path + ": " + f.Found
		}
		fmt.Fprintf(&b, "\n%-8s %s  (%s)\n", f.Severity, f.Rule, f.Clause)
		b.WriteString(report.Hang("         found: ", where))
		b.WriteString(report.Hang("         why:   ", whatOf(f.Rule)))
		b.WriteString(report.Hang("         try:   ", f.Remedy))
	}
	writeUnjudged(&b, r)
	fmt.Fprintf(&b, "\n%s, %s, %s; %s judged, %d not judged, %d not for this card; %d APDUs\n", plural(r.Errors, "error"),
		plural(r.Warnings, "warning"), plural(r.Infos, "info"), plural(r.Judged, "rule"), len(r.NotJudged), len(r.NotApplicable), r.APDUs)
	_, err := io.WriteString(w, b.String())
	return err
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

func whatOf(id string) string {
	rules := lint.Rules()
	return rules[slices.IndexFunc(rules, func(r lint.Rule) bool { return r.ID == id })].What
}

// pinLine says how PIN1 is, and why it was not verified though it was given.
func pinLine(s lint.Subject) string {
	if s.Probe == nil {
		return ", as a dump has it"
	}
	line := ""
	for _, p := range s.Probe.PINs {
		line += "; " + p.Name + " " + state(p)
		if p.Tries != nil {
			line += ", tries left: " + number(p.Tries)
		}
	}
	if s.Probe.PIN1 != "" {
		line += "; it was not verified: " + s.Probe.PIN1
	}
	return line
}

// writeUnjudged writes for each reason the rules that could not be judged for it. The
// files behind a reason are in the document of --json.
func writeUnjudged(b *strings.Builder, r lint.Report) {
	var reasons []string
	rules := map[string][]string{}
	for _, n := range r.NotJudged {
		for _, why := range n.Reasons {
			if path, rest, found := strings.Cut(why, ": "); found && strings.Contains(path, "/") {
				why = rest
			}
			if rules[why] == nil {
				reasons = append(reasons, why)
			}
			if !slices.Contains(rules[why], n.Rule) {
				rules[why] = append(rules[why], n.Rule)
			}
		}
	}
	for _, why := range reasons {
		b.WriteString("\n" + report.Hang("not judged: ", why))
		b.WriteString(report.Hang("            ", strings.Join(rules[why], ", ")))
	}
}
