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
