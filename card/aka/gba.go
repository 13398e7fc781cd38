package aka

import (
	"crypto/sha1"
	"crypto/subtle"
)

// GBA is v as the bootstrapping server sends it to a UICC that does GBA_U
// (TS 33.220, 5.3.2): MAC in AUTN becomes MAC* = MAC xor Trunc(SHA-1(IK)), so
// that the UICC, and nobody else, can tell it from a challenge that gives CK and
// IK away.
func (v Vector) GBA() Vector {
	mac := maskGBA([8]byte(v.AUTN[8:]), v.IK)
	copy(v.AUTN[8:], mac[:])
	return v
}

// maskGBA turns MAC into MAC* and back; Trunc keeps the 64 most significant bits.
func maskGBA(mac [8]byte, ik [16]byte) [8]byte {
	h := sha1.Sum(ik[:])
	subtle.XORBytes(mac[:], mac[:], h[:])
	return mac
}
