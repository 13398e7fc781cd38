package engine

import (
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"mcim/tpm"
)

// ErrKey is returned for a handle under which there is no key that can stand for K.
var ErrKey = errors.New("not an AES key of 128 bits and mode CFB that decrypts with an empty auth value")

// NewCFBAt makes the engine of a key that somebody else has put under a handle: an
// AES-128 key of mode CFB that may decrypt, with an empty auth value. It asks for
// the public area of the key and for the size of the TPM's input buffer (two
// commands). No such key is ErrKey. Close leaves the key where it is.
func NewCFBAt(t *tpm.TPM, handle tpm2.TPMHandle) (*CFB, error) {
	rsp, err := tpm2.ReadPublic{ObjectHandle: handle}.Execute(t)
	if err != nil {
		return nil, fmt.Errorf("key %#08x: %w: %w", uint32(handle), ErrKey, err)
	}
	public, err := rsp.OutPublic.Contents()
	if err != nil || !fitsK(public) {
		return nil, fmt.Errorf("key %#08x: %w", uint32(handle), errors.Join(ErrKey, err))
	}
	return newCFB(t, Key{Handle: handle, Name: rsp.Name}, nil, t.KeepSession(tpm.InOut))
}

// fitsK tells whether a key can be used as NewCFBAt does.
func fitsK(public *tpm2.TPMTPublic) bool {
	if public.Type != tpm2.TPMAlgSymCipher || !public.ObjectAttributes.Decrypt || !public.ObjectAttributes.UserWithAuth {
		return false
	}
	parameters, err := public.Parameters.SymDetail()
	if err != nil || parameters.Sym.Algorithm != tpm2.TPMAlgAES {
		return false
	}
	bits, errBits := parameters.Sym.KeyBits.AES()
	mode, errMode := parameters.Sym.Mode.AES()
	return errBits == nil && errMode == nil && *bits == 128 && *mode == tpm2.TPMAlgCFB
}
