package engine_test

import (
	"bytes"
	"crypto/aes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"mcim/tpm"
	"mcim/tpm/engine"
	"mcim/tpm/tpmtest"
)

// plainKey loads a key that needs no policy.
func plainKey(t *testing.T, m *tpm.TPM, k []byte, attributes tpm2.TPMAObject, mode tpm2.TPMAlgID) tpm2.TPMHandle {
	t.Helper()
	seed := make([]byte, sha256.Size)
	unique := sha256.Sum256(append(bytes.Clone(seed), k...))
	rsp, err := tpm2.LoadExternal{
		InPrivate: tpm2.New2B(tpm2.TPMTSensitive{
			SensitiveType: tpm2.TPMAlgSymCipher, SeedValue: tpm2.TPM2BDigest{Buffer: seed},
			Sensitive: tpm2.NewTPMUSensitiveComposite(tpm2.TPMAlgSymCipher, &tpm2.TPM2BSymKey{Buffer: k}),
		}),
		InPublic: tpm2.New2B(tpm2.TPMTPublic{
			Type: tpm2.TPMAlgSymCipher, NameAlg: tpm2.TPMAlgSHA256, ObjectAttributes: attributes,
			Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgSymCipher, &tpm2.TPMSSymCipherParms{Sym: tpm2.TPMTSymDefObject{
				Algorithm: tpm2.TPMAlgAES, KeyBits: tpm2.NewTPMUSymKeyBits(tpm2.TPMAlgAES, tpm2.TPMKeyBits(8*len(k))),
				Mode: tpm2.NewTPMUSymMode(tpm2.TPMAlgAES, mode),
			}}),
			Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgSymCipher, &tpm2.TPM2BDigest{Buffer: unique[:]}),
		}),
		Hierarchy: tpm2.TPMRHNull,
	}.Execute(m)
	if err != nil {
		t.Fatal(err)
	}
	return rsp.ObjectHandle
}

// TestCFBAt: a key under a handle encrypts blocks as AES does; what cannot stand for K
// is refused before it is used.
func TestCFBAt(t *testing.T) {
	t.Parallel()
	m := tpmtest.OpenBlank(t)
	k, blocks := make([]byte, 16), make([]byte, 48)
	_, _ = rand.Read(k)
	_, _ = rand.Read(blocks)
	decrypts := tpm2.TPMAObject{Decrypt: true, UserWithAuth: true, NoDA: true}
	good := plainKey(t, m, k, decrypts, tpm2.TPMAlgCFB)
	c, err := engine.NewCFBAt(m, good)
	if err != nil {
		t.Fatal(err)
	}
	got, want := make([]byte, len(blocks)), make([]byte, len(blocks))
	if err := c.Encrypt(got, blocks); err != nil {
		t.Fatal(err)
	}
	cipher, err := aes.NewCipher(k)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(blocks); i += 16 {
		cipher.Encrypt(want[i:], blocks[i:])
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.Flush(good); err != nil {
		t.Fatal(err)
	}
	refused := func(name string, handle tpm2.TPMHandle) {
		t.Helper()
		if _, err := engine.NewCFBAt(m, handle); !errors.Is(err, engine.ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused("no key", good)
	refused("no key of that kind", 0x81010001)
	for name, handle := range map[string]tpm2.TPMHandle{
		"AES-256":      plainKey(t, m, make([]byte, 32), decrypts, tpm2.TPMAlgCFB),
		"needs policy": plainKey(t, m, k, tpm2.TPMAObject{Decrypt: true, NoDA: true}, tpm2.TPMAlgCFB),
	} {
		refused(name, handle)
		if err := m.Flush(handle); err != nil {
			t.Fatal(err)
		}
	}
}
