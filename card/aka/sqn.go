package aka

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
)

// Sizes of the sequence number scheme of TS 33.102, C.3.
const (
	// INDBits is the length of IND, the low part of SQN.
	INDBits = 5
	// ArraySize is the number of entries of the array in the USIM.
	ArraySize = 1 << INDBits
	// MaxSEQ is the greatest SEQ, 43 bits.
	MaxSEQ = 1<<(48-INDBits) - 1
	// DefaultDelta is the limit for jumps of SEQ in all profiles of C.3.
	DefaultDelta = 1 << 28
	// DefaultAgeLimit is what cards in the field come with.
	DefaultAgeLimit = 1 << 28
)

// Reasons for which a USIM does not accept an SQN; a SyncError wraps one.
var (
	// ErrSQNUsed: the entry of this IND holds the same or a later SEQ.
	ErrSQNUsed = errors.New("SQN not fresh: its IND has already seen this SEQ or a later one")
	// ErrSQNJump: SEQ is more than Delta ahead of the highest.
	ErrSQNJump = errors.New("SQN too far ahead of the highest accepted")
	// ErrSQNAge: SEQ is AgeLimit or more behind the highest.
	ErrSQNAge = errors.New("SQN too far behind the highest accepted")
	// ErrSQNRange: the value has more than 43 bits of SEQ or 5 of IND.
	ErrSQNRange = errors.New("SQN out of range")
)

// SQN is a sequence number: SEQ of 43 bits, then IND of 5 bits (TS 33.102, C.3).
type SQN uint64

// NewSQN joins SEQ and IND; ErrSQNRange where one is too great.
func NewSQN(seq uint64, ind int) (SQN, error) {
	if seq > MaxSEQ || ind < 0 || ind >= ArraySize {
		return 0, fmt.Errorf("%w: SEQ %d, IND %d", ErrSQNRange, seq, ind)
	}
	return SQN(seq<<INDBits | uint64(ind)), nil
}

// SQNFromBytes reads the 48-bit big-endian form.
func SQNFromBytes(b [6]byte) SQN {
	return SQN(binary.BigEndian.Uint16(b[:]))<<32 | SQN(binary.BigEndian.Uint32(b[2:]))
}

// Bytes is the 48-bit big-endian form.
func (s SQN) Bytes() (b [6]byte) {
	binary.BigEndian.PutUint16(b[:], uint16(s>>32))
	binary.BigEndian.PutUint32(b[2:], uint32(s))
	return b
}

// SEQ is the part that grows, 43 bits.
func (s SQN) SEQ() uint64 { return uint64(s>>INDBits) & MaxSEQ }

// IND is the index into the array of the USIM, 0 to 31.
func (s SQN) IND() int { return int(s) & (ArraySize - 1) }

// String is the 12 hexadecimal digits of the 48 bits.
func (s SQN) String() string { return fmt.Sprintf("%012x", uint64(s)) }

// SQNArray is the state of a USIM: the last SQN accepted for each IND
// (TS 33.102, C.2.2). It is a value: assigning copies it.
type SQNArray struct {
	Last [ArraySize]SQN // Last[i] has IND i; only its SEQ counts
	// Entries is how many of them are in use, a power of two up to ArraySize, which 0
	// stands for too. With fewer of them IND is shorter, and SEQ longer by as much;
	// with one there is no IND, and each SQN has to be greater than all before.
	Entries int
	// Delta is the most that SEQ may be ahead of the highest accepted one
	// (C.2.1); 0 is no limit.
	Delta uint64
	// AgeLimit is the L of C.2.2: SEQ must be less than this behind the highest
	// accepted one; 0 is no limit.
	AgeLimit uint64
}

// NewSQNArray has every entry at the SEQ of sqn, and the default limits.
func NewSQNArray(sqn SQN) SQNArray {
	a := SQNArray{Delta: DefaultDelta, AgeLimit: DefaultAgeLimit}
	for i := range a.Last {
		a.Last[i] = SQN(sqn.SEQ()<<INDBits | uint64(i))
	}
	return a
}

// Highest is SQN_MS, the highest SQN accepted so far in any entry.
func (a *SQNArray) Highest() SQN {
	h := a.Last[0]
	for _, s := range a.Last[1:a.entries()] {
		h = max(h, s)
	}
	return h
}

func (a *SQNArray) entries() int { return cmp.Or(a.Entries, ArraySize) }

// split is SEQ and IND of an SQN as this array has them.
func (a *SQNArray) split(s SQN) (seq uint64, ind int) {
	n := a.entries()
	return uint64(s) / uint64(n), int(s) & (n - 1)
}

// Check says whether the USIM accepts sqn: nil, ErrSQNJump, ErrSQNAge or
// ErrSQNUsed, in the order of TS 33.102, C.2.1 and C.2.2. An SQN below the
// highest is accepted where its IND has not seen it.
func (a *SQNArray) Check(sqn SQN) error {
	seq, ind := a.split(sqn)
	high, _ := a.split(a.Highest())
	last, _ := a.split(a.Last[ind])
	switch {
	case a.Delta != 0 && seq > high && seq-high > a.Delta:
		return ErrSQNJump
	case a.AgeLimit != 0 && seq < high && high-seq >= a.AgeLimit:
		return ErrSQNAge
	case seq <= last:
		return ErrSQNUsed
	}
	return nil
}

// Accept is Check that also enters an accepted sqn into the array.
func (a *SQNArray) Accept(sqn SQN) error {
	if err := a.Check(sqn); err != nil {
		return err
	}
	a.enter(sqn)
	return nil
}

func (a *SQNArray) enter(sqn SQN) {
	_, ind := a.split(sqn)
	a.Last[ind] = sqn
}
