package tpm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-tpm/tpm2"

	"mcim/card/proc"
)

// Files in the folder of a swtpm: URI.
const (
	stateDir  = "tpm" // the TPM itself, in the file below
	stateFile = "tpm2-00.permall"
	caDir     = "ca"        // the local CA that signed the EK certificates
	lockFile  = "lock"      // held while open; names the holder
	logFile   = "swtpm.log" // what swtpm printed
)

// InUseError means that another process has the folder of a swtpm: URI open.
type InUseError struct {
	Dir string
	PID int // of the holder; 0 if unknown
}

// Error names the holder.
func (e *InUseError) Error() string {
	return fmt.Sprintf("%s is in use by process %d: wait until it ends, or choose another folder", e.Dir, e.PID)
}

// startSWTPM starts swtpm on dir, which it manufactures if it is empty. swtpm
// speaks over a socket pair: no path to be too long, nothing to wait for, and
// it ends when this process does, because the socket closes.
func startSWTPM(ctx context.Context, dir string, timeout time.Duration) (link, error) {
	if _, err := proc.Find("swtpm", "swtpm"); err != nil { // before swtpm_setup misses it
		return link{}, err
	}
	dir, err := filepath.Abs(dir) // swtpm fails on a relative one
	if err != nil {
		return link{}, err
	}
	if strings.Contains(dir, ",") { // it ends the option that names the folder
		return link{}, fmt.Errorf("swtpm takes no comma in the path %s: name another folder", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return link{}, err
	}
	lock, err := takeLock(ctx, dir)
	if err != nil {
		return link{}, err
	}
	if err := manufacture(ctx, dir); err != nil {
		return link{}, errors.Join(err, unlock(lock))
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return link{}, errors.Join(err, unlock(lock))
	}
	// swtpm inherits the lock, so that the folder is free only when it has ended.
	child, err := proc.Start(ctx, proc.Spec{
		Path: "swtpm", Package: "swtpm", LogFile: filepath.Join(dir, logFile),
		Args:       []string{"socket", "--tpm2", "--fd", "3", "--tpmstate", "dir=" + filepath.Join(dir, stateDir), "--flags", "not-need-init,startup-clear"},
		ExtraFiles: []*os.File{theirs, lock},
	})
	err = errors.Join(err, theirs.Close())
	if err != nil {
		return link{}, errors.Join(err, ours.Close(), unlock(lock))
	}
	l := link{TPM: newSocket(ours, timeout)}
	l.fault = func(err error) error { return ended(child, err) }
	l.close = func() error {
		err := ours.Close() // swtpm ends when the socket does
		waitOrStop(child)
		return errors.Join(err, unlock(lock))
	}
	if err := answers(l, dir); err != nil {
		return link{}, errors.Join(err, l.close())
	}
	return l, nil
}

// answers asks for something that every TPM knows: swtpm looks at its state only
// with the first command.
func answers(l link, dir string) error {
	_, err := tpm2.GetCapability{Capability: tpm2.TPMCapTPMProperties, Property: uint32(tpm2.TPMPTManufacturer), PropertyCount: 1}.Execute(l.TPM)
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: swtpm does not take %s: %w", ErrDamaged, filepath.Join(dir, stateDir, stateFile), cmp.Or(l.fault(err), err))
}

// ended tells why a process ended; nil if it runs. If its socket just closed it
// gets the moment that it needs to end.
func ended(child *proc.Process, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		select {
		case <-child.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	return child.Err()
}

func waitOrStop(child *proc.Process) {
	select {
	case <-child.Done():
	case <-time.After(2 * time.Second):
		child.Stop()
	}
}

// socketPair is a connected pair: our end, and the file to hand to a child.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socket pair for swtpm: %w", err)
	}
	end, theirs := os.NewFile(uintptr(fds[0]), "tpm"), os.NewFile(uintptr(fds[1]), "swtpm")
	ours, err := net.FileConn(end)
	if err := errors.Join(err, end.Close()); err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return ours, theirs, nil
}

// takeLock locks dir. It fails with an *InUseError while the holder lives, and
// waits for a swtpm whose parent was killed a moment ago.
func takeLock(ctx context.Context, dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for range 500 {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			break
		}
		if pid := holder(f); pid != 0 && syscall.Kill(pid, 0) == nil || ctx.Err() != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		return nil, errors.Join(&InUseError{Dir: dir, PID: holder(f)}, f.Close())
	}
	if err := writeHolder(f); err != nil {
		return nil, errors.Join(err, unlock(f))
	}
	return f, nil
}

// unlock frees the folder at once: a close alone leaves the lock to any child
// that this process is forking just now.
func unlock(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}

func holder(f *os.File) int {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 32))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	return pid
}

func writeHolder(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}
