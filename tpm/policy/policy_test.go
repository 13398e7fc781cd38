package policy_test

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-tpm/tpm2"

	"mcim/tpm"
	"mcim/tpm/policy"
	"mcim/tpm/tpmtest"
)

// counter defines a counter as mcim does and gives its handle and value.
func counter(t *testing.T, m *tpm.TPM) (tpm2.TPMHandle, uint64) {
	t.Helper()
	index, err := m.NVIndex(0)
	if err != nil {
		t.Fatal(err)
	}
	public := policy.CounterPublic(index)
	public.Attributes.Written = false
	if _, err := (tpm2.NVDefineSpace{AuthHandle: m.Owner(tpm.Integrity), PublicInfo: tpm2.New2B(public)}).Execute(m); err != nil {
		t.Fatal(err)
	}
	return index, increment(t, m, index)
}

func increment(t *testing.T, m *tpm.TPM, index tpm2.TPMHandle) uint64 {
	t.Helper()
	_, name, err := m.NVPublic(index)
	if err != nil {
		t.Fatal(err)
	}
	h := tpm2.NamedHandle{Handle: index, Name: name}
	if _, err := (tpm2.NVIncrement{AuthHandle: h, NVIndex: h}).Execute(m); err != nil {
		t.Fatal(err)
	}
	value, err := m.ReadNV(index)
	if err != nil {
		t.Fatal(err)
	}
	return binary.BigEndian.Uint64(value)
}

func extend(t *testing.T, m *tpm.TPM, pcr int) {
	t.Helper()
	_, err := tpm2.PCRExtend{
		PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)},
		Digests: tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{
			HashAlg: tpm2.TPMAlgSHA256, Digest: make([]byte, sha256.Size),
		}}},
	}.Execute(m)
	if err != nil {
		t.Fatal(err)
	}
}

// run runs p in a kept session and gives the digest that the TPM has then.
func run(m *tpm.TPM, p policy.MCIM) (digest []byte, err error) {
	session := m.KeepPolicy(tpm.InOut)
	err = session.Use(p.Run, func(s tpm2.Session) error {
		rsp, err := tpm2.PolicyGetDigest{PolicySession: s.Handle()}.Execute(m)
		if err == nil {
			digest = rsp.PolicyDigest.Buffer
		}
		return err
	})
	return digest, errors.Join(err, session.Close())
}

func TestDigestIsWhatTheTPMComputes(t *testing.T) {
	t.Parallel()
	m := tpmtest.Open(t)
	index, epoch := counter(t, m)
	for _, pcrs := range [][]int{{0, 2, 4, 7, 8, 9, 14}, {7}, {15, 0}, {22, 17}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17}} {
		for _, command := range []tpm2.TPMCC{tpm2.TPMCCEncryptDecrypt2, tpm2.TPMCCUnseal} {
			platform, err := policy.ReadPlatform(m, pcrs...)
			if err != nil {
				t.Fatal(err)
			}
			p := policy.MCIM{Platform: platform, EpochIndex: index, Epoch: epoch, Command: command}
			want, err := p.Digest()
			if err != nil {
				t.Fatal(err)
			}
			got, err := run(m, p)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want[:], got); d != "" {
				t.Errorf("PCRs %v, command %s (-off the TPM +on it):\n%s", pcrs, tpm.CommandName(command), d)
			}
		}
	}
}

func TestCounterNameIsTheWrittenOne(t *testing.T) {
	t.Parallel()
	m := tpmtest.Open(t)
	index, _ := counter(t, m)
	_, got, err := m.NVPublic(index)
	if err != nil {
		t.Fatal(err)
	}
	want, err := policy.CounterName(index)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want.Buffer, got.Buffer); d != "" {
		t.Errorf("Name (-computed +TPM):\n%s", d)
	}
}

func TestTheTPMRefusesEachTerm(t *testing.T) {
	t.Parallel()
	m := tpmtest.Open(t)
	index, _ := counter(t, m)
	epoch := increment(t, m, index)
	platform, err := policy.ReadPlatform(m, policyPCRs...)
	if err != nil {
		t.Fatal(err)
	}
	p := policy.MCIM{Platform: platform, EpochIndex: index, Epoch: epoch, Command: tpm2.TPMCCUnseal}
	if _, err := run(m, p); err != nil {
		t.Fatalf("the right state: %v", err)
	}
	extend(t, m, 1) // not in the policy
	if _, err := run(m, p); err != nil {
		t.Errorf("a PCR outside of the policy: %v", err)
	}
	for _, wrong := range []uint64{epoch - 1, epoch + 1} {
		q := p
		q.Epoch = wrong
		_, err := run(m, q)
		wantRefused(t, err, policy.TermEpoch)
	}
	increment(t, m, index)
	_, err = run(m, p)
	wantRefused(t, err, policy.TermEpoch)
	p.Epoch++
	for _, pcr := range platform.List() {
		extend(t, m, pcr)
		_, err := run(m, p)
		wantRefused(t, err, policy.TermPlatform)
		if p.Platform, err = policy.ReadPlatform(m, policyPCRs...); err != nil {
			t.Fatal(err)
		}
		if _, err := run(m, p); err != nil {
			t.Errorf("PCR %d, new state: %v", pcr, err)
		}
	}
}

var policyPCRs = []int{0, 2, 4, 7, 8, 9, 14}

func wantRefused(t *testing.T, err error, term policy.Term) {
	t.Helper()
	var refused *policy.RefusedError
	if !errors.As(err, &refused) || !errors.Is(err, policy.ErrRefused) || refused.Term != term {
		t.Errorf("got %v, want a refusal of the %s", err, term)
	}
}

func TestUnfitPCRs(t *testing.T) {
	t.Parallel()
	m := tpmtest.Open(t)
	for _, pcrs := range [][]int{nil, {16}, {23}, {0, 23}, {16, 14}, {24}, {-1}} {
		if _, err := policy.ReadPlatform(m, pcrs...); !errors.Is(err, policy.ErrPCRs) {
			t.Errorf("PCRs %v: %v", pcrs, err)
		}
		values := map[int][sha256.Size]byte{}
		for _, n := range pcrs {
			values[n] = [sha256.Size]byte{}
		}
		if _, err := policy.NewPlatform(values); !errors.Is(err, policy.ErrPCRs) {
			t.Errorf("values of PCRs %v: %v", pcrs, err)
		}
	}
	for _, pcrs := range []uint32{0, 1 << 16, 1 << 23, 1<<23 | 1, 1 << 24, 1 << 31} {
		p := policy.MCIM{Platform: policy.Platform{PCRs: pcrs}, EpochIndex: 0x01800F00, Epoch: 1}
		if _, err := p.Digest(); !errors.Is(err, policy.ErrPCRs) {
			t.Errorf("PCRs %#x: digest %v", pcrs, err)
		}
		if _, err := run(m, p); !errors.Is(err, policy.ErrPCRs) {
			t.Errorf("PCRs %#x: run %v", pcrs, err)
		}
	}
}

func TestUnfitEpoch(t *testing.T) {
	t.Parallel()
	platform := policy.Platform{PCRs: 1}
	for _, p := range []policy.MCIM{
		{Platform: platform, EpochIndex: 0x01800F00},
		{Platform: platform, Epoch: 1},
		{Platform: platform, Epoch: 1, EpochIndex: 0x8100F000},
	} {
		if _, err := p.Digest(); !errors.Is(err, policy.ErrEpoch) {
			t.Errorf("index %#x, epoch %d: %v", uint32(p.EpochIndex), p.Epoch, err)
		}
	}
}

func TestPlatformDependsOnEveryValue(t *testing.T) {
	t.Parallel()
	values := map[int][sha256.Size]byte{0: {1}, 7: {2}, 14: {3}}
	p, err := policy.NewPlatform(values)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(p.List(), []int{0, 7, 14}) {
		t.Errorf("PCRs %v", p.List())
	}
	for n, v := range values {
		values[n] = [sha256.Size]byte{0xff}
		if q, err := policy.NewPlatform(values); err != nil || q == p {
			t.Errorf("PCR %d does not count: %v", n, err)
		}
		values[n] = v
	}
}

func TestRefusedLeavesOtherErrorsAlone(t *testing.T) {
	t.Parallel()
	for _, err := range []error{errors.New("no TPM"), tpm2.TPMRCRetry, tpm.ErrGone} {
		if got := policy.Refused(policy.TermPlatform, err); !errors.Is(got, err) || errors.Is(got, policy.ErrRefused) {
			t.Errorf("%v became %v", err, got)
		}
	}
	err := policy.Refused(policy.TermEpoch, tpm2.TPMRCPolicy)
	if !errors.Is(err, tpm2.TPMRCPolicy) || err.Error() == "" {
		t.Errorf("%v lost the TPM's answer", err)
	}
}
