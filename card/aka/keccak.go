package aka

import "math/bits"

// keccakState is the state of Keccak-f[1600]: lane (x, y) is element x + 5y.
type keccakState [25]uint64

// keccakConstants are the round constants of step iota (FIPS 202, 3.2.5).
var keccakConstants = [24]uint64{
	0x0000000000000001, 0x0000000000008082, 0x800000000000808A, 0x8000000080008000,
	0x000000000000808B, 0x0000000080000001, 0x8000000080008081, 0x8000000000008009,
	0x000000000000008A, 0x0000000000000088, 0x0000000080008009, 0x000000008000000A,
	0x000000008000808B, 0x800000000000008B, 0x8000000000008089, 0x8000000000008003,
	0x8000000000008002, 0x8000000000000080, 0x000000000000800A, 0x800000008000000A,
	0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008,
}

// keccakLanes is the way of a lane through step pi: the lane at 1 moves to the
// first of them, what was there to the second, and so on (FIPS 202, 3.2.3). Step
// number t of the way rotates by (t+1)(t+2)/2 bits (3.2.2).
var keccakLanes = [24]int{10, 7, 11, 17, 18, 3, 5, 16, 8, 21, 24, 4, 15, 23, 19, 13, 12, 2, 20, 14, 22, 9, 6, 1}

// permute is Keccak-f[1600] (FIPS 202, 3.4), which TUAK uses without the sponge
// around it; the standard library exports only the sponge.
func (a *keccakState) permute() {
	for _, constant := range keccakConstants {
		a.theta()
		moving, turn := a[1], 0
		for t, lane := range keccakLanes { // rho and pi
			turn += t + 1
			a[lane], moving = bits.RotateLeft64(moving, turn), a[lane]
		}
		for y := 0; y < 25; y += 5 { // chi
			b0, b1, b2, b3, b4 := a[y], a[y+1], a[y+2], a[y+3], a[y+4]
			a[y], a[y+1], a[y+2], a[y+3], a[y+4] = b0^^b1&b2, b1^^b2&b3, b2^^b3&b4, b3^^b4&b0, b4^^b0&b1
		}
		a[0] ^= constant // iota
	}
}

// theta adds to each lane the parity of two columns (FIPS 202, 3.2.1).
func (a *keccakState) theta() {
	var c [5]uint64
	for x := range c {
		c[x] = a[x] ^ a[x+5] ^ a[x+10] ^ a[x+15] ^ a[x+20]
	}
	for x, before := range [5]int{4, 0, 1, 2, 3} {
		d := c[before] ^ bits.RotateLeft64(c[(x+1)%5], 1)
		for y := x; y < 25; y += 5 {
			a[y] ^= d
		}
	}
}
