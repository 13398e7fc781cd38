package tpm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// Exchange is one command and its answer as they were on the wire: session
// encryption is on where the command uses it.
type Exchange struct {
	Time     time.Time
	Duration time.Duration
	Code     tpm2.TPMCC
	Name     string // of Code, as "EncryptDecrypt2"
	Request  []byte
	Response []byte     // nil if none came
	RC       tpm2.TPMRC // TPM_RC_FAILURE if no answer came
}

const headerLen = 10 // tag, size, command or response code

// ErrCommand means that the bytes are no TPM command; nothing was sent.
var ErrCommand = errors.New("not a TPM command")

// Send sends one command and returns its answer, whatever its response code. It
// implements transport.TPM. It fails with ErrCommand, with ErrGone, on a foreign
// TPM with a *TakeOverError, and with what Options.Admit says. Answers that ask
// to try again are obeyed for a few seconds.
func (t *TPM) Send(command []byte) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.link.TPM == nil {
		return nil, fmt.Errorf("%w: it was closed", ErrGone)
	}
	if len(command) < headerLen {
		return nil, ErrCommand
	}
	if err := t.refuse(command); err != nil {
		return nil, errors.Join(err, t.flushFresh())
	}
	for wait := 5 * time.Millisecond; ; wait *= 2 {
		response, err := t.exchange(command)
		if err != nil {
			return nil, t.gone(err)
		}
		if !Again(responseCode(response)) || wait > 2*time.Second {
			return response, nil
		}
		time.Sleep(wait)
	}
}

// refuse says why a command is not to be sent: the guard of a foreign TPM, and
// who opened this one.
func (t *TPM) refuse(command []byte) error {
	if err := t.guard(command); err != nil || t.opts.Admit == nil {
		return err
	}
	return t.opts.Admit(CommandName(commandCode(command)))
}

// exchange sends once, counts and reports.
func (t *TPM) exchange(command []byte) ([]byte, error) {
	e := Exchange{Time: time.Now(), Code: commandCode(command), RC: tpm2.TPMRCFailure}
	// A copy, because some transports decrypt in place, in the caller's buffer.
	e.Request = append([]byte(nil), command...)
	response, err := t.link.Send(command)
	e.Duration = time.Since(e.Time)
	if err == nil && len(response) < headerLen {
		err = fmt.Errorf("answer of %d bytes", len(response))
	}
	if err == nil {
		e.RC = responseCode(response)
		e.Response = append([]byte(nil), response...)
	}
	t.commands++
	t.remember(e)
	if t.opts.Tap != nil {
		e.Name = CommandName(e.Code)
		t.opts.Tap(e)
	}
	return response, err
}

// remember keeps the sessions that were started for the next command. Policy
// commands do not use a session up.
func (t *TPM) remember(e Exchange) {
	switch {
	case e.Code == tpm2.TPMCCStartAuthSession && e.RC == tpm2.TPMRCSuccess:
		if h, ok := wordAt(e.Response, headerLen); ok {
			t.fresh = append(t.fresh, h)
		}
	case !strings.HasPrefix(CommandName(e.Code), "Policy"):
		t.fresh = nil
	}
}

// flushFresh ends the sessions of a command that was not sent: nobody else does.
func (t *TPM) flushFresh() error {
	var errs []error
	for _, h := range t.fresh {
		command := binary.BigEndian.AppendUint32([]byte{0x80, 0x01, 0, 0, 0, headerLen + 4, 0, 0, 0x01, 0x65}, h)
		_, err := t.exchange(command)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// gone adds what is known of the end of the TPM.
func (t *TPM) gone(err error) error {
	if fault := t.link.fault(err); fault != nil {
		err = fault
	}
	return fmt.Errorf("%w: %w", ErrGone, err)
}

// Again tells the warnings after which the same command may be sent once more:
// the TPM has not started it (TPM 2.0 Part 2, 6.6.3).
func Again(rc tpm2.TPMRC) bool {
	switch rc {
	case tpm2.TPMRCRetry, tpm2.TPMRCYielded, tpm2.TPMRCTesting, tpm2.TPMRCNVRate:
		return true
	}
	return false
}

func commandCode(command []byte) tpm2.TPMCC {
	return tpm2.TPMCC(binary.BigEndian.Uint32(command[6:]))
}

func responseCode(response []byte) tpm2.TPMRC {
	return tpm2.TPMRC(binary.BigEndian.Uint32(response[6:]))
}

// noFault is for a TPM of which nothing is known but that it is gone.
func noFault(error) error { return nil }

// socket is a connection on which one command may take at most timeout.
type socket struct {
	conn    net.Conn
	timeout time.Duration
	raw     transport.TPM
}

func newSocket(conn net.Conn, timeout time.Duration) *socket {
	return &socket{conn: conn, timeout: timeout, raw: transport.FromReadWriter(conn)}
}

// Send implements transport.TPM.
func (s *socket) Send(command []byte) ([]byte, error) {
	if err := s.conn.SetDeadline(time.Now().Add(s.timeout)); err != nil {
		return nil, err
	}
	return s.raw.Send(command)
}

func dialUnix(ctx context.Context, path string, timeout time.Duration) (link, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, os.ErrPermission):
		return link{}, fmt.Errorf("%w (socket %s)", ErrPermission, path)
	case err != nil:
		return link{}, fmt.Errorf("%w: %w: is the emulator running?", ErrNoTPM, err)
	}
	return link{TPM: newSocket(conn, timeout), close: conn.Close, fault: noFault}, nil
}
