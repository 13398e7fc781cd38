package tpm_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"mcim/tpm"
	"mcim/tpm/ident"
	"mcim/tpm/tpmtest"
)

func TestClaimAndRelease(t *testing.T) {
	t.Parallel()
	dir := tpmtest.Dir(t)
	m := tpmtest.OpenDir(t, dir, tpm.Options{})
	if _, err := ident.VerifyEK(m, tpmtest.Trust(t, dir)); err != nil {
		t.Fatal(err)
	}
	_, err1 := m.NVIndex(0)
	_, err2 := m.Persistent(0)
	_, err3 := m.Release()
	for _, err := range []error{err1, err2, err3, m.Persist(0x80000000, tpm2.TPM2BName{}, 0x8100F000), m.Persist(0x80000000, tpm2.TPM2BName{}, 0x81010001)} {
		if !errors.Is(err, tpm.ErrNotClaimed) {
			t.Errorf("before the claim: %v", err)
		}
	}
	if err := m.Claim(); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{-1, 16} {
		if _, err := m.NVIndex(i); !errors.Is(err, tpm.ErrNotClaimed) {
			t.Errorf("NV index %d: %v", i, err)
		}
	}
	if _, err := m.Persistent(8); !errors.Is(err, tpm.ErrNotClaimed) {
		t.Errorf("persistent 8: %v", err)
	}
	if _, err := ident.CreateTRE(m, ident.Options{}); err != nil {
		t.Fatal(err)
	}
	counter(t, m)
	if err := m.Claim(); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}

	m = tpmtest.OpenDir(t, dir, tpm.Options{}) // somebody who does not know that it is ours
	var occupied *tpm.OccupiedError
	err := m.Claim()
	if !errors.As(err, &occupied) || len(occupied.Occupants) != 5 {
		t.Fatalf("claim of a range in use: %v", err)
	}
	for _, part := range []string{"0x01800f00 (NV counter)", "0x8100f001 (ECC key)"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not name %q", err, part)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = tpmtest.OpenDir(t, dir, tpm.Options{Claimed: true})
	if _, err := ident.VerifyEK(m, tpmtest.Trust(t, dir)); err != nil {
		t.Fatal(err)
	}
	if removed, err := m.Release(); err != nil || len(removed) != 5 {
		t.Errorf("%v, %v", removed, err)
	}
	if left, err := m.Ours(); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := m.Claim(); err != nil {
		t.Errorf("the range is free again: %v", err)
	}
	if s := m.Range().String(); s != "NV indices 0x01800f00-0x01800f0f and persistent handles 0x8100f000-0x8100f007" {
		t.Error(s)
	}
}

// TestReleaseReportsFailure: what cannot be removed is reported and stays ours.
func TestReleaseReportsFailure(t *testing.T) {
	t.Parallel()
	m := tpmtest.Open(t)
	counter(t, m)
	ek, err := m.EK()
	if err != nil {
		t.Fatal(err)
	}
	wrong := ek
	wrong.Handle = 0x81010099
	m.PinEK(wrong)
	removed, err := m.Release()
	if err == nil || len(removed) != 1 || removed[0].Err == nil || !m.Claimed() {
		t.Errorf("%v, %v", removed, err)
	}
	m.PinEK(ek)
	if _, err := m.Release(); err != nil {
		t.Error(err)
	}
}

// TestEKWithoutPersistentKey: the maker left only the certificate, as on most
// machines. The key is made from its template, which must give the same key.
func TestEKWithoutPersistentKey(t *testing.T) {
	t.Parallel()
	dir := tpmtest.Dir(t)
	m := tpmtest.OpenDir(t, dir, tpm.Options{})
	eks, err := m.EKs()
	if err != nil {
		t.Fatal(err)
	}
	m.PinEK(eks[0])
	for _, h := range []tpm2.TPMHandle{0x81010001, 0x81010016} { // the pinned one last
		if err := evict(m, h); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ident.VerifyEK(m, tpmtest.Trust(t, dir)); !errors.Is(err, tpm.ErrNotClaimed) {
		t.Errorf("before the claim: %v", err)
	}
	if err := m.Claim(); err != nil {
		t.Fatal(err)
	}
	if _, err := ident.VerifyEK(m, tpmtest.Trust(t, tpmtest.OtherDir(t))); !errors.Is(err, ident.ErrChain) {
		t.Errorf("another maker: %v", err) // both keys were tried, one after the other
	}
	again, err := ident.VerifyEK(m, tpmtest.Trust(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	ek, err := m.EK()
	if err != nil {
		t.Fatal(err)
	}
	if again.Model != "swtpm" || ek.Handle != m.Range().EK() || !bytes.Equal(ek.Pin(), eks[0].Pin()) {
		t.Errorf("%s at %#x", ek.Type, ek.Handle)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = tpmtest.OpenDir(t, dir, tpm.Options{EKPin: ek.Pin()})
	if err := m.Claim(); err != nil {
		t.Errorf("claim where only our EK is: %v", err)
	}
	if _, err := ident.CreateTRE(m, ident.Options{}); err != nil {
		t.Fatal(err)
	}
	if removed, err := m.Release(); err != nil || len(removed) != 5 {
		t.Errorf("%v, %v", removed, err)
	}
}

func TestNoEKCertificate(t *testing.T) {
	t.Parallel()
	m := tpmtest.OpenBlank(t)
	for _, index := range []tpm2.TPMHandle{0x01C00002, 0x01C00016} {
		if _, err := m.ReadNV(index); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.ReadNV(0x01800F00); !errors.Is(err, tpm.ErrNoIndex) {
		t.Errorf("no index: %v", err)
	}
	index, err := m.NVIndex(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := define(m, index); err != nil {
		t.Fatal(err)
	}
	if _, err := m.ReadNV(index); !errors.Is(err, tpm.ErrNoIndex) {
		t.Errorf("never written: %v", err)
	}
}
