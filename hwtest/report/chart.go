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
// took. A step in which others happen gets a second line when it ends.
// It is safe for concurrent use.
type Chart struct {
	mu    sync.Mutex
	w     io.Writer
	open  []openStep
	dirty int  // characters in the line that was not ended; 0 at the start of a line
	quiet bool // a negative proof runs
}

// openStep is a step that has begun.
type openStep struct {
	path  string
	begun time.Time
}

// NewChart writes to w, which hears of parts of lines too.
func NewChart(w io.Writer) *Chart { return &Chart{w: w} }

// Case writes the heading of a case.
func (c *Chart) Case(id, title string) {
	c.mu.Lock()
	defer c.mu.Unlock()
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
	prefix := "  not    "
	c.fill(prefix, n.Name, len(prefix))
	c.status(status)
}

func (c *Chart) begin(e wire.Event) {
	c.endLine()
	prefix := c.prefix(e)
	c.fill(prefix, e.Text, len([]rune(prefix)))
	c.open = append(c.open, openStep{e.Path, e.Time})
}

// prefix is what stands before the text of a step.
func (c *Chart) prefix(e wire.Event) string {
	depth := depth(e.Path)
	arrow := party(e.From) + " -> " + party(e.To)
	if e.From == e.To {
		arrow = party(e.From)
	}
	return fmt.Sprintf("%*s%-*s%-*s", indentWidth*(depth+1), "", nameWidth, e.Name, arrowWidth-indentWidth*min(depth, 4), arrow)
}

// party is a role without the serial number of a machine.
func party(role string) string {
	kind, _, _ := strings.Cut(role, "/")
	return kind
}

func (c *Chart) end(e wire.Event) {
	begun, last, found := c.take(e.Path)
	if !found {
		return
	}
	if !last || c.dirty == 0 { // other steps ran since
		c.endLine()
		prefix := c.prefix(wire.Event{Path: e.Path, Name: e.Name})
		c.fill(prefix[:len(prefix)-1], "", 0)
	}
	if e.Err != nil {
		c.status("failed")
		c.printf("%s", Hang(strings.Repeat(" ", indentWidth*(depth(e.Path)+2)), e.Err.Error()))
		return
	}
	c.status("ok " + duration(e.Time.Sub(begun)))
}

// take forgets the open step of that path that began last; last says whether no
// step began after it.
func (c *Chart) take(path string) (begun time.Time, last, found bool) {
	for i := len(c.open) - 1; i >= 0; i-- {
		if c.open[i].path == path {
			begun, last = c.open[i].begun, i == len(c.open)-1
			c.open = append(c.open[:i], c.open[i+1:]...)
			return begun, last, true
		}
	}
	return time.Time{}, false, false
}

// depth is how many procedures are around a step.
func depth(path string) int { return strings.Count(path, "/") }

// fill writes text after prefix, on several lines where it is too long, and
// leaves the last one open.
func (c *Chart) fill(prefix, text string, indent int) {
	room := max(Width-statusWidth-indent, 20)
	lines := wrap(text, room)
	for i, line := range lines {
		if i > 0 {
			c.printf("\n")
			prefix = strings.Repeat(" ", indent)
		}
		c.printf("%s%s", prefix, line)
		c.dirty = len([]rune(prefix)) + len([]rune(line))
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
