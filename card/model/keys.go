package model

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"mcim/apdu/secret"
)

// Sizes of the vendor's files, in bytes.
const (
	KeyFileSize = 1 + keyLen + keyLen // TUAK has more: topcLen, K and three bytes
	SQNFileSize = 2 + sqnLen + sqnLen + Indices*sqnLen

	// Indices is the number of values of IND, and of entries in the SQN file.
	Indices = 1 << indBits
	// MaxSQN is the largest sequence number, 48 bits (TS 33.102, C.1.1.1).
	MaxSQN = 1<<48 - 1

	keyLen     = 16
	longKeyLen = 32
	topcLen    = 32
	sqnLen     = 6
	indBits    = 5
)

// First bytes of the key file.
const (
	storesOPc   = 0x10 // OPc (TOPc) follows, not OP (TOP)
	tuakLongKey = 0x40
	tuakSizes   = 0x01 // second byte with TUAK: CK and IK of 128 bits, MAC of 64, RES of 64
	tuakRounds  = 0x01 // third: one iteration of Keccak
	tuakHead    = 3
)

// Algorithm is the name of an authentication algorithm.
type Algorithm string

// The algorithms.
const (
	Milenage Algorithm = "milenage" // TS 35.206
	TUAK     Algorithm = "tuak"     // TS 35.231, RES of 8 bytes, one iteration
	XOR      Algorithm = "xor"      // TS 34.108, 8.1.2: for tests
	// COMP128 in its three versions: of SIMs, for the GSM context alone.
	COMP128v1 Algorithm = "comp128v1"
	COMP128v2 Algorithm = "comp128v2"
	COMP128v3 Algorithm = "comp128v3"
)

// Algorithms are the names of all algorithms.
func Algorithms() []Algorithm {
	return []Algorithm{Milenage, TUAK, XOR, COMP128v1, COMP128v2, COMP128v3}
}

// HasOPc tells whether the algorithm has an OPc, which is TOPc with TUAK.
func (a Algorithm) HasOPc() bool { return a == Milenage || a == TUAK }

// Key is the content of the key file.
type Key struct {
	Algorithm Algorithm
	K         secret.Bytes // 16 bytes; 16 or 32 with TUAK
	// OPc has 16 bytes. With TUAK it is TOPc, 32 bytes; with XOR and COMP128 it is
	// empty.
	OPc secret.Bytes
}

// check says what is wrong with the lengths; "" is nothing.
func (k Key) check() string {
	long, opc := k.Algorithm == TUAK && k.K.Len() == longKeyLen, keyLen
	switch {
	case k.Algorithm == TUAK:
		opc = topcLen
	case slices.Contains(Algorithms(), k.Algorithm) && !k.Algorithm.HasOPc():
		opc = 0
	}
	if k.K.Len() != keyLen && !long || k.OPc.Len() != opc {
		return fmt.Sprintf("K has %d bytes and OPc %d, want %d and %d", k.K.Len(), k.OPc.Len(), keyLen, opc)
	}
	return ""
}

// Errors of the two files.
var (
	// ErrKeyFile: not a key file that this model knows. The text names no key.
	ErrKeyFile = errors.New("bad key file")
	// ErrSQNFile: not an SQN file that this model knows.
	ErrSQNFile = errors.New("bad SQN file")
)

// EncodeKey makes the content of the key file: one byte with the algorithm and
// the flag that OPc is stored, K, OPc; for TUAK that byte, those of its lengths and
// iterations, TOPc, K. The flags for a shortened RES and for the second SRES
// function are 0. Keys of a wrong length and algorithms that the card has not are
// ErrKeyFile.
func (m *Model) EncodeKey(k Key) (secret.Bytes, error) {
	number, ok := m.Algorithms[k.Algorithm]
	if !ok {
		return secret.Bytes{}, fmt.Errorf("%w: a card of model %q has no algorithm %q", ErrKeyFile, m.Name, k.Algorithm)
	}
	if problem := k.check(); problem != "" {
		return secret.Bytes{}, fmt.Errorf("%w: %s", ErrKeyFile, problem)
	}
	b := make([]byte, 1, tuakHead+topcLen+longKeyLen)
	b[0] = storesOPc | number
	if k.Algorithm == TUAK {
		if k.K.Len() == longKeyLen {
			b[0] |= tuakLongKey
		}
		b = append(append(b, tuakSizes, tuakRounds), k.OPc.Reveal()...)
		return secret.New(append(b, k.K.Reveal()...)), nil
	}
	b = append(append(b, k.K.Reveal()...), k.OPc.Reveal()...)
	return secret.New(append(b, make([]byte, KeyFileSize-len(b))...)), nil
}

// DecodeKey is the inverse of EncodeKey. It refuses with ErrKeyFile what
// EncodeKey does not write: another length, flags, an algorithm without name.
func (m *Model) DecodeKey(file secret.Bytes) (Key, error) {
	b := file.Reveal()
	if len(b) < KeyFileSize {
		return Key{}, fmt.Errorf("%w: %d bytes, want %d", ErrKeyFile, len(b), KeyFileSize)
	}
	for a, number := range m.Algorithms {
		if b[0]&0x0F != number {
			continue
		}
		k := Key{a, secret.New(b[1 : 1+keyLen]), secret.New(b[1+keyLen:])}
		switch {
		case a == TUAK && len(b) > tuakHead+topcLen:
			k.OPc, k.K = secret.New(b[tuakHead:tuakHead+topcLen]), secret.New(b[tuakHead+topcLen:])
		case !a.HasOPc():
			k.OPc = secret.Bytes{}
		}
		if again, err := m.EncodeKey(k); err == nil && bytes.Equal(again.Reveal(), b) {
			return k, nil
		}
	}
	return Key{}, fmt.Errorf("%w: %d bytes that begin with %02X are no algorithm of model %q with OPc stored and full RES",
		ErrKeyFile, len(b), b[0], m.Name)
}

// SQN is the content of the SQN file: how the card checks sequence numbers
// (TS 33.102, C.2) and what it has seen. Numbers are whole SQN of 48 bits, SEQ
// in the upper 43 and IND in the lower 5, and so are the two limits; with fewer
// entries IND has fewer bits.
type SQN struct {
	SkipNext    bool // accept any SQN once
	CheckDelta  bool // refuse jumps ahead of more than Delta
	CheckAge    bool // refuse what is older than the highest by more than AgeLimit
	Check       bool // check at all
	KeepAMF     bool // MAC-S over the AMF received, not over 0000
	ConcealAUTS bool // SQN in AUTS is hidden by AK
	ConcealAUTN bool // SQN in AUTN is hidden by AK
	Delta       uint64
	AgeLimit    uint64
	Entries     int             // values of IND, a power of two up to Indices
	Seen        [Indices]uint64 // for each IND the last SQN accepted
}

// NewSQN is the SQN file of a fresh subscription as the family has it: checked,
// with a delta of 2^28 in SEQ, without age limit, SQN concealed in AUTN and
// AUTS; every IND has seen the SEQ of last.
func NewSQN(last uint64) SQN {
	q := SQN{
		Check: true, CheckDelta: true, ConcealAUTN: true, ConcealAUTS: true,
		Delta: 1 << (28 + indBits), AgeLimit: 1 << (28 + indBits), Entries: Indices,
	}
	for i := range q.Seen {
		q.Seen[i] = last&^(Indices-1) | uint64(i)
	}
	return q
}

// EncodeSQN makes the content of the SQN file; a number of more than 48 bits and
// another number of entries than a power of two up to Indices are ErrSQNFile.
func (m *Model) EncodeSQN(q SQN) ([]byte, error) {
	if q.Entries < 1 || q.Entries > Indices || q.Entries&(q.Entries-1) != 0 {
		return nil, fmt.Errorf("%w: %d values of IND, want a power of two up to %d", ErrSQNFile, q.Entries, Indices)
	}
	b := []byte{
		bit(q.SkipNext, 7) | bit(q.CheckDelta, 6) | bit(q.CheckAge, 5) | bit(q.Check, 4) | byte(bits.TrailingZeros(uint(q.Entries))),
		bit(q.KeepAMF, 2) | bit(q.ConcealAUTS, 1) | bit(q.ConcealAUTN, 0),
	}
	for _, n := range append([]uint64{q.Delta, q.AgeLimit}, q.Seen[:]...) {
		if n > MaxSQN {
			return nil, fmt.Errorf("%w: %d has more than 48 bits", ErrSQNFile, n)
		}
		b = append(b, binary.BigEndian.AppendUint64(nil, n)[2:]...)
	}
	return b, nil
}

// DecodeSQN is the inverse of EncodeSQN; another length, a longer IND
// and unknown flags are ErrSQNFile.
func (m *Model) DecodeSQN(b []byte) (SQN, error) {
	if len(b) != SQNFileSize {
		return SQN{}, fmt.Errorf("%w: %d bytes, want %d", ErrSQNFile, len(b), SQNFileSize)
	}
	if b[0]&0x0F > indBits {
		return SQN{}, fmt.Errorf("%w: IND of %d bits, at most %d", ErrSQNFile, b[0]&0x0F, indBits)
	}
	if b[1]&^0x07 != 0 {
		return SQN{}, fmt.Errorf("%w: unknown flags %02X", ErrSQNFile, b[1]&^0x07)
	}
	q := SQN{
		SkipNext: b[0]&0x80 != 0, CheckDelta: b[0]&0x40 != 0, CheckAge: b[0]&0x20 != 0, Check: b[0]&0x10 != 0,
		KeepAMF: b[1]&4 != 0, ConcealAUTS: b[1]&2 != 0, ConcealAUTN: b[1]&1 != 0, Entries: 1 << (b[0] & 0x0F),
	}
	number := func(i int) uint64 {
		at := 2 + i*sqnLen
		return binary.BigEndian.Uint64(append([]byte{0, 0}, b[at:at+sqnLen]...))
	}
	q.Delta, q.AgeLimit = number(0), number(1)
	for i := range q.Seen {
		q.Seen[i] = number(2 + i)
	}
	return q, nil
}

func bit(set bool, at uint) byte {
	if set {
		return 1 << at
	}
	return 0
}
