package usim

import "bytes"

// What a USIM that was never attached has in the files in which networks leave
// something (TS 31.102, annex E). Where annex E begins a card's life with the area
// 0000, this says "deleted" (FFFE; TS 24.008, 10.5.1.3), which means the same.

// DefaultLOCI is EF.LOCI, 11 bytes: no TMSI, no area, not updated.
func DefaultLOCI() []byte { return append(Unused(7), 0xFF, 0xFE, 0xFF, 0x01) }

// DefaultPSLOCI is EF.PSLOCI, 14 bytes: no P-TMSI, no area, not updated.
func DefaultPSLOCI() []byte { return append(Unused(10), 0xFF, 0xFE, 0xFF, 0x01) }

// DefaultEPSLOCI is EF.EPSLOCI, 18 bytes: no GUTI, no tracking area, not updated.
func DefaultEPSLOCI() []byte { return append(Unused(15), 0xFF, 0xFE, 0x01) }

// noKey is the key set identifier that says that there is no key (TS 24.008,
// 10.5.1.2).
const noKey = 0x07

// keysBytes is the size of EF.Keys and EF.KeysPS.
const keysBytes = 33

// DefaultKeys is the content of EF.Keys and EF.KeysPS, 33 bytes, with no keys:
// identifier 07, FF in the place of CK and IK (TS 31.102, 4.2.3 and 4.2.4).
func DefaultKeys() []byte { return append([]byte{noKey}, Unused(keysBytes-1)...) }

// KeysCleared reports whether the content of EF.Keys or EF.KeysPS holds no key
// material.
func KeysCleared(b []byte) bool { return bytes.Equal(b, DefaultKeys()) }

// Unused is the content of a file of size bytes that lists nothing: FF. It is
// the default of EF.FPLMN, 3 bytes a network (TS 31.102, 4.2.16), and of
// EF.EPSNSC (TS 31.102, 4.2.92).
func Unused(size int) []byte { return bytes.Repeat([]byte{0xFF}, size) }
