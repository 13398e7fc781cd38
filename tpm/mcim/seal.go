package mcim

import (
	"crypto/rand"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"mcim/apdu/secret"
	"mcim/tpm/policy"
)

// MaxSealed is the greatest length of a sealed secret in bytes, as of every TPM.
const MaxSealed = 128

// blob is a sealed secret as it lies in the folder.
type blob struct {
	Platform policy.Platform `cbor:"1,keyasint"`
	Epoch    uint64          `cbor:"2,keyasint"` // of the TRE
	Public   []byte          `cbor:"3,keyasint"` // TPMT_PUBLIC
	Private  []byte          `cbor:"4,keyasint"` // content of TPM2B_PRIVATE
}

func newStateKey() (secret.Bytes, error) {
	key := make([]byte, 32)
	_, err := rand.Read(key)
	return secret.New(key), err
}

func (s *Store) sealPolicy(platform policy.Platform, epoch uint64) policy.MCIM {
	return policy.MCIM{Platform: platform, EpochIndex: s.tre.index, Epoch: epoch, Command: tpm2.TPMCCUnseal}
}

// Seal keeps a small secret (1 to MaxSealed bytes) under a name of letters,
// digits and dashes. The TPM gives it back to Unseal in the platform state of
// now only. A secret of the same name is replaced.
func (s *Store) Seal(name string, value secret.Bytes) error {
	path, err := s.sealPath(name)
	if err != nil {
		return err
	}
	if value.Len() == 0 || value.Len() > MaxSealed {
		return fmt.Errorf("seal %s: %d bytes, want 1 to %d", name, value.Len(), MaxSealed)
	}
	b := blob{}
	if b.Platform, err = s.Platform(); err != nil {
		return err
	}
	if b.Epoch, err = s.tre.read(); err != nil {
		return err
	}
	digest, err := s.sealPolicy(b.Platform, b.Epoch).Digest()
	if err != nil {
		return err
	}
	if b.Public, b.Private, err = s.m.seal(digest, value); err != nil {
		return fmt.Errorf("seal %s: %w", name, err)
	}
	content, err := encode(b)
	if err != nil {
		return err
	}
	return writeFile(path, content)
}

// Unseal gives a secret back. Errors are fs.ErrNotExist for a name that was not
// sealed, policy.ErrRefused where the platform is not in the state of Seal, and
// ErrRollback for a blob that this TPM has not made.
func (s *Store) Unseal(name string) (secret.Bytes, error) {
	path, err := s.sealPath(name)
	if err != nil {
		return secret.Bytes{}, err
	}
	content, err := readLimited(path, 4096)
	if err != nil {
		return secret.Bytes{}, err
	}
	var b blob
	err = decode(content, &b)
	p := s.sealPolicy(b.Platform, b.Epoch)
	if err == nil {
		_, err = p.Digest() // a policy that nobody would have sealed under
	}
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("unseal %s: %w: %w", path, ErrRollback, err)
	}
	value, err := s.m.unseal(&b, p)
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("unseal %s: %w", name, err)
	}
	return value, nil
}

func (s *Store) sealPath(name string) (string, error) {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
			return "", fmt.Errorf("seal: the name %q has more than letters, digits and dashes", name)
		}
	}
	if name == "" || len(name) > 64 {
		return "", fmt.Errorf("seal: a name has 1 to 64 characters")
	}
	return s.path(sealPrefix + name), nil
}
