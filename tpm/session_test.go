package tpm_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"mcim/tpm"
	"mcim/tpm/tpmtest"
)

// wire is a transport.TPM that tests put below the tap.
type wire struct {
	transport.TPM
	send func(next transport.TPM, command []byte) ([]byte, error)
}

func (w wire) Send(command []byte) ([]byte, error) { return w.send(w.TPM, command) }

func wrap(send func(next transport.TPM, command []byte) ([]byte, error)) tpm.Options {
	return tpm.Options{Wrap: func(in transport.TPM) transport.TPM { return wire{in, send} }}
}

func code(command []byte) tpm2.TPMCC { return tpm2.TPMCC(binary.BigEndian.Uint32(command[6:])) }

func answer(rc tpm2.TPMRC) []byte {
	return binary.BigEndian.AppendUint32([]byte{0x80, 0x01, 0, 0, 0, 10}, uint32(rc))
}

func random(m *tpm.TPM, s ...tpm2.Session) ([]byte, error) {
	rsp, err := tpm2.GetRandom{BytesRequested: 16}.Execute(m, s...)
	if err != nil {
		return nil, err
	}
	return rsp.RandomBytes.Buffer, nil
}

func TestNoSessionWithoutPin(t *testing.T) {
	t.Parallel()
	m := tpmtest.OpenDir(t, tpmtest.Dir(t), tpm.Options{})
	if _, err := random(m, m.Session(tpm.Out)); !errors.Is(err, tpm.ErrNotPinned) {
		t.Errorf("session: %v", err)
	}
	if _, err := random(m, m.Policy(tpm.Out, nil)); !errors.Is(err, tpm.ErrNotPinned) {
		t.Errorf("policy session: %v", err)
	}
	if err := m.KeepSession(tpm.Out).Use(nil, func(tpm2.Session) error { return nil }); !errors.Is(err, tpm.ErrNotPinned) {
		t.Errorf("kept session: %v", err)
	}
	_, err := tpm2.NVUndefineSpace{AuthHandle: m.Owner(tpm.Integrity), NVIndex: tpm2.NamedHandle{Handle: 0x01800F00}}.Execute(m)
	if !errors.Is(err, tpm.ErrNotPinned) {
		t.Errorf("owner: %v", err)
	}
}

// TestWire looks at the bus: what a session encrypts is not on it, and what
// somebody changes there is noticed.
func TestWire(t *testing.T) {
	t.Parallel()
	var last []byte
	tamper := false
	m := tpmtest.OpenWith(t, wrap(func(next transport.TPM, command []byte) ([]byte, error) {
		rsp, err := next.Send(command)
		if code(command) == tpm2.TPMCCGetRandom && err == nil {
			if tamper {
				rsp[20] ^= 1
			}
			last = bytes.Clone(rsp)
		}
		return rsp, err
	}))
	b, err := random(m, m.Session(tpm.Out))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(last, b) {
		t.Error("the random bytes were on the wire")
	}
	if b, err = random(m); err != nil || !bytes.Contains(last, b) {
		t.Errorf("without session they should be: %v", err)
	}
	tamper = true
	if _, err = random(m); err != nil {
		t.Errorf("without session nobody notices a change: %v", err)
	}
	if _, err = random(m, m.Session(tpm.Out)); err == nil {
		t.Error("with a session the change went unnoticed")
	}
	tamper = false
	if _, err = random(m, m.Session(tpm.Out)); err != nil {
		t.Errorf("after that: %v", err)
	}
}

// TestSaltForAnotherKey: whoever gives us another EK does not get a session.
func TestSaltForAnotherKey(t *testing.T) {
	t.Parallel()
	m, other := tpmtest.Open(t), tpmtest.OpenOther(t)
	ek, err := m.EK()
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := other.EK()
	if err != nil {
		t.Fatal(err)
	}
	ek.Public = wrong.Public
	m.PinEK(ek)
	if _, err := random(m, m.Session(tpm.Out)); err == nil {
		t.Error("a session to a key that the TPM does not hold")
	}
}

func TestKeptSession(t *testing.T) {
	t.Parallel()
	m := tpmtest.Open(t)
	k := m.KeepSession(tpm.Out)
	use := func(s tpm2.Session) error { _, err := random(m, s); return err }
	for i, want := range []uint64{2, 1, 1} { // the first starts it
		before := m.Commands()
		if err := k.Use(nil, use); err != nil {
			t.Fatal(err)
		}
		if n := m.Commands() - before; n != want {
			t.Errorf("use %d: %d commands", i, n)
		}
	}
	broken := errors.New("broken")
	if err := k.Use(nil, func(tpm2.Session) error { return broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	if n := loaded(t, m); n != 0 {
		t.Errorf("%d sessions are left after an error", n)
	}
	if err := k.Use(nil, use); err != nil {
		t.Errorf("after an error: %v", err)
	}
	if err := errors.Join(k.Close(), k.Close()); err != nil {
		t.Error(err)
	}
	if n := loaded(t, m); n != 0 {
		t.Errorf("%d sessions are left after close", n)
	}
}

// loaded counts the sessions in the memory of the TPM.
func loaded(t *testing.T, m *tpm.TPM) int {
	t.Helper()
	rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: 0x02000000, PropertyCount: 10}.Execute(m)
	if err != nil {
		t.Fatal(err)
	}
	list, err := rsp.CapabilityData.Data.Handles()
	if err != nil {
		t.Fatal(err)
	}
	return len(list.Handle)
}

// TestKeptPolicy: a policy that does not hold leaves nothing behind that spoils
// the next run.
func TestKeptPolicy(t *testing.T) {
	t.Parallel()
	m := tpmtest.OpenBlank(t)
	run := func(t transport.TPM, s tpm2.TPMISHPolicy, _ tpm2.TPM2BNonce) error {
		_, err := tpm2.PolicyCommandCode{PolicySession: s, Code: tpm2.TPMCCUnseal}.Execute(t)
		return err
	}
	calc, err := tpm2.NewPolicyCalculator(tpm2.TPMAlgSHA256)
	if err != nil {
		t.Fatal(err)
	}
	if err := (tpm2.PolicyCommandCode{Code: tpm2.TPMCCUnseal}).Update(calc); err != nil {
		t.Fatal(err)
	}
	object := sealed(t, m, calc.Hash().Digest)
	k := m.KeepPolicy(tpm.Out)
	unseal := func(s tpm2.Session) error {
		_, err := tpm2.Unseal{ItemHandle: tpm2.AuthHandle{Handle: object.Handle, Name: object.Name, Auth: s}}.Execute(m)
		return err
	}
	for range 2 {
		if err := k.Use(run, unseal); err != nil {
			t.Fatal(err)
		}
		if err := k.Use(nil, unseal); !errors.Is(err, tpm2.TPMRCPolicyFail) {
			t.Errorf("without running the policy: %v", err)
		}
	}
	if _, err := (tpm2.Unseal{ItemHandle: tpm2.AuthHandle{Handle: object.Handle, Name: object.Name, Auth: m.Policy(tpm.Out, run)}}).Execute(m); err != nil {
		t.Errorf("session of one use: %v", err)
	}
	if err := k.Close(); err != nil {
		t.Error(err)
	}
}

func sealed(t *testing.T, m *tpm.TPM, policy []byte) tpm2.NamedHandle {
	t.Helper()
	rsp, err := tpm2.CreatePrimary{PrimaryHandle: m.Owner(tpm.InOut),
		InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{Data: tpm2.NewTPMUSensitiveCreate(&tpm2.TPM2BSensitiveData{Buffer: []byte("sealed")})}},
		InPublic: tpm2.New2B(tpm2.TPMTPublic{Type: tpm2.TPMAlgKeyedHash, NameAlg: tpm2.TPMAlgSHA256,
			ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, NoDA: true}, AuthPolicy: tpm2.TPM2BDigest{Buffer: policy}})}.Execute(m)
	if err != nil {
		t.Fatal(err)
	}
	return tpm2.NamedHandle{Handle: rsp.ObjectHandle, Name: rsp.Name}
}

func TestTap(t *testing.T) {
	t.Parallel()
	var seen []tpm.Exchange
	m := tpmtest.OpenWith(t, tpm.Options{Tap: func(e tpm.Exchange) { seen = append(seen, e) }})
	if uint64(len(seen)) != m.Commands() || len(seen) == 0 {
		t.Errorf("%d commands, the tap saw %d", m.Commands(), len(seen))
	}
	seen = nil
	if _, err := random(m); err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.ReadPublic(0x81000099); !errors.Is(err, tpm.ErrNoObject) {
		t.Error(err)
	}
	if len(seen) != 2 || seen[0].Name != "GetRandom" || seen[0].RC != 0 || len(seen[0].Request) != 12 || len(seen[0].Response) != 28 ||
		seen[1].Name != "ReadPublic" || !errors.Is(seen[1].RC, tpm2.TPMRCHandle) || seen[0].Time.IsZero() || seen[0].Duration <= 0 {
		t.Errorf("%+v", seen)
	}
	if _, err := m.Send([]byte{1}); !errors.Is(err, tpm.ErrCommand) || len(seen) != 2 {
		t.Errorf("one byte: %v", err)
	}
	if tpm.CommandName(0x20001234) != "0x20001234" || tpm.CommandName(tpm2.TPMCCHierarchyChanegAuth) != "HierarchyChangeAuth" {
		t.Error("names of commands")
	}
}

func TestBusyTPM(t *testing.T) {
	t.Parallel()
	busy := 0
	m := tpmtest.OpenWith(t, wrap(func(next transport.TPM, command []byte) ([]byte, error) {
		if busy > 0 {
			busy--
			return answer(tpm2.TPMRCNVRate), nil
		}
		return next.Send(command)
	}))
	busy = 3
	before := m.Commands()
	if _, err := random(m, m.Session(tpm.Out)); err != nil {
		t.Fatal(err)
	}
	if n := m.Commands() - before; n != 5 {
		t.Errorf("%d commands", n)
	}
}

func TestShortAnswer(t *testing.T) {
	t.Parallel()
	m, err := tpm.Open(context.Background(), "swtpm:"+tpmtest.Dir(t), wrap(func(next transport.TPM, command []byte) ([]byte, error) {
		if code(command) == tpm2.TPMCCGetRandom {
			return []byte{0x80, 1}, nil
		}
		return next.Send(command)
	}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := random(m); !errors.Is(err, tpm.ErrGone) {
		t.Errorf("answer of two bytes: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// TestProbeOfLesserTPM takes away what some chips lack.
func TestProbeOfLesserTPM(t *testing.T) {
	t.Parallel()
	m := tpmtest.OpenWith(t, wrap(func(next transport.TPM, command []byte) ([]byte, error) {
		if code(command) == tpm2.TPMCCTestParms {
			return answer(tpm2.TPMRCValue), nil
		}
		return next.Send(command)
	}))
	i, err := m.Info()
	if err != nil {
		t.Fatal(err)
	}
	if i.EncryptCFB || i.P256 || len(i.Missing()) != 2 {
		t.Errorf("missing: %v", i.Missing())
	}
}
