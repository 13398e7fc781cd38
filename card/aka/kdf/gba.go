package kdf

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
)

// ErrMAC is returned for a MAC of TS 33.110 that is wrong: the other side does not
// have the same Ks_NAF, or other parameters.
var ErrMAC = errors.New("MAC of the local key is wrong: the two sides differ in Ks_NAF or in a parameter")

// Bootstrap is what both ends keep after a GBA bootstrapping (TS 33.220, 4.5.2 and
// 5.3.2): with GBA_U in the UICC, else in the terminal.
type Bootstrap struct {
	RAND   [16]byte
	CK, IK [16]byte // Ks is CK || IK
}

// ExternalKey is Ks_ext_NAF, and Ks_NAF where the terminal does GBA by itself
// (TS 33.220, B.3). impi is the private identity, nafID that of NAFID. A value of
// more than 65535 bytes is ErrInput.
func (b Bootstrap) ExternalKey(impi string, nafID []byte) ([KeySize]byte, error) {
	return b.key("gba-me", impi, nafID)
}

// InternalKey is Ks_int_NAF, which never leaves the UICC (TS 33.220, B.3). It is
// ExternalKey in all else.
func (b Bootstrap) InternalKey(impi string, nafID []byte) ([KeySize]byte, error) {
	return b.key("gba-u", impi, nafID)
}

func (b Bootstrap) key(label, impi string, nafID []byte) ([KeySize]byte, error) {
	return KDF(join(b.CK, b.IK), fcGBA, []byte(label), b.RAND[:], []byte(impi), nafID)
}

// NAFID names a server (TS 33.220, 4.4): its FQDN and the five bytes of the security
// protocol on Ua (annex H), for example 01 00 00 00 02.
func NAFID(fqdn string, ua [5]byte) []byte { return append([]byte(fqdn), ua[:]...) }

// PlatformApplication is the name of both applications where the local key is for
// the two platforms and not for one pair of applications (TS 33.110, 4.5.2).
const PlatformApplication = "platform"

// LocalKey is what a local key is bound to (TS 33.110, A.2), in the order of the
// derivation.
type LocalKey struct {
	BTID                []byte // bootstrapping transaction identifier
	TerminalID          []byte // of the terminal, for example its IMEI
	ICCID               []byte // as in EF.ICCID, 10 bytes
	TerminalApplication []byte // PlatformApplication, or the name of one
	UICCApplication     []byte // PlatformApplication, or an AID
	RANDx               [16]byte
	CounterLimit        []byte // how often the key may be used
}

// localMACBytes is the length of both MACs (TS 33.110, 4.5.2).
const localMACBytes = 16

// confirmation is what the UICC's MAC is over.
const confirmation = "verification"

func (l LocalKey) params() [][]byte {
	return [][]byte{l.BTID, l.TerminalID, l.ICCID, l.TerminalApplication, l.UICCApplication, l.RANDx[:], l.CounterLimit}
}

// Derive is Ks_local (TS 33.110, A.1) from Ks_int_NAF, or Ks_ext_NAF where GBA_ME is
// used. A parameter of more than 65535 bytes is ErrInput.
func (l LocalKey) Derive(ksNAF [KeySize]byte) ([KeySize]byte, error) {
	return KDF(ksNAF[:], fcGBA, l.params()...)
}

// RequestMAC is the MAC with which the terminal proves to the UICC that it has
// Ks_local: HMAC-SHA-256 over the parameters, cut to 16 bytes.
func (l LocalKey) RequestMAC(ksLocal [KeySize]byte) [localMACBytes]byte {
	return localMAC(ksLocal, l.params()...)
}

// CheckRequest compares in constant time the MAC that the terminal sent; a wrong one
// is ErrMAC.
func (l LocalKey) CheckRequest(ksLocal [KeySize]byte, mac []byte) error {
	want := l.RequestMAC(ksLocal)
	return compare(want[:], mac)
}

// ResponseMAC is the MAC with which the UICC proves the same to the terminal.
func ResponseMAC(ksLocal [KeySize]byte) [localMACBytes]byte {
	return localMAC(ksLocal, []byte(confirmation))
}

// CheckResponse compares in constant time the MAC that the UICC sent; a wrong one is
// ErrMAC.
func CheckResponse(ksLocal [KeySize]byte, mac []byte) error {
	want := ResponseMAC(ksLocal)
	return compare(want[:], mac)
}

func compare(want, got []byte) error {
	if subtle.ConstantTimeCompare(want, got) != 1 {
		return ErrMAC
	}
	return nil
}

func localMAC(key [KeySize]byte, parts ...[]byte) (mac [localMACBytes]byte) {
	h := hmac.New(sha256.New, key[:])
	for _, p := range parts {
		h.Write(p)
	}
	copy(mac[:], h.Sum(nil))
	return mac
}
