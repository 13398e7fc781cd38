package mcim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"mcim/apdu/secret"
	"mcim/card/aka"
	"mcim/tpm"
	"mcim/tpm/ident"
	"mcim/tpm/policy"
	"mcim/tpm/tpmtest"
)

// Counters in the tests' heads.
const (
	issuer = "operator-a"
	build  = "build-1"
)

var today = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func random(t testing.TB, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// tempDir is a folder in memory, where there is one: the tests are about the
// order of what is written, and sync thousands of times.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "mcim")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func newSigner(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newSubscription(t testing.TB) *Subscription {
	t.Helper()
	return &Subscription{
		IMSI: "001010123456789", ICCID: "8988211000000000017", MNCLength: 2,
		K: secret.New(random(t, 16)), OPc: secret.New(random(t, 16)), AMF: [2]byte{0x80, 0}, SQN: 0x20,
	}
}

// home is the operator's AuC of a subscription.
func home(t testing.TB, sub *Subscription) *aka.Subscriber {
	t.Helper()
	b, err := aka.NewAES(sub.K)
	if err != nil {
		t.Fatal(err)
	}
	m, err := aka.NewMilenage(b, sub.OPc)
	if err != nil {
		t.Fatal(err)
	}
	return aka.NewSubscriber(m, sub.SQN, sub.AMF, nil)
}

func next(t testing.TB, s *aka.Subscriber) aka.Vector {
	t.Helper()
	v, err := s.Next([16]byte(random(t, 16)))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// lab is one machine with its operator. reopen is the machine after its process
// was killed: TPM and folder are the same.
type lab struct {
	testing.TB
	tpm    *tpm.TPM
	tre    *ident.TRE
	signer *ecdsa.PrivateKey
	cfg    Config
	store  *Store
	seq    uint64
}

func newLab(t testing.TB) *lab { return newLabOn(t, tpmtest.Open(t)) }

func newLabOn(t testing.TB, m *tpm.TPM) *lab {
	t.Helper()
	l := newBareLab(t, m)
	if err := l.store.Provision(); err != nil {
		t.Fatal(err)
	}
	return l
}

// newBareLab is a machine with keys but without store.
func newBareLab(t testing.TB, m *tpm.TPM) *lab {
	t.Helper()
	dir := tempDir(t)
	opts, err := DEKOptions(m, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	tre, err := ident.CreateTRE(m, opts)
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{TB: t, tpm: m, tre: tre, signer: newSigner(t)}
	l.cfg = Config{
		Dir:     dir,
		Issuers: map[string]*ecdsa.PublicKey{issuer: &l.signer.PublicKey},
		Build:   build,
		AKCert:  [32]byte(random(t, 32)),
	}
	l.reopen()
	return l
}

func (l *lab) ak() []byte { return l.tre.AK.Bytes() }

// reopen is what follows the death of the process: its sessions and loaded keys
// are gone, as with a resource manager or a new swtpm.
func (l *lab) reopen() {
	l.Helper()
	for _, first := range []uint32{0x02000000, 0x03000000, 0x80000000} {
		rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: first, PropertyCount: 32}.Execute(l.tpm)
		if err != nil {
			l.Fatal(err)
		}
		list, err := rsp.CapabilityData.Data.Handles()
		if err != nil {
			l.Fatal(err)
		}
		for _, h := range list.Handle {
			if err := l.tpm.Flush(h); err != nil {
				l.Fatal(err)
			}
		}
	}
	s, err := New(l.tre, l.cfg)
	if err != nil {
		l.Fatal(err)
	}
	l.store = s
}

func (l *lab) target(n int) Target {
	l.Helper()
	target, err := l.store.Target(n)
	if err != nil {
		l.Fatal(err)
	}
	return target
}

func (l *lab) platform() policy.Platform {
	l.Helper()
	p, err := l.store.Platform()
	if err != nil {
		l.Fatal(err)
	}
	return p
}

func (l *lab) order() Order {
	l.seq++
	return Order{
		ID: "package-" + time.Now().Format(time.RFC3339Nano), Issuer: issuer, Sequence: l.seq,
		NotBefore: today.Add(-time.Hour), NotAfter: today.Add(time.Hour),
		Build: build, Platform: l.platform(), Placement: InTRE,
	}
}

// build makes a package for slot n; change may alter target and order.
func (l *lab) build(n int, sub *Subscription, change func(*Target, *Order)) *Package {
	l.Helper()
	target, order := l.target(n), l.order()
	if change != nil {
		change(&target, &order)
	}
	p, err := Build(l.signer, target, order, sub)
	if err != nil {
		l.Fatal(err)
	}
	return p
}

func (l *lab) bytes(p *Package) []byte {
	l.Helper()
	b, err := p.Bytes()
	if err != nil {
		l.Fatal(err)
	}
	return b
}

func (l *lab) install(p *Package) {
	l.Helper()
	nonce := random(l, 16)
	receipt, err := l.store.Install(l.bytes(p), today, nonce)
	if err != nil {
		l.Fatal(err)
	}
	if err := VerifyReceipt(l.ak(), p, nonce, receipt); err != nil {
		l.Fatal(err)
	}
}

// installed is a machine whose slot n has an active MCIM.
func (l *lab) installed(n int) (*Subscription, *aka.Subscriber, *Package) {
	l.Helper()
	sub := newSubscription(l)
	p := l.build(n, sub, nil)
	l.install(p)
	if err := l.store.Activate(n); err != nil {
		l.Fatal(err)
	}
	return sub, home(l, sub), p
}

func (l *lab) open(n int) *MCIM {
	l.Helper()
	m, err := l.store.Open(n)
	if err != nil {
		l.Fatal(err)
	}
	return m
}

// attach is one AKA that must succeed.
func (l *lab) attach(n int, auc *aka.Subscriber) {
	l.Helper()
	m, v := l.open(n), next(l, auc)
	r, err := m.Authenticate(v.RAND, v.AUTN)
	if err != nil || r.RES != v.XRES || r.CK != v.CK || r.IK != v.IK {
		l.Fatalf("AKA in slot %d: %v", n, err)
	}
}

func (l *lab) state(n int) Lifecycle {
	l.Helper()
	list, err := l.store.Slots()
	if err != nil {
		l.Fatal(err)
	}
	return list[n].State
}

func (l *lab) extend(pcr int) {
	l.Helper()
	_, err := tpm2.PCRExtend{
		PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)},
		Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: make([]byte, 32)}}},
	}.Execute(l.tpm)
	if err != nil {
		l.Fatal(err)
	}
}

// copyDir is what a thief or a backup has of the machine's folder.
func copyDir(t testing.TB, from string) (dir string) {
	t.Helper()
	dir = tempDir(t)
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// restore puts a copy back, without what has come since.
func restore(t testing.TB, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, filepath.Base(path)), b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func wantReject(t testing.TB, err error, check Check) {
	t.Helper()
	var r *RejectError
	if !errors.As(err, &r) || r.Check != check {
		t.Errorf("got %v, want a refusal by the check of %s", err, check)
	}
}

func wantIs(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func secretOf(b []byte) secret.Bytes { return secret.New(b) }

func rsaSigner(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
