package mcim

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"mcim/tpm"
	"mcim/tpm/policy"
)

// ErrCounter is returned where an NV index of our range is not the counter that
// it should be.
var ErrCounter = errors.New("NV index is no counter of ours")

// counter is one NV counter.
type counter struct {
	m     *machine
	index tpm2.TPMHandle
	name  tpm2.TPM2BName // with the attribute written
}

func (m *machine) counter(n int) (counter, error) {
	index, err := m.tpm.NVIndex(n)
	if err != nil {
		return counter{}, err
	}
	name, err := policy.CounterName(index)
	return counter{m: m, index: index, name: name}, err
}

// handle names the index; auth is the empty password in a salted session, so
// that nobody on the bus can forge the answer.
func (c counter) handle() tpm2.NamedHandle {
	return tpm2.NamedHandle{Handle: c.index, Name: c.name}
}

// define makes the counter and takes its first step, after which it has its
// Name. A counter that is there already is left alone, but for a missing first
// step. fresh says whether the counter is new.
func (c counter) define() (fresh bool, err error) {
	want := policy.CounterPublic(c.index)
	written, err := c.defined()
	if err != nil {
		return false, err
	}
	if written == nil {
		want.Attributes.Written = false
		if err := c.m.defineNV(want); err != nil {
			return false, err
		}
	}
	if written == nil || !*written {
		return true, c.firstIncrement()
	}
	return false, nil
}

// defined is nil where the index is free, else whether it was written.
func (c counter) defined() (written *bool, err error) {
	got, _, err := c.m.tpm.NVPublic(c.index)
	if errors.Is(err, tpm.ErrNoIndex) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read public area of NV index %#x: %w", uint32(c.index), err)
	}
	want := policy.CounterPublic(c.index)
	want.Attributes.Written = got.Attributes.Written
	if string(tpm2.Marshal(got)) != string(tpm2.Marshal(want)) {
		return nil, fmt.Errorf("%w: index %#x is in use for something else; choose another range", ErrCounter, uint32(c.index))
	}
	return &got.Attributes.Written, nil
}

// firstIncrement uses the Name without written.
func (c counter) firstIncrement() error {
	public := policy.CounterPublic(c.index)
	public.Attributes.Written = false
	name, err := tpm2.NVName(&public)
	if err != nil {
		return err
	}
	c.name = *name
	return c.increment()
}

// read gives the value, from an answer that the session authenticates.
func (c counter) read() (uint64, error) {
	var value uint64
	err := c.m.count(func(s tpm2.Session) error {
		rsp, err := tpm2.NVRead{
			AuthHandle: tpm2.AuthHandle{Handle: c.index, Name: c.name, Auth: s},
			NVIndex:    c.handle(),
			Size:       8,
		}.Execute(c.m.tpm)
		if err != nil {
			return fmt.Errorf("read counter %#x: %w", uint32(c.index), err)
		}
		if len(rsp.Data.Buffer) != 8 {
			return fmt.Errorf("%w: index %#x", ErrCounter, uint32(c.index))
		}
		value = binary.BigEndian.Uint64(rsp.Data.Buffer)
		return nil
	})
	return value, err
}

// increment takes one step. After an error the value is unknown.
func (c counter) increment() error {
	return c.m.count(func(s tpm2.Session) error {
		_, err := tpm2.NVIncrement{
			AuthHandle: tpm2.AuthHandle{Handle: c.index, Name: c.name, Auth: s},
			NVIndex:    c.handle(),
		}.Execute(c.m.tpm)
		if err != nil {
			return fmt.Errorf("increment counter %#x: %w", uint32(c.index), err)
		}
		return nil
	})
}
