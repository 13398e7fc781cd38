package world_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"mcim/card/proc"
	"mcim/card/trace"
	"mcim/flows"
	"mcim/flows/wire"
	"mcim/flows/world"
	"mcim/tpm"
	"mcim/tpm/measure"
	"mcim/tpm/tpmtest"
)

// owner is who owns a machine whose TPM is lent to a lab: its TPM listens on a
// socket, its boot is measured, and it looks at what was done.
type owner struct {
	t    *testing.T
	uri  string
	dir  string // of its swtpm
	log  string // of its boot
	sent [][]byte
	told []string // command names, by the sinks
}

// newOwner starts the TPM of a machine that has booted by that log.
func newOwner(t *testing.T, boot measure.Log) *owner {
	t.Helper()
	o := &owner{t: t, dir: tpmtest.Dir(t), log: filepath.Join(t.TempDir(), "log")}
	short, err := os.MkdirTemp("", "tpm") // a socket path has 107 bytes at most
	o.must(err)
	t.Cleanup(func() { _ = os.RemoveAll(short) })
	path := filepath.Join(short, "s")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	o.must(err)
	f, err := listener.File()
	o.must(err)
	listener.SetUnlinkOnClose(false)
	p, err := proc.Start(context.Background(), proc.Spec{Path: "swtpm", Package: "swtpm", ExtraFiles: []*os.File{f}, Args: []string{
		"socket", "--tpm2", "--server", "type=unixio,fd=3", "--tpmstate", "dir=" + filepath.Join(o.dir, "tpm"), "--flags", "not-need-init,startup-clear"}})
	o.must(errors.Join(err, listener.Close(), f.Close()))
	t.Cleanup(p.Stop)
	o.uri = "unix:" + path
	o.must(os.WriteFile(o.log, boot.Bytes(), 0o600))
	o.as(func(m *tpm.TPM) { o.must(measure.Extend(m, boot)) })
	return o
}

func (o *owner) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

// as does something with the TPM as its owner, outside of every lab.
func (o *owner) as(do func(*tpm.TPM)) {
	o.t.Helper()
	m, err := tpm.Open(context.Background(), o.uri, tpm.Options{})
	o.must(err)
	do(m)
	o.must(m.Close())
}

// makers is a PEM file with the CA of the TPM that is in a folder.
func (o *owner) makers(dir string) string {
	o.t.Helper()
	roots, between, err := tpm.LocalCA(dir)
	o.must(err)
	var text []byte
	for _, c := range append(roots, between...) {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	path := filepath.Join(o.t.TempDir(), "makers.pem")
	o.must(os.WriteFile(path, text, 0o600))
	return path
}

// lend is a lab on the owner's TPM, of which all commands are seen.
func (o *owner) lend() world.Config {
	o.t.Helper()
	return world.Config{
		Dir: filepath.Join(o.t.TempDir(), "lab"), Command: "test", InProcess: true, Sinks: []trace.Sink{o},
		TPM: o.uri, TPMOptions: tpm.Options{Foreign: true, Wrap: o.wrap}, BootLog: o.log, EKRoots: o.makers(o.dir),
	}
}

func (o *owner) wrap(next transport.TPM) transport.TPM { return &recorder{next, o} }

// recorder sits at the TPM's own door.
type recorder struct {
	next transport.TPM
	o    *owner
}

// Send implements transport.TPM.
func (r *recorder) Send(command []byte) ([]byte, error) {
	r.o.sent = append(r.o.sent, bytes.Clone(command))
	return r.next.Send(command)
}

// WriteAPDU makes the owner a trace.Sink.
func (o *owner) WriteAPDU(trace.Exchange) error { return nil }

// WriteTPM makes the owner a world.TPMSink.
func (o *owner) WriteTPM(e trace.TPMExchange) error {
	o.told = append(o.told, e.Name)
	return nil
}

// held is all NV indices and persistent handles of the TPM.
func (o *owner) held() (all []tpm2.TPMHandle) {
	o.t.Helper()
	o.as(func(m *tpm.TPM) {
		for _, first := range []uint32{0x01000000, 0x81000000} {
			rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: first, PropertyCount: 200}.Execute(m)
			o.must(err)
			list, err := rsp.CapabilityData.Data.Handles()
			o.must(err)
			all = append(all, list.Handle...)
		}
	})
	return all
}

// values is what the PCRs hold.
func (o *owner) values() (values map[int]measure.Digest) {
	o.t.Helper()
	all := make([]int, measure.PCRCount)
	for i := range all {
		all[i] = i
	}
	o.as(func(m *tpm.TPM) {
		var err error
		values, err = measure.Read(m, all...)
		o.must(err)
	})
	return values
}

// judge looks at every command that was sent: nothing but what uses keys and reads,
// and what changes our own range and register. extends is how often the register
// may have been extended.
func (o *owner) judge(register uint32, extends int) {
	o.t.Helper()
	allowed := strings.Fields(`StartAuthSession FlushContext GetCapability TestParms GetRandom
		ReadPublic NV_ReadPublic NV_Read PCR_Read CreatePrimary Create Load Import ActivateCredential
		Certify NV_Certify Quote Sign ECDH_ZGen EncryptDecrypt2 Unseal PolicyPCR PolicyNV PolicyCommandCode PolicySecret PolicyOR`)
	word := func(c []byte, at int) uint32 { return binary.BigEndian.Uint32(c[at:]) }
	var names []string
	extended := 0
	for _, c := range o.sent {
		name := tpm.CommandName(tpm2.TPMCC(word(c, 6)))
		names = append(names, name)
		var ours bool
		switch name {
		case "PCR_Extend":
			ours, extended = word(c, 10) == register, extended+1
		case "EvictControl":
			ours = word(c, len(c)-4)>>4 == 0x8100F00
		case "NV_DefineSpace":
			ours = bytes.Contains(c, []byte{0x01, 0x80, 0x0F}) // in the public area, which may be encrypted nowhere
		case "NV_UndefineSpace", "NV_Increment", "NV_Write":
			ours = word(c, 14)>>4 == 0x01800F0
		default:
			ours = slices.Contains(allowed, name)
		}
		if !ours {
			o.t.Errorf("%s was sent: %x", name, c)
		}
	}
	if extended != extends {
		o.t.Errorf("the register was extended %d times, want %d", extended, extends)
	}
	if diff := cmp.Diff(names, o.told); diff != "" {
		o.t.Errorf("what was sent (-) and what the sinks were told (+): %s", diff)
	}
}

// realBoot is the boot of a machine that knows nothing of mcim: its log has no
// event of the TRE.
func realBoot() measure.Log {
	log := measure.CannedBoot()
	log.Events = slices.DeleteFunc(log.Events, func(e measure.Event) bool { return e.PCR == measure.Register })
	return log
}

func (o *owner) create(c world.Config) *world.World {
	o.t.Helper()
	w, err := world.Create(context.Background(), c)
	o.must(err)
	return w
}

// giveBack removes a lab; afterwards the TPM holds what it held before.
func (o *owner) giveBack(c world.Config, before []tpm2.TPMHandle) {
	o.t.Helper()
	back, err := world.Remove(context.Background(), c)
	if err != nil || len(back.TPM) < 12 {
		o.t.Errorf("given back: %v, %v", back.TPM, err)
	}
	if diff := cmp.Diff(before, o.held()); diff != "" {
		o.t.Errorf("handles before (-) and after (+): %s", diff)
	}
}

// whole runs a machine's life, with the proofs of what must not work.
func whole(t *testing.T, w *world.World) {
	t.Helper()
	ctx, r := context.Background(), flows.NewRun(w)
	for _, stage := range []struct {
		covers []string
		run    func(context.Context) error
	}{
		{[]string{"P1"}, r.Supply}, {[]string{"P2"}, r.Bootstrap}, {[]string{"P4", "P5c", "P6", "P7"}, r.Provision},
		{[]string{"P8a"}, r.ChangeInTRE}, {[]string{"P8c"}, r.ChangeInUICC},
	} {
		if err := stage.run(ctx); err != nil {
			t.Fatalf("%v: %v", stage.covers, err)
		}
		for _, procedure := range stage.covers {
			for _, p := range r.Proofs(procedure) {
				if _, err := p.Run(ctx); err != nil {
					t.Errorf("%s: %s: %v", procedure, p.Name, err)
				}
			}
		}
	}
}

// TestMachineOfSomebodyElse: on a TPM that is not ours all procedures run, the
// machine's own measurements count, nothing is taken over, and the lab's removal
// leaves the TPM as it was, but for our register.
func TestMachineOfSomebodyElse(t *testing.T) {
	t.Parallel()
	ctx, o := context.Background(), newOwner(t, realBoot())
	held, values, c := o.held(), o.values(), o.lend()
	w := o.create(c)
	whole(t, w)
	var takeOver *tpm.TakeOverError
	if err := w.Tamper(); !errors.As(err, &takeOver) {
		t.Errorf("another PCR is extended: %v", err)
	}
	o.must(w.Close())

	// Again in the same boot: the lab knows its hardware, and measures nothing twice.
	again := world.Config{Dir: c.Dir, InProcess: true, Sinks: c.Sinks, TPMOptions: c.TPMOptions}
	w, err := world.Open(ctx, again)
	o.must(err)
	o.must(w.Resume(ctx))
	if placement, err := w.Machine.Placement(ctx); err != nil || placement != wire.InUICC {
		t.Errorf("after the second start: %s, %v", placement, err)
	}
	o.must(w.Close())

	o.giveBack(again, held)
	o.judge(measure.Register, 1)
	now := o.values()
	if now[measure.Register] == values[measure.Register] {
		t.Error("the TRE has not measured itself")
	}
	delete(now, measure.Register)
	delete(values, measure.Register)
	if diff := cmp.Diff(values, now); diff != "" {
		t.Errorf("PCRs before (-) and after (+): %s", diff)
	}
}

// TestRegisterInUse: where the boot measures into PCR 14, as shim does, nothing is
// extended, and the error names what to choose; with another register the machine
// works, and its policy and its quotes are over that one.
func TestRegisterInUse(t *testing.T) {
	t.Parallel()
	ctx, boot := context.Background(), realBoot()
	boot.Add(14, measure.EVIPL, []byte("MokList"))
	o := newOwner(t, boot)
	held, values, c := o.held(), o.values(), o.lend()
	if _, err := world.Create(ctx, c); !errors.Is(err, world.ErrRegister) || !strings.Contains(err.Error(), "--register N") {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff(values, o.values()); diff != "" {
		t.Errorf("PCRs before (-) and after (+): %s", diff)
	}
	o.sent, o.told = nil, nil
	c.TPMOptions.Register = 9
	if _, err := world.Create(ctx, c); !errors.Is(err, measure.ErrNotOurs) {
		t.Errorf("error %v", err)
	}
	c.TPMOptions.Register = 12
	w := o.create(c)
	r := flows.NewRun(w)
	o.must(errors.Join(r.Supply(ctx), r.Bootstrap(ctx), r.Provision(ctx)))
	o.must(w.Close())
	c.TPMOptions.Register = 13
	if _, err := world.Open(ctx, c); !errors.Is(err, world.ErrRegister) || !strings.Contains(err.Error(), "the lab's TRE has PCR 12") {
		t.Errorf("error %v", err)
	}
	c.TPMOptions.Register = 0 // the lab knows it
	w, err := world.Open(ctx, c)
	o.must(err)
	o.must(w.Resume(ctx))
	// The policy is over that register: extended once more, the TPM answers nobody.
	o.must(measure.Extend(w.TPM, extended(12), 12))
	o.must(w.Machine.Close())
	if err := w.Machine.PowerOn(ctx); !errors.Is(err, wire.ErrRefused) || !strings.Contains(err.Error(), "boot the approved software") {
		t.Errorf("error %v", err)
	}
	o.must(w.Close())
	// What has extended it since the boot is in no log.
	if _, err := world.Open(ctx, c); !errors.Is(err, world.ErrRegister) || !strings.Contains(err.Error(), "since the boot") {
		t.Errorf("error %v", err)
	}
	o.giveBack(c, held)
	o.judge(12, 2)
}

// extended is the TRE's event with another one after it.
func extended(register int) measure.Log {
	var log measure.Log
	log.AddTRE(register, measure.TREVersion)
	log.AddTRE(register, "another program")
	return log
}

// TestEKInRange: where the maker has left no EK in the TPM, ours goes into the
// range, and comes out again: also where it is that of an untrusted maker.
func TestEKInRange(t *testing.T) {
	t.Parallel()
	ctx, o := context.Background(), newOwner(t, realBoot())
	o.as(func(m *tpm.TPM) {
		for _, h := range []tpm2.TPMHandle{0x81010001, 0x81010016} {
			_, name, err := m.ReadPublic(h)
			o.must(err)
			_, err = tpm2.EvictControl{Auth: tpm2.TPMRHOwner, ObjectHandle: tpm2.NamedHandle{Handle: h, Name: name}, PersistentHandle: h}.Execute(m)
			o.must(err)
		}
	})
	held, c := o.held(), o.lend()
	trusted := c.EKRoots
	c.EKRoots = o.makers(tpmtest.OtherDir(t))
	if _, err := world.Create(ctx, c); err == nil || !strings.Contains(err.Error(), "not from a trusted TPM maker") {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff(held, o.held()); diff != "" {
		t.Errorf("handles before (-) and after (+): %s", diff)
	}
	c.EKRoots = trusted
	w := o.create(c)
	r := flows.NewRun(w)
	o.must(errors.Join(r.Supply(ctx), r.Bootstrap(ctx), r.Provision(ctx), w.Close()))
	o.giveBack(c, held)
}

// TestTPMIsNotUsed: what a TPM of somebody else is not used with, each with what
// to do about it; the TPM is as before, and the lab is not there.
func TestTPMIsNotUsed(t *testing.T) {
	t.Parallel()
	ctx, o := context.Background(), newOwner(t, realBoot())
	o.as(func(m *tpm.TPM) { // an index of the owner in the middle of the default range
		_, err := tpm2.NVDefineSpace{AuthHandle: tpm2.TPMRHOwner, PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{
			NVIndex: tpm.DefaultRange.NV + 3, NameAlg: tpm2.TPMAlgSHA256, DataSize: 8,
			Attributes: tpm2.TPMANV{NT: tpm2.TPMNTOrdinary, AuthWrite: true, AuthRead: true, NoDA: true}})}.Execute(m)
		o.must(err)
	})
	held := o.held()
	other := tpm.Range{NV: 0x01810000, NVCount: 16, Persistent: 0x81020000, PersistentCount: 8}
	for _, tt := range []struct {
		name   string
		change func(*world.Config)
		words  string
	}{
		{"the range is in use", func(c *world.Config) { c.TPMOptions.Range = tpm.Range{} }, "choose another range"},
		{"no makers", func(c *world.Config) { c.EKRoots = "" }, "--ek-roots FILE"},
		{"a file without makers", func(c *world.Config) { c.EKRoots = o.log }, "no PEM certificate"},
		{"no log", func(c *world.Config) { c.BootLog = "/nowhere" }, "has no event log"},
		{"no log, but a file", func(c *world.Config) { c.BootLog = c.EKRoots }, "not an event log"},
	} {
		c := o.lend()
		c.TPMOptions.Range = other
		tt.change(&c)
		if _, err := world.Create(ctx, c); err == nil || !strings.Contains(err.Error(), tt.words) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.words)
		}
		if _, err := os.Stat(c.Dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the lab is still there: %v", tt.name, err)
		}
	}
	if diff := cmp.Diff(held, o.held()); diff != "" {
		t.Errorf("handles before (-) and after (+): %s", diff)
	}
	c := o.lend()
	c.TPMOptions.Range = other
	w := o.create(c)
	o.must(w.Close())
	// A lab belongs to its TPM: another one, of the same maker or not, is refused.
	second := newOwner(t, realBoot())
	moved := c
	moved.TPM = "swtpm:" + tpmtest.OtherDir(t)
	if _, err := world.Open(ctx, moved); !errors.Is(err, tpm.ErrNotPinned) {
		t.Errorf("with another TPM: %v", err)
	}
	moved.TPM = second.uri // the same TPM's twin: its EK is the same, but not what the lab has put there
	w, err := world.Open(ctx, moved)
	o.must(err)
	if err := w.Machine.PowerOn(ctx); err == nil {
		t.Error("a machine whose keys are not there was powered on")
	}
	o.must(w.Close())
	if _, err := world.Remove(ctx, c); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(held, o.held()); diff != "" {
		t.Errorf("handles before (-) and after (+): %s", diff)
	}
}
