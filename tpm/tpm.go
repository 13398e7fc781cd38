package tpm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"mcim/apdu/secret"
)

// Kind is the way to a TPM: the part of its URI before the colon.
type Kind string

// The three kinds of TPM that Open knows.
const (
	KindDevice Kind = "device" // device:PATH, the TPM of this machine
	KindSWTPM  Kind = "swtpm"  // swtpm:DIR, an emulator that we start
	KindUnix   Kind = "unix"   // unix:PATH, a socket that speaks raw TPM commands
)

// Errors of Open and Send.
var (
	// ErrURI: the URI has no form that Open knows.
	ErrURI = errors.New("not a TPM URI: use device:/dev/tpmrm0, swtpm:DIR or unix:PATH")
	// ErrNoTPM: there is nothing at the path.
	ErrNoTPM = errors.New("no TPM there")
	// ErrPermission: this user may not open the device.
	ErrPermission = errors.New("no permission to use the TPM: add the user to group tss (usermod -aG tss USER) and log in again")
	// ErrDamaged: the files of a swtpm: URI are broken or gone.
	ErrDamaged = errors.New("the files of the TPM are damaged")
	// ErrGone: the TPM does not answer any more; open it again.
	ErrGone = errors.New("the TPM is gone")
)

// Options of Open. The zero value opens a TPM without pinned EK and with the
// default Range, not yet claimed.
type Options struct {
	// Tap is told of every command, in order, before its answer is used. It must
	// not call the TPM.
	Tap func(Exchange)
	// Admit is asked before a command is sent, by its CommandName: its error keeps
	// the command from being sent, and Send returns it. It must not call the TPM.
	// nil admits all.
	Admit func(command string) error
	// EKPin is EK.Pin of the endorsement key that was verified in an earlier run;
	// nil: no session can be started before PinEK.
	EKPin []byte
	// Range is where our NV indices and persistent keys live; zero: DefaultRange.
	Range Range
	// Claimed says that an earlier run claimed Range (Claim) and stored that.
	Claimed bool
	// Register is the one PCR that we may extend on a TPM of somebody else;
	// zero: 14 (PCR 0 is never ours).
	Register uint
	// Foreign puts the restraint of a device: TPM on any other kind, too.
	Foreign bool
	// TakeOwnership is EK.Pin of the TPM that may be taken over although it is
	// somebody else's. It must be the pin of an EK of this TPM, or Open fails
	// with ErrNotPinned.
	TakeOwnership []byte
	// OwnerAuth and EndorsementAuth are the auth values of the two hierarchies;
	// empty on most machines.
	OwnerAuth, EndorsementAuth secret.Bytes
	// Timeout bounds one command on a socket; zero: 60 s. Device files have the
	// kernel's own limits.
	Timeout time.Duration
	// Wrap puts something between the tap and the TPM: a recorder, a filter that
	// takes a command away, a fault.
	Wrap func(transport.TPM) transport.TPM
}

// TPM is an open TPM. Send may be called from several goroutines; a session
// serves one at a time.
type TPM struct {
	// Kind is how it was opened.
	Kind Kind

	opts    Options
	foreign bool // the guard of Send is on
	claimed bool

	mu       sync.Mutex // guards what follows
	link     link
	commands uint64
	fresh    []uint32 // sessions started for the next command
	ek       *EK      // pinned
}

// link is the way to the TPM below tap and guard.
type link struct {
	transport.TPM
	close func() error
	// fault says why the TPM is gone after that error, where it is known.
	fault func(error) error
}

// Open opens the TPM that uri names: device:PATH, swtpm:DIR (manufactured when
// the folder is empty) or unix:PATH. It fails with ErrURI, ErrNoTPM,
// ErrPermission, proc.ErrMissing, an *InUseError, and where a pin is given with
// ErrNotPinned. ctx bounds the start.
func Open(ctx context.Context, uri string, opts Options) (*TPM, error) {
	scheme, path, found := strings.Cut(uri, ":")
	if !found || path == "" {
		return nil, fmt.Errorf("%q: %w", uri, ErrURI)
	}
	t := &TPM{Kind: Kind(scheme), opts: opts, claimed: opts.Claimed}
	t.opts.setDefaults()
	if err := t.opts.Range.valid(); err != nil {
		return nil, err
	}
	var err error
	switch t.Kind {
	case KindDevice:
		t.link, err = openDevice(path)
	case KindSWTPM:
		t.link, err = startSWTPM(ctx, path, t.opts.Timeout)
	case KindUnix:
		t.link, err = dialUnix(ctx, path, t.opts.Timeout)
	default:
		err = ErrURI
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", uri, err)
	}
	if opts.Wrap != nil {
		t.link.TPM = opts.Wrap(t.link.TPM)
	}
	t.foreign = opts.Foreign || t.Kind == KindDevice
	if err := t.pinAtOpen(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", uri, err), t.Close())
	}
	return t, nil
}

func (o *Options) setDefaults() {
	if o.Range == (Range{}) {
		o.Range = DefaultRange
	}
	if o.Register == 0 {
		o.Register = 14
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
}

// pinAtOpen finds the EK that an earlier run pinned, and the one that the
// caller allows to take over.
func (t *TPM) pinAtOpen() error {
	if t.opts.EKPin != nil {
		ek, err := t.findEK(t.opts.EKPin)
		if err != nil {
			return err
		}
		t.ek = &ek
	}
	if t.opts.TakeOwnership == nil {
		return nil
	}
	if _, err := t.findEK(t.opts.TakeOwnership); err != nil {
		return fmt.Errorf("the TPM to take over must be named by the hash of its EK: %w", err)
	}
	t.foreign = false
	return nil
}

// Close ends the connection. The TPM of a swtpm: URI is shut down in order and
// its process stopped. It is safe to call twice.
func (t *TPM) Close() error {
	t.mu.Lock()
	l := t.link
	t.link = link{}
	t.mu.Unlock()
	if l.TPM == nil {
		return nil
	}
	if t.Kind != KindSWTPM {
		return l.close()
	}
	// Without TPM2_Shutdown the next start counts as a failed authorization.
	_, err := tpm2.Shutdown{ShutdownType: tpm2.TPMSUClear}.Execute(l.TPM)
	if err != nil && l.fault(err) != nil {
		err = nil // it ended before us: nothing is left to shut down
	}
	return errors.Join(err, l.close())
}

// Commands is how many commands were sent since Open.
func (t *TPM) Commands() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.commands
}

// Register is the PCR that is ours on any TPM.
func (t *TPM) Register() uint { return t.opts.Register }

// Foreign tells whether this TPM is treated as somebody else's.
func (t *TPM) Foreign() bool { return t.foreign }

func openDevice(path string) (link, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return link{}, fmt.Errorf("%w: switch the TPM on in the firmware setup, or check the path", ErrNoTPM)
	case err != nil:
		return link{}, err
	case info.Mode()&os.ModeCharDevice == 0:
		return link{}, fmt.Errorf("%w: the file is no character device", ErrNoTPM)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return link{}, deviceError(err)
	}
	return link{TPM: transport.FromReadWriter(f), close: f.Close, fault: noFault}, nil
}

func deviceError(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return ErrPermission
	}
	return fmt.Errorf("%w: is another program using it? prefer /dev/tpmrm0, which can be shared", err)
}
