package tpm_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"mcim/tpm"
	"mcim/tpm/attest"
	"mcim/tpm/ident"
	"mcim/tpm/measure"
	"mcim/tpm/tpmtest"
)

// foreign opens the TPM behind a socket as somebody else's, with a recorder.
func foreign(t *testing.T, uri string, sent *[][]byte, opts tpm.Options) (*tpm.TPM, error) {
	t.Helper()
	opts.Foreign = true
	opts.Wrap = func(in transport.TPM) transport.TPM {
		return wire{in, func(next transport.TPM, command []byte) ([]byte, error) {
			*sent = append(*sent, bytes.Clone(command))
			return next.Send(command)
		}}
	}
	return tpm.Open(context.Background(), uri, opts)
}

// TestDeviceIsNotTakenOver runs the life of a machine's TPM as on a device:
// TPM and looks at every command that was sent.
func TestDeviceIsNotTakenOver(t *testing.T) {
	t.Parallel()
	uri, dir := unixTPM(t)
	var sent [][]byte
	m, err := foreign(t, uri, &sent, tpm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	before := everything(t, m)
	if _, err := ident.VerifyEK(m, tpmtest.Trust(t, dir)); err != nil {
		t.Fatal(err)
	}
	if err := m.Claim(); err != nil {
		t.Fatal(err)
	}
	tre, err := ident.CreateTRE(m, ident.Options{})
	if err != nil {
		t.Fatal(err)
	}
	counter(t, m)
	if err := measure.Extend(m, measure.CannedBoot(), int(m.Register())); err != nil {
		t.Fatal(err)
	}
	nonce := make([]byte, 32)
	if _, err := rand.Read(nonce); err != nil {
		t.Fatal(err)
	}
	evidence, err := attest.Measure(tre, nil, measure.CannedBoot().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := evidence.Quoted(tre, attest.Request{Nonce: nonce, Exporter: nonce}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Info(); err != nil {
		t.Fatal(err)
	}
	removed, err := m.Release()
	if err != nil || len(removed) != 5 {
		t.Errorf("%d objects removed, %v", len(removed), err)
	}
	if m.Claimed() {
		t.Error("the range is still claimed")
	}
	if after := everything(t, m); !slices.Equal(before, after) {
		t.Errorf("handles before %x, after %x", before, after)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	judge(t, sent)
}

// judge refuses every command that a machine's owner would not expect of us.
func judge(t *testing.T, sent [][]byte) {
	t.Helper()
	allowed := strings.Fields("StartAuthSession FlushContext ReadPublic NV_ReadPublic NV_Read GetCapability TestParms CreatePrimary Create Load " +
		"Certify Quote PCR_Read PCR_Extend EvictControl NV_DefineSpace NV_UndefineSpace NV_Increment")
	for _, c := range sent {
		name := tpm.CommandName(code(c))
		handle := func(at int) uint32 {
			return uint32(c[at])<<24 | uint32(c[at+1])<<16 | uint32(c[at+2])<<8 | uint32(c[at+3])
		}
		switch {
		case !slices.Contains(allowed, name):
			t.Errorf("%s was sent", name)
		case name == "PCR_Extend" && handle(10) != 14:
			t.Errorf("PCR %d was extended", handle(10))
		case name == "EvictControl" && handle(len(c)-4)>>4 != 0x8100F00, (name == "NV_UndefineSpace" || name == "NV_Increment") && handle(14)>>4 != 0x01800F0:
			t.Errorf("%s outside our range: %x", name, c)
		case name == "StartAuthSession" && handle(10) != 0x81010016:
			t.Errorf("session that is not salted to the EK: %x", c)
		}
	}
}

// everything lists all NV indices and persistent handles.
func everything(t *testing.T, m *tpm.TPM) []tpm2.TPMHandle {
	t.Helper()
	var all []tpm2.TPMHandle
	for _, first := range []uint32{0x01000000, 0x81000000} {
		rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: first, PropertyCount: 200}.Execute(m)
		if err != nil {
			t.Fatal(err)
		}
		list, err := rsp.CapabilityData.Data.Handles()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, list.Handle...)
	}
	return all
}

func define(m *tpm.TPM, index tpm2.TPMHandle) error {
	_, err := tpm2.NVDefineSpace{AuthHandle: m.Owner(tpm.In), Auth: tpm2.TPM2BAuth{Buffer: []byte("abc")}, PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{
		NVIndex: index, NameAlg: tpm2.TPMAlgSHA256, DataSize: 8,
		Attributes: tpm2.TPMANV{NT: tpm2.TPMNTCounter, AuthWrite: true, AuthRead: true, NoDA: true}})}.Execute(m)
	return err
}

func counter(t *testing.T, m *tpm.TPM) tpm2.TPMHandle {
	t.Helper()
	index, err := m.NVIndex(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := define(m, index); err != nil {
		t.Fatal(err)
	}
	_, name, err := m.NVPublic(index)
	if err != nil {
		t.Fatal(err)
	}
	auth := tpm2.AuthHandle{Handle: index, Name: name, Auth: m.Session(tpm.Integrity, tpm2.Auth([]byte("abc")))}
	if _, err := (tpm2.NVIncrement{AuthHandle: auth, NVIndex: tpm2.NamedHandle{Handle: index, Name: name}}).Execute(m); err != nil {
		t.Fatal(err)
	}
	return index
}

// TestGuard tries every command that takes something over.
func TestGuard(t *testing.T) {
	t.Parallel()
	uri, dir := unixTPM(t)
	var sent [][]byte
	m, err := foreign(t, uri, &sent, tpm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ident.VerifyEK(m, tpmtest.Trust(t, dir)); err != nil {
		t.Fatal(err)
	}
	lockout := tpm2.AuthHandle{Handle: tpm2.TPMRHLockout, Auth: tpm2.PasswordAuth(nil)}
	extend := func(pcr tpm2.TPMHandle) error {
		_, err := tpm2.PCRExtend{PCRHandle: tpm2.AuthHandle{Handle: pcr, Auth: tpm2.PasswordAuth(nil)},
			Digests: tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: make([]byte, 32)}}}}.Execute(m)
		return err
	}
	raw := func(code tpm2.TPMCC, body ...byte) func() error {
		return func() error {
			command := []byte{0x80, 0x02, 0, 0, 0, byte(10 + len(body)), byte(code >> 24), byte(code >> 16), byte(code >> 8), byte(code)}
			_, err := m.Send(append(command, body...))
			return err
		}
	}
	cases := map[string]func() error{
		"Clear": func() error { _, err := tpm2.Clear{AuthHandle: lockout}.Execute(m); return err },
		"HierarchyChangeAuth": func() error {
			_, err := tpm2.HierarchyChangeAuth{AuthHandle: lockout, NewAuth: tpm2.TPM2BAuth{Buffer: []byte("x")}}.Execute(m)
			return err
		},
		"Shutdown":            func() error { _, err := tpm2.Shutdown{}.Execute(m); return err },
		"PCR_Extend of PCR 0": func() error { return extend(0) },
		"PCR_Event": func() error {
			_, err := tpm2.PCREvent{PCRHandle: tpm2.AuthHandle{Handle: 14, Auth: tpm2.PasswordAuth(nil)}}.Execute(m)
			return err
		},
		"PCR_Reset": func() error {
			_, err := tpm2.PCRReset{PCRHandle: tpm2.AuthHandle{Handle: 16, Auth: tpm2.PasswordAuth(nil)}}.Execute(m)
			return err
		},
		"NV_DefineSpace before the claim":   func() error { return define(m, 0x01800F00) },
		"NV_DefineSpace outside":            func() error { return define(m, 0x01800E00) },
		"NV_UndefineSpace of a certificate": func() error { return undefine(m, 0x01C00002) },
		"EvictControl of the EK":            func() error { return evict(m, 0x81010016) },
		"an NV command that is cut":         raw(tpm2.TPMCCNVIncrement, 1, 2, 3),
		"a definition that is cut":          raw(tpm2.TPMCCNVDefineSpace, 0x40, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF),
		"a vendor command":                  raw(0x20000001),
	}
	for _, code := range []tpm2.TPMCC{tpm2.TPMCCClearControl, tpm2.TPMCCHierarchyControl, tpm2.TPMCCSetPrimaryPolicy, tpm2.TPMCCDictionaryAttackLockReset,
		tpm2.TPMCCDictionaryAttackParameters, tpm2.TPMCCChangeEPS, tpm2.TPMCCChangePPS, tpm2.TPMCCPCRAllocate, tpm2.TPMCCPCRSetAuthValue, tpm2.TPMCCNVGlobalWriteLock,
		tpm2.TPMCCNVWriteLock, tpm2.TPMCCClockSet, tpm2.TPMCCFieldUpgradeStart, tpm2.TPMCCSetCommandCodeAuditStatus, tpm2.TPMCCPPCommands, tpm2.TPMCCStartup} {
		cases[tpm.CommandName(code)] = raw(code)
	}
	for name, try := range cases {
		var refused *tpm.TakeOverError
		if err := try(); !errors.As(err, &refused) || !strings.Contains(err.Error(), "--take-ownership") {
			t.Errorf("%s: %v", name, err)
		}
	}
	judge(t, sent)
	if err := m.Claim(); err != nil {
		t.Fatal(err)
	}
	for name, try := range map[string]func() error{
		"another NV index":   func() error { return define(m, 0x01800F10) },
		"another persistent": func() error { return evict(m, 0x81010016) },
	} {
		var refused *tpm.TakeOverError
		if err := try(); !errors.As(err, &refused) {
			t.Errorf("%s after the claim: %v", name, err)
		}
	}
	if err := errors.Join(define(m, 0x01800F0F), extend(14)); err != nil {
		t.Errorf("what is ours: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// TestAdmit: what whoever opened the TPM does not admit is not sent, and the session
// that was started for it is ended.
func TestAdmit(t *testing.T) {
	t.Parallel()
	refused, admit := errors.New("refused by the test"), false
	var sent []string
	m := tpmtest.OpenWith(t, tpm.Options{
		Tap: func(e tpm.Exchange) { sent = append(sent, e.Name) },
		Admit: func(command string) error {
			if command == "NV_DefineSpace" && !admit {
				return refused
			}
			return nil
		},
	})
	if err := m.Claim(); err != nil {
		t.Fatal(err)
	}
	sent = nil
	if err := define(m, 0x01800F00); !errors.Is(err, refused) {
		t.Errorf("not admitted: %v", err)
	}
	if want := []string{"StartAuthSession", "FlushContext"}; !slices.Equal(sent, want) {
		t.Errorf("sent %v, want %v", sent, want)
	}
	admit = true
	if err := define(m, 0x01800F00); err != nil {
		t.Error(err)
	}
}

func undefine(m *tpm.TPM, index tpm2.TPMHandle) error {
	_, name, err := m.NVPublic(index)
	if err != nil {
		return err
	}
	_, err = tpm2.NVUndefineSpace{AuthHandle: m.Owner(tpm.Integrity), NVIndex: tpm2.NamedHandle{Handle: index, Name: name}}.Execute(m)
	return err
}

func evict(m *tpm.TPM, h tpm2.TPMHandle) error {
	_, name, err := m.ReadPublic(h)
	if err != nil {
		return err
	}
	_, err = tpm2.EvictControl{Auth: m.Owner(tpm.Integrity), ObjectHandle: tpm2.NamedHandle{Handle: h, Name: name}, PersistentHandle: h}.Execute(m)
	return err
}

func TestTakeOwnership(t *testing.T) {
	t.Parallel()
	uri, dir := unixTPM(t)
	other, err := tpmtest.OpenOther(t).EK()
	if err != nil {
		t.Fatal(err)
	}
	var sent [][]byte
	if _, err := foreign(t, uri, &sent, tpm.Options{TakeOwnership: other.Pin()}); !errors.Is(err, tpm.ErrNotPinned) {
		t.Errorf("by the hash of another TPM: %v", err)
	}
	if _, err := foreign(t, uri, &sent, tpm.Options{TakeOwnership: []byte{}}); !errors.Is(err, tpm.ErrNotPinned) {
		t.Errorf("by no hash: %v", err)
	}
	m, err := foreign(t, uri, &sent, tpm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ident.VerifyEK(m, tpmtest.Trust(t, dir)); err != nil {
		t.Fatal(err)
	}
	ek, err := m.EK()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if m, err = foreign(t, uri, &sent, tpm.Options{TakeOwnership: ek.Pin(), EKPin: ek.Pin()}); err != nil {
		t.Fatal(err)
	}
	if m.Foreign() {
		t.Error("still foreign")
	}
	if err := measure.Extend(m, measure.CannedBoot()); err != nil {
		t.Error(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

func TestPin(t *testing.T) {
	t.Parallel()
	dir := tpmtest.Dir(t)
	m := tpmtest.OpenDir(t, dir, tpm.Options{})
	if _, err := ident.VerifyEK(m, tpmtest.Trust(t, dir)); err != nil {
		t.Fatal(err)
	}
	ek, err := m.EK()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = tpmtest.OpenDir(t, dir, tpm.Options{EKPin: ek.Pin()})
	if _, err := random(m, m.Session(tpm.Out)); err != nil {
		t.Error(err)
	}
	if _, err := tpm.Open(context.Background(), "swtpm:"+tpmtest.OtherDir(t), tpm.Options{EKPin: ek.Pin()}); !errors.Is(err, tpm.ErrNotPinned) {
		t.Errorf("another TPM: %v", err)
	}
}
