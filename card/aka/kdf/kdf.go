package kdf

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrInput is returned for an input that the derivation has no room for or that
// the specification does not allow.
var ErrInput = errors.New("input of a key derivation is out of range")

// KeySize is the length of a derived key, in bytes.
const KeySize = sha256.Size

// Values of FC, which keep the derivations apart.
const (
	fcGBA     = 0x01 // TS 33.220, B.3
	fcKASME   = 0x10 // TS 33.401, A.2
	fcKAUSF   = 0x6A // TS 33.501, A.2
	fcRESStar = 0x6B // TS 33.501, A.4
	fcKSEAF   = 0x6C // TS 33.501, A.6
)

// KDF is the key derivation function of TS 33.220, B.2: HMAC-SHA-256 under key over
// FC, and each parameter with its length of 16 bits behind it. A parameter of more
// than 65535 bytes is ErrInput.
func KDF(key []byte, fc byte, params ...[]byte) (out [KeySize]byte, err error) {
	s := []byte{fc}
	for i, p := range params {
		if len(p) > math.MaxUint16 {
			return out, fmt.Errorf("%w: parameter P%d has %d bytes", ErrInput, i, len(p))
		}
		s = binary.BigEndian.AppendUint16(append(s, p...), uint16(len(p)))
	}
	h := hmac.New(sha256.New, key)
	h.Write(s)
	h.Sum(out[:0])
	return out, nil
}

// join is CK || IK.
func join(ck, ik [16]byte) []byte { return append(ck[:], ik[:]...) }

// KASME is the key of EPS (TS 33.401, A.2). plmn is the serving network as in
// TS 24.008, 10.5.1.3; sqnAK is SQN xor AK, the first six bytes of AUTN.
func KASME(ck, ik [16]byte, plmn [3]byte, sqnAK [6]byte) ([KeySize]byte, error) {
	return KDF(join(ck, ik), fcKASME, plmn[:], sqnAK[:])
}

// KAUSF is the key of the authentication server in 5G AKA (TS 33.501, A.2). network
// is the serving network name (ServingNetwork); sqnAK as for KASME.
func KAUSF(ck, ik [16]byte, network string, sqnAK [6]byte) ([KeySize]byte, error) {
	return KDF(join(ck, ik), fcKAUSF, []byte(network), sqnAK[:])
}

// RESStar is RES* or XRES* of 5G AKA (TS 33.501, A.4): the second half of the
// output. res has 4 to 16 bytes (ErrInput).
func RESStar(ck, ik [16]byte, network string, rand [16]byte, res []byte) (star [16]byte, err error) {
	if len(res) < 4 || len(res) > 16 {
		return star, fmt.Errorf("%w: RES has %d bytes, want 4 to 16", ErrInput, len(res))
	}
	k, err := KDF(join(ck, ik), fcRESStar, []byte(network), rand[:], res)
	if err != nil {
		return star, err
	}
	return [16]byte(k[16:]), nil
}

// KSEAF is the anchor key of 5G (TS 33.501, A.6).
func KSEAF(kausf [KeySize]byte, network string) ([KeySize]byte, error) {
	return KDF(kausf[:], fcKSEAF, []byte(network))
}

// ServingNetwork is the serving network name of a PLMN (TS 33.501, 6.1.1.4;
// TS 24.501, 9.12.1): mcc of three digits, mnc of two or three, which the name
// fills up to three. Anything else is ErrInput.
func ServingNetwork(mcc, mnc string) (string, error) {
	if len(mnc) == 2 {
		mnc = "0" + mnc
	}
	for _, s := range []string{mcc, mnc} {
		if len(s) != 3 || s[0] < '0' || s[0] > '9' || s[1] < '0' || s[1] > '9' || s[2] < '0' || s[2] > '9' {
			return "", fmt.Errorf("%w: MCC %q, MNC %q: want 3 digits, and 2 or 3", ErrInput, mcc, mnc)
		}
	}
	return "5G:mnc" + mnc + ".mcc" + mcc + ".3gppnetwork.org", nil
}
