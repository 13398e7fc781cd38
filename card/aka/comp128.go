package aka

import (
	"fmt"

	"mcim/apdu/secret"
)

// COMP128 is A3 and A8 of many SIMs, in one of its three versions. The GSM
// Association never published it; version 1 is broken (some ten thousand chosen RAND
// give Ki away), and it is here for cards that have it.
type COMP128 struct {
	version int
	ki      secret.Bytes
}

// NewCOMP128 is COMP128 of version 1, 2 or 3 (ErrSizes) under ki of 16 bytes
// (ErrKey). Version 2 is version 3 with the last ten bits of Kc at zero, as
// version 1 has them.
func NewCOMP128(version int, ki secret.Bytes) (*COMP128, error) {
	if version < 1 || version > 3 {
		return nil, fmt.Errorf("%w: COMP128 has versions 1 to 3, not %d", ErrSizes, version)
	}
	if err := key16("Ki", ki); err != nil {
		return nil, err
	}
	return &COMP128{version, ki}, nil
}

// Triplet implements GSM.
func (c *COMP128) Triplet(rand [16]byte) (sres [4]byte, kc [8]byte, err error) {
	ki := [16]byte(c.ki.Reveal())
	if c.version == 1 {
		sres, kc = comp128v1(ki, rand)
		return sres, kc, nil
	}
	sres, kc = comp128v3(ki, rand)
	if c.version == 2 {
		kc[6], kc[7] = kc[6]&0xFC, 0
	}
	return sres, kc, nil
}

// comp128v1 runs eight rounds. Each compresses Ki and the state into 32 nibbles,
// and all but the last spread their 128 bits over the next state.
func comp128v1(ki, rand [16]byte) (sres [4]byte, kc [8]byte) {
	var x [32]byte
	copy(x[16:], rand[:])
	for round := range 8 {
		copy(x[:], ki[:])
		compress(&x)
		if round < 7 {
			spread(&x)
		}
	}
	for i := range sres {
		sres[i] = x[2*i]<<4 | x[2*i+1]
	}
	// Kc is the last 54 bits of the 32 nibbles, then ten zero bits.
	for bit := range 54 {
		kc[bit/8] |= nibbleBit(&x, 74+bit) << (7 - bit%8)
	}
	return sres, kc
}

// compress is the butterfly of five levels. A level works on pairs that lie 16,
// 8, 4, 2 and 1 apart, with a table that is half as long and one bit narrower.
func compress(x *[32]byte) {
	for level, table := range [5][]byte{comp128Table9[:], comp128Table8[:], comp128Table7[:], comp128Table6[:], comp128Table5[:]} {
		apart := 16 >> level
		for a := range x {
			if a&apart != 0 {
				continue
			}
			b := a + apart
			m, n := int(x[a]), int(x[b])
			x[a], x[b] = table[(m+2*n)%len(table)], table[(2*m+n)%len(table)]
		}
	}
}

// spread makes the right half of the next state: its bit i is bit 17i mod 128.
func spread(x *[32]byte) {
	var next [16]byte
	for i := range 128 {
		next[i/8] |= nibbleBit(x, i*17%128) << (7 - i%8)
	}
	copy(x[16:], next[:])
}

// nibbleBit is bit i of the 32 nibbles in x, the most significant first.
func nibbleBit(x *[32]byte, i int) byte { return x[i/4] >> (3 - i%4) & 1 }

// comp128v3 runs eight rounds over RAND, with Ki xor RAND as their key. All
// values stand in reverse. Of the output, bytes 4 to 7 are dropped.
func comp128v3(ki, rand [16]byte) (sres [4]byte, kc [8]byte) {
	var state, key [16]byte
	for i := range state {
		state[i] = rand[15-i]
		key[i] = ki[15-i] ^ state[i]
	}
	for range 8 {
		state = round23(state, key)
	}
	for i := range sres {
		sres[i] = state[15-i]
	}
	for i := range kc {
		kc[i] = state[7-i]
	}
	return sres, kc
}

// round23 is one round of versions 2 and 3: a butterfly of five levels over
// state and key, then a permutation of the 256 bits.
func round23(state, key [16]byte) (out [16]byte) {
	var x [32]byte
	copy(x[:], state[:])
	copy(x[16:], key[:])
	for level := range 5 {
		var left [16]byte
		for i := range left {
			left[i] = comp128Outer[comp128Inner[x[16+i]]^x[i]]
		}
		right := [16]byte(x[16:])
		for i := range left {
			low := i & (1<<level - 1)
			at := (i-low)<<1 | low
			x[at] = left[i]
			x[at+1<<level] = comp128Outer[comp128Inner[left[i]]^right[i]]
		}
	}
	for bit := range 128 {
		from := 19 * (bit + 1) % 256
		out[bit/8] |= x[from/8] >> (from % 8) & 1 << (bit % 8)
	}
	return out
}
