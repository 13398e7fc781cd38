package vpcd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mcim/card/proc"
)

// Errors of StartPCSCD, beside proc.ErrMissing for a pcscd that is not installed.
var (
	// ErrNoDriver: the virtual reader driver is not installed.
	ErrNoDriver = errors.New("virtual reader driver not installed")
	// ErrBusy: another pcscd serves the folder.
	ErrBusy = errors.New("folder is in use by another pcscd")
	// ErrNoPort: no free pair of ports, or the driver did not take it.
	ErrNoPort = errors.New("no port for the virtual reader")
)

// DriverPath is where Debian's vsmartcard-vpcd puts the driver.
const DriverPath = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so"

const (
	// MaxSlots is how many readers one pcscd can have.
	MaxSlots = 16

	slotsPerDriver = 2 // compiled into the driver: port and port+1

	// Ports are drawn from below the range that the kernel gives to outgoing
	// connections (32768 and up), so that none of those takes one.
	minPort = 20000
	endPort = 32768

	maxSocketPath = 107 // bytes, of sockaddr_un
	startTries    = 10
	startTime     = 10 * time.Second
)

// Config says what pcscd to start. Dir must be set, the rest may be empty.
type Config struct {
	// Dir is the folder of the instance: made if it is not there (0700), with the
	// socket, the configuration and the log.
	Dir string
	// Slots is the number of readers, up to MaxSlots; default 1. pcscd gets an
	// even number of them in any case.
	Slots int
	// Name is the first part of the readers' names; default "mcim virtual reader".
	Name string
	// Driver is the path of the driver; default DriverPath.
	Driver string

	// For tests: the first of a pair of ports, nil draws at random; the program,
	// default "pcscd".
	draw    func() int
	program string
}

// PCSCD is a running private pcscd with virtual readers.
type PCSCD struct {
	// Socket is the path for PCSCLITE_CSOCK_NAME, by which PC/SC programs find
	// this pcscd.
	Socket string
	// Readers are the names of the readers, Addrs the addresses ("127.0.0.1:PORT")
	// at which Serve puts a card into each.
	Readers, Addrs []string

	proc *proc.Process
}

// StartPCSCD starts a private pcscd in a folder and returns when its readers
// take cards, which takes some milliseconds. Any number of them run at once. It
// ends by Stop, or with this process; ctx bounds the start alone.
//
// It fails with proc.ErrMissing, ErrNoDriver, ErrBusy or ErrNoPort, each with
// what to do.
func StartPCSCD(ctx context.Context, c Config) (*PCSCD, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder for pcscd: %w", err)
	}
	var err error
	for range startTries {
		var p *PCSCD
		if p, err = start(ctx, c); err == nil {
			return p, nil
		}
		if !errors.Is(err, ErrNoPort) {
			break
		}
	}
	return nil, err
}

func (c *Config) defaults() {
	c.Slots = cmp.Or(c.Slots, 1)
	c.Name = cmp.Or(c.Name, "mcim virtual reader")
	c.Driver = cmp.Or(c.Driver, DriverPath)
	c.program = cmp.Or(c.program, "pcscd")
	if c.draw == nil {
		c.draw = func() int { return minPort + rand.IntN(endPort-minPort-1) }
	}
}

// complete checks c and fills in what is not given.
func (c *Config) complete() error {
	c.defaults()
	if c.Slots < 0 || c.Slots > MaxSlots {
		return fmt.Errorf("%d virtual readers: one pcscd has 1 to %d", c.Slots, MaxSlots)
	}
	if strings.ContainsAny(c.Name, "\"\n\x00") || len(c.Name) > 100 {
		return fmt.Errorf("reader name %q: want up to 100 bytes without quotes and line breaks", c.Name)
	}
	if c.Dir == "" {
		return errors.New("private pcscd needs a folder of its own")
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return err
	}
	c.Dir = dir
	if n := len(c.socket()); n > maxSocketPath {
		return fmt.Errorf("path of the pcscd socket %s has %d bytes, at most %d are possible: use a shorter folder name", c.socket(), n, maxSocketPath)
	}
	if _, err := os.Stat(c.Driver); err != nil {
		return fmt.Errorf("%w: run apt-get install vsmartcard-vpcd, or make setup; mcim doctor tells more: %w", ErrNoDriver, err)
	}
	return nil
}

func (c *Config) socket() string { return filepath.Join(c.Dir, "pcscd.comm") }

// start tries one set of ports.
func start(ctx context.Context, c Config) (*PCSCD, error) {
	ports, err := drawPorts(c)
	if err != nil {
		return nil, err
	}
	p := &PCSCD{Socket: c.socket()}
	conf := filepath.Join(c.Dir, "reader.conf.d")
	if err := writeConfig(conf, c, ports); err != nil {
		return nil, fmt.Errorf("configuration of pcscd: %w", err)
	}
	for i := range c.Slots {
		p.Readers = append(p.Readers, fmt.Sprintf("%s 00 %02d", c.stanza(i/slotsPerDriver), i%slotsPerDriver))
		p.Addrs = append(p.Addrs, fmt.Sprintf("127.0.0.1:%d", ports[i/slotsPerDriver]+i%slotsPerDriver))
	}
	drivers, err := copies(c.Driver, len(ports)-1)
	defer closeAll(drivers)
	if err != nil {
		return nil, err
	}
	if p.proc, err = spawn(ctx, c, conf, drivers); err != nil {
		return nil, err
	}
	if err := p.ready(ctx, ports); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// spawn starts pcscd with a socket that listens already, by the protocol of
// systemd's socket activation. So no client comes too early: it waits in the
// backlog. The shell is there to name its own process id, which pcscd inherits.
func spawn(ctx context.Context, c Config, conf string, drivers []*os.File) (*proc.Process, error) {
	pcscd, err := proc.Find(c.program, "pcscd")
	if err != nil {
		return nil, err
	}
	l, err := listen(c.socket())
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }()
	f, err := l.File()
	if err != nil {
		return nil, err
	}
	defer closeAll([]*os.File{f})
	return proc.Start(ctx, proc.Spec{
		Name:       "pcscd",
		Path:       "/bin/sh",
		Args:       []string{"-c", `LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" --foreground --error --config "$1"`, pcscd, conf},
		ExtraFiles: append([]*os.File{f}, drivers...),
		LogFile:    filepath.Join(c.Dir, "pcscd.log"),
	})
}

// closeAll closes our copies of what pcscd has.
func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// listen listens on a unix socket that stays when the listener is closed. One
// that a killed pcscd left behind is replaced.
func listen(path string) (*net.UnixListener, error) {
	if conn, err := net.Dial("unix", path); err == nil {
		_ = conn.Close()
		return nil, fmt.Errorf("%w: %s answers; end it, or use another folder", ErrBusy, path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("old socket of pcscd: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("socket of pcscd: %w", err)
	}
	l.SetUnlinkOnClose(false)
	return l, nil
}

// ready waits until the driver of pcscd, and nobody else, listens on all ports.
func (p *PCSCD) ready(ctx context.Context, ports []int) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	tick := time.NewTicker(500 * time.Microsecond)
	defer tick.Stop()
	for {
		own, foreign, err := listening(p.proc.Pid(), ports)
		switch {
		case err != nil:
			return fmt.Errorf("ports of pcscd: %w", err)
		case foreign:
			return fmt.Errorf("%w: another program took it first; try again", ErrNoPort)
		case own:
			return nil
		}
		select {
		case <-tick.C:
		case <-p.proc.Done():
			return fmt.Errorf("no virtual reader: %w", p.proc.Err())
		case <-ctx.Done():
			return fmt.Errorf("%w: pcscd does not open it, its log says: %s", ErrNoPort, strings.TrimSpace(p.proc.Output()))
		}
	}
}

// Done is closed when pcscd has ended.
func (p *PCSCD) Done() <-chan struct{} { return p.proc.Done() }

// Err tells how pcscd ended, if it has and was not stopped (proc.ErrEnded).
func (p *PCSCD) Err() error { return p.proc.Err() }

// Pid is the process id of pcscd.
func (p *PCSCD) Pid() int { return p.proc.Pid() }

// Stop ends pcscd and takes its socket away. It is safe to call twice.
func (p *PCSCD) Stop() {
	p.proc.Stop()
	_ = os.Remove(p.Socket) // the next start removes what cannot be removed here
}
