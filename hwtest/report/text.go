package report

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// WriteText writes the report as tables, for a screen of 100 columns.
func (r *Report) WriteText(w io.Writer) error {
	var b bytes.Buffer
	b.WriteByte('\n')
	r.table(&b)
	if len(r.Negatives) > 0 {
		b.WriteString("\nNegative proofs, each an attempt at what must not work:\n")
	}
	for _, n := range r.Negatives {
		fmt.Fprintf(&b, "  %-4s %-8s %s\n", n.Procedure, n.Verdict, n.Name)
		if n.Verdict != Pass {
			b.WriteString(Hang(strings.Repeat(" ", 16), n.Detail))
		}
	}
	r.surroundings(&b)
	fmt.Fprintf(&b, "\nverdict: %s\n", r.Verdict)
	_, err := w.Write(b.Bytes())
	return err
}

// table is what each procedure came to.
func (r *Report) table(b *bytes.Buffer) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	row := func(cells ...any) {
		_, _ = fmt.Fprintf(t, "%v\t%v\t%v\t%v\t%10v\t%6v\t%10v\t%8v\t%8v\n", cells...)
	}
	row("", "procedure", "MCIM", "verdict", "time", "APDUs", "card bytes", "TPM cmds", "messages")
	var sum Procedure
	for _, p := range r.Procedures {
		row(p.ID, p.Title, p.Placement, p.Verdict, seconds(p.Seconds), p.APDUs, p.LinkBytes, p.TPMCommands, p.Messages)
		sum.APDUs, sum.LinkBytes = sum.APDUs+p.APDUs, sum.LinkBytes+p.LinkBytes
		sum.Seconds += p.Seconds
		sum.TPMCommands, sum.Messages = sum.TPMCommands+p.TPMCommands, sum.Messages+p.Messages
	}
	row("all", "", "", r.Verdict, seconds(sum.Seconds), sum.APDUs, sum.LinkBytes, sum.TPMCommands, sum.Messages)
	_ = t.Flush() // a Buffer takes all
	for _, p := range r.Procedures {
		if p.Verdict != Pass {
			fmt.Fprintf(b, "%s: %s\n", p.ID, p.Verdict)
			b.WriteString(Hang("    ", p.Reason))
		}
	}
	var finished []string
	for _, p := range r.Procedures {
		if p.Finished {
			finished = append(finished, p.ID)
		}
	}
	if len(finished) > 0 {
		fmt.Fprintf(b, "%s: begun by an earlier run that was cut; this one finished it\n", strings.Join(finished, ", "))
	}
	if len(r.Environment.Before) > 0 {
		fmt.Fprintf(b, "%s: the lab had it behind it\n", strings.Join(r.Environment.Before, ", "))
	}
}

func seconds(s float64) string { return fmt.Sprintf("%.1f ms", s*1000) }

// surroundings is what the run stood on, and what that cannot prove.
func (r *Report) surroundings(b *bytes.Buffer) {
	e := r.Environment
	b.WriteString("\nRun on:\n")
	for _, line := range [][2]string{
		{"card", commas(e.Card, e.Reader, "ATR "+e.ATR)}, {"PC/SC", commas("pcscd "+e.PCSCD, e.Driver)},
		{"TPM", commas(e.TPM, e.TPMMaker, "firmware "+e.TPMFirmware)}, {"mcim", commas(e.MCIM, e.Machine)},
	} {
		b.WriteString(Hang(fmt.Sprintf("  %-7s", line[0]), line[1]))
	}
	if e.Restored {
		b.WriteString("  the card has its subscription of before\n")
	}
	if e.GivenBack > 0 {
		fmt.Fprintf(b, "  the TPM has %d NV indices and handles back\n", e.GivenBack)
	}
	if len(e.NotProven) > 0 {
		b.WriteString("\nNot proven by this run:\n")
	}
	for _, n := range e.NotProven {
		b.WriteString(Hang("  - ", n))
	}
}

// commas joins those parts that are not empty.
func commas(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), ", ")
}
