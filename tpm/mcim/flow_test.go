package mcim

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcim/apdu/secret"
	"mcim/card/aka"
	"mcim/tpm"
	"mcim/tpm/ident"
	"mcim/tpm/policy"
	"mcim/tpm/tpmtest"
)

func TestInstallActivateAuthenticate(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	sub, auc, p := l.installed(1)
	for range 3 {
		l.attach(1, auc)
	}
	l.reopen()
	l.attach(1, auc)
	list, err := l.store.Slots()
	if err != nil {
		t.Fatal(err)
	}
	want := [SlotCount]Info{
		{Slot: 0},
		{Slot: 1, State: Active, PackageID: p.Header.ID, Digest: p.Digest(), Issuer: issuer, Build: build, Placement: InTRE,
			IMSI: sub.IMSI, ICCID: sub.ICCID, MNCLength: 2, Sequence: 1},
		{Slot: 2},
	}
	if d := cmp.Diff(want, list); d != "" {
		t.Errorf("slots (-want +got):\n%s", d)
	}
	if d := cmp.Diff(want[1], l.open(1).Info()); d != "" {
		t.Errorf("MCIM (-want +got):\n%s", d)
	}
}

func TestThirteenCommandsPerAKA(t *testing.T) {
	t.Parallel()
	var names []string
	l := newLabOn(t, tpmtest.OpenWith(t, tpm.Options{Tap: func(e tpm.Exchange) { names = append(names, e.Name) }}))
	_, auc, _ := l.installed(1)
	l.attach(1, auc) // opens key, session and file
	m, v := l.open(1), next(t, auc)
	if _, err := m.Authenticate(v.RAND, v.AUTN); err != nil {
		t.Fatal(err)
	}
	call := []string{"PolicyPCR", "PolicyNV", "PolicyCommandCode", "EncryptDecrypt2"}
	want := append(append(append(append([]string{}, call...), call...), call...), "NV_Increment")
	for range 3 {
		v, names = next(t, auc), nil
		if _, err := m.Authenticate(v.RAND, v.AUTN); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, names); d != "" {
			t.Errorf("commands of one AKA (-want +got):\n%s", d)
		}
	}
}

func TestResynchronisation(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	sub, auc, _ := l.installed(1)
	for range 3 {
		l.attach(1, auc)
	}
	stale := *sub
	stale.SQN = sub.SQN - 0x20 // an AuC that lost its state
	old := home(t, &stale)
	var v aka.Vector
	var failure *aka.SyncError
	v = next(t, old)
	if r, err := l.open(1).Authenticate(v.RAND, v.AUTN); !errors.As(err, &failure) || r != (aka.Result{}) {
		t.Fatalf("stale SQN: %v", err)
	}
	if err := old.Resync(v.RAND, failure.AUTS); err != nil {
		t.Fatal(err)
	}
	l.attach(1, old)
	v = next(t, old)
	v.AUTN[15] ^= 1
	if r, err := l.open(1).Authenticate(v.RAND, v.AUTN); !errors.Is(err, aka.ErrMAC) || r != (aka.Result{}) {
		t.Errorf("false network: %v", err)
	}
	l.cfg.Weak.AcceptForgedAUTN = true
	l.reopen()
	if r, err := l.open(1).Authenticate(v.RAND, v.AUTN); err != nil || r.RES != v.XRES {
		t.Errorf("with the defence off a false network gets %x, %v", r.RES, err)
	}
}

func TestProvisionalIdentity(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	sub := newSubscription(t)
	target, platform := l.target(PCID), l.platform()
	key, err := WrapKey(target, sub.K, platform)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second one does nothing
		if err := l.store.Inject(key, platform, sub); err != nil {
			t.Fatal(err)
		}
	}
	auc := home(t, sub)
	l.attach(PCID, auc)
	if err := l.store.Inject(key, platform, sub); err != nil {
		t.Fatal(err)
	}
	l.attach(PCID, auc) // still the same SQN array
	_, op, _ := l.installed(1)
	l.attach(1, op)
	l.attach(PCID, auc) // both are active: slot 0 is not operational
	if _, err := l.store.Erase(PCID, nil); err != nil {
		t.Fatal(err)
	}
	_, err = l.store.Open(PCID)
	wantIs(t, err, ErrState)
	wantReject(t, l.store.Inject(key, platform, sub), CheckPolicy) // the old epoch
	key, err = WrapKey(l.target(PCID), sub.K, platform)
	if err != nil {
		t.Fatal(err)
	}
	other := platform
	other.Digest[0]++
	wantReject(t, l.store.Inject(key, other, sub), CheckPolicy)
	if err := l.store.Inject(key, platform, sub); err != nil {
		t.Fatal(err)
	}
	bad := *sub
	bad.OPc = secret.Bytes{}
	wantIs(t, l.store.Inject(key, platform, &bad), ErrSubscription)
	_, err = WrapKey(target, secret.New(make([]byte, 15)), platform)
	wantIs(t, err, ErrSubscription)
}

func TestLifecycle(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for _, refused := range []error{
		l.store.Activate(1), l.store.Deactivate(1), l.store.Activate(3), l.store.Activate(-1),
		second(l.store.Erase(1, nil)), second(l.store.Open(1)), second(l.store.Receipt(1, nil)), second(l.store.CardContent(1)),
	} {
		wantIs(t, refused, ErrState)
	}
	_, old, _ := l.installed(1)
	l.attach(1, old)
	sub := newSubscription(t)
	p := l.build(2, sub, nil)
	l.install(p)
	if l.state(1) != Active || l.state(2) != Installed {
		t.Fatalf("after installation: %s, %s", l.state(1), l.state(2))
	}
	wantIs(t, second(l.store.Open(2)), ErrState)
	wantIs(t, l.store.Deactivate(2), ErrState)
	l.attach(1, old)
	m := l.open(1)
	for range 2 {
		if err := l.store.Activate(2); err != nil {
			t.Fatal(err)
		}
	}
	if l.state(1) != Inactive || l.state(2) != Active {
		t.Fatalf("after the switch: %s, %s", l.state(1), l.state(2))
	}
	v := next(t, old)
	_, err := m.Authenticate(v.RAND, v.AUTN)
	wantIs(t, err, ErrState)
	wantIs(t, second(l.store.Open(1)), ErrState)
	l.attach(2, home(t, sub))
	if err := l.store.Activate(1); err != nil { // the new operator refused: back
		t.Fatal(err)
	}
	l.attach(1, old)
	for range 2 {
		if err := l.store.Deactivate(1); err != nil {
			t.Fatal(err)
		}
	}
	if l.state(1) != Inactive || l.state(2) != Inactive {
		t.Fatalf("after deactivation: %s, %s", l.state(1), l.state(2))
	}
}

func second[T any](_ T, err error) error { return err }

func TestErase(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	_, auc, p := l.installed(1)
	l.attach(1, auc)
	backup, before := copyDir(t, l.cfg.Dir), l.target(1)
	nonce := random(t, 16)
	proof, err := l.store.Erase(1, nonce)
	if err != nil {
		t.Fatal(err)
	}
	value, err := VerifyEpoch(l.ak(), before.EpochIndex, nonce, proof)
	if err != nil || value <= before.Epoch {
		t.Errorf("proof of epoch %d after %d: %v", value, before.Epoch, err)
	}
	if l.state(1) != Deleted {
		t.Errorf("slot is %s", l.state(1))
	}
	if names, _ := filepath.Glob(filepath.Join(l.cfg.Dir, "sqn-*")); len(names) != 0 {
		t.Errorf("files left: %v", names)
	}
	wantIs(t, second(l.store.Open(1)), ErrState)
	wantIs(t, l.store.Activate(1), ErrState)
	// The recorded package is dead, whatever its sequence number.
	_, err = l.store.Install(l.bytes(p), today, nonce)
	wantReject(t, err, CheckFreshness)
	again, err := l.store.Erase(1, nonce)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := VerifyEpoch(l.ak(), before.EpochIndex, nonce, again); err != nil || v != value {
		t.Errorf("a second erase moved the epoch from %d to %d, %v", value, v, err)
	}
	// So is the backup: the TPM counts.
	restore(t, backup, l.cfg.Dir)
	l.reopen()
	_, err = l.store.Open(1)
	wantIs(t, err, ErrRollback)
}

// The TPM itself refuses an erased K, should the code around it not.
func TestErasedKeyIsDeadInTheTPM(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	_, auc, _ := l.installed(1)
	m := l.open(1)
	if err := l.store.epoch[1].increment(); err != nil {
		t.Fatal(err)
	}
	v := next(t, auc)
	r, err := m.Authenticate(v.RAND, v.AUTN)
	var refused *policy.RefusedError
	if !errors.As(err, &refused) || refused.Term != policy.TermEpoch || r != (aka.Result{}) {
		t.Errorf("%v", err)
	}
}

// TestRemnant: a copy of K works as long as its slot is in its epoch.
func TestRemnant(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	if _, err := l.store.Remnant(1); !errors.Is(err, ErrState) {
		t.Errorf("an empty slot: %v", err)
	}
	if _, err := l.store.Remnant(-1); !errors.Is(err, ErrState) {
		t.Errorf("no slot: %v", err)
	}
	l.installed(1)
	r, err := l.store.Remnant(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.store.Use(r); err != nil {
		t.Errorf("before the erasure: %v", err)
	}
	if _, err := l.store.Erase(1, nil); err != nil {
		t.Fatal(err)
	}
	var refused *policy.RefusedError
	if err := l.store.Use(r); !errors.As(err, &refused) || refused.Term != policy.TermEpoch {
		t.Errorf("after the erasure: %v", err)
	}
	if err := l.store.Use(Remnant{}); err == nil {
		t.Error("nothing was used as a key")
	}
}

func TestWrongPlatformGivesNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	_, auc, _ := l.installed(1)
	l.attach(1, auc)
	if err := l.store.Seal("adm1", secret.New(random(t, 8))); err != nil {
		t.Fatal(err)
	}
	pkg := l.build(2, newSubscription(t), nil)
	l.extend(3) // not in the policy
	l.attach(1, auc)
	m := l.open(1)
	before := l.target(1).Epoch
	l.extend(4)
	v := next(t, auc)
	r, err := m.Authenticate(v.RAND, v.AUTN)
	wantIs(t, err, policy.ErrRefused)
	if r != (aka.Result{}) {
		t.Error("RES left the TRE")
	}
	_, err = l.store.Install(l.bytes(pkg), today, nil)
	wantReject(t, err, CheckPlatform)
	l.reopen()
	for _, err := range []error{
		second(l.store.Open(1)), second(l.store.Slots()), second(l.store.Unseal("adm1")), l.store.Activate(1),
		second(l.store.Install(l.bytes(pkg), today, nil)),
	} {
		wantIs(t, err, policy.ErrRefused)
	}
	// Erasing works on any platform.
	if _, err := l.store.Erase(1, nil); err != nil {
		t.Fatal(err)
	}
	if after := l.target(1).Epoch; after != before+1 {
		t.Errorf("epoch %d after %d", after, before)
	}
}

func TestUICC(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	sub := newSubscription(t)
	sub.KIc, sub.KID = secret.New(random(t, 16)), secret.New(random(t, 16))
	p := l.build(1, sub, func(_ *Target, o *Order) { o.Placement = InUICC })
	if p.Key != nil {
		t.Error("there is a key part")
	}
	l.install(p)
	l.reopen()
	got, err := l.store.CardContent(1)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(sub.body(), got.body()); d != "" {
		t.Error("the subscription for the card is not the operator's")
	}
	wantIs(t, second(l.store.Open(1)), ErrState)
	if err := l.store.Activate(1); err != nil {
		t.Fatal(err)
	}
	wantIs(t, second(l.store.CardContent(1)), ErrState)
	if b := l.store.state.Slots[1].MCIM.Body; len(b.K)+len(b.KIc)+len(b.KID) != 0 || !bytes.Equal(b.OPc, make([]byte, 16)) {
		t.Error("keys stay in the TRE after activation")
	}
	wantIs(t, second(l.store.Open(1)), ErrState)
	// The epoch moves on: the receipt from before no longer holds for a new nonce.
	nonce := random(t, 16)
	if _, err := l.store.Erase(1, nonce); err != nil {
		t.Fatal(err)
	}
	r := &Receipt{PackageID: p.Header.ID}
	r.Attest, r.Signature, err = l.store.m.certifyCounter(l.store.epoch[1], receiptData(p.Header.ID, nonce))
	if err != nil {
		t.Fatal(err)
	}
	wantIs(t, VerifyReceipt(l.ak(), p, nonce, r), ErrReceipt)
}

func TestReceipts(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	_, _, p := l.installed(1)
	other := l.build(2, newSubscription(t), nil)
	l.install(other)
	nonce := random(t, 16)
	r, err := l.store.Receipt(1, nonce)
	if err != nil {
		t.Fatal(err)
	}
	if err := VerifyReceipt(l.ak(), p, nonce, r); err != nil {
		t.Fatal(err)
	}
	r2, err := l.store.Receipt(2, nonce)
	if err != nil {
		t.Fatal(err)
	}
	swapped := *r2
	swapped.PackageID = p.Header.ID
	proof, err := l.store.ProveEpoch(1, nonce)
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"nonce":       VerifyReceipt(l.ak(), p, random(t, 16), r),
		"package":     VerifyReceipt(l.ak(), other, nonce, r),
		"renamed":     VerifyReceipt(l.ak(), p, nonce, &swapped),
		"another AK":  VerifyReceipt(l.tre.Key.Bytes(), p, nonce, r),
		"no AK":       VerifyReceipt(nil, p, nonce, r),
		"empty":       VerifyReceipt(l.ak(), p, nonce, &Receipt{PackageID: p.Header.ID}),
		"epoch proof": VerifyReceipt(l.ak(), p, nonce, &Receipt{PackageID: p.Header.ID, Attest: proof.Attest, Signature: proof.Signature}),
		"receipt":     second(VerifyEpoch(l.ak(), p.Header.EpochIndex, nonce, &EpochProof{Attest: r.Attest, Signature: r.Signature})),
		"index":       second(VerifyEpoch(l.ak(), p.Header.EpochIndex+1, nonce, proof)),
		"epoch nonce": second(VerifyEpoch(l.ak(), p.Header.EpochIndex, nil, proof)),
	} {
		if !errors.Is(err, ErrReceipt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range r.Attest {
		bad := *r
		bad.Attest = bytes.Clone(r.Attest)
		bad.Attest[i] ^= 1
		if VerifyReceipt(l.ak(), p, nonce, &bad) == nil {
			t.Fatalf("bit in byte %d of the statement flipped: accepted", i)
		}
	}
	if v, err := VerifyEpoch(l.ak(), p.Header.EpochIndex, nonce, proof); err != nil || v != p.Header.Epoch {
		t.Errorf("epoch %d, %v", v, err)
	}
}

func TestSeal(t *testing.T) {
	t.Parallel()
	var onBus [][]byte
	l := newLabOn(t, tpmtest.OpenWith(t, tpm.Options{Tap: func(e tpm.Exchange) { onBus = append(onBus, e.Request, e.Response) }}))
	for _, n := range []int{1, 8, MaxSealed} {
		want := random(t, max(n, 1))
		if err := l.store.Seal("pin1", secret.New(want)); err != nil {
			t.Fatal(err)
		}
		l.reopen()
		got, err := l.store.Unseal("pin1")
		if err != nil || !bytes.Equal(got.Reveal(), want) {
			t.Fatalf("%d bytes: %v", n, err)
		}
		for _, b := range onBus {
			if n > 4 && bytes.Contains(b, want) {
				t.Fatal("the secret was on the bus")
			}
		}
	}
	for _, name := range []string{"", "../state", "a/b", "a.b", string(make([]byte, 65))} {
		if err := l.store.Seal(name, secret.New([]byte{1})); err == nil {
			t.Errorf("name %q: no error", name)
		}
		if _, err := l.store.Unseal(name); err == nil {
			t.Errorf("name %q: unsealed", name)
		}
	}
	for _, n := range []int{0, MaxSealed + 1} {
		if err := l.store.Seal("x", secret.New(make([]byte, n))); err == nil {
			t.Errorf("%d bytes: no error", n)
		}
	}
	_, err := l.store.Unseal("adm1")
	wantIs(t, err, fs.ErrNotExist)
	// Blobs are of one TPM, one TRE epoch and one name space of bytes.
	path := filepath.Join(l.cfg.Dir, "sealed-pin1")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := l.store.Unseal("pin1"); !errors.Is(err, ErrRollback) && !errors.Is(err, policy.ErrRefused) {
			t.Fatalf("bit in byte %d flipped: %v", i, err)
		}
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := l.store.Unseal("pin1"); err != nil {
		t.Fatal(err)
	}
	if err := l.store.tre.increment(); err != nil {
		t.Fatal(err)
	}
	_, err = l.store.Unseal("pin1")
	wantIs(t, err, policy.ErrRefused)
}

// Neither the folder nor the bus shows a secret of the subscription.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	var onBus []byte
	l := newLabOn(t, tpmtest.OpenWith(t, tpm.Options{Tap: func(e tpm.Exchange) { onBus = append(append(onBus, e.Request...), e.Response...) }}))
	sub := newSubscription(t)
	p := l.build(1, sub, nil)
	l.install(p)
	uicc := newSubscription(t)
	l.install(l.build(2, uicc, func(_ *Target, o *Order) { o.Placement = InUICC }))
	if err := l.store.Activate(1); err != nil {
		t.Fatal(err)
	}
	l.attach(1, home(t, sub))
	everything := append(onBus, l.bytes(p)...)
	err := filepath.WalkDir(l.cfg.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %s", d.Name(), info.Mode())
		}
		b, err := os.ReadFile(path)
		everything = append(everything, b...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []secret.Bytes{sub.K, sub.OPc, uicc.K, uicc.OPc} {
		k := s.Reveal()
		for _, form := range [][]byte{k, k[:8], k[8:], []byte(hex.EncodeToString(k)), []byte(base64.StdEncoding.EncodeToString(k))} {
			if bytes.Contains(everything, form) {
				t.Error("a secret is readable")
			}
		}
	}
}

func TestInstallIsIdempotent(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	sub := newSubscription(t)
	p := l.build(1, sub, nil)
	l.install(p)
	l.install(p) // the receipt was lost
	l.reopen()
	l.install(p)
	if err := l.store.Activate(1); err != nil {
		t.Fatal(err)
	}
	auc := home(t, sub)
	l.attach(1, auc)
	_, err := l.store.Install(l.bytes(p), today, nil)
	wantReject(t, err, CheckFreshness) // now it is a replay
	l.attach(1, auc)
}

func TestNewPackageReplacesWhatIsNotActive(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.install(l.build(1, newSubscription(t), nil))
	_, auc, _ := l.installed(1) // over the one that was only installed
	l.attach(1, auc)
	names, err := filepath.Glob(filepath.Join(l.cfg.Dir, "sqn-*"))
	if err != nil || len(names) != 1 {
		t.Errorf("files of sequence numbers: %v", names)
	}
}

func TestNotProvisioned(t *testing.T) {
	t.Parallel()
	l := newBareLab(t, tpmtest.Open(t))
	wantIs(t, second(l.store.Slots()), ErrNotProvisioned)
	if err := l.store.Provision(); err != nil {
		t.Fatal(err)
	}
	l.cfg.Dir = tempDir(t)
	l.reopen()
	wantIs(t, second(l.store.Slots()), ErrRollback) // the counters are there, the files are not
}

func TestBodyForDisclosedKeyNeedsTheSwitch(t *testing.T) {
	t.Parallel()
	disclosed, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t)
	p := l.build(1, newSubscription(t), func(_ *Target, o *Order) { o.Unbound = disclosed.PublicKey() })
	_, err = l.store.Install(l.bytes(p), today, nil)
	wantIs(t, err, ErrBody)
	if l.state(1) != Empty {
		t.Errorf("slot is %s", l.state(1))
	}
}

func TestDEKOnlyInItsPlatformState(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	again, err := DEKOptions(l.tpm, l.cfg.Dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ident.OpenTRE(l.tpm, again); err != nil {
		t.Fatal(err)
	}
	l.extend(7)
	peer, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for range 4 { // a refusal must not use up the TPM's sessions
		_, err = l.store.m.dek.ECDH(peer.PublicKey())
		wantIs(t, err, policy.ErrRefused)
	}
	if err := os.WriteFile(filepath.Join(l.cfg.Dir, dekFile), []byte{1}, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := DEKOptions(l.tpm, l.cfg.Dir, nil); err == nil {
		t.Error("a damaged file: no error")
	}
	if _, err := DEKOptions(l.tpm, tempDir(t), []int{23}); !errors.Is(err, policy.ErrPCRs) {
		t.Errorf("resettable PCR: %v", err)
	}
}

// Nothing of all this takes a TPM of somebody else over: every command passes
// the guard of a device.
func TestOnAForeignTPM(t *testing.T) {
	t.Parallel()
	dir := tpmtest.Dir(t)
	m := tpmtest.OpenDir(t, dir, tpm.Options{Foreign: true})
	if err := m.Claim(); err != nil {
		t.Fatal(err)
	}
	if _, err := ident.VerifyEK(m, tpmtest.Trust(t, dir)); err != nil {
		t.Fatal(err)
	}
	l := newLabOn(t, m)
	_, auc, _ := l.installed(1)
	l.attach(1, auc)
	if err := l.store.Seal("pin1", secret.New(random(t, 8))); err != nil {
		t.Fatal(err)
	}
	if _, err := l.store.Unseal("pin1"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.store.Erase(1, nil); err != nil {
		t.Fatal(err)
	}
	if err := l.store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Release(); err != nil {
		t.Fatal(err)
	}
	if left, err := m.Ours(); err != nil || len(left) != 0 {
		t.Errorf("left in the TPM: %v, %v", left, err)
	}
}
