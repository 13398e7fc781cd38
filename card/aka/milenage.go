package aka

import (
	"crypto/subtle"
	"errors"
	"fmt"

	"mcim/apdu/secret"
)

// ErrAUTS is returned for an AUTS whose MAC-S is wrong: it was not made by the
// USIM that shares K, or not for this RAND.
var ErrAUTS = errors.New("AUTS has a wrong MAC-S")

// amfStar is the AMF of resynchronisation (TS 33.102, 6.3.3): all zero, so
// that it need not travel.
var amfStar = [2]byte{}

// Milenage is the algorithm set of TS 35.206 for one subscriber. It is safe
// for concurrent use if its Block is.
type Milenage struct {
	Block Block        // E_K
	OPc   secret.Bytes // 16 bytes, TS 35.206, 4.1
}

// NewMilenage is Milenage over b; an OPc of other than 16 bytes is ErrKey.
func NewMilenage(b Block, opc secret.Bytes) (*Milenage, error) {
	if opc.Len() != BlockSize {
		return nil, fmt.Errorf("%w: OPc has %d bytes, want %d", ErrKey, opc.Len(), BlockSize)
	}
	return &Milenage{Block: b, OPc: opc}, nil
}

// OPc derives OPc = OP xor E_K(OP) (TS 35.206, 4.1). Both are 16 bytes (ErrKey).
func OPc(k, op secret.Bytes) (secret.Bytes, error) {
	b, err := NewAES(k)
	if err != nil {
		return secret.Bytes{}, err
	}
	if op.Len() != BlockSize {
		return secret.Bytes{}, fmt.Errorf("%w: OP has %d bytes, want %d", ErrKey, op.Len(), BlockSize)
	}
	var out [BlockSize]byte
	if err := b.Encrypt(out[:], op.Reveal()); err != nil {
		return secret.Bytes{}, err
	}
	subtle.XORBytes(out[:], out[:], op.Reveal())
	return secret.New(out[:]), nil
}

// Output is what f2 to f5* give for one RAND (TS 33.102, 6.3.3).
type Output struct {
	RES    [8]byte
	CK, IK [16]byte
	AK     [6]byte // f5, conceals SQN in AUTN
	AKStar [6]byte // f5*, conceals SQN_MS in AUTS
}

// Vector is an authentication vector (TS 33.102, 6.3.2).
type Vector struct {
	RAND, AUTN [16]byte
	XRES       [8]byte
	CK, IK     [16]byte
}

// F1 is MAC-A of f1 and MAC-S of f1* (TS 35.206, 4.1).
func (m *Milenage) F1(rand [16]byte, sqn SQN, amf [2]byte) (macA, macS [8]byte, err error) {
	w := new(work)
	if err = w.temp(m, &rand); err != nil {
		return macA, macS, err
	}
	if err = w.out1(m, sqn, amf); err != nil {
		return macA, macS, err
	}
	macA, macS = [8]byte(w.out[:8]), [8]byte(w.out[8:16])
	return macA, macS, nil
}

// F2345 is f2, f3, f4, f5 and f5* (TS 35.206, 4.1).
func (m *Milenage) F2345(rand [16]byte) (Output, error) {
	w := new(work)
	if err := w.temp(m, &rand); err != nil {
		return Output{}, err
	}
	if err := w.out2345(m, 0); err != nil {
		return Output{}, err
	}
	return w.output(), nil
}

// Vector makes the authentication vector for RAND, SQN and AMF with two
// Encrypt calls.
func (m *Milenage) Vector(rand [16]byte, sqn SQN, amf [2]byte) (Vector, error) {
	w := new(work)
	if err := w.temp(m, &rand); err != nil {
		return Vector{}, err
	}
	w.in1(m, w.in[4*BlockSize:], sqn, amf)
	if err := w.out2345(m, 1); err != nil {
		return Vector{}, err
	}
	o := w.output()
	v := Vector{RAND: rand, XRES: o.RES, CK: o.CK, IK: o.IK}
	s := sqn.Bytes()
	subtle.XORBytes(v.AUTN[:6], s[:], o.AK[:])
	copy(v.AUTN[6:], amf[:])
	copy(v.AUTN[8:], w.out[4*BlockSize:])
	return v, nil
}

// Resync checks AUTS against the RAND that it answers and gives the SQN_MS in
// it (TS 33.102, 6.3.5), or ErrAUTS.
func (m *Milenage) Resync(rand [16]byte, auts [14]byte) (SQN, error) {
	w := new(work)
	if err := w.temp(m, &rand); err != nil {
		return 0, err
	}
	if err := w.out2345(m, 0); err != nil {
		return 0, err
	}
	o := w.output()
	var s [6]byte
	subtle.XORBytes(s[:], auts[:6], o.AKStar[:])
	sqn := SQNFromBytes(s)
	if err := w.out1(m, sqn, amfStar); err != nil {
		return 0, err
	}
	if subtle.ConstantTimeCompare(w.out[8:16], auts[6:]) != 1 {
		return 0, ErrAUTS
	}
	return sqn, nil
}

// work is the scratch space of one run: slices of it go to Block.Encrypt, so
// it lies on the heap and whoever runs often keeps one.
type work struct {
	tmp     [BlockSize]byte     // TEMP
	in, out [5 * BlockSize]byte // OUT2, OUT3, OUT4, OUT5, and one OUT1
}

// temp computes TEMP = E_K(RAND xor OPc).
func (w *work) temp(m *Milenage, rand *[16]byte) error {
	subtle.XORBytes(w.in[:BlockSize], rand[:], m.OPc.Reveal())
	return m.Block.Encrypt(w.tmp[:], w.in[:BlockSize])
}

// in1 sets dst to the input of OUT1's encryption; r1 = 64 and c1 = 0.
func (w *work) in1(m *Milenage, dst []byte, sqn SQN, amf [2]byte) {
	s, opc := sqn.Bytes(), m.OPc.Reveal()
	var in1 [BlockSize]byte
	copy(in1[:], s[:])
	copy(in1[6:], amf[:])
	copy(in1[8:], in1[:8])
	for i := range in1 {
		dst[(i+8)%BlockSize] = in1[i] ^ opc[i]
	}
	subtle.XORBytes(dst, dst[:BlockSize], w.tmp[:])
}

// out1 computes OUT1 into the first block of out: one Encrypt call.
func (w *work) out1(m *Milenage, sqn SQN, amf [2]byte) error {
	w.in1(m, w.in[:BlockSize], sqn, amf)
	if err := m.Block.Encrypt(w.out[:BlockSize], w.in[:BlockSize]); err != nil {
		return err
	}
	subtle.XORBytes(w.out[:BlockSize], w.out[:BlockSize], m.OPc.Reveal())
	return nil
}

// out2345 computes OUT2 to OUT5 into the first four blocks of out, and OUT1 of
// an input that the caller has put behind the four when more is 1: one Encrypt
// call in both cases. The rotations r2 to r5 are 0, 32, 64 and 96 bits, the
// constants c2 to c5 are 1, 2, 4 and 8.
func (w *work) out2345(m *Milenage, more int) error {
	opc := m.OPc.Reveal()
	for n := range 4 {
		dst := w.in[n*BlockSize:][:BlockSize]
		for i := range dst {
			j := (i + 4*n) % BlockSize
			dst[i] = w.tmp[j] ^ opc[j]
		}
		dst[BlockSize-1] ^= 1 << n
	}
	end := (4 + more) * BlockSize
	if err := m.Block.Encrypt(w.out[:end], w.in[:end]); err != nil {
		return err
	}
	for n := 0; n < end; n += BlockSize {
		subtle.XORBytes(w.out[n:n+BlockSize], w.out[n:n+BlockSize], opc)
	}
	return nil
}

// output cuts the results out of OUT2 to OUT5.
func (w *work) output() Output {
	return Output{
		AK:     [6]byte(w.out[:6]),
		RES:    [8]byte(w.out[8:16]),
		CK:     [16]byte(w.out[16:32]),
		IK:     [16]byte(w.out[32:48]),
		AKStar: [6]byte(w.out[48:54]),
	}
}
