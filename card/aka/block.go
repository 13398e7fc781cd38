package aka

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"

	"mcim/apdu/secret"
)

// BlockSize is the length of a block, of K, OP, OPc and RAND, in bytes.
const BlockSize = 16

// ErrKey is returned for a key or operator value that has the wrong length.
var ErrKey = errors.New("key of the wrong length")

// Block is E_K of TS 35.205, 8.1: a 128-bit block cipher under the
// subscriber's key. Encrypt sets dst to E_K of each 16-byte block of src; both
// have the same length, a multiple of 16, and do not overlap. An error means
// that nothing in dst may be used.
type Block interface {
	Encrypt(dst, src []byte) error
}

// softAES is a Block in software.
type softAES struct{ c cipher.Block }

// NewAES is AES-128 in software under k of 16 bytes (ErrKey).
func NewAES(k secret.Bytes) (Block, error) {
	if k.Len() != BlockSize {
		return nil, fmt.Errorf("%w: K has %d bytes, want %d", ErrKey, k.Len(), BlockSize)
	}
	c, err := aes.NewCipher(k.Reveal())
	if err != nil {
		return nil, err
	}
	return softAES{c}, nil
}

// Encrypt implements Block.
func (a softAES) Encrypt(dst, src []byte) error {
	if len(src)%BlockSize != 0 || len(dst) != len(src) {
		return fmt.Errorf("encrypt %d bytes into %d: want the same multiple of %d", len(src), len(dst), BlockSize)
	}
	for i := 0; i < len(src); i += BlockSize {
		a.c.Encrypt(dst[i:], src[i:])
	}
	return nil
}
