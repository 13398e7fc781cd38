package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/pelletier/go-toml/v2"
	"golang.org/x/sys/unix"
)

// LabSchema is the number of a lab folder's form, kept in its lab.toml.
const LabSchema = 1

// Errors of a lab folder.
var (
	// ErrNoLab is for a folder that holds no lab.
	ErrNoLab = errors.New("no lab there")
	// ErrLabExists is for making a lab where something is already.
	ErrLabExists = errors.New("something is there already")
	// ErrLabFile is for a lab.toml that is not well-formed.
	ErrLabFile = errors.New("bad lab.toml")
)

// HeldError says that another process works with the lab.
type HeldError struct {
	Dir     string
	Command string // as in "mcim demo"; empty if unknown
	PID     int    // 0 if unknown
}

// Error is "lab DIR is held by mcim demo, process 123: ...".
func (e *HeldError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("lab %s is held by another mcim: wait until it ends, or name another folder", e.Dir)
	}
	return fmt.Sprintf("lab %s is held by %s, process %d: wait until it ends, or stop it (kill %d)", e.Dir, e.Command, e.PID, e.PID)
}

// LabConfig is the content of lab.toml: what is in the lab. Schema is set by
// CreateLab.
type LabConfig struct {
	Schema int `toml:"schema"`
	// Operators are the role names of the selected home operators.
	Operators []string `toml:"operators"`
	// Machines are the serial numbers of the machines.
	Machines []string `toml:"machines"`
	// Hardware are the URIs of card and TPM that are not the lab's own: what they
	// have of the lab has to be given back.
	Hardware []string `toml:"hardware,omitempty"`
}

// The files in a lab folder that make it one.
const (
	labFile  = "lab.toml"
	lockFile = "lock"
)

// Lab is a lab folder that this process holds: no other one opens it until Close.
type Lab struct {
	Dir    string
	Config LabConfig

	lock *os.File
}

// CreateLab makes a lab in dir, which must not be there or be empty (a cut
// CreateLab counts as empty), and holds it. command is what the user typed, for
// who finds the lab held; it must have no secret. The error is ErrLabExists,
// a *HeldError or that of the file system.
func CreateLab(dir, command string, config LabConfig) (*Lab, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	// Before the lock, so that a folder of something else gets no lock file, and
	// after it, because another process may just have made a lab.
	if err := checkEmpty(dir); err != nil {
		return nil, err
	}
	lock, err := holdLab(dir, command)
	if err != nil {
		return nil, err
	}
	config.Schema = LabSchema
	text, err := toml.Marshal(config)
	if err == nil {
		err = checkEmpty(dir)
	}
	if err == nil {
		err = WriteFile(filepath.Join(dir, labFile), text)
	}
	if err != nil {
		_ = unlock(lock)
		return nil, err
	}
	return &Lab{dir, config, lock}, nil
}

func checkEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == labFile {
			return fmt.Errorf("%w: %s is a lab: use it, or remove it with mcim lab remove", ErrLabExists, dir)
		}
	}
	for _, e := range entries {
		if e.Name() != lockFile {
			return fmt.Errorf("%w: %s holds %s and is no lab: name an empty folder", ErrLabExists, dir, e.Name())
		}
	}
	return nil
}

// OpenLab opens the lab in dir and holds it. The error is ErrNoLab, ErrNewer,
// ErrLabFile, a *HeldError or that of the file system.
func OpenLab(dir, command string) (*Lab, error) {
	// Look first: a folder that is no lab gets no lock file.
	if _, err := os.Stat(filepath.Join(dir, labFile)); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s has no %s: make one with mcim lab init", ErrNoLab, dir, labFile)
	}
	lock, err := holdLab(dir, command)
	if err != nil {
		return nil, err
	}
	config, err := readLabFile(filepath.Join(dir, labFile))
	if err != nil {
		_ = unlock(lock)
		return nil, err
	}
	return &Lab{dir, config, lock}, nil
}

// Path is a path inside the lab folder.
func (l *Lab) Path(parts ...string) string {
	return filepath.Join(append([]string{l.Dir}, parts...)...)
}

// Close lets other processes have the lab.
func (l *Lab) Close() error { return unlock(l.lock) }

// unlock lets go of the lock itself before the file: a child that is just being
// started has the file too, until it runs its own program.
func unlock(lock *os.File) error {
	return errors.Join(unix.Flock(int(lock.Fd()), unix.LOCK_UN), lock.Close())
}

// Remove deletes the lab with everything in its folder, and closes it. lab.toml
// goes last, so that a removal that was cut can be repeated.
func (l *Lab) Remove() error {
	defer func() { _ = unlock(l.lock) }()
	entries, err := os.ReadDir(l.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == labFile || e.Name() == lockFile {
			continue
		}
		if err := os.RemoveAll(l.Path(e.Name())); err != nil {
			return err
		}
	}
	if err := os.Remove(l.Path(labFile)); err != nil {
		return err
	}
	return os.RemoveAll(l.Dir)
}

func readLabFile(path string) (LabConfig, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return LabConfig{}, err
	}
	config, err := parseLabFile(text)
	if err != nil {
		return LabConfig{}, fmt.Errorf("%s: %w", path, err)
	}
	return config, nil
}

// parseLabFile looks at the schema number before it minds fields that it does
// not know, which a newer version may have.
func parseLabFile(text []byte) (LabConfig, error) {
	var version struct {
		Schema int `toml:"schema"`
	}
	if err := toml.Unmarshal(text, &version); err != nil {
		return LabConfig{}, fmt.Errorf("%w: %w", ErrLabFile, err)
	}
	if version.Schema > LabSchema {
		return LabConfig{}, fmt.Errorf("%w: its schema is %d, this one knows %d: use the newer mcim, or another folder", ErrNewer, version.Schema, LabSchema)
	}
	if version.Schema != LabSchema {
		return LabConfig{}, fmt.Errorf("%w: schema is %d, must be %d", ErrLabFile, version.Schema, LabSchema)
	}
	var config LabConfig
	decoder := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields()
	if err := decoder.Decode(&config); err != nil {
		return LabConfig{}, fmt.Errorf("%w: %w", ErrLabFile, err)
	}
	return config, nil
}

// holder is the content of the lock file.
type holder struct {
	Command string `json:"command"`
	PID     int    `json:"pid"`
}

// holdLab locks the lab for as long as the file is open; the kernel lets go of it
// when the process ends, however it ends.
func holdLab(dir, command string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		held := &HeldError{Dir: dir}
		var h holder
		// The holder may be about to write it; then it stays unknown.
		if json.NewDecoder(lock).Decode(&h) == nil {
			held.Command, held.PID = h.Command, h.PID
		}
		_ = lock.Close()
		return nil, held
	}
	if err == nil {
		err = writeHolder(lock, holder{command, os.Getpid()})
	}
	if err != nil {
		_ = unlock(lock)
		return nil, fmt.Errorf("lock of lab %s: %w", dir, err)
	}
	return lock, nil
}

func writeHolder(lock *os.File, h holder) error {
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if err := lock.Truncate(0); err != nil {
		return err
	}
	_, err = lock.WriteAt(text, 0)
	return err
}
