package hwtest

import (
	"fmt"
	"io"
	"strings"

	"mcim/hwtest/report"
)

// WriteText writes the checks as a table, each with its fix below it. One fix for
// several checks is written once.
func (d Diagnosis) WriteText(w io.Writer) error {
	var b strings.Builder
	last := ""
	for _, c := range d.Checks {
		b.WriteString(report.Hang(fmt.Sprintf("%-4s  %-*s  ", c.State, labelWidth, c.Name), c.Found))
		if c.Fix != "" && c.Fix != last {
			b.WriteString(report.Hang(fmt.Sprintf("%*s  fix: ", 6+labelWidth, ""), c.Fix))
		}
		last = c.Fix
	}
	b.WriteString("\n" + report.Hang("", d.summary()))
	_, err := io.WriteString(w, b.String())
	return err
}

// summary says in one line what the checks mean.
func (d Diagnosis) summary() string {
	failed, warned := d.names(Fail), d.names(Warn)
	switch {
	case len(failed) > 0:
		return "not ready: " + strings.Join(failed, ", ")
	case len(warned) > 0:
		return "ready; not there and not needed for this: " + strings.Join(warned, ", ")
	default:
		return "ready"
	}
}

func (d Diagnosis) names(s State) []string {
	var names []string
	for _, c := range d.Checks {
		if c.State == s {
			names = append(names, c.Name)
		}
	}
	return names
}
