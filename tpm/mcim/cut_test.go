package mcim

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"mcim/card/aka"
	"mcim/tpm"
	"mcim/tpm/ident"
	"mcim/tpm/tpmtest"
)

// fuse lets some commands through and then kills the program, by a panic, so
// that nothing is cleaned up. The last command either never reached the TPM, or
// it did and nobody heard the answer.
type fuse struct {
	transport.TPM
	left  int  // commands to let through; negative: all
	after bool // kill after the command was executed
	warn  bool // do not kill: the TPM answers that its NV memory is not available
	blown bool
}

type blown struct{}

// killed runs step until its end or until the fuse blows.
func (f *fuse) killed(step func() error) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil, blown:
		default:
			panic(r)
		}
	}()
	return step()
}

func (f *fuse) Send(command []byte) ([]byte, error) {
	if f.left == 0 {
		if f.after && !f.blown {
			if _, err := f.TPM.Send(command); err != nil {
				return nil, err
			}
		}
		f.blown = true
		if f.warn {
			f.left = -1
			return []byte{0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x09, 0x23}, nil
		}
		panic(blown{})
	}
	if f.left > 0 {
		f.left--
	}
	return f.TPM.Send(command)
}

// breakable is a machine on whose bus there is a fuse.
func breakable(t testing.TB) (*lab, *fuse) {
	t.Helper()
	m, f := breakableTPM(t)
	return newLabOn(t, m), f
}

func breakableTPM(t testing.TB) (*tpm.TPM, *fuse) {
	t.Helper()
	var f *fuse
	m := tpmtest.OpenWith(t, tpm.Options{Wrap: func(raw transport.TPM) transport.TPM {
		f = &fuse{TPM: raw, left: -1}
		return f
	}})
	return m, f
}

// cut runs step again and again, cut after 0, 1, 2, ... commands, before and
// after the execution of the last one, until it is not cut any more. After each
// cut the process starts anew and check looks at what is left.
func cut(l *lab, f *fuse, step func() error, check func(cut bool)) {
	l.Helper()
	for _, f.after = range []bool{false, true} {
		for n, done := 0, false; !done; n++ {
			f.left, f.blown = n, false
			err := f.killed(step)
			f.left, done = -1, !f.blown
			if err != nil {
				l.Fatalf("cut after %d commands (executed: %t): %v", n, f.after, err)
			}
			l.reopen()
			check(f.blown)
			if n > 200 {
				l.Fatal("no end")
			}
		}
	}
}

func TestInstallCutAnywhere(t *testing.T) {
	t.Parallel()
	l, f := breakable(t)
	_, auc, _ := l.installed(1)
	inUse, free := 1, 2 // slots
	sub := newSubscription(t)
	p := l.build(free, sub, nil)
	before := l.state(free)
	cut(l, f, func() error {
		_, err := l.store.Install(l.bytes(p), today, nil)
		return err
	}, func(bool) {
		if now := l.state(free); now != before && now != Installed {
			t.Fatalf("slot %d is %s", free, now)
		}
		l.attach(inUse, auc) // the old MCIM is usable, whatever happened
		l.install(p)         // the same package goes on
		if err := l.store.Activate(free); err != nil {
			t.Fatal(err)
		}
		auc = home(t, sub)
		l.attach(free, auc)
		inUse, free = free, inUse
		before, sub = l.state(free), newSubscription(t)
		p = l.build(free, sub, nil)
	})
}

func TestActivateCutAnywhere(t *testing.T) {
	t.Parallel()
	l, f := breakable(t)
	_, one, _ := l.installed(1)
	_, two, _ := l.installed(2)
	auc := []*aka.Subscriber{1: one, 2: two}
	to, from := 1, 2
	cut(l, f, func() error { return l.store.Activate(to) }, func(bool) {
		is, was := l.state(to), l.state(from)
		if pair := [2]Lifecycle{is, was}; pair != [2]Lifecycle{Active, Inactive} && pair != [2]Lifecycle{Inactive, Active} {
			t.Fatalf("new %s, old %s: neither one nor the other", is, was)
		}
		if is == Active {
			l.attach(to, auc[to])
		} else {
			l.attach(from, auc[from])
		}
		if err := l.store.Activate(to); err != nil {
			t.Fatal(err)
		}
		l.attach(to, auc[to])
		to, from = from, to
	})
}

func TestEraseCutAnywhere(t *testing.T) {
	t.Parallel()
	l, f := breakable(t)
	_, auc, _ := l.installed(1)
	epoch := l.target(1).Epoch
	cut(l, f, func() error {
		_, err := l.store.Erase(1, nil)
		return err
	}, func(bool) {
		if l.state(1) == Active {
			l.attach(1, auc)
		}
		if _, err := l.store.Erase(1, nil); err != nil {
			t.Fatal(err)
		}
		now := l.target(1).Epoch
		if l.state(1) != Deleted || now <= epoch || now > epoch+2 {
			t.Fatalf("slot is %s in epoch %d after %d", l.state(1), now, epoch)
		}
		_, auc, _ = l.installed(1)
		epoch = now
	})
}

// A killed AKA releases nothing, and its AUTN, if it was counted, is used up;
// nothing else happens.
func TestAuthenticateCutAnywhere(t *testing.T) {
	t.Parallel()
	l, f := breakable(t)
	_, auc, _ := l.installed(1)
	v := next(t, auc)
	var r aka.Result
	cut(l, f, func() error {
		m, err := l.store.Open(1)
		if err == nil {
			r, err = m.Authenticate(v.RAND, v.AUTN)
		}
		return err
	}, func(cut bool) {
		if cut && r != (aka.Result{}) {
			t.Fatal("a result left the TRE before it was counted")
		}
		// The same challenge again: answered now, or refused as used.
		again, err := l.open(1).Authenticate(v.RAND, v.AUTN)
		var sync *aka.SyncError
		if err != nil && !errors.As(err, &sync) || err == nil && (again.RES != v.XRES || !cut) {
			t.Fatalf("the same challenge again (cut: %t): %v", cut, err)
		}
		l.attach(1, auc)
		v, r = next(t, auc), aka.Result{}
	})
}

func TestMCIMGoesOnAfterAFailure(t *testing.T) {
	t.Parallel()
	l, f := breakable(t)
	_, auc, _ := l.installed(1)
	l.attach(1, auc)
	m := l.open(1)
	f.warn = true
	for n := range 14 { // a kept session starts anew, then the 13 commands
		v := next(t, auc)
		f.left = n
		if _, err := m.Authenticate(v.RAND, v.AUTN); !errors.Is(err, tpm2.TPMRCNVUnavailable) {
			t.Fatalf("command %d: %v", n, err)
		}
		v = next(t, auc)
		if r, err := m.Authenticate(v.RAND, v.AUTN); err != nil || r.RES != v.XRES {
			t.Fatalf("after a failure of command %d: %v", n, err)
		}
		if err := l.store.rest(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestProvisionCutAnywhere(t *testing.T) {
	t.Parallel()
	m, f := breakableTPM(t)
	l := newBareLab(t, m)
	for _, f.after = range []bool{false, true} {
		for n, done := 0, false; !done; n++ {
			f.left, f.blown = n, false
			err := f.killed(l.store.Provision)
			f.left, done = -1, !f.blown
			if err != nil {
				t.Fatal(err)
			}
			l.reopen()
			if err := l.store.Provision(); err != nil {
				t.Fatalf("cut after %d commands: %v", n, err)
			}
			if n%5 == 0 {
				l.provisioned()
			}
			l.remove(l.store.counters()[n%counterCount])
			l.empty()
		}
	}
}

// provisioned checks that the store works, that another Provision changes
// nothing, and that packages are dead where the counters are there but the state
// is not.
func (l *lab) provisioned() {
	l.Helper()
	sub := newSubscription(l)
	p := l.build(1, sub, nil)
	l.install(p)
	if err := l.store.Activate(1); err != nil {
		l.Fatal(err)
	}
	l.attach(1, home(l, sub))
	if err := l.store.Provision(); err != nil {
		l.Fatal(err)
	}
	l.attach(1, homeAfter(l, sub, 1))
	l.empty()
	if err := l.store.Provision(); err != nil {
		l.Fatal(err)
	}
	_, err := l.store.Install(l.bytes(p), today, nil)
	wantReject(l, err, CheckFreshness)
}

// homeAfter is the operator after n vectors.
func homeAfter(t testing.TB, sub *Subscription, n int) *aka.Subscriber {
	t.Helper()
	auc := home(t, sub)
	for range n {
		next(t, auc)
	}
	return auc
}

// empty gives the machine a new folder, and a new DEK if the counter is gone to
// which the old one is bound.
func (l *lab) empty() {
	l.Helper()
	l.cfg.Dir = tempDir(l)
	opts, err := DEKOptions(l.tpm, l.cfg.Dir, nil)
	if err != nil {
		l.Fatal(err)
	}
	if l.tre, err = ident.CreateTRE(l.tpm, opts); err != nil {
		l.Fatal(err)
	}
	l.reopen()
}

// remove takes a counter out of the TPM.
func (l *lab) remove(c counter) {
	l.Helper()
	_, err := tpm2.NVUndefineSpace{AuthHandle: l.tpm.Owner(tpm.Integrity), NVIndex: c.handle()}.Execute(l.tpm)
	if err != nil {
		l.Fatal(err)
	}
}

func TestAnIndexOfSomebodyElse(t *testing.T) {
	t.Parallel()
	l := newBareLab(t, tpmtest.Open(t))
	index, err := l.tpm.NVIndex(3)
	if err != nil {
		t.Fatal(err)
	}
	_, err = tpm2.NVDefineSpace{
		AuthHandle: l.tpm.Owner(tpm.Integrity),
		PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{
			NVIndex: index, NameAlg: tpm2.TPMAlgSHA256, DataSize: 8,
			Attributes: tpm2.TPMANV{AuthRead: true, AuthWrite: true, NoDA: true, NT: tpm2.TPMNTOrdinary},
		}),
	}.Execute(l.tpm)
	if err != nil {
		t.Fatal(err)
	}
	wantIs(t, l.store.Provision(), ErrCounter)
}

// Every old copy of every file is refused, and so is a file that is cut,
// flipped, gone, or of another slot.
func TestRollback(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	_, auc, _ := l.installed(1)
	l.attach(1, auc)
	backup := copyDir(t, l.cfg.Dir)
	l.attach(1, auc)
	l.attach(1, auc)
	if err := errors.Join(l.store.Deactivate(1), l.store.Activate(1)); err != nil {
		t.Fatal(err)
	}
	good := copyDir(t, l.cfg.Dir)
	sqnFiles, err := filepath.Glob(filepath.Join(good, "sqn-*"))
	if err != nil || len(sqnFiles) != 1 {
		t.Fatal(sqnFiles, err)
	}
	sqn := filepath.Base(sqnFiles[0])
	use := func() error {
		m, err := l.store.Open(1)
		if err != nil {
			return err
		}
		v := next(t, auc)
		r, err := m.Authenticate(v.RAND, v.AUTN)
		if err != nil && r != (aka.Result{}) {
			t.Error("RES left the TRE")
		}
		return err
	}
	read := func(dir, name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, file := range map[string]struct {
		name    string
		content []byte
	}{
		"old state":         {stateFile, read(backup, stateFile)},
		"old SQN":           {sqn, read(backup, sqn)},
		"empty state":       {stateFile, []byte{}},
		"cut state":         {stateFile, read(good, stateFile)[:40]},
		"huge state":        {stateFile, make([]byte, 2<<20)},
		"SQN as state":      {stateFile, read(good, sqn)},
		"state as SQN":      {sqn, read(good, stateFile)},
		"empty SQN":         {sqn, []byte{}},
		"zero SQN":          {sqn, make([]byte, 2*sqnPlace)},
		"flipped SQN":       {sqn, flipAll(read(good, sqn))},
		"flipped state":     {stateFile, flipAll(read(good, stateFile))},
		"key of another":    {"sealed-state-key", read(good, stateFile)},
		"state key flipped": {"sealed-state-key", flipAll(read(good, "sealed-state-key"))},
	} {
		l.reopen()
		if err := os.WriteFile(filepath.Join(l.cfg.Dir, file.name), file.content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := use(); err == nil || name != "huge state" && !errors.Is(err, ErrRollback) {
			t.Errorf("%s: %v", name, err)
		}
		restore(t, good, l.cfg.Dir)
	}
	for _, gone := range []string{stateFile, sqn, "sealed-state-key"} {
		l.reopen()
		if err := os.Remove(filepath.Join(l.cfg.Dir, gone)); err != nil {
			t.Fatal(err)
		}
		if err := use(); !errors.Is(err, ErrRollback) {
			t.Errorf("%s is gone: %v", gone, err)
		}
		restore(t, good, l.cfg.Dir)
	}
	l.reopen()
	restore(t, backup, l.cfg.Dir)
	if err := use(); !errors.Is(err, ErrRollback) {
		t.Errorf("old copy of all: %v", err)
	}
	restore(t, good, l.cfg.Dir)
	l.reopen()
	if err := use(); err != nil {
		t.Errorf("the newest state: %v", err)
	}
}

func flipAll(b []byte) []byte {
	for i := range b {
		b[i] ^= 1
	}
	return b
}

// A record that was half written when the power failed is not the newest one.
func TestTornRecord(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	_, auc, _ := l.installed(1)
	l.attach(1, auc)
	m := l.open(1)
	v := next(t, auc)
	if _, err := m.Authenticate(v.RAND, v.AUTN); err != nil {
		t.Fatal(err)
	}
	if _, err := m.sqn.f.WriteAt([]byte("half a record"), int64((m.sqn.at+1)%2*sqnPlace)); err != nil {
		t.Fatal(err)
	}
	l.reopen()
	l.attach(1, auc)
}
