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

// Default5GSLOCI is EF.5GS3GPPLOCI and EF.5GSN3GPPLOCI, 20 bytes: no 5G-GUTI, no
// tracking area, not updated (TS 31.102, 4.4.11.2 and 4.4.11.3).
func Default5GSLOCI() []byte { return append(Unused(18), 0xFE, 0x01) }

// DefaultKc is EF.Kc and EF.KcGPRS, 9 bytes, with no key (TS 31.102, 4.4.3.1 and
// 4.4.3.2).
func DefaultKc() []byte { return append(Unused(8), noKey) }

// noKey is the key set identifier that says that there is no key (TS 24.008,
// 10.5.1.2).
const noKey = 0x07

// keysBytes is the size of EF.Keys and EF.KeysPS.
const keysBytes = 33

// DefaultKeys is the content of EF.Keys and EF.KeysPS, 33 bytes, with no keys:
// identifier 07, FF in the place of CK and IK (TS 31.102, 4.2.3 and 4.2.4).
func DefaultKeys() []byte { return append([]byte{noKey}, Unused(keysBytes-1)...) }

// Unused is the content of a file of size bytes that lists nothing: FF. It is
// the default of EF.FPLMN, 3 bytes a network (TS 31.102, 4.2.16), and of
// EF.EPSNSC (TS 31.102, 4.2.92).
func Unused(size int) []byte { return bytes.Repeat([]byte{0xFF}, size) }
