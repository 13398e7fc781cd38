package tpm

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// ErrStructure means that bytes which should be a TPM structure are none.
var ErrStructure = errors.New("not the TPM structure that was expected")

// Decode reads a TPM structure that came over a wire. It is strict: the bytes
// must be exactly what the structure encodes to. It fails with ErrStructure.
func Decode[T tpm2.Marshallable, P interface {
	*T
	tpm2.Unmarshallable
}](b []byte) (*T, error) {
	v, err := tpm2.Unmarshal[T, P](b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStructure, err)
	}
	if !bytes.Equal(tpm2.Marshal(*v), b) {
		return nil, fmt.Errorf("%w: bytes left over or not canonical", ErrStructure)
	}
	return v, nil
}
