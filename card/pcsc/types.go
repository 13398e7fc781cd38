package pcsc

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// Errors beside those of package card. Each comes wrapped in one line of what
// happened, what it means and what to try.
var (
	// ErrNoPCSC: the program was built without cgo.
	ErrNoPCSC = errors.New("built without PC/SC: build with CGO_ENABLED=1 and libpcsclite-dev to reach readers")
	// ErrNoService: pcscd does not run, or ended.
	ErrNoService = errors.New("no PC/SC service")
	// ErrPermission: pcscd runs and lets this user in not.
	ErrPermission = errors.New("no permission for PC/SC")
	// ErrNoReader: no reader has the name or index asked for.
	ErrNoReader = errors.New("no such reader")
	// ErrNoCard: the reader is empty.
	ErrNoCard = errors.New("no card in the reader")
	// ErrSharing: another program has the card.
	ErrSharing = errors.New("card is in use")
	// ErrMute: the card gives no answer to reset.
	ErrMute = errors.New("card does not answer to reset")
	// ErrProtocol: the card speaks neither T=0 nor T=1.
	ErrProtocol = errors.New("transmission protocol not supported")
	// ErrReset: another program reset the card; Reset it before the next command.
	ErrReset = errors.New("card was reset by another program")
	// ErrTransmission: the reader has a card, but the exchange went wrong; Reset
	// the card before the next command.
	ErrTransmission = errors.New("reader could not exchange the command")
	// ErrClosed: the card was closed before the call.
	ErrClosed = errors.New("card is closed")
	// ErrSocket: this process is bound to another pcscd already.
	ErrSocket = errors.New("another PC/SC socket is in use")
)

// DefaultDeadline is the longest that a call takes by default.
const DefaultDeadline = 10 * time.Second

// Options says how to open a card. The zero value is useful.
type Options struct {
	// Deadline bounds each call, beside its ctx; default DefaultDeadline.
	Deadline time.Duration
	// Wait is how long Open waits for a card in an empty reader; default not at all.
	// pcscd takes up to half a second to see a card that is put in.
	Wait time.Duration
	// Shared lets other programs use the card at the same time. They can then reset
	// it (ErrReset), and use what a PIN opened. Default: exclusive.
	Shared bool
}

// Reader is a reader as pcscd sees it.
type Reader struct {
	Index     int    // for Open
	Name      string // as pcscd gives it, in any characters
	Card      bool   // a card is in it
	ATR       []byte // of the card; empty without one, or when it is mute
	Mute      bool   // the card does not answer to reset
	InUse     bool   // a program has the card
	Exclusive bool   // and lets no other use it
}

// EventKind is what happened to a reader.
type EventKind int

// The events of Watch.
const (
	// ReaderAdded: the reader is there, at the start of Watch too.
	ReaderAdded EventKind = iota + 1
	// ReaderRemoved: it is gone; CardRemoved comes before where it had a card.
	ReaderRemoved
	// CardInserted: a card is in the reader, at the start of Watch too.
	CardInserted
	// CardRemoved: it is gone.
	CardRemoved
	// ServiceLost: pcscd does not answer, Err says why. All readers and cards are
	// gone with it, without events of their own.
	ServiceLost
	// ServiceFound: pcscd answers again; its readers follow as ReaderAdded.
	ServiceFound
)

// String is the event in words.
func (k EventKind) String() string {
	names := [...]string{ReaderAdded: "reader added", ReaderRemoved: "reader removed", CardInserted: "card inserted",
		CardRemoved: "card removed", ServiceLost: "PC/SC service lost", ServiceFound: "PC/SC service found"}
	if k < ReaderAdded || int(k) >= len(names) {
		return fmt.Sprintf("event %d", int(k))
	}
	return names[k]
}

// Event is something that Watch saw.
type Event struct {
	Kind   EventKind
	Reader string // empty for events of the service
	ATR    []byte // of the card, for CardInserted; empty where it is mute
	Err    error  // for ServiceLost
}

// socketEnv is where the PC/SC library looks for the socket of pcscd, and
// defaultSocket where it is without.
const (
	socketEnv     = "PCSCLITE_CSOCK_NAME"
	defaultSocket = "/run/pcscd/pcscd.comm"
)

// binding is the pcscd of this process. It is state of the process, not of a
// caller: the C library keeps what it read from the environment at its first
// call.
type binding struct {
	mu   sync.Mutex
	path string // empty before the first call
	keys []bool // those in use, see session.key
}

var bound binding

// use binds the process to the socket at path, empty for that of the
// environment. The caller holds b.mu.
func (b *binding) use(path string) error {
	switch {
	case b.path == "" && path == "":
		b.path = defaultSocket
		if env := os.Getenv(socketEnv); env != "" {
			b.path = env
		}
	case b.path == "":
		if err := os.Setenv(socketEnv, path); err != nil {
			return err
		}
		b.path = path
	case path != "" && path != b.path:
		return &problem{is: []error{ErrSocket}, text: fmt.Sprintf(
			"this process reaches the pcscd at %s and cannot change to %s: use another process for that one", b.path, path)}
	}
	return nil
}

// UseSocket makes this process reach the pcscd that listens at path. It must
// come before every other call of the package, and fails with ErrSocket for a
// path other than the one in use.
func UseSocket(path string) error {
	if path == "" {
		return errors.New("path of the PC/SC socket is empty")
	}
	bound.mu.Lock()
	defer bound.mu.Unlock()
	return bound.use(path)
}

// problem is an error of one line that errors.Is finds by several sentinels.
type problem struct {
	text string
	is   []error
}

func (p *problem) Error() string   { return p.text }
func (p *problem) Unwrap() []error { return p.is }
