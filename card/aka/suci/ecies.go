package suci

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"

	"mcim/apdu/secret"
	"mcim/apdu/usim"
)

// Errors of concealing and deconcealing.
var (
	// ErrScheme: the scheme is none of null, A and B.
	ErrScheme = errors.New("protection scheme is not known here")
	// ErrPoint: a public key is no point of the curve, or one that gives no secret.
	ErrPoint = errors.New("public key is no usable point of the curve")
	// ErrPrivate: a private key has the wrong length or is out of range.
	ErrPrivate = errors.New("private key is not usable")
	// ErrOutput: the scheme output is too short.
	ErrOutput = errors.New("scheme output is too short")
	// ErrTag: the MAC tag is wrong: the SUCI is for another key of the home network, or
	// was altered.
	ErrTag = errors.New("MAC tag of the SUCI is wrong: it is for another key, or was altered")
)

// Lengths of both profiles, in bytes (TS 33.501, C.3.4).
const (
	encBytes = 16
	icbBytes = aes.BlockSize
	macBytes = 32
	tagBytes = 8
)

// profile is what differs between the two profiles (TS 33.501, C.3.4.1 and C.3.4.2).
type profile struct {
	curve ecdh.Curve
	size  int // of the ephemeral public key in the output, bytes
}

func profileOf(s usim.Scheme) (profile, error) {
	switch s {
	case usim.SchemeA:
		return profile{ecdh.X25519(), 32}, nil
	case usim.SchemeB:
		return profile{ecdh.P256(), 33}, nil
	}
	return profile{}, fmt.Errorf("%w: %d", ErrScheme, s)
}

// public reads a public key; that of Profile B may be compressed or not.
func (p profile) public(b []byte) (*ecdh.PublicKey, error) {
	if p.curve == ecdh.P256() && len(b) == p.size {
		x, y := elliptic.UnmarshalCompressed(elliptic.P256(), b)
		if x == nil {
			return nil, ErrPoint
		}
		b = append(append([]byte{4}, x.FillBytes(make([]byte, 32))...), y.FillBytes(make([]byte, 32))...)
	}
	key, err := p.curve.NewPublicKey(b)
	if err != nil {
		return nil, ErrPoint
	}
	return key, nil
}

// encode is the form of a public key in the scheme output.
func (p profile) encode(key *ecdh.PublicKey) []byte {
	b := key.Bytes()
	if p.curve == ecdh.P256() {
		b = append([]byte{2 + b[len(b)-1]&1}, b[1:33]...)
	}
	return b
}

func (p profile) private(b secret.Bytes) (*ecdh.PrivateKey, error) {
	key, err := p.curve.NewPrivateKey(b.Reveal())
	if err != nil {
		return nil, ErrPrivate
	}
	return key, nil
}

// Encrypt is ECIES to the home network's public key (TS 33.501, C.3.2): the ephemeral
// public key, the ciphertext as long as plain, and the MAC tag. ephemeral is a private
// key of 32 bytes, for this call only. Errors are ErrScheme, ErrPoint and ErrPrivate.
func Encrypt(scheme usim.Scheme, public []byte, ephemeral secret.Bytes, plain []byte) ([]byte, error) {
	p, err := profileOf(scheme)
	if err != nil {
		return nil, err
	}
	home, err := p.public(public)
	if err != nil {
		return nil, err
	}
	key, err := p.private(ephemeral)
	if err != nil {
		return nil, err
	}
	z, err := key.ECDH(home)
	if err != nil {
		return nil, ErrPoint
	}
	out := p.encode(key.PublicKey())
	k, err := deriveKeys(z, out)
	if err != nil {
		return nil, err
	}
	cipherText := k.xor(plain)
	tag := k.tag(cipherText)
	return append(append(out, cipherText...), tag[:]...), nil
}

// Decrypt is the inverse of Encrypt with the home network's private key of 32 bytes
// (TS 33.501, C.3.3). Errors are ErrScheme, ErrPrivate, ErrOutput, ErrPoint and ErrTag.
func Decrypt(scheme usim.Scheme, private secret.Bytes, output []byte) ([]byte, error) {
	p, err := profileOf(scheme)
	if err != nil {
		return nil, err
	}
	key, err := p.private(private)
	if err != nil {
		return nil, err
	}
	if len(output) <= p.size+tagBytes {
		return nil, fmt.Errorf("%w: %d bytes, want at least %d", ErrOutput, len(output), p.size+tagBytes+1)
	}
	ephemeral, end := output[:p.size], len(output)-tagBytes
	point, err := p.public(ephemeral)
	if err != nil {
		return nil, err
	}
	z, err := key.ECDH(point)
	if err != nil {
		return nil, ErrPoint
	}
	k, err := deriveKeys(z, ephemeral)
	if err != nil {
		return nil, err
	}
	tag := k.tag(output[p.size:end])
	if subtle.ConstantTimeCompare(tag[:], output[end:]) != 1 {
		return nil, ErrTag
	}
	return k.xor(output[p.size:end]), nil
}

// keys are what one shared secret gives.
type keys struct {
	block cipher.Block
	icb   [icbBytes]byte
	mac   [macBytes]byte
}

// deriveKeys is ANSI-X9.63-KDF with SHA-256 over the secret z; SharedInfo1 is the
// ephemeral public key.
func deriveKeys(z, shared []byte) (keys, error) {
	var material []byte
	for counter := uint32(1); len(material) < encBytes+icbBytes+macBytes; counter++ {
		h := sha256.New()
		h.Write(z)
		h.Write(binary.BigEndian.AppendUint32(nil, counter))
		h.Write(shared)
		material = h.Sum(material)
	}
	block, err := aes.NewCipher(material[:encBytes])
	if err != nil {
		return keys{}, err
	}
	return keys{block, [icbBytes]byte(material[encBytes:]), [macBytes]byte(material[encBytes+icbBytes:])}, nil
}

// xor is AES in counter mode from the initial counter block on. The counter is the last
// 32 bits of it alone (TS 33.501, C.3.4.0), unlike that of crypto/cipher.
func (k *keys) xor(in []byte) []byte {
	out := make([]byte, len(in))
	counter := k.icb
	for at := 0; at < len(in); at += aes.BlockSize {
		var stream [aes.BlockSize]byte
		k.block.Encrypt(stream[:], counter[:])
		subtle.XORBytes(out[at:], in[at:], stream[:])
		low := counter[icbBytes-4:]
		binary.BigEndian.PutUint32(low, binary.BigEndian.Uint32(low)+1)
	}
	return out
}

// tag is HMAC-SHA-256 over the ciphertext, cut to 8 bytes; SharedInfo2 is empty.
func (k *keys) tag(cipherText []byte) [tagBytes]byte {
	h := hmac.New(sha256.New, k.mac[:])
	h.Write(cipherText)
	return [tagBytes]byte(h.Sum(nil))
}
