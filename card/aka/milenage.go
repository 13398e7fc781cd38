package aka

import (
	"crypto/subtle"
	"fmt"

	"mcim/apdu/secret"
)

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
	return OPcOver(b, op)
}

// OPcOver is OPc with K behind b, in a TPM for example.
func OPcOver(b Block, op secret.Bytes) (secret.Bytes, error) {
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

// Begin implements Algorithm.
func (m *Milenage) Begin() Run { return &work{m: m} }

// F1 is MAC-A of f1 and MAC-S of f1* (TS 35.206, 4.1).
func (m *Milenage) F1(rand [16]byte, sqn SQN, amf [2]byte) (macA, macS [8]byte, err error) {
	w := &work{m: m}
	if err = w.temp(&rand); err != nil {
		return macA, macS, err
	}
	if err = w.out1(sqn, amf); err != nil {
		return macA, macS, err
	}
	return [8]byte(w.out[:8]), [8]byte(w.out[8:16]), nil
}

// F2345 is f2, f3, f4, f5 and f5* (TS 35.206, 4.1).
func (m *Milenage) F2345(rand [16]byte) (Output, error) {
	o, _, err := m.Begin().Start(rand, F1, 0, amfStar)
	return o, err
}

// work is a Run of MILENAGE: slices of it go to Block.Encrypt, so it lies on the
// heap.
type work struct {
	m       *Milenage
	tmp     [BlockSize]byte     // TEMP
	in, out [5 * BlockSize]byte // OUT2, OUT3, OUT4, OUT5, and one OUT1
}

// Start implements Run with two Encrypt calls: TEMP, and all the others.
func (w *work) Start(rand [16]byte, f Function, sqn SQN, amf [2]byte) (o Output, mac [8]byte, err error) {
	if err = w.temp(&rand); err != nil {
		return o, mac, err
	}
	if err = w.all(sqn, amf); err != nil {
		return o, mac, err
	}
	o.RES.n = copy(o.RES.b[:], w.out[8:16])
	o.AK, o.AKStar = [6]byte(w.out[:6]), [6]byte(w.out[48:54])
	o.CK, o.IK = [16]byte(w.out[16:32]), [16]byte(w.out[32:48])
	return o, half(w.out[4*BlockSize:], f), nil
}

// MAC implements Run with one Encrypt call.
func (w *work) MAC(f Function, sqn SQN, amf [2]byte) (mac [8]byte, err error) {
	if err = w.out1(sqn, amf); err != nil {
		return mac, err
	}
	return half(w.out[:], f), nil
}

// half is the half of OUT1 that f gives.
func half(out1 []byte, f Function) [8]byte {
	if f == F1Star {
		out1 = out1[8:]
	}
	return [8]byte(out1)
}

// temp computes TEMP = E_K(RAND xor OPc).
func (w *work) temp(rand *[16]byte) error {
	subtle.XORBytes(w.in[:BlockSize], rand[:], w.m.OPc.Reveal())
	return w.m.Block.Encrypt(w.tmp[:], w.in[:BlockSize])
}

// in1 sets dst to the input of OUT1's encryption; r1 = 64 and c1 = 0.
func (w *work) in1(dst []byte, sqn SQN, amf [2]byte) {
	s, opc := sqn.Bytes(), w.m.OPc.Reveal()
	var in1 [BlockSize]byte
	copy(in1[:], s[:])
	copy(in1[6:], amf[:])
	copy(in1[8:], in1[:8])
	subtle.XORBytes(in1[:], in1[:], opc)
	copy(dst, in1[8:])
	copy(dst[8:], in1[:8])
	subtle.XORBytes(dst, dst[:BlockSize], w.tmp[:])
}

// out1 computes OUT1 into the first block of out: one Encrypt call.
func (w *work) out1(sqn SQN, amf [2]byte) error {
	w.in1(w.in[:BlockSize], sqn, amf)
	if err := w.m.Block.Encrypt(w.out[:BlockSize], w.in[:BlockSize]); err != nil {
		return err
	}
	subtle.XORBytes(w.out[:BlockSize], w.out[:BlockSize], w.m.OPc.Reveal())
	return nil
}

// all computes OUT2 to OUT5 into the first four blocks of out, and OUT1 into the
// fifth: one Encrypt call. The rotations r2 to r5 are 0, 32, 64 and 96 bits, the
// constants c2 to c5 are 1, 2, 4 and 8.
func (w *work) all(sqn SQN, amf [2]byte) error {
	opc := w.m.OPc.Reveal()
	var x [BlockSize]byte
	subtle.XORBytes(x[:], w.tmp[:], opc)
	for n := range 4 {
		dst := w.in[n*BlockSize:][:BlockSize]
		copy(dst[copy(dst, x[4*n:]):], x[:])
		dst[BlockSize-1] ^= 1 << n
	}
	w.in1(w.in[4*BlockSize:], sqn, amf)
	if err := w.m.Block.Encrypt(w.out[:], w.in[:]); err != nil {
		return err
	}
	for n := 0; n < len(w.out); n += BlockSize {
		subtle.XORBytes(w.out[n:n+BlockSize], w.out[n:n+BlockSize], opc)
	}
	return nil
}
