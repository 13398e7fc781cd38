package proc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Temp is a folder for files that are worth nothing without this process. Where
// this process is killed, the next NewTemp removes it, in whatever process.
type Temp struct {
	Dir string

	lock *os.File // Dir itself, locked; the kernel lets go of it with this process
}

// tempPrefix begins the name of each such folder, and of nothing else.
const tempPrefix = "mcim-run-"

// tempTries is how often another process may take a new folder for a left one.
const tempTries = 10

// NewTemp makes a folder "mcim-run-KIND-..." of mode 0700 in parent, after it has
// removed those of processes that have ended. An empty parent is the system's
// place for temporary files.
func NewTemp(parent, kind string) (*Temp, error) {
	if parent == "" {
		parent = os.TempDir()
	}
	sweep(parent)
	var err error
	for range tempTries {
		var dir string
		if dir, err = os.MkdirTemp(parent, tempPrefix+kind+"-"); err != nil {
			break
		}
		var t *Temp
		if t, err = holdTemp(dir); err == nil {
			return t, nil
		}
	}
	return nil, fmt.Errorf("folder for temporary files: %w", err)
}

// Remove deletes the folder.
func (t *Temp) Remove() error {
	err := os.RemoveAll(t.Dir)
	if err != nil { // a child of the dead process may have been at its last file
		err = os.RemoveAll(t.Dir)
	}
	return errors.Join(err, syscall.Flock(int(t.lock.Fd()), syscall.LOCK_UN), t.lock.Close())
}

// sweep removes the folders of processes that have ended. What it cannot remove
// is another user's.
func sweep(parent string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), tempPrefix) {
			continue
		}
		if t, err := holdTemp(filepath.Join(parent, e.Name())); err == nil {
			_ = t.Remove()
		}
	}
}

// errHeld says that a folder is in use, is another user's, or has just been
// removed.
var errHeld = errors.New("not free")

// holdTemp locks a folder of this user that nobody holds.
func holdTemp(dir string) (*Temp, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil && !ownAndThere(f, dir) {
		err = fmt.Errorf("%s: %w", dir, errHeld)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Temp{Dir: dir, lock: f}, nil
}

// ownAndThere says whether the open folder is this user's, and not removed since
// it was opened.
func ownAndThere(f *os.File, dir string) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	now, err := os.Lstat(dir)
	if err != nil || !os.SameFile(open, now) {
		return false
	}
	s, ok := open.Sys().(*syscall.Stat_t)
	return ok && int(s.Uid) == os.Geteuid()
}
