package world

import (
	"strings"
	"sync"
	"time"

	"mcim/card/trace"
	"mcim/flows/wire"
)

// Counts is what a procedure cost.
type Counts struct {
	APDUs       uint64 // command APDUs at the card
	LinkBytes   uint64 // bytes of commands and responses on the card link
	TPMCommands uint64
	Messages    uint64 // requests that a role handled, CONNECT included
	Time        time.Duration
}

// Meter attributes steps, APDUs, TPM commands and messages to the procedures in
// which they happened. It hears of them from the roles' steps, the tap on the
// card, the TPM's transport and the roles' handlers; no procedure counts for
// itself. What happens between two steps counts for the procedure of the step
// before, and what happens before all steps for the supply phase, so that the
// sums over the procedures are all there was. It is safe for concurrent use, but
// attributes right only while one order runs at a time.
type Meter struct {
	mu    sync.Mutex
	tell  func(wire.Event)
	open  []string // paths of the steps that have begun and not ended
	last  string   // procedure of the step that began last
	proof string   // procedure of which a negative proof runs; empty otherwise
	runs  map[string]*run
	begin map[string]time.Time
}

// first is the procedure for what happens before all steps.
const first = "P1"

// run is what is known of one procedure since the last Reset.
type run struct {
	counts Counts
	proof  Counts       // the part of counts that the negative proofs cost
	steps  []wire.Event // ends only, in the order of their beginning
	index  map[string]int
}

// NewMeter makes a Meter that passes each event on to tell, which may be nil.
func NewMeter(tell func(wire.Event)) *Meter {
	m := &Meter{tell: tell}
	m.Reset()
	return m
}

// Reset forgets all counts and steps.
func (m *Meter) Reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.runs, m.last = map[string]*run{}, ""
	m.begin = map[string]time.Time{}
}

// Begin says that what follows counts for the procedure until a step of another
// one begins.
func (m *Meter) Begin(procedure string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = procedure
}

// Proof says that what follows, until the next call, is a negative proof of the
// procedure; with "" it is the procedures themselves again. The steps of a proof
// are told, but not listed.
func (m *Meter) Proof(procedure string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.proof = procedure
}

// Observe is the wire.Observer of every role.
func (m *Meter) Observe(e wire.Event) {
	m.observe(e)
	if m.tell != nil {
		m.tell(e)
	}
}

func (m *Meter) observe(e wire.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.proof != "" {
		return
	}
	procedure := Procedure(e.Path)
	r := m.run(procedure)
	if !e.End {
		if !m.within(procedure) {
			m.begin[procedure] = e.Time
		}
		r.at(e)
		m.open, m.last = append(m.open, e.Path), procedure
		return
	}
	m.close(e.Path)
	r.steps[r.at(e)] = e
	if !m.within(procedure) {
		r.counts.Time += e.Time.Sub(m.begin[procedure])
	}
}

// at is the place of the event's step among the steps of the run, a new one for
// a step that begins again.
func (r *run) at(e wire.Event) int {
	if i, ok := r.index[e.Path]; ok && (e.End || !r.steps[i].End) {
		return i
	}
	r.steps = append(r.steps, e)
	r.index[e.Path] = len(r.steps) - 1
	return len(r.steps) - 1
}

// WriteAPDU counts one exchange with the card; it makes the Meter a trace.Sink.
func (m *Meter) WriteAPDU(e trace.Exchange) error {
	m.count("", func(c *Counts) { c.APDUs++; c.LinkBytes += uint64(len(e.Command) + len(e.Response)) })
	return nil
}

// WriteTPM counts one TPM command; it makes the Meter a TPMSink.
func (m *Meter) WriteTPM(trace.TPMExchange) error {
	m.count("", func(c *Counts) { c.TPMCommands++ })
	return nil
}

// Message counts one request that a role handled in the step path.
func (m *Meter) Message(path string) {
	m.count(path, func(c *Counts) { c.Messages++ })
}

// count adds to the procedure of path, or of the step that runs now if it is
// empty.
func (m *Meter) count(path string, add func(*Counts)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.proof != "" {
		r := m.run(m.proof)
		add(&r.counts)
		add(&r.proof)
		return
	}
	add(&m.run(m.procedure(path)).counts)
}

// procedure is the one that path counts for.
func (m *Meter) procedure(path string) string {
	if path == "" {
		path = m.path()
	}
	switch {
	case path != "":
		return Procedure(path)
	case m.last != "":
		return m.last
	default:
		return first
	}
}

// Label is the procedure and the step path that something that happens now
// belongs to, for the trace.
func (m *Meter) Label() (procedure, step string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.proof != "" {
		return m.proof, "negative proof"
	}
	return m.procedure(""), m.path()
}

// path is that of the innermost step that runs now; empty outside of steps.
func (m *Meter) path() string {
	if len(m.open) == 0 {
		return ""
	}
	return m.open[len(m.open)-1]
}

func (m *Meter) close(path string) {
	for i := len(m.open) - 1; i >= 0; i-- {
		if m.open[i] == path {
			m.open = append(m.open[:i], m.open[i+1:]...)
			return
		}
	}
}

// within says whether a step of the procedure is open.
func (m *Meter) within(procedure string) bool {
	for _, path := range m.open {
		if Procedure(path) == procedure {
			return true
		}
	}
	return false
}

func (m *Meter) run(procedure string) *run {
	r, ok := m.runs[procedure]
	if !ok {
		r = &run{index: map[string]int{}}
		m.runs[procedure] = r
	}
	return r
}

// Counts is what the procedure ("P8a") cost since the last Reset, and the part
// of it that its negative proofs cost.
func (m *Meter) Counts(procedure string) (all, proof Counts) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.run(procedure)
	return r.counts, r.proof
}

// Total is what all procedures cost since the last Reset.
func (m *Meter) Total() Counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	var sum Counts
	for _, r := range m.runs {
		sum.APDUs += r.counts.APDUs
		sum.LinkBytes += r.counts.LinkBytes
		sum.TPMCommands += r.counts.TPMCommands
		sum.Messages += r.counts.Messages
		sum.Time += r.counts.Time
	}
	return sum
}

// Steps is the steps of the procedure since the last Reset, in the order in
// which they began. A step that has not ended has End false.
func (m *Meter) Steps(procedure string) []wire.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]wire.Event(nil), m.run(procedure).steps...)
}

// Procedure is the procedure that a step path counts for: a change of
// subscription owns all that happens inside it; elsewhere the innermost
// procedure does.
func Procedure(path string) string {
	parts := strings.Split(path, "/")
	for _, part := range parts {
		if strings.HasPrefix(part, "P8") {
			return name(part)
		}
	}
	return name(parts[len(parts)-1])
}

func name(step string) string {
	n, _, _ := strings.Cut(step, ".")
	return n
}
