package hwtest

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
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

// ErrOutput says that what the caller named for the files of a run cannot be
// written: a mistake of the caller. Nothing was run.
var ErrOutput = errors.New("cannot be written")

// artefacts are the files that a run leaves. They grow under temporary names and
// get their own when the run has ended, so that none is ever half-written. Those
// of an earlier run go when this one begins: however it ends, none of them is
// taken for its own.
type artefacts struct {
	dir, junit string
	made       []string // folders that were made for them, the deepest first
	growing    []growing
	xml        *os.File
	report     *os.File
	trace      *trace.Writer
	pcap       *trace.Pcap
	log        *slog.Logger
	listener   *logListener
}

// growing is a file that shall be at path.
type growing struct {
	*os.File
	path string
}

// newArtefacts begins the files, in the folder dir and at junit where these are
// named, before anything else: a bad path costs nothing. label is for the trace.
// The error is ErrOutput; then nothing has changed.
func newArtefacts(dir, junit string, label func() (procedure, step string)) (*artefacts, error) {
	a := &artefacts{dir: dir, junit: junit}
	err := a.open(label)
	if err != nil {
		return nil, errors.Join(err, a.discard())
	}
	return a, a.forget()
}

// open begins the files that grow. The folder comes first: JUnit XML may be meant
// to be in it.
func (a *artefacts) open(label func() (procedure, step string)) error {
	if a.dir != "" {
		if err := a.makeDir(); err != nil {
			return unwritable("--out", a.dir, err)
		}
	}
	if a.junit != "" {
		var err error
		if a.xml, err = a.create(a.junit); err != nil {
			return unwritable("--junit", a.junit, err)
		}
	}
	if a.dir != "" {
		if err := a.openTraces(label); err != nil {
			return unwritable("--out", a.dir, err)
		}
	}
	return nil
}

func (a *artefacts) openTraces(label func() (procedure, step string)) error {
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
	a.report, err = a.create(filepath.Join(a.dir, reportFile))
	return err
}

// unwritable is ErrOutput, with the cause and without temporary names.
func unwritable(flag, path string, err error) error {
	return fmt.Errorf("%s %s %w: %w: check the path and who may write there", flag, path, ErrOutput, bare(err))
}

// bare is err without the name of a file, which may be a temporary one.
func bare(err error) error {
	var file *fs.PathError
	var files *os.LinkError
	switch {
	case errors.As(err, &file):
		return file.Err
	case errors.As(err, &files):
		return files.Err
	default:
		return err
	}
}

// makeDir makes the folder and those that it is in.
func (a *artefacts) makeDir() error {
	for dir := filepath.Clean(a.dir); ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		a.made = append(a.made, dir)
	}
	return os.MkdirAll(a.dir, 0o755)
}

// create begins a file that shall be at path.
func (a *artefacts) create(path string) (*os.File, error) {
	if err := replaceable(path); err != nil {
		return nil, err
	}
	sweep(path)
	f, err := os.CreateTemp(filepath.Dir(path), tempName(path)+"*")
	if err != nil {
		return nil, err
	}
	a.growing = append(a.growing, growing{f, path})
	return f, errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), f.Chmod(0o644))
}

// replaceable refuses to put a file where something else is, as a device.
func replaceable(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", filepath.Base(path))
	}
	return nil // what else there is, the making of the file tells
}

func tempName(path string) string { return "." + filepath.Base(path) + "-" }

// sweep removes what killed runs have left of a file: those have no lock on it.
func sweep(path string) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !strings.HasPrefix(e.Name(), tempName(path)) {
			continue
		}
		left := filepath.Join(filepath.Dir(path), e.Name())
		f, err := os.Open(left)
		if err != nil {
			continue
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.Remove(left)
		}
		_ = f.Close()
	}
}

// forget removes the files of an earlier run, the report's first.
func (a *artefacts) forget() error {
	for _, g := range slices.Backward(a.growing) {
		if err := os.Remove(g.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(unwritable("the old", g.path, err), a.discard())
		}
	}
	return nil
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

// commit writes the report and gives all files their names, the report's last.
func (a *artefacts) commit(r *report.Report) error {
	err := a.render(r)
	if a.trace != nil {
		err = errors.Join(err, a.trace.Err(), a.pcap.Err())
	}
	for _, g := range a.growing {
		if err == nil {
			err = errors.Join(g.Sync(), os.Rename(g.Name(), g.path))
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("report and traces were not written: %w: make room, or name another --out DIR", bare(err)), a.discard())
	}
	return a.close()
}

// render writes what is made of the report.
func (a *artefacts) render(r *report.Report) error {
	if a.xml != nil {
		if err := r.WriteJUnit(a.xml); err != nil {
			return err
		}
	}
	if a.report == nil {
		return nil
	}
	a.log.Info("end", "verdict", r.Verdict)
	return r.WriteJSON(a.report)
}

// close ends the writing; the locks go with it.
func (a *artefacts) close() error {
	var err error
	for _, g := range a.growing {
		err = errors.Join(err, g.Close())
	}
	a.growing = nil
	return err
}

// discard removes what has grown, and the folders that were made for it.
func (a *artefacts) discard() error {
	for _, g := range a.growing {
		_ = os.Remove(g.Name()) // it may have its own name by now
	}
	err := a.close()
	for _, dir := range a.made {
		_ = os.Remove(dir) // not one that has something in it
	}
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
