package aka

import (
	"crypto/subtle"

	"mcim/apdu/secret"
)

// XOR is the test algorithm of TS 34.108, 8.1.2, which the GSMA's test profiles
// use. It protects nothing: one answer gives K away.
type XOR struct{ K secret.Bytes }

// NewXOR is XOR under k of 16 bytes (ErrKey).
func NewXOR(k secret.Bytes) (*XOR, error) {
	if err := key16("K", k); err != nil {
		return nil, err
	}
	return &XOR{k}, nil
}

// Begin implements Algorithm.
func (x *XOR) Begin() Run { return &xorRun{x: x} }

// xorRun is a Run of XOR.
type xorRun struct {
	x    *XOR
	dout [16]byte // XDOUT = K xor RAND
}

// Start implements Run: RES is XDOUT of 16 bytes, CK and IK are XDOUT rotated by
// one and two bytes, AK is from its fourth byte on; f5* is f5.
func (r *xorRun) Start(rand [16]byte, f Function, sqn SQN, amf [2]byte) (o Output, mac [8]byte, err error) {
	subtle.XORBytes(r.dout[:], r.x.K.Reveal(), rand[:])
	o.RES = RES{len(r.dout), r.dout}
	for i := range r.dout {
		o.CK[i], o.IK[i] = r.dout[(i+1)%16], r.dout[(i+2)%16]
	}
	o.AK, o.AKStar = [6]byte(r.dout[3:]), [6]byte(r.dout[3:])
	mac, err = r.MAC(f, sqn, amf)
	return o, mac, err
}

// MAC implements Run: SQN and AMF xor XDOUT; f1* is f1.
func (r *xorRun) MAC(_ Function, sqn SQN, amf [2]byte) (mac [8]byte, err error) {
	s := sqn.Bytes()
	copy(mac[:], s[:])
	copy(mac[6:], amf[:])
	subtle.XORBytes(mac[:], mac[:], r.dout[:])
	return mac, nil
}

// XOR2G is the XOR algorithm of test SIMs (TS 51.010-1, annex 4): SRES and Kc
// are the first 12 bytes of Ki xor RAND.
type XOR2G struct{ Ki secret.Bytes }

// NewXOR2G is XOR2G under ki of 16 bytes (ErrKey).
func NewXOR2G(ki secret.Bytes) (*XOR2G, error) {
	if err := key16("Ki", ki); err != nil {
		return nil, err
	}
	return &XOR2G{ki}, nil
}

// Triplet implements GSM.
func (x *XOR2G) Triplet(rand [16]byte) (sres [4]byte, kc [8]byte, err error) {
	subtle.XORBytes(rand[:], rand[:], x.Ki.Reveal())
	return [4]byte(rand[:]), [8]byte(rand[4:]), nil
}
