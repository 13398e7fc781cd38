package hwtest

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"mcim/card/trace"
	"mcim/flows/wire"
	"mcim/hwtest/report"
)

// The files of a run.
const (
	reportFile = "report.json"
	traceFile  = "trace.jsonl"
	pcapFile   = "trace.pcap"
	logFile    = "log.jsonl"
)

// artefacts are the files that a run leaves. They grow under temporary names and
// get their own when the run has ended, so that none is ever half-written.
type artefacts struct {
	dir, junit string
	growing    map[string]*os.File // by their own path
	trace      *trace.Writer
	pcap       *trace.Pcap
	log        *slog.Logger
	listener   *logListener
}

// newArtefacts makes the folder, if one is wanted.
func newArtefacts(dir, junit string) (*artefacts, error) {
	a := &artefacts{dir: dir, junit: junit, growing: map[string]*os.File{}}
	if dir == "" {
		return a, nil
	}
	return a, os.MkdirAll(dir, 0o755)
}

// open begins the files that grow. label is for the trace.
func (a *artefacts) open(label func() (procedure, step string)) error {
	if a.junit != "" { // before the run, so that a bad path costs nothing
		if _, err := a.create(a.junit); err != nil {
			return err
		}
	}
	if a.dir == "" {
		return nil
	}
	lines, err := a.create(filepath.Join(a.dir, traceFile))
	if err != nil {
		return err
	}
	a.trace = trace.NewWriter(lines, label)
	capture, err := a.create(filepath.Join(a.dir, pcapFile))
	if err != nil {
		return err
	}
	if a.pcap, err = trace.NewPcap(capture); err != nil {
		return err
	}
	log, err := a.create(filepath.Join(a.dir, logFile))
	if err != nil {
		return err
	}
	a.log = slog.New(slog.NewJSONHandler(log, nil))
	a.listener = &logListener{log: a.log, begun: map[string]time.Time{}}
	return nil
}

// create begins a file that shall be at path.
func (a *artefacts) create(path string) (*os.File, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err == nil {
		err = f.Chmod(0o644)
		a.growing[path] = f
	}
	return f, err
}

func (a *artefacts) sinks() []trace.Sink {
	if a.trace == nil {
		return nil
	}
	return []trace.Sink{a.trace, a.pcap}
}

func (a *artefacts) logger() *slog.Logger { return a.log }

func (a *artefacts) listeners() []Listener {
	if a.log == nil {
		return nil
	}
	return []Listener{a.listener}
}

// commit writes the report and gives all files their names.
func (a *artefacts) commit(r *report.Report) error {
	err := a.render(r)
	if a.trace != nil {
		err = errors.Join(err, a.trace.Err(), a.pcap.Err())
	}
	if err != nil {
		return errors.Join(err, a.discard())
	}
	for path, f := range a.growing {
		err = errors.Join(err, f.Sync(), f.Close(), os.Rename(f.Name(), path))
	}
	clear(a.growing)
	return err
}

// render writes what is made of the report.
func (a *artefacts) render(r *report.Report) error {
	if f := a.growing[a.junit]; f != nil {
		if err := r.WriteJUnit(f); err != nil {
			return err
		}
	}
	if a.dir == "" {
		return nil
	}
	a.log.Info("end", "verdict", r.Verdict)
	f, err := a.create(filepath.Join(a.dir, reportFile))
	if err != nil {
		return err
	}
	return r.WriteJSON(io.Writer(f))
}

// discard removes what has grown.
func (a *artefacts) discard() error {
	var err error
	for _, f := range a.growing {
		err = errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	clear(a.growing)
	return err
}

// logListener logs what happens.
type logListener struct {
	log   *slog.Logger
	mu    sync.Mutex
	begun map[string]time.Time // by path
}

// Case implements Listener.
func (l *logListener) Case(id, title string) { l.log.Info("case", "flow", id, "title", title) }

// Step implements Listener.
func (l *logListener) Step(e wire.Event) {
	attrs := []any{"step", e.Name, "path", e.Path, "from", e.From, "to", e.To, "text", e.Text}
	l.mu.Lock()
	begun := l.begun[e.Path]
	if !e.End {
		l.begun[e.Path] = e.Time
	}
	l.mu.Unlock()
	if e.End {
		attrs = append(attrs, "us", e.Time.Sub(begun).Microseconds())
	}
	switch {
	case !e.End:
		l.log.Info("begin", attrs...)
	case e.Err != nil:
		l.log.Warn("failed", append(attrs, "reason", e.Err.Error())...)
	default:
		l.log.Info("done", attrs...)
	}
}

// Proof implements Listener.
func (l *logListener) Proof(name string) { l.log.Info("proof", "name", name) }

// Negative implements Listener.
func (l *logListener) Negative(n report.Negative) {
	l.log.Info("negative", "flow", n.Procedure, "name", n.Name, "verdict", n.Verdict, "detail", n.Detail)
}
