package report

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"mcim/flows/wire"
)

// The columns of a message chart, in characters.
const (
	indentWidth = 2
	nameWidth   = 7
	arrowWidth  = 23
	statusWidth = 16
)

// Chart writes the message chart of a run as it happens: a line for each step,
// indented by the procedures around it, with what became of it and how long it
// took. A step in which others happen gets a second line, "end", when it is over.
// It is safe for concurrent use.
type Chart struct {
	mu    sync.Mutex
	w     io.Writer
	open  []openStep
	dirty int  // characters in the line that was not ended; 0 at the start of a line
	quiet bool // a negative proof runs
	told  bool // the legend is written
}

// openStep is a step that has begun.
type openStep struct {
	path  string
	arrow string
	begun time.Time
}

// NewChart writes to w, which hears of parts of lines too.
func NewChart(w io.Writer) *Chart { return &Chart{w: w} }

// legend says who the roles are and how a line is read.
const legend = `supplier    makes the machine          ro     registration operator, who provisions it remotely
subscriber  owns the machine           sho-a  home operator, sho-b: the other one
m2me        the machine: TPM and UICC  vno    visited network, by which the machine attaches
                                       pva    validates platforms from afar
A line is a step: its number, who does it or who -> whom, what, the outcome, the time. "end" is that
of a step with others in it. "proof" is an attempt at what must not work.
`

// Case writes the heading of a case, before the first one what helps to read all.
func (c *Chart) Case(id, title string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.told {
		c.told = true
		c.printf("%s", legend)
	}
	c.open, c.quiet = nil, false
	c.endLine()
	c.printf("\n%s  %s\n", id, title)
}

// Step writes the beginning of a step, or what became of it.
func (c *Chart) Step(e wire.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.quiet:
	case e.End:
		c.end(e)
	default:
		c.begin(e)
	}
}

// Proof says that what follows is a negative proof, whose steps are not shown.
func (c *Chart) Proof(string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLine()
	c.quiet = true
}

// Negative writes the outcome of a negative proof.
func (c *Chart) Negative(n Negative) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.quiet = false
	status := "refused"
	if n.Verdict != Pass {
		status = string(n.Verdict)
	}
	prefix := "  proof  "
	c.endLine() // of a step that was cut
	c.fill(prefix, n.Name)
	c.status(status)
}

func (c *Chart) begin(e wire.Event) {
	c.endLine()
	step := openStep{e.Path, arrow(e), e.Time}
	c.fill(step.prefix(), e.Text)
	c.open = append(c.open, step)
}

// prefix is what stands before the text of a step.
func (s openStep) prefix() string {
	depth, name := depth(s.path), s.path[strings.LastIndex(s.path, "/")+1:]
	return fmt.Sprintf("%*s%-*s%-*s", indentWidth*(depth+1), "", nameWidth, name, arrowWidth-indentWidth*min(depth, 4), s.arrow)
}

// arrow is who does a step, and towards whom.
func arrow(e wire.Event) string {
	if e.From == e.To {
		return party(e.From)
	}
	return party(e.From) + " -> " + party(e.To)
}

// party is a role without the serial number of a machine.
func party(role string) string {
	kind, _, _ := strings.Cut(role, "/")
	return kind
}

func (c *Chart) end(e wire.Event) {
	step, last, found := c.take(e.Path)
	if !found {
		return
	}
	if !last || c.dirty == 0 { // other steps ran since
		c.endLine()
		c.fill(step.prefix(), "end")
	}
	if e.Err != nil {
		c.status("failed")
		c.printf("%s", Hang(strings.Repeat(" ", indentWidth*(depth(e.Path)+2)), e.Err.Error()))
		return
	}
	c.status("ok " + duration(e.Time.Sub(step.begun)))
}

// take forgets the open step of that path that began last; last says whether no
// step began after it.
func (c *Chart) take(path string) (step openStep, last, found bool) {
	for i := len(c.open) - 1; i >= 0; i-- {
		if c.open[i].path == path {
			step, last = c.open[i], i == len(c.open)-1
			c.open = append(c.open[:i], c.open[i+1:]...)
			return step, last, true
		}
	}
	return openStep{}, false, false
}

// depth is how many procedures are around a step.
func depth(path string) int { return strings.Count(path, "/") }

// fill writes text after prefix, on several lines where it is too long, and
// leaves the last one open.
func (c *Chart) fill(prefix, text string) {
	indent := len([]rune(prefix))
	for i, line := range wrap(text, max(Width-statusWidth-indent, 20)) {
		if i > 0 {
			c.printf("\n")
			prefix = strings.Repeat(" ", indent)
		}
		c.printf("%s%s", prefix, line)
		c.dirty = indent + len([]rune(line))
	}
}

// status ends a line with what became of it.
func (c *Chart) status(text string) {
	room := Width - c.dirty - len(text) - 2
	c.printf(" %s %s\n", strings.Repeat(".", max(room, 1)), text)
	c.dirty = 0
}

func (c *Chart) endLine() {
	if c.dirty > 0 {
		c.printf("\n")
		c.dirty = 0
	}
}

// printf writes; a chart that cannot be shown does not stop the run.
func (c *Chart) printf(format string, args ...any) { _, _ = fmt.Fprintf(c.w, format, args...) }

// duration is d with three digits or so.
func duration(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("(%.2f s)", d.Seconds())
	case d >= 100*time.Millisecond:
		return fmt.Sprintf("(%.0f ms)", float64(d)/float64(time.Millisecond))
	default:
		return fmt.Sprintf("(%.1f ms)", float64(d)/float64(time.Millisecond))
	}
}
