package kdf

import (
	"crypto/sha1"
	"encoding/binary"
	"math/big"
	"math/bits"
)

// fips186 is the first n bytes of the generator of FIPS 186-2, change notice 1, algorithm 1,
// with the seed key (RFC 4187, annex A), n a multiple of 40.
func fips186(key [sha1.Size]byte, n int) []byte {
	modulus := new(big.Int).Lsh(big.NewInt(1), 8*sha1.Size)
	x := new(big.Int).SetBytes(key[:])
	var out []byte
	for len(out) < n {
		var block [sha1.BlockSize]byte // G pads by zeroes, where SHA-1 has its length
		x.FillBytes(block[:sha1.Size])
		w := compress(block)
		out = append(out, w[:]...)
		x.Add(x, new(big.Int).SetBytes(w[:])).Add(x, big.NewInt(1)).Mod(x, modulus)
	}
	return out[:n]
}

// compress is the function G of FIPS 186-2, 3.3: SHA-1 of one block (FIPS 180-1, 7) that
// is not padded, which package crypto/sha1 cannot be asked for.
func compress(block [sha1.BlockSize]byte) (out [sha1.Size]byte) {
	var w [80]uint32
	for i := range 16 {
		w[i] = binary.BigEndian.Uint32(block[4*i:])
	}
	for i := 16; i < len(w); i++ {
		w[i] = bits.RotateLeft32(w[i-3]^w[i-8]^w[i-14]^w[i-16], 1)
	}
	start := [5]uint32{0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0}
	h := start
	for i, word := range w {
		f, k := round(i, h[1], h[2], h[3])
		t := bits.RotateLeft32(h[0], 5) + f + h[4] + k + word
		h = [5]uint32{t, h[0], bits.RotateLeft32(h[1], 30), h[2], h[3]}
	}
	for i := range h {
		binary.BigEndian.PutUint32(out[4*i:], start[i]+h[i])
	}
	return out
}

// round is the function and the constant of round i (FIPS 180-1, 5 and 6).
func round(i int, b, c, d uint32) (f, k uint32) {
	switch i / 20 {
	case 0:
		return b&c | ^b&d, 0x5A827999
	case 1:
		return b ^ c ^ d, 0x6ED9EBA1
	case 2:
		return b&c | b&d | c&d, 0x8F1BBCDC
	}
	return b ^ c ^ d, 0xCA62C1D6
}
