package mcim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"mcim/card/aka"
)

// The SQN file has two records of fixed length; record v lies at place v%2, so
// that writing the next one never touches the current one.
const (
	sqnPlain  = 8 + 8 + 6*aka.ArraySize // Delta, AgeLimit, the array
	sqnRecord = versionSize + sqnPlain + 28
	sqnPlace  = 4096
)

// sqnFile keeps the array of sequence numbers of one MCIM at the value of its
// slot's SQN counter.
type sqnFile struct {
	f       *os.File
	box     *box
	label   string // slot and Name of K
	counter counter
	at      uint64 // the counter's value
}

// createSQN writes the first record, for the value that the counter will have
// after its next increment.
func createSQN(path string, b *box, label string, next uint64, a *aka.SQNArray) error {
	content := make([]byte, 2*sqnPlace)
	copy(content[next%2*sqnPlace:], b.seal(label, next, encodeSQN(a)))
	return writeFile(path, content)
}

// openSQN reads the record of the counter's value, or the one after it, which
// is there when the last run was cut between writing and counting: then it
// counts at once. Everything else is ErrRollback.
func openSQN(path string, b *box, label string, c counter) (*sqnFile, *aka.SQNArray, error) {
	at, err := c.read()
	if err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("sequence numbers: %s is gone: %w", path, ErrRollback)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("sequence numbers: %w", err)
	}
	s := &sqnFile{f: f, box: b, label: label, counter: c, at: at}
	array, err := s.load()
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return s, array, nil
}

func (s *sqnFile) load() (*aka.SQNArray, error) {
	for _, v := range []uint64{s.at + 1, s.at} {
		record := make([]byte, sqnRecord)
		if _, err := s.f.ReadAt(record, int64(v%2*sqnPlace)); err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("sequence numbers: %w", err)
		}
		plain, _, ok := s.box.open(s.label, record, v)
		if !ok {
			continue
		}
		array, err := decodeSQN(plain)
		if err == nil && v > s.at {
			err = s.count()
		}
		return array, err
	}
	return nil, fmt.Errorf("sequence numbers in %s: %w", s.f.Name(), ErrRollback)
}

// store makes the array durable and counts; only then may a result leave.
func (s *sqnFile) store(a *aka.SQNArray) error {
	v := s.at + 1
	if _, err := s.f.WriteAt(s.box.seal(s.label, v, encodeSQN(a)), int64(v%2*sqnPlace)); err != nil {
		return fmt.Errorf("sequence numbers: %w", err)
	}
	if err := unix.Fdatasync(int(s.f.Fd())); err != nil {
		return fmt.Errorf("sequence numbers: %w", err)
	}
	return s.count()
}

func (s *sqnFile) count() error {
	if err := s.counter.increment(); err != nil {
		return err
	}
	s.at++
	return nil
}

func encodeSQN(a *aka.SQNArray) []byte {
	b := make([]byte, 0, sqnPlain)
	b = binary.BigEndian.AppendUint64(b, a.Delta)
	b = binary.BigEndian.AppendUint64(b, a.AgeLimit)
	for _, sqn := range a.Last {
		six := sqn.Bytes()
		b = append(b, six[:]...)
	}
	return b
}

// decodeSQN takes what encodeSQN gives; an entry under the wrong IND is refused.
func decodeSQN(b []byte) (*aka.SQNArray, error) {
	if len(b) != sqnPlain {
		return nil, fmt.Errorf("sequence numbers: %d bytes, want %d", len(b), sqnPlain)
	}
	a := &aka.SQNArray{Delta: binary.BigEndian.Uint64(b), AgeLimit: binary.BigEndian.Uint64(b[8:])}
	for i := range a.Last {
		a.Last[i] = aka.SQNFromBytes([6]byte(b[16+6*i:]))
		if a.Last[i].IND() != i {
			return nil, fmt.Errorf("sequence numbers: entry %d has IND %d", i, a.Last[i].IND())
		}
	}
	return a, nil
}
