package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"time"
)

// Errors for what happened to a program; Spec.Name says which one it was.
var (
	// ErrMissing: the program is not installed. The error is a *MissingError.
	ErrMissing = errors.New("program not installed")
	// ErrEnded: the program ended and was not asked to.
	ErrEnded = errors.New("program ended")
)

// MissingError says which program is not installed, and which Debian package
// has it. errors.Is finds it as ErrMissing.
type MissingError struct {
	Program string // as in Spec.Path
	Package string // empty if Spec.Package is
}

// Error names the command that installs the program.
func (e *MissingError) Error() string {
	if e.Package == "" {
		return e.Program + " is not installed"
	}
	return fmt.Sprintf("%s is not installed: run apt-get install %s, or make setup; mcim doctor tells more", e.Program, e.Package)
}

// Is makes errors.Is find ErrMissing.
func (e *MissingError) Is(target error) bool { return target == ErrMissing }

// defaultGrace is what swtpm and pcscd need many times over.
const defaultGrace = 2 * time.Second

// Spec says what to start. Path must be set, the rest may be empty.
type Spec struct {
	// Path is an absolute path, or a name that is looked for in PATH and in the
	// system folders that the PATH of an ordinary user lacks (/usr/sbin, /sbin).
	Path string
	// Package is the Debian package that has the program, for MissingError.
	Package string
	// Name is used in errors; default: the last element of Path.
	Name string
	// Args are the arguments without the program's name. Never put a secret here:
	// every user of the machine can read them.
	Args []string
	// Env is added to the environment of this process ("NAME=value").
	Env []string
	// Dir is the working folder; default: that of this process.
	Dir string
	// ExtraFiles become the child's file descriptors 3, 4, ... The caller closes
	// its own copies after Start.
	ExtraFiles []*os.File
	// LogFile takes what the program prints (appended, mode 0600). Without it the
	// output is dropped, but for the last lines, which errors quote.
	LogFile string
	// Forks says that the program starts others, which shall end with this process
	// too.
	Forks bool
	// Grace is how long Stop waits between SIGTERM and SIGKILL; default 2 s.
	Grace time.Duration
}

// Process is a running program. Its methods may be called from any goroutine.
type Process struct {
	name    string
	cmd     *exec.Cmd
	grace   time.Duration
	out     *output
	done    chan struct{}
	stopped atomic.Bool
	state   string // how it ended; set before done is closed
	ok      bool   // it ended with exit status 0; set before done is closed
}

// Start starts the program. ctx bounds the start alone: the program runs until
// Stop, its own end, or the end of this process in whatever way. It fails with
// ErrMissing where the program is not installed.
func Start(ctx context.Context, s Spec) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s not started: %w", s.name(), err)
	}
	path, err := Find(s.Path, s.Package)
	if err != nil {
		return nil, err
	}
	out, err := newOutput(s.LogFile)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", s.name(), err)
	}
	cmd := exec.Command(path, s.Args...)
	cmd.Dir, cmd.ExtraFiles = s.Dir, s.ExtraFiles
	cmd.Env = append(os.Environ(), s.Env...)
	cmd.Stdout, cmd.Stderr = out, out
	// A process that inherited the output must not keep Wait from returning.
	cmd.WaitDelay = time.Second
	// The own group keeps a ^C of the terminal from the child: who started it
	// decides when it ends, after what still needs it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	p := &Process{name: s.name(), cmd: cmd, grace: s.Grace, out: out, done: make(chan struct{})}
	if p.grace <= 0 {
		p.grace = defaultGrace
	}
	started := make(chan error)
	go p.run(started, s.Forks)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("%s does not start: %w", p.name, errors.Join(err, out.close()))
	}
	return p, nil
}

// run forks the child and waits for it, all on one thread (package comment).
func (p *Process) run(started chan<- error, forks bool) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	var dog *watchdog
	if err == nil && forks {
		if dog, err = newWatchdog(p.Pid()); err != nil {
			p.signal(syscall.SIGKILL)
			_ = p.cmd.Wait()
		}
	}
	started <- err
	if err != nil {
		return
	}
	err = p.cmd.Wait()
	if dog != nil {
		dog.end()
	}
	p.state, p.ok = p.cmd.ProcessState.String(), p.cmd.ProcessState.Success()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		p.state += ", " + err.Error() // the log could not be written
	}
	if err := p.out.close(); err != nil {
		p.state += ", " + err.Error()
	}
	close(p.done)
}

// Pid is the process id of the program.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is nil while the program runs and after Stop. Otherwise it tells how the
// program ended, whatever its exit status, with the last line that it printed;
// errors.Is finds ErrEnded.
func (p *Process) Err() error {
	select {
	case <-p.done:
	default:
		return nil
	}
	if p.stopped.Load() {
		return nil
	}
	return p.ended()
}

func (p *Process) ended() error {
	e := &endedError{text: p.name + " ended: " + p.state}
	if last := p.out.lastLine(); last != "" {
		e.text += ": " + last
	}
	return e
}

// endedError keeps the text of ErrEnded out of a text that says the same.
type endedError struct{ text string }

func (e *endedError) Error() string        { return e.text }
func (e *endedError) Is(target error) bool { return target == ErrEnded }

// Wait is for programs that end by themselves: nil for exit status 0, the error
// of Err for any other. If ctx ends first, the program is stopped and the error
// is that of ctx.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
	case <-ctx.Done():
		p.Stop()
		return fmt.Errorf("%s stopped: %w", p.name, ctx.Err())
	}
	if p.ok {
		return nil
	}
	return p.ended()
}

// Output is what the program printed last, at most 4096 bytes.
func (p *Process) Output() string { return p.out.String() }

// Stop ends the program and what it forked, by SIGTERM and after Spec.Grace by
// SIGKILL, and returns when it has ended. It is safe to call twice.
func (p *Process) Stop() {
	select {
	case <-p.done: // its process id may be another's by now
		return
	default:
	}
	p.stopped.Store(true)
	p.signal(syscall.SIGTERM)
	t := time.NewTimer(p.grace)
	defer t.Stop()
	select {
	case <-p.done:
		return
	case <-t.C:
	}
	p.signal(syscall.SIGKILL)
	<-p.done
}

// signal reaches the whole group. An error means that nobody is left.
func (p *Process) signal(s syscall.Signal) { _ = syscall.Kill(-p.Pid(), s) }

func (s Spec) name() string {
	if s.Name != "" {
		return s.Name
	}
	return filepath.Base(s.Path)
}

// Find gives the absolute path of a program; Spec.Path says where it looks. It
// fails with a *MissingError that names pkg, the Debian package that has it.
func Find(program, pkg string) (string, error) {
	names := []string{program}
	if !filepath.IsAbs(program) {
		names = append(names, filepath.Join("/usr/sbin", program), filepath.Join("/sbin", program))
	}
	i := slices.IndexFunc(names, func(n string) bool { _, err := exec.LookPath(n); return err == nil })
	if program == "" || i < 0 {
		return "", &MissingError{Program: program, Package: pkg}
	}
	path, err := exec.LookPath(names[i])
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}
