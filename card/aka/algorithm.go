package aka

import (
	"crypto/subtle"
	"errors"
	"fmt"
)

// Errors of the algorithms.
var (
	// ErrAUTS is returned for an AUTS whose MAC-S is wrong: it was not made by the
	// USIM that shares K, or not for this RAND.
	ErrAUTS = errors.New("AUTS has a wrong MAC-S")
	// ErrSizes is returned where an algorithm is set to lengths that AKA cannot
	// carry.
	ErrSizes = errors.New("lengths that AKA cannot carry")
)

// Lengths of AKA (TS 33.102, 6.3.7).
const (
	minRES   = 4
	maxRES   = 16
	macBytes = 8
	keyBytes = 16
)

// Function is one of the two functions that authenticate SQN and AMF.
type Function int

// The functions (TS 33.102, 3.2).
const (
	F1     Function = iota // MAC-A, in AUTN
	F1Star                 // MAC-S, in AUTS
)

// Algorithm is a set of the functions f1 to f5* of TS 33.102 under the key of
// one subscriber: Milenage, TUAK or XOR. It is safe for concurrent use if what
// it runs on is.
type Algorithm interface {
	// Begin gives the room in which the functions run. Who runs often keeps it.
	Begin() Run
}

// Run runs the functions, for one RAND after the other. It is not safe for
// concurrent use. An error means that nothing computed may be used: it is that of
// the Block, or ErrSizes.
type Run interface {
	// Start computes f2 to f5* of rand, and in the same go f over sqn and amf.
	Start(rand [16]byte, f Function, sqn SQN, amf [2]byte) (Output, [8]byte, error)
	// MAC computes f over sqn and amf for the rand of the last Start.
	MAC(f Function, sqn SQN, amf [2]byte) ([8]byte, error)
}

// RES is the response of a USIM, 4 to 16 bytes (TS 33.102, 6.3.7). It is a value:
// == compares, and the zero value is no response.
type RES struct {
	n int
	b [maxRES]byte
}

// NewRES copies b; one of other than 4 to 16 bytes is ErrSizes.
func NewRES(b []byte) (RES, error) {
	if len(b) < minRES || len(b) > maxRES {
		return RES{}, fmt.Errorf("%w: RES of %d bytes, want %d to %d", ErrSizes, len(b), minRES, maxRES)
	}
	r := RES{n: len(b)}
	copy(r.b[:], b)
	return r, nil
}

// Bytes is the response; it is no copy.
func (r *RES) Bytes() []byte { return r.b[:r.n] }

// SRES is the 32-bit response for GSM, conversion function c2 (TS 33.102, 6.8.1.2).
func (r *RES) SRES() (sres [4]byte) {
	for i, v := range r.b {
		sres[i%len(sres)] ^= v
	}
	return sres
}

// Output is what f2 to f5* give for one RAND (TS 33.102, 6.3.3).
type Output struct {
	RES    RES
	CK, IK [16]byte
	AK     [6]byte // f5, conceals SQN in AUTN
	AKStar [6]byte // f5*, conceals SQN_MS in AUTS
}

// Kc is the 64-bit key for GSM, conversion function c3 (TS 33.102, 6.8.1.2).
func Kc(ck, ik [16]byte) (kc [8]byte) {
	for i := range kc {
		kc[i] = ck[i] ^ ck[i+8] ^ ik[i] ^ ik[i+8]
	}
	return kc
}

// amfStar is the AMF of resynchronisation (TS 33.102, 6.3.3): all zero, so
// that it need not travel.
var amfStar = [2]byte{}

// Vector is an authentication vector (TS 33.102, 6.3.2).
type Vector struct {
	RAND, AUTN [16]byte
	XRES       RES
	CK, IK     [16]byte
}

// NewVector makes the authentication vector for RAND, SQN and AMF; MILENAGE
// needs two Encrypt calls for it.
func NewVector(a Algorithm, rand [16]byte, sqn SQN, amf [2]byte) (Vector, error) {
	o, mac, err := a.Begin().Start(rand, F1, sqn, amf)
	if err != nil {
		return Vector{}, err
	}
	v := Vector{RAND: rand, XRES: o.RES, CK: o.CK, IK: o.IK}
	s := sqn.Bytes()
	subtle.XORBytes(v.AUTN[:6], s[:], o.AK[:])
	copy(v.AUTN[6:], amf[:])
	copy(v.AUTN[8:], mac[:])
	return v, nil
}

// Resync checks AUTS against the RAND that it answers and gives the SQN_MS in
// it (TS 33.102, 6.3.5), or ErrAUTS.
func Resync(a Algorithm, rand [16]byte, auts [14]byte) (SQN, error) {
	run := a.Begin()
	o, _, err := run.Start(rand, F1Star, 0, amfStar)
	if err != nil {
		return 0, err
	}
	var s [6]byte
	subtle.XORBytes(s[:], auts[:6], o.AKStar[:])
	sqn := SQNFromBytes(s)
	mac, err := run.MAC(F1Star, sqn, amfStar)
	if err != nil {
		return 0, err
	}
	if subtle.ConstantTimeCompare(mac[:], auts[6:]) != 1 {
		return 0, ErrAUTS
	}
	return sqn, nil
}
