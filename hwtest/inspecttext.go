package hwtest

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"mcim/hwtest/report"
)

// labelWidth is the width of the first column, in characters.
const labelWidth = 14

// WriteText writes the information for people: a line for each thing, a heading
// for each group.
func (c CardInfo) WriteText(w io.Writer) error {
	t := &text{}
	t.heading("card " + c.URI)
	t.line("reader", c.Reader)
	t.line("driver", c.Driver)
	t.line("protocol", c.Protocol)
	c.ATR.writeText(t)
	t.heading("what it is")
	t.line("kind", c.Kind)
	t.line("family", c.family())
	t.line("writing", c.writing())
	t.reading("ICCID", c.ICCID)
	c.writeApplications(t)
	c.writePINs(t)
	t.heading("subscription")
	t.reading("IMSI", c.IMSI)
	t.reading("home network", c.HomeNetwork)
	t.reading("MNC digits", c.MNCLength)
	c.Services.writeText(t)
	if c.Probe != nil {
		c.Probe.writeText(t)
	}
	if c.Incomplete != "" {
		t.heading("the reading ended early")
		t.line("because", c.Incomplete)
	}
	_, err := io.WriteString(w, t.b.String())
	return err
}

// text collects lines.
type text struct{ b strings.Builder }

func (t *text) heading(s string) {
	if t.b.Len() > 0 {
		t.b.WriteByte('\n')
	}
	t.b.WriteString(s + "\n")
}

// line writes a label and a value, or nothing where there is no value.
func (t *text) line(label, value string) {
	if value != "" {
		t.b.WriteString(report.Hang(fmt.Sprintf("  %-*s ", labelWidth, label), value))
	}
}

func (t *text) reading(label string, r Reading) {
	if r.Value == "" && r.Why != "" {
		r.Value = "not known: " + r.Why
	}
	t.line(label, r.Value)
}

func (a ATRInfo) writeText(t *text) {
	t.heading("answer to reset")
	t.line("ATR", a.Hex)
	t.line("damaged", a.Why)
	t.line("protocols", strings.Join(a.Protocols, ", "))
	switch {
	case a.BitRate > 0:
		t.line("speed", fmt.Sprintf("Fi %d, Di %d: up to %d bit/s at %g MHz", a.Fi, a.Di, a.BitRate, float64(a.ClockKHz)/1000))
	case a.Why == "" && a.Hex != "":
		t.line("speed", "reserved value in TA1")
	}
	t.line("voltage", strings.Join(a.Voltage, ", "))
	t.line("clock stop", a.ClockStop)
	t.line("historical", a.Historical)
	t.line("capabilities", strings.Join(a.Capabilities, ", "))
	switch {
	case a.Channels >= 8:
		t.line("channels", "8 or more logical channels")
	case a.Channels > 0:
		t.line("channels", plural(a.Channels, "logical channel"))
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func triesLeft(n int) string {
	if n == 1 {
		return "1 try left"
	}
	return fmt.Sprintf("%d tries left", n)
}

func (c CardInfo) family() string {
	switch {
	case c.Family.Name == "":
		return ""
	case c.Family.Exact:
		return fmt.Sprintf("%s (%s)", c.Family.Name, c.Family.Reason)
	default:
		return fmt.Sprintf("%s, a guess (%s)", c.Family.Name, c.Family.Reason)
	}
}

func (c CardInfo) writing() string {
	switch {
	case c.Family.Name == "":
		return ""
	case c.Family.Model == "":
		return "refused: no card model fits this ATR"
	default:
		return fmt.Sprintf("possible by model %s, for an ICCID on the allow list", c.Family.Model)
	}
}

func (c CardInfo) writeApplications(t *text) {
	if len(c.Applications) == 0 && c.ApplicationsWhy == "" {
		return
	}
	t.heading("applications (EF.DIR)")
	for _, a := range c.Applications {
		kind := a.Kind
		if kind == "" {
			kind = "application"
		}
		label := ""
		if a.Label != "" {
			label = fmt.Sprintf("  %q", a.Label)
		}
		t.line(kind, a.AID+label)
	}
	t.reading("EF.DIR", Reading{Why: c.ApplicationsWhy})
}

func (c CardInfo) writePINs(t *text) {
	if len(c.PINs) == 0 && c.PINsWhy == "" {
		return
	}
	t.heading("PINs and keys (no try was spent)")
	for _, p := range c.PINs {
		t.line(p.Name, p.state())
	}
	t.reading("PINs", Reading{Why: c.PINsWhy})
}

// state says what is known of the PIN.
func (p PIN) state() string {
	var parts []string
	if p.Enabled != nil {
		parts = append(parts, map[bool]string{true: "enabled", false: "disabled"}[*p.Enabled])
	}
	switch {
	case p.Tries == nil:
		parts = append(parts, "tries not known: "+p.Why)
	case *p.Tries == 0:
		parts = append(parts, "blocked")
	case *p.Tries == 1:
		parts = append(parts, "1 try left")
	default:
		parts = append(parts, triesLeft(*p.Tries))
	}
	return strings.Join(parts, ", ")
}

func (s Services) writeText(t *text) {
	t.line("services", strings.Join(s.Available, ", "))
	t.line("not there", strings.Join(s.Missing, ", "))
	if s.Why != "" {
		t.line("services", "not known: "+s.Why)
	}
}

func (p CardProbe) writeText(t *text) {
	t.heading("what it can do (asked for)")
	t.reading("power", p.Power)
	for _, a := range p.Applications {
		t.line(cmp.Or(a.Kind, "application"), a.AID+"  "+a.state())
	}
	for _, d := range p.Data {
		t.reading(d.Name, d.Reading)
	}
	var known, unknown []string
	for _, c := range p.Commands {
		if c.Known {
			known = append(known, c.Name)
		} else {
			unknown = append(unknown, c.Name)
		}
	}
	t.line("commands", strings.Join(known, ", "))
	t.line("unknown", strings.Join(unknown, ", "))
	if p.Channels > 0 {
		t.line("channels", fmt.Sprintf("%d could be open at once", p.Channels))
	}
	if len(p.LeftOpen) > 0 {
		t.line("left open", fmt.Sprintf("channels %d, which the card does not close before its reset", p.LeftOpen))
	}
	t.line("class A0", yesNo(p.ClassA0))
	t.line("long lengths", yesNo(p.ExtendedLength))
}

// state says whether the application is where EF.DIR has it.
func (a ProbedApplication) state() string {
	switch {
	case a.Listed && a.There:
		return "there"
	case a.Listed:
		return "EF.DIR lists it, and SELECT does not find it: " + a.Why
	case a.There:
		return "there, though EF.DIR does not list it"
	default:
		return a.Why
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
