package wire

import (
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/rand"
	"errors"
	"fmt"

	"mcim/apdu/secret"
)

// ErrBox is for a sealed message to another key, of another purpose, or changed.
var ErrBox = errors.New("sealed message not accepted")

// boxType is the message type of a role's BoxKey statement.
const boxType = "box-key"

// BoxKey is a role's statement of the key by which messages are sealed to it.
type BoxKey struct {
	// Key is the P-256 point, uncompressed, 65 bytes.
	Key []byte `cbor:"key"`
}

// BoxKey is the role's signed statement of its key for sealed messages.
func (id *Identity) BoxKey() (Signed[BoxKey], error) {
	return SignAs(id, boxType, BoxKey{id.Box.PublicKey().Bytes()})
}

// BoxKeyOf verifies a role's statement, role by name or kind, and returns the key
// for Seal. The error is ErrSignature or ErrMalformed.
func BoxKeyOf(receiver *Identity, role string, statement Signed[BoxKey]) (*ecdh.PublicKey, error) {
	k, _, err := statement.VerifyFrom(receiver, role, boxType)
	if err != nil {
		return nil, err
	}
	key, err := ecdh.P256().NewPublicKey(k.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return key, nil
}

// Seal encrypts plaintext to the holder of a key by HPKE (RFC 9180; base mode,
// DHKEM P-256, HKDF-SHA256, AES-256-GCM) for one purpose, a constant text that
// the receiver has to name too ("pcid-batch"). It does not say who sealed: sign
// the result, or send it on an authenticated connection.
func Seal(to *ecdh.PublicKey, purpose string, plaintext secret.Bytes) ([]byte, error) {
	key, err := hpke.NewDHKEMPublicKey(to)
	if err != nil {
		return nil, err
	}
	return hpke.Seal(key, hpke.HKDFSHA256(), hpke.AES256GCM(), boxInfo(purpose), plaintext.Reveal())
}

// Open decrypts what Seal made. key may be held elsewhere. The error is ErrBox.
func Open(key ecdh.KeyExchanger, purpose string, sealed []byte) (secret.Bytes, error) {
	private, err := hpke.NewDHKEMPrivateKey(key)
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("%w: %w", ErrBox, err)
	}
	plain, err := hpke.Open(private, hpke.HKDFSHA256(), hpke.AES256GCM(), boxInfo(purpose), sealed)
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("%w: %w", ErrBox, err)
	}
	return secret.New(plain), nil
}

func boxInfo(purpose string) []byte { return []byte("mcim/box/1 " + purpose) }

func newBoxKey() (*ecdh.PrivateKey, error) { return ecdh.P256().GenerateKey(rand.Reader) }
