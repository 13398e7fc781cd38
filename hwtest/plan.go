package hwtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"text/tabwriter"

	"mcim/card"
	"mcim/card/device"
	"mcim/card/proc"
	"mcim/flows/m2me"
	"mcim/flows/world"
	"mcim/hwtest/report"
	"mcim/tpm"
)

// Plan is what a run would do and spend, found out without writing or spending.
type Plan struct {
	Cases []PlannedCase `json:"cases"`
	// GivesBack is what it takes at the end to give back what the run had of hardware
	// that is named; nothing where the lab is to stay.
	GivesBack world.Spend `json:"gives_back"`
	Total     world.Spend `json:"total"`
	Card      *facts      `json:"card,omitempty"` // that was named
	// Proves, Writes and WritesBack are the commands to that card that write or spend:
	// of P1, of P8c, and of the giving back, which mcim lab remove does of a lab that
	// stays.
	Proves     []PlannedStep `json:"proves,omitempty"`
	Writes     []PlannedStep `json:"writes,omitempty"`
	WritesBack []PlannedStep `json:"writes_back,omitempty"`
	TPM        *PlannedTPM   `json:"tpm,omitempty"` // that was named
	// Needs is what a run would still refuse for.
	Needs []string `json:"needs"`

	stays bool // the lab
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
	New      bool     `json:"new,omitempty"` // a run would make it; nothing else is known of it
	Maker    string   `json:"maker"`
	Firmware string   `json:"firmware"`
	Range    string   `json:"range"`
	EKs      []string `json:"eks"` // what --take-ownership would name
}

// Plan looks at the hardware that Lab names, and sends it nothing that writes or
// spends. What it finds wrong is in Needs; the error is that of a device that
// cannot be reached, or of a card that no model fits.
func (r *Runner) Plan(ctx context.Context) (*Plan, error) {
	p := &Plan{Needs: []string{}, stays: r.Lab.Dir != ""}
	cases := r.Cases
	if cases == nil {
		cases = Suite()
	}
	for _, c := range cases {
		p.Cases = append(p.Cases, PlannedCase{c.ID, c.Title, c.Spends})
		p.GivesBack = p.GivesBack.Plus((&run{lab: r.Lab, temporary: !p.stays}).frees(c))
		p.Total = p.Total.Plus(c.Spends)
	}
	p.Total = p.Total.Plus(p.GivesBack)
	if r.Budget != nil && !p.Total.Within(*r.Budget) {
		p.Needs = append(p.Needs, fmt.Sprintf("a larger budget than %s", *r.Budget))
	}
	return p, errors.Join(p.card(ctx, r.Lab), p.tpm(ctx, r.Lab), p.owed(ctx, r.Lab))
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
	plan, err := m2me.PlanCard(ctx, open, f.ICCID)
	p.Proves, p.Writes, p.WritesBack = plannedSteps(plan.Prove), plannedSteps(plan.Change), plannedSteps(plan.Back)
	return err
}

func plannedSteps(steps []card.Step) (list []PlannedStep) {
	for _, s := range steps {
		switch {
		case s.Ref != 0:
			s.Command, s.Right = "VERIFY "+card.KeyName(s.Ref), triesLeft(s.Tries)
		case s.Command == "AUTHENTICATE":
			s.Proof = "its sequence number stays"
		}
		list = append(list, PlannedStep{s.Command, s.File, s.Length, s.Right, s.Proof})
	}
	return list
}

// owed looks for what an earlier run has not given back.
func (p *Plan) owed(ctx context.Context, c world.Config) error {
	iccid := ""
	if p.Card != nil {
		iccid = p.Card.ICCID
	}
	_, err := owed(ctx, c, iccid)
	if errors.Is(err, ErrOwed) {
		p.Needs = append(p.Needs, err.Error())
		return nil
	}
	return err
}

// tpm looks at a named TPM: what it is, what it lacks, whether the range is free.
func (p *Plan) tpm(ctx context.Context, c world.Config) error {
	if c.TPM == "" {
		return nil
	}
	uri, done, err := untouched(c.TPM)
	defer done()
	if err != nil {
		return err
	}
	if p.TPM = (&PlannedTPM{URI: c.TPM, New: uri == ""}); p.TPM.New {
		return nil
	}
	t, err := tpm.Open(ctx, uri, c.TPMOptions)
	if err != nil {
		return err
	}
	defer func() { _ = t.Close() }()
	info, err := t.Info()
	if err != nil {
		return err
	}
	p.TPM.Maker, p.TPM.Firmware, p.TPM.Range = strings.TrimSpace(info.Maker+" "+info.Model), info.Firmware, t.Range().String()
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

// untouched is a TPM that can be looked at without a trace: of a swtpm, which writes
// its state whenever it starts, a copy. It is empty for a swtpm that is not made
// yet. done ends the use.
func untouched(uri string) (copied string, done func(), err error) {
	done = func() {}
	dir, isSWTPM := strings.CutPrefix(uri, "swtpm:")
	if !isSWTPM || dir == "" {
		return uri, done, nil
	}
	temp, err := proc.NewTemp("", "plan")
	if err != nil {
		return "", done, err
	}
	done = func() { _ = temp.Remove() }
	err = tpm.CopySWTPM(dir, temp.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", done, nil
	}
	return "swtpm:" + temp.Dir, done, err
}

// WriteText writes the plan for people.
func (p *Plan) WriteText(w io.Writer) error {
	var b strings.Builder
	p.writeCases(&b)
	if f := p.Card; f != nil {
		b.WriteString("\ncard " + f.URI + "\n" + report.Hang("  ", commas("ICCID "+f.ICCID, "model "+f.Model, "ATR "+f.ATR)))
		back := "to write back what was in it, at the end, if the run has written to it:"
		if p.stays {
			back = "to write back what was in it, by mcim lab remove:"
		}
		writeSteps(&b, "to prove that it is the profile's, before anything is written (P1):", p.Proves)
		writeSteps(&b, "to change its subscription (P8c.8):", p.Writes)
		writeSteps(&b, back, p.WritesBack)
	}
	if p.TPM != nil {
		p.TPM.write(&b)
	}
	b.WriteString("\n")
	for _, n := range p.Needs {
		b.WriteString(report.Hang("a run needs: ", n))
	}
	b.WriteString("nothing written\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (p *Plan) writeCases(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(id, title string, s world.Spend) {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\n", id, title, s.PINTries, s.Auths, s.CardWrites, s.NVWrites)
	}
	_, _ = fmt.Fprintln(w, "At most a run would spend PIN tries, AUTHENTICATEs, writes to the card, and to the TPM's NV memory:")
	_, _ = fmt.Fprintln(t, "\t\tPIN\tAUTH\tCARD\tNV")
	for _, c := range p.Cases {
		line(c.ID, c.Title, c.Spends)
	}
	if p.GivesBack != (world.Spend{}) {
		line("end", "giving back what was in the card, and the TPM's handles", p.GivesBack)
	}
	line("total", "", p.Total)
	_ = t.Flush()
}

func writeSteps(w io.Writer, title string, steps []PlannedStep) {
	if len(steps) == 0 {
		return
	}
	_, _ = fmt.Fprintf(w, "  %s\n", title)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range steps {
		_, _ = fmt.Fprintf(t, "    %s\t%s\t%s\n", s.Command, commas(s.File, fmt.Sprintf("%d bytes", s.Length)), commas(s.Right, s.Proof))
	}
	_ = t.Flush()
}

func (q *PlannedTPM) write(w io.Writer) {
	text := "none yet: a run makes a swtpm there"
	if !q.New {
		text = q.Maker + ", firmware " + q.Firmware
	}
	_, _ = io.WriteString(w, "\nTPM "+q.URI+"\n"+report.Hang("  ", text))
	if q.New {
		return
	}
	_, _ = io.WriteString(w, report.Hang("  would use  ", q.Range))
	for _, ek := range q.EKs {
		_, _ = fmt.Fprintf(w, "  EK         %s\n", ek)
	}
}

// commas joins those parts that are not empty.
func commas(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), ", ")
}
