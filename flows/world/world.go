package world

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"mcim/card"
	"mcim/card/device"
	"mcim/card/emul"
	"mcim/card/pcsc"
	"mcim/card/proc"
	"mcim/card/trace"
	"mcim/flows/engine"
	"mcim/flows/m2me"
	"mcim/flows/pva"
	"mcim/flows/ro"
	"mcim/flows/sho"
	"mcim/flows/store"
	"mcim/flows/subscriber"
	"mcim/flows/supplier"
	"mcim/flows/vno"
	"mcim/flows/wire"
	"mcim/tpm"
	"mcim/tpm/ident"
	"mcim/tpm/mcim"
	"mcim/tpm/measure"
)

// Config is what a lab stands on and who looks at it. The zero value, with Dir, is
// a lab in software.
type Config struct {
	// Dir is the lab's folder.
	Dir string
	// Command is what the user typed, for who finds the lab held.
	Command string
	// Card is the URI of the machine's UICC. Empty is the software UICC of the lab
	// behind a private pcscd; InProcess leaves that pcscd out.
	Card      string
	InProcess bool
	// Profile describes a card that is not the lab's own: what its operator and
	// its maker know of it. Only Create reads it.
	Profile *emul.Profile
	// Allow lists the ICCIDs that may be written. The lab's own card always may.
	Allow []string
	// Refused remembers the codes that cards have refused; nil is one of the lab
	// while it is open.
	Refused *card.Refused
	// LeaveCard lets Remove leave a named card with the keys of the lab.
	LeaveCard bool
	// TPM is the URI of the machine's TPM; empty is the swtpm of the lab.
	TPM string
	// TPMOptions are what Open of the TPM may need besides; tap, pin and claim are
	// the lab's own.
	TPMOptions tpm.Options
	// BootLog is where the event log of a TPM that is not the lab's own lies; empty
	// is the kernel's.
	BootLog string
	// EKRoots is a PEM file with the certificates of TPM makers that are trusted;
	// empty trusts the lab's swtpm alone.
	EKRoots string

	// Meter counts, and tells of each step; nil is one that tells nobody.
	Meter *Meter
	// Spent counts what card and TPM are spent, and refuses what goes past its
	// bound; nil is one without a bound.
	Spent *Spent
	// Sinks get each APDU; those that are a TPMSink get each TPM command too.
	Sinks []trace.Sink
	// Logger hears of the roles' failed handshakes and the like; nil discards.
	Logger *slog.Logger
	// OnPoint hears of each journal point of the machine and of the RO's orders
	// before they go on. A test of crashes ends the process there.
	OnPoint func(point string)

	// Attack is what an attacker does; Weak switches defences off. It exists so that tests can show what they are
	// worth; nothing that a user can reach may set it.
	Attack Attack
	Weak   Weakness
}

// World is a lab that is open.
type World struct {
	Meter      *Meter
	Directory  *wire.Directory
	Supplier   *supplier.Supplier
	RO         *ro.RO
	VNO        *vno.VNO
	SHOs       map[string]*sho.SHO
	PVA        *pva.PVA
	Subscriber *subscriber.Subscriber
	Machine    *m2me.Machine
	TPM        *tpm.TPM
	// Device is the machine's UICC, Played its virtual reader where it is the
	// lab's own behind a pcscd.
	Device *device.Card
	Played *device.Played

	config  Config
	lab     *store.Lab
	engine  *engine.Engine // of the RO
	serial  string
	plmns   map[string]string       // by role
	stores  map[string]*store.Store // by role
	profile *emul.Profile           // of the card, while Create runs
	log     measure.Log             // of this boot
	trust   ident.Trust             // which TPM makers the supplier takes
	tapped  card.Card               // Device behind the tap
	carried []wire.PackageMessage   // on their way to the machine, since open
	closers []func() error
}

// Role names of a lab.
const (
	SupplierRole   = "supplier"
	RORole         = "ro"
	VNORole        = "vno"
	PVARole        = "pva"
	SubscriberRole = "subscriber"
	SHOA           = "sho-a"
	SHOB           = "sho-b"
)

// roleNames are the roles beside the machine.
var roleNames = []string{SupplierRole, RORole, VNORole, PVARole, SubscriberRole, SHOA, SHOB}

// testPLMNs are the PLMNs of the home operators and of the provisional identities:
// test networks (TS 23.003, MCC 001 and 999). SHO-A has that of the card where the
// caller has named one of another network.
var testPLMNs = map[string]string{SHOA: "00101", SHOB: "00102", RORole: "99970"}

// Errors of a lab's folder.
var (
	// ErrUnfinished says that the making of the lab was cut.
	ErrUnfinished = errors.New("the lab was not made to its end: remove it with mcim lab remove, and make it again")
	// ErrDamaged says that a file of the lab is broken or missing.
	ErrDamaged = errors.New("the lab is damaged")
)

// made is the file that says that a lab was made to its end.
const made = "made"

// Create makes a lab with keys of its own and a machine that is not supplied
// yet. The error is store.ErrLabExists, a *store.HeldError, or that of a device;
// then nothing is left of the lab.
func Create(ctx context.Context, c Config) (*World, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	if err := c.absolute(); err != nil {
		return nil, err
	}
	lab, err := store.CreateLab(c.Dir, c.Command, store.LabConfig{
		Operators: []string{SHOA, SHOB}, Machines: []string{serial}, Hardware: c.hardware(),
	})
	if err != nil {
		return nil, err
	}
	w := newWorld(c, lab)
	if err := w.create(ctx); err != nil {
		err = w.behind(err)
		err = errors.Join(err, w.Close())
		_, rerr := Remove(context.WithoutCancel(ctx), c)
		return nil, errors.Join(err, rerr)
	}
	return w, nil
}

func (w *World) create(ctx context.Context) error {
	if err := errors.Join(w.makeKeys(), w.makeCard()); err != nil {
		return err
	}
	if err := w.open(ctx); err != nil {
		return err
	}
	if err := w.issueCard(ctx); err != nil {
		return err
	}
	return store.WriteFile(w.lab.Path(made), nil)
}

// Open opens a lab that Create has made. Orders that were cut wait for Resume.
// Errors are those of store.OpenLab, ErrUnfinished, ErrDamaged with the file, and
// those of the devices.
func Open(ctx context.Context, c Config) (*World, error) {
	w, err := openLab(c)
	if err != nil {
		return nil, err
	}
	if err = w.finished(); err == nil {
		err = w.open(ctx)
	}
	if err != nil {
		return nil, errors.Join(w.behind(err), w.Close())
	}
	return w, nil
}

// behind tells what is behind an error of a lab that does not open: a pcscd of its
// own that has ended, or a damaged file.
func (w *World) behind(err error) error {
	if errors.Is(err, card.ErrRemoved) || errors.Is(err, pcsc.ErrNoService) {
		if ended := w.Played.Cause(err); errors.Is(ended, proc.ErrEnded) {
			return fmt.Errorf("%w: start the run again", ended)
		}
	}
	return w.damaged(err)
}

// damaged says what to do about a lab in which a file is broken or missing.
func (w *World) damaged(err error) error {
	causes := []error{store.ErrDamaged, store.ErrKey, wire.ErrKeyFile, mcim.ErrRollback}
	if w.config.Card == "" {
		causes = append(causes, emul.ErrImageDamaged, emul.ErrImageKey)
	}
	if w.config.TPM == "" {
		causes = append(causes, tpm.ErrDamaged)
	}
	broken := slices.ContainsFunc(causes, func(cause error) bool { return errors.Is(err, cause) })
	var file *fs.PathError
	missing := errors.Is(err, fs.ErrNotExist) && errors.As(err, &file) && strings.HasPrefix(file.Path, w.lab.Dir)
	if !broken && !missing {
		if errors.Is(err, tpm.ErrDamaged) {
			return fmt.Errorf("%w: put that file back from a copy, or name another folder", err)
		}
		return err
	}
	return fmt.Errorf("%w (%w): put that file back from a copy of the lab, or remove the lab with mcim lab remove --lab %s", ErrDamaged, err, w.lab.Dir)
}

// Damage tells whether failure, with which a procedure has ended, comes of a file of
// the lab that is broken or missing: ErrDamaged with that file, or nil.
func (w *World) Damage(failure error) error {
	for _, err := range []error{failure, w.Machine.Check()} {
		if err := w.damaged(err); errors.Is(err, ErrDamaged) {
			return err
		}
	}
	return nil
}

// hardware are the URIs of what is not the lab's own.
func (c Config) hardware() []string {
	return slices.DeleteFunc([]string{c.Card, c.TPM}, func(uri string) bool { return uri == "" })
}

// finished says whether the lab was made to its end.
func (w *World) finished() error {
	_, err := os.Stat(w.lab.Path(made))
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s: %w", w.lab.Dir, ErrUnfinished)
	}
	return err
}

// openLab holds a lab that is there, with nothing of it open yet. Errors are
// those of store.OpenLab.
func openLab(c Config) (*World, error) {
	lab, err := store.OpenLab(c.Dir, c.Command)
	if err != nil {
		return nil, err
	}
	if n := len(lab.Config.Machines); n != 1 {
		return nil, errors.Join(fmt.Errorf("%s: %w: it names %d machines, must be one", lab.Dir, store.ErrLabFile, n), lab.Close())
	}
	return newWorld(c, lab), nil
}

func newWorld(c Config, lab *store.Lab) *World {
	if c.OnPoint == nil {
		c.OnPoint = func(string) {}
	}
	if c.Meter == nil {
		c.Meter = NewMeter(nil)
	}
	if c.Spent == nil {
		c.Spent = &Spent{}
	}
	if c.Refused == nil {
		c.Refused = &card.Refused{}
	}
	c.Sinks = append([]trace.Sink{c.Meter, c.Spent}, c.Sinks...)
	w := &World{
		Meter: c.Meter, Directory: &wire.Directory{}, SHOs: map[string]*sho.SHO{},
		config: c, lab: lab, serial: lab.Config.Machines[0], plmns: maps.Clone(testPLMNs), stores: map[string]*store.Store{},
	}
	w.later(lab.Close)
	return w
}

// later has f run by Close, before what was given earlier.
func (w *World) later(f func() error) { w.closers = append(w.closers, f) }

// Close ends the roles, gives back the devices and lets go of the lab. It is safe
// to call twice.
func (w *World) Close() error { return w.closeTo(0) }

// closeTo closes all but what was opened first: with 1 the lab stays held.
func (w *World) closeTo(first int) error {
	var err error
	for len(w.closers) > first {
		last := len(w.closers) - 1
		f := w.closers[last]
		w.closers = w.closers[:last]
		err = errors.Join(err, f())
	}
	return err
}

// Dir is the lab's folder.
func (w *World) Dir() string { return w.lab.Dir }

// Context is ctx with the lab's observer: for what is done from outside the
// roles.
func (w *World) Context(ctx context.Context) context.Context {
	return wire.WithObserver(ctx, w.Meter.Observe)
}

// open opens stores and devices and starts the roles.
func (w *World) open(ctx context.Context) error {
	for _, step := range []func(context.Context) error{w.openStores, w.openDevices, w.startRoles} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) openStores(ctx context.Context) error {
	for _, role := range append([]string{wire.MachineRole(w.serial)}, roleNames...) {
		if err := w.openStore(ctx, role); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) openStore(ctx context.Context, role string) error {
	s, err := store.Open(ctx, w.lab.Path("roles", role))
	if err != nil {
		return fmt.Errorf("store of %s: %w", role, err)
	}
	w.later(s.Close)
	w.stores[role] = s
	return nil
}

func (w *World) openDevices(ctx context.Context) error {
	known, err := w.device(ctx)
	if err != nil {
		return err
	}
	w.config.TPM, w.config.Card = cmp.Or(w.config.TPM, known.URI), cmp.Or(w.config.Card, known.Card)
	w.plmns[SHOA] = cmp.Or(known.Home, w.cardPLMN(), w.plmns[SHOA])
	for _, step := range []func(context.Context) error{w.openCard, w.proveCard, w.openTPM} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// newSerial is a serial number for a machine: 8 characters.
func newSerial() (string, error) {
	b := make([]byte, 4)
	_, err := rand.Read(b)
	return hex.EncodeToString(b), err
}
