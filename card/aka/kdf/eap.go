package kdf

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"math"
	"strings"

	"mcim/apdu/secret"
)

// fcPrime is FC of CK' and IK' (TS 33.402, A.2).
const fcPrime = 0x20

// Lengths of EAP keys, in bytes (RFC 4187, 7; RFC 9048, 3.3).
const (
	lenEncr     = 16
	lenAut      = 16 // of EAP-AKA
	lenAutPrime = 32
	lenRe       = 32
	lenMSK      = 64
	maxIdentity = 253 // RFC 7542, 2.2: what RADIUS can carry
)

// EAPKeys are what both ends of a full EAP-AKA or EAP-AKA' authentication derive. They
// print redacted.
type EAPKeys struct {
	Encr secret.Bytes // K_encr, 16 bytes
	Aut  secret.Bytes // K_aut, 16 bytes; of EAP-AKA' 32
	Re   secret.Bytes // K_re, 32 bytes, of EAP-AKA' only: EAP-AKA re-authenticates by its MK
	MSK  secret.Bytes // 64 bytes, for the access network
	EMSK secret.Bytes // 64 bytes
	MK   secret.Bytes // 20 bytes, of EAP-AKA only
}

// Equal compares all keys, in a time that does not depend on them.
func (k EAPKeys) Equal(o EAPKeys) bool {
	same := 1
	a, b := k.all(), o.all()
	for i := range a {
		same &= subtle.ConstantTimeCompare(a[i].Reveal(), b[i].Reveal())
	}
	return same == 1
}

func (k EAPKeys) all() [6]secret.Bytes {
	return [6]secret.Bytes{k.Encr, k.Aut, k.Re, k.MSK, k.EMSK, k.MK}
}

// EAPAKA derives the keys of EAP-AKA (RFC 4187, 7): MK is SHA-1 of identity, IK and CK, the
// others come of it by the generator of FIPS 186-2. identity is the last one that the
// peer has sent, as it was sent: 1 to 253 bytes (ErrInput).
func EAPAKA(identity string, ck, ik [16]byte) (EAPKeys, error) {
	if err := checkIdentity(identity); err != nil {
		return EAPKeys{}, err
	}
	s := append([]byte(identity), ik[:]...)
	return eapKeys(sha1.Sum(append(s, ck[:]...))), nil
}

// eapKeys are the keys of MK, of EAP-AKA and EAP-SIM alike.
func eapKeys(mk [sha1.Size]byte) EAPKeys {
	k := EAPKeys{MK: secret.New(mk[:])}
	stream := fips186(mk, lenEncr+lenAut+2*lenMSK)
	k.Encr, stream = cutKey(stream, lenEncr)
	k.Aut, stream = cutKey(stream, lenAut)
	k.MSK, stream = cutKey(stream, lenMSK)
	k.EMSK, _ = cutKey(stream, lenMSK)
	return k
}

// EAPAKAPrime derives the keys of EAP-AKA' (RFC 9048, 3.3 and 3.4.1) out of CK' and IK' (Prime).
// identity is as for EAPAKA.
func EAPAKAPrime(identity string, ckPrime, ikPrime [16]byte) (EAPKeys, error) {
	if err := checkIdentity(identity); err != nil {
		return EAPKeys{}, err
	}
	stream := prfPrime(append(ikPrime[:], ckPrime[:]...), "EAP-AKA'"+identity, lenEncr+lenAutPrime+lenRe+2*lenMSK)
	var k EAPKeys
	k.Encr, stream = cutKey(stream, lenEncr)
	k.Aut, stream = cutKey(stream, lenAutPrime)
	k.Re, stream = cutKey(stream, lenRe)
	k.MSK, stream = cutKey(stream, lenMSK)
	k.EMSK, _ = cutKey(stream, lenMSK)
	return k, nil
}

// Prime is CK' and IK' of an access network (TS 33.402, A.2; RFC 9048, 3.3). network is
// its name as in AT_KDF_INPUT, "WLAN" or the serving network name of 5G, 1 byte or more
// (ErrInput); sqnAK is SQN xor AK, the first six bytes of AUTN.
func Prime(ck, ik [16]byte, network string, sqnAK [6]byte) (ckPrime, ikPrime [16]byte, err error) {
	if network == "" || len(network) > math.MaxUint16 {
		return ckPrime, ikPrime, fmt.Errorf("%w: network name of %d bytes, want 1 to 65535", ErrInput, len(network))
	}
	k, err := KDF(join(ck, ik), fcPrime, []byte(network), sqnAK[:])
	return [16]byte(k[:16]), [16]byte(k[16:]), err
}

// SameNetwork compares two network names as a peer has to (RFC 9048, 3.1): field by field
// between the colons; what one has more of is left out of it.
func SameNetwork(a, b string) bool {
	if a == "" || b == "" {
		return true
	}
	x, y := strings.Split(a, ":"), strings.Split(b, ":")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return false
		}
	}
	return true
}

func checkIdentity(identity string) error {
	if identity == "" || len(identity) > maxIdentity {
		return fmt.Errorf("%w: identity of %d bytes, want 1 to %d", ErrInput, len(identity), maxIdentity)
	}
	return nil
}

func cutKey(stream []byte, n int) (key secret.Bytes, rest []byte) {
	return secret.New(stream[:n:n]), stream[n:]
}

// prfPrime is the first n bytes of PRF' (RFC 9048, 3.4.1), n up to 255 times 32.
func prfPrime(key []byte, s string, n int) []byte {
	var out, last []byte
	for i := byte(1); len(out) < n; i++ {
		h := hmac.New(sha256.New, key)
		h.Write(last)
		h.Write([]byte(s))
		h.Write([]byte{i})
		last = h.Sum(nil)
		out = append(out, last...)
	}
	return out[:n]
}
