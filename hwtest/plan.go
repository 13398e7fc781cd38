package hwtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"mcim/card"
	"mcim/card/device"
	"mcim/flows/m2me"
	"mcim/flows/world"
	"mcim/tpm"
)

// Plan is what a run would do and spend, found out without writing or spending.
type Plan struct {
	Cases  []PlannedCase `json:"cases"`
	Total  world.Spend   `json:"total"`
	Card   *facts        `json:"card,omitempty"`   // that was named
	Writes []PlannedStep `json:"writes,omitempty"` // to it, in P8c
	TPM    *PlannedTPM   `json:"tpm,omitempty"`    // that was named
	// Needs is what a run would still refuse for.
	Needs []string `json:"needs"`
}

// PlannedCase is a case and the most that it would spend.
type PlannedCase struct {
	ID     string      `json:"id"`
	Title  string      `json:"title"`
	Spends world.Spend `json:"spends"`
}

// PlannedStep is a command to the card that would write or spend.
type PlannedStep struct {
	Command string `json:"command"`
	File    string `json:"file,omitempty"`
	Length  int    `json:"length"` // bytes
	Right   string `json:"right,omitempty"`
	Proof   string `json:"proof,omitempty"`
}

// PlannedTPM is a TPM as it is, and what of it would be used.
type PlannedTPM struct {
	URI      string   `json:"uri"`
	Maker    string   `json:"maker"`
	Firmware string   `json:"firmware"`
	Range    string   `json:"range"`
	EKs      []string `json:"eks"` // what --take-ownership would name
}

// Plan looks at the hardware that Lab names, and sends it nothing that writes or
// spends. What it finds wrong is in Needs; the error is that of a device that
// cannot be reached, or of a card that no model fits.
func (r *Runner) Plan(ctx context.Context) (*Plan, error) {
	p := &Plan{Needs: []string{}}
	cases := r.Cases
	if cases == nil {
		cases = Suite()
	}
	for _, c := range cases {
		spends := c.Spends.Plus((&run{lab: r.Lab, temporary: r.Lab.Dir == ""}).frees(c))
		p.Cases = append(p.Cases, PlannedCase{c.ID, c.Title, spends})
		p.Total = p.Total.Plus(spends)
	}
	if r.Budget != nil && !p.Total.Within(*r.Budget) {
		p.Needs = append(p.Needs, fmt.Sprintf("a larger budget than %s", *r.Budget))
	}
	return p, errors.Join(p.card(ctx, r.Lab), p.tpm(ctx, r.Lab))
}

// card plans what would be written to a named card.
func (p *Plan) card(ctx context.Context, c world.Config) error {
	if c.Card == "" {
		return nil
	}
	f, err := lookAtCard(ctx, c.Card)
	if err != nil {
		return err
	}
	if p.Card = &f; f.Model == "" {
		return f.unknown
	}
	p.Needs = append(p.Needs, f.needs(c, false)...)
	open, err := device.Open(ctx, c.Card, 0)
	if err != nil {
		return err
	}
	defer func() { _ = open.Close() }()
	steps, err := m2me.PlanCard(ctx, open, f.ICCID)
	for _, s := range steps {
		p.Writes = append(p.Writes, plannedStep(s))
	}
	return err
}

func plannedStep(s card.Step) PlannedStep {
	if s.Ref != 0 {
		s.Command, s.Right = s.Command+" "+card.KeyName(s.Ref), triesLeft(s.Tries)
	}
	return PlannedStep{s.Command, s.File, s.Length, s.Right, s.Proof}
}

// tpm looks at a named TPM: what it is, what it lacks, whether the range is free.
func (p *Plan) tpm(ctx context.Context, c world.Config) error {
	if c.TPM == "" {
		return nil
	}
	t, err := tpm.Open(ctx, c.TPM, c.TPMOptions)
	if err != nil {
		return err
	}
	defer func() { _ = t.Close() }()
	info, err := t.Info()
	if err != nil {
		return err
	}
	p.TPM = &PlannedTPM{URI: c.TPM, Maker: strings.TrimSpace(info.Maker + " " + info.Model), Firmware: info.Firmware, Range: t.Range().String()}
	if missing := info.Missing(); len(missing) > 0 {
		p.Needs = append(p.Needs, "a TPM with "+strings.Join(missing, ", "))
	}
	if t.Kind != tpm.KindSWTPM && c.EKRoots == "" {
		p.Needs = append(p.Needs, "the TPM makers that are trusted; add --ek-roots FILE (PEM)")
	}
	if err := t.Claim(); err != nil { // changes nothing in the TPM
		p.Needs = append(p.Needs, err.Error())
	}
	eks, err := t.EKs()
	for _, ek := range eks {
		p.TPM.EKs = append(p.TPM.EKs, fmt.Sprintf("%x", ek.Pin()))
	}
	return err
}

// WriteText writes the plan for people.
func (p *Plan) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "CASE\tWHAT\tWOULD SPEND AT MOST")
	for _, c := range p.Cases {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\n", c.ID, c.Title, c.Spends)
	}
	_, _ = fmt.Fprintf(t, "total\t\t%s\n", p.Total)
	if f := p.Card; f != nil {
		_, _ = fmt.Fprintf(t, "\ncard %s\tICCID %s, model %s, ATR %s\n", f.URI, f.ICCID, f.Model, f.ATR)
	}
	for _, s := range p.Writes {
		_, _ = fmt.Fprintf(t, "  %s\t%s\t%s\n", s.Command, commas(s.File, fmt.Sprintf("%d bytes", s.Length)), commas(s.Right, s.Proof))
	}
	if q := p.TPM; q != nil {
		_, _ = fmt.Fprintf(t, "\nTPM %s\t%s, firmware %s\n", q.URI, q.Maker, q.Firmware)
		_, _ = fmt.Fprintf(t, "  would use\t%s\n", q.Range)
		for _, ek := range q.EKs {
			_, _ = fmt.Fprintf(t, "  EK\t%s\n", ek)
		}
	}
	_, _ = fmt.Fprintln(t)
	for _, n := range p.Needs {
		_, _ = fmt.Fprintf(t, "a run needs: %s\n", n)
	}
	_, _ = fmt.Fprintln(t, "nothing written")
	return t.Flush()
}

// commas joins those parts that are not empty.
func commas(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), ", ")
}
