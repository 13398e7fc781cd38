package aka

import (
	"encoding/binary"
	"fmt"

	"mcim/apdu/secret"
)

// TUAKOptions are the parameters of TUAK (TS 35.231, 6.1), lengths in bytes. The
// zero value is what a USIM usually has.
type TUAKOptions struct {
	RES        int // 4, 8, 16 or 32; 0 is 8
	MAC        int // 8, 16 or 32; 0 is 8, the one length that AKA carries
	CK, IK     int // 16 or 32; 0 is 16, the one length that AKA carries
	Iterations int // of Keccak, 1 to 255; 0 is 1
}

// TUAK is the algorithm set of TS 35.231 for one subscriber. Unlike Milenage it
// needs the key itself: there is no block cipher in it.
type TUAK struct {
	k, topc secret.Bytes
	opt     TUAKOptions
}

// TUAKOutput is what f2 to f5* of TUAK give at their full lengths.
type TUAKOutput struct {
	RES, CK, IK []byte
	AK, AKStar  [6]byte
}

const (
	tuakName  = "TUAK1.0"
	topcBytes = 32
	maxTUAK   = 32 // bytes of the longest key and of the longest output
)

// Bits of the octet INSTANCE, which keeps the functions apart (TS 35.231, 6.2 to
// 6.7). The length of MAC or RES in bytes fills bits 3 to 5 by itself.
const (
	tuakLongKey = 0x01
	tuakLongIK  = 0x02
	tuakLongCK  = 0x04
	tuakF2345   = 0x40
	tuakF1Star  = 0x80
	tuakF5Star  = 0xC0
)

// NewTUAK is TUAK under k of 16 or 32 bytes and topc of 32 (ErrKey), with o
// (ErrSizes). Lengths that AKA cannot carry are for F1, F1Star and F2345 only:
// a Run refuses them.
func NewTUAK(k, topc secret.Bytes, o TUAKOptions) (*TUAK, error) {
	if err := tuakKeys(k, "TOPc", topc); err != nil {
		return nil, err
	}
	for _, f := range []struct {
		name    string
		v       *int
		zero    int
		allowed []int
	}{
		{"RES", &o.RES, 8, []int{4, 8, 16, 32}},
		{"MAC", &o.MAC, 8, []int{8, 16, 32}},
		{"CK", &o.CK, 16, []int{16, 32}},
		{"IK", &o.IK, 16, []int{16, 32}},
	} {
		if err := choose(f.name, f.v, f.zero, f.allowed); err != nil {
			return nil, err
		}
	}
	if o.Iterations == 0 {
		o.Iterations = 1
	}
	if o.Iterations < 0 || o.Iterations > 255 {
		return nil, fmt.Errorf("%w: %d iterations of TUAK, want 1 to 255", ErrSizes, o.Iterations)
	}
	return &TUAK{k: k, topc: topc, opt: o}, nil
}

// choose sets *v to zero where it is 0, and refuses what is not allowed.
func choose(name string, v *int, zero int, allowed []int) error {
	if *v == 0 {
		*v = zero
	}
	for _, a := range allowed {
		if *v == a {
			return nil
		}
	}
	return fmt.Errorf("%w: %s of %d bytes in TUAK, want one of %v", ErrSizes, name, *v, allowed)
}

func tuakKeys(k secret.Bytes, name string, top secret.Bytes) error {
	if k.Len() != 16 && k.Len() != 32 {
		return fmt.Errorf("%w: K has %d bytes, want 16 or 32", ErrKey, k.Len())
	}
	if top.Len() != topcBytes {
		return fmt.Errorf("%w: %s has %d bytes, want %d", ErrKey, name, top.Len(), topcBytes)
	}
	return nil
}

// TOPc derives TOPc from TOP (TS 35.231, 6.1): k of 16 or 32 bytes, top of 32
// (ErrKey), and the number of iterations that NewTUAK gets.
func TOPc(k, top secret.Bytes, iterations int) (secret.Bytes, error) {
	if err := tuakKeys(k, "TOP", top); err != nil {
		return secret.Bytes{}, err
	}
	t, err := NewTUAK(k, top, TUAKOptions{Iterations: iterations})
	if err != nil {
		return secret.Bytes{}, err
	}
	var r tuakRun
	r.t = t
	r.keccak(0, nil, 0, [2]byte{})
	var out [topcBytes]byte
	r.read(out[:], 0)
	return secret.New(out[:]), nil
}

// F1 is MAC-A, as long as the options say (TS 35.231, 6.2).
func (t *TUAK) F1(rand [16]byte, sqn SQN, amf [2]byte) []byte { return t.mac(F1, rand, sqn, amf) }

// F1Star is MAC-S, as long as the options say (TS 35.231, 6.3).
func (t *TUAK) F1Star(rand [16]byte, sqn SQN, amf [2]byte) []byte {
	return t.mac(F1Star, rand, sqn, amf)
}

func (t *TUAK) mac(f Function, rand [16]byte, sqn SQN, amf [2]byte) []byte {
	out := make([]byte, t.opt.MAC)
	r := tuakRun{t: t, rand: rand}
	r.mac(out, f, sqn, amf)
	return out
}

// F2345 is f2, f3, f4, f5 and f5* (TS 35.231, 6.4 and 6.5).
func (t *TUAK) F2345(rand [16]byte) TUAKOutput {
	o := TUAKOutput{RES: make([]byte, t.opt.RES), CK: make([]byte, t.opt.CK), IK: make([]byte, t.opt.IK)}
	r := tuakRun{t: t, rand: rand}
	r.f2345(o.RES, o.CK, o.IK, &o.AK, &o.AKStar)
	return o
}

// Begin implements Algorithm.
func (t *TUAK) Begin() Run { return &tuakRun{t: t} }

// tuakRun is a Run of TUAK.
type tuakRun struct {
	t     *TUAK
	rand  [16]byte
	state keccakState
}

// Start implements Run.
func (r *tuakRun) Start(rand [16]byte, f Function, sqn SQN, amf [2]byte) (o Output, mac [8]byte, err error) {
	if p := r.t.opt; p.RES > maxRES || p.MAC != macBytes || p.CK != keyBytes || p.IK != keyBytes {
		return o, mac, fmt.Errorf("%w: TUAK is set to RES of %d, MAC of %d, CK of %d and IK of %d bytes, want at most 16, 8, 16 and 16",
			ErrSizes, p.RES, p.MAC, p.CK, p.IK)
	}
	r.rand = rand
	o.RES.n = r.t.opt.RES
	r.f2345(o.RES.b[:o.RES.n], o.CK[:], o.IK[:], &o.AK, &o.AKStar)
	r.mac(mac[:], f, sqn, amf)
	return o, mac, nil
}

// MAC implements Run.
func (r *tuakRun) MAC(f Function, sqn SQN, amf [2]byte) (mac [8]byte, err error) {
	r.mac(mac[:], f, sqn, amf)
	return mac, nil
}

func (r *tuakRun) mac(out []byte, f Function, sqn SQN, amf [2]byte) {
	instance := byte(len(out))
	if f == F1Star {
		instance |= tuakF1Star
	}
	r.keccak(instance, r.rand[:], sqn, amf)
	r.read(out, 0)
}

// f2345 sets RES, CK, IK and AK to the first, second, third and fourth 256 bits of
// one output, and AK* to the fourth of another.
func (r *tuakRun) f2345(res, ck, ik []byte, ak, akStar *[6]byte) {
	instance := byte(tuakF2345)
	if len(res) > 4 {
		instance |= byte(len(res))
	}
	if len(ck) == maxTUAK {
		instance |= tuakLongCK
	}
	if len(ik) == maxTUAK {
		instance |= tuakLongIK
	}
	r.keccak(instance, r.rand[:], 0, [2]byte{})
	r.read(res, 0)
	r.read(ck, maxTUAK)
	r.read(ik, 2*maxTUAK)
	r.read(ak[:], 3*maxTUAK)
	r.keccak(tuakF5Star, r.rand[:], 0, [2]byte{})
	r.read(akStar[:], 3*maxTUAK)
}

// keccak fills the state with TOPc, INSTANCE, the name, RAND, AMF, SQN, K and the
// padding (TS 35.231, 6.2) and permutes it. TUAK writes its values with the least
// significant bit first, so their bytes stand in reverse.
func (r *tuakRun) keccak(instance byte, rand []byte, sqn SQN, amf [2]byte) {
	const rate = 136
	k := r.t.k.Reveal()
	if len(k) == maxTUAK {
		instance |= tuakLongKey
	}
	s := sqn.Bytes()
	var in [rate]byte
	reverse(in[:32], r.t.topc.Reveal())
	in[32] = instance
	reverse(in[33:40], []byte(tuakName))
	reverse(in[40:56], rand)
	reverse(in[56:58], amf[:])
	reverse(in[58:64], s[:])
	reverse(in[64:64+len(k)], k)
	in[96], in[rate-1] = 0x1F, 0x80
	r.state = keccakState{}
	for i := range rate / 8 {
		r.state[i] = binary.LittleEndian.Uint64(in[8*i:])
	}
	for range r.t.opt.Iterations {
		r.state.permute()
	}
}

// read sets dst to the bytes of the state from byte at on, in reverse.
func (r *tuakRun) read(dst []byte, at int) {
	for i := range dst {
		n := at + len(dst) - 1 - i
		dst[i] = byte(r.state[n/8] >> (8 * (n % 8)))
	}
}

// reverse copies src into dst from its end; a shorter src leaves zeros.
func reverse(dst, src []byte) {
	for i, v := range src {
		dst[len(src)-1-i] = v
	}
}
