package tpm

import (
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"hash"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-tpm/tpm2"
)

// TestDeviceError cannot be seen from outside by a test that root runs.
func TestDeviceError(t *testing.T) {
	t.Parallel()
	err := deviceError(&fs.PathError{Op: "open", Path: "/dev/tpmrm0", Err: syscall.EACCES})
	if !errors.Is(err, ErrPermission) || !strings.Contains(err.Error(), "tss") {
		t.Errorf("no permission: %v", err)
	}
	err = deviceError(&fs.PathError{Op: "open", Path: "/dev/tpm0", Err: syscall.EBUSY})
	if !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), "tpmrm0") {
		t.Errorf("busy: %v", err)
	}
}

// TestAlternativesB joins the two branches as PolicyOR does (Part 3, 23.6).
func TestAlternativesB(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		alg    tpm2.TPMAlgID
		hash   hash.Hash
		policy string
	}{{tpm2.TPMAlgSHA256, sha256.New(), policyB256}, {tpm2.TPMAlgSHA384, sha512.New384(), policyB384}} {
		c.hash.Write(make([]byte, c.hash.Size()))
		c.hash.Write([]byte{0, 0, 0x01, 0x71}) // TPM_CC_PolicyOR
		for _, d := range alternativesB(c.alg) {
			c.hash.Write(d.Buffer)
		}
		if got := string(c.hash.Sum(nil)); got != c.policy {
			t.Errorf("%d bits: %x, want %x", 8*c.hash.Size(), got, c.policy)
		}
	}
}

// FuzzTPM feeds the guard, which reads commands, and the decoder.
func FuzzTPM(f *testing.F) {
	for _, code := range []tpm2.TPMCC{tpm2.TPMCCNVDefineSpace, tpm2.TPMCCEvictControl, tpm2.TPMCCNVIncrement, tpm2.TPMCCPCRExtend, tpm2.TPMCCClear} {
		f.Add([]byte{0x80, 2, 0, 0, 0, 30, 0, 0, byte(code >> 8), byte(code), 0x40, 0, 0, 1, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x80, 0xF, 0})
	}
	t := &TPM{foreign: true, claimed: true}
	t.opts.setDefaults()
	f.Fuzz(func(test *testing.T, b []byte) {
		if v, err := Decode[tpm2.TPMTPublic](b); err == nil && string(tpm2.Marshal(*v)) != string(b) {
			test.Error("decoded public area encodes to something else")
		}
		if len(b) < headerLen {
			return
		}
		code := commandCode(b)
		if t.guard(b) == nil && (code == tpm2.TPMCCClear || code == tpm2.TPMCCHierarchyControl) {
			test.Errorf("%s was let through", CommandName(code))
		}
	})
}
