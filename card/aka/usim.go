package aka

import (
	"crypto/subtle"
	"errors"
)

// ErrMAC is returned for an AUTN whose MAC-A is wrong: it was not made by a
// network that shares K with this USIM (TS 33.102, 6.3.3; status word 9862).
var ErrMAC = errors.New("AUTN has a wrong MAC-A: the network does not share K with this USIM")

// SyncError is a synchronisation failure (TS 33.102, 6.3.3): MAC-A was right,
// but SQN was not accepted. AUTS goes back to the network.
type SyncError struct {
	AUTS   [14]byte // SQN_MS xor AK*, then MAC-S
	Reason error    // ErrSQNUsed, ErrSQNJump or ErrSQNAge
}

// Error is the reason.
func (e *SyncError) Error() string { return "synchronisation failure: " + e.Reason.Error() }

// Unwrap is the reason.
func (e *SyncError) Unwrap() error { return e.Reason }

// Result is what the USIM gives to the terminal for an AUTN that it accepted.
type Result struct {
	RES    [8]byte
	CK, IK [16]byte
}

// SRES is the 32-bit response for GSM, conversion function c2 (TS 33.102, 6.8.1.2).
func (r *Result) SRES() (sres [4]byte) {
	subtle.XORBytes(sres[:], r.RES[:4], r.RES[4:])
	return sres
}

// Kc is the 64-bit key for GSM, conversion function c3 (TS 33.102, 6.8.1.2).
func (r *Result) Kc() (kc [8]byte) {
	for i := range kc {
		kc[i] = r.CK[i] ^ r.CK[i+8] ^ r.IK[i] ^ r.IK[i+8]
	}
	return kc
}

// USIM is the subscriber's end of AKA. It is not safe for concurrent use.
type USIM struct {
	// AcceptForgedAUTN switches the defence against false networks off: an AUTN
	// with a wrong MAC-A is answered as if it were right, and its SQN is
	// ignored. It exists so that a test can show what the defence is worth.
	// Nothing else may set it.
	AcceptForgedAUTN bool

	m     Milenage
	sqn   SQNArray
	store func(SQNArray) error
	w     work
}

// NewUSIM is a USIM with the algorithm m and the state sqn. store, which may be
// nil where the state need not outlive the value, gets each new state before
// the result that it belongs to is released.
func NewUSIM(m *Milenage, sqn SQNArray, store func(SQNArray) error) *USIM {
	return &USIM{m: *m, sqn: sqn, store: store}
}

// SQN is the current state.
func (u *USIM) SQN() SQNArray { return u.sqn }

// Authenticate answers a challenge (TS 33.102, 6.3.3) with exactly three
// Encrypt calls: TEMP; OUT2 to OUT5 with f1* over SQN_MS, so that a
// synchronisation failure costs nothing more; OUT1.
//
// MAC-A is checked before SQN, so a wrong one is ErrMAC whatever the SQN. An
// SQN that is not accepted is a *SyncError. The new state is stored before the
// result is returned: an error of the store, as one of the Block, is returned
// as it is, with no result and the old state.
func (u *USIM) Authenticate(rand, autn [16]byte) (Result, error) {
	w, m := &u.w, &u.m
	if err := w.temp(m, &rand); err != nil {
		return Result{}, err
	}
	ms := u.sqn.Highest()
	w.in1(m, w.in[4*BlockSize:], ms, amfStar)
	if err := w.out2345(m, 1); err != nil {
		return Result{}, err
	}
	o := w.output()
	macS := [8]byte(w.out[4*BlockSize+8:])

	var s [6]byte
	subtle.XORBytes(s[:], autn[:6], o.AK[:])
	sqn := SQNFromBytes(s)
	if err := w.out1(m, sqn, [2]byte(autn[6:8])); err != nil {
		return Result{}, err
	}
	result := Result{RES: o.RES, CK: o.CK, IK: o.IK}
	if subtle.ConstantTimeCompare(w.out[:8], autn[8:]) != 1 {
		if u.AcceptForgedAUTN {
			return result, nil
		}
		return Result{}, ErrMAC
	}
	if err := u.sqn.Check(sqn); err != nil {
		return Result{}, syncError(ms, o.AKStar, macS, err)
	}
	next := u.sqn
	next.Last[sqn.IND()] = sqn
	if u.store != nil {
		if err := u.store(next); err != nil {
			return Result{}, err
		}
	}
	u.sqn = next
	return result, nil
}

func syncError(ms SQN, akStar [6]byte, macS [8]byte, reason error) *SyncError {
	e := &SyncError{Reason: reason}
	s := ms.Bytes()
	subtle.XORBytes(e.AUTS[:6], s[:], akStar[:])
	copy(e.AUTS[6:], macS[:])
	return e
}
