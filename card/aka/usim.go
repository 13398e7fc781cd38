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
	RES    RES
	CK, IK [16]byte
}

// USIM is the subscriber's end of AKA. It is not safe for concurrent use.
type USIM struct {
	// AcceptForgedAUTN switches the defence against false networks off: an AUTN
	// with a wrong MAC-A is answered as if it were right, and its SQN is
	// ignored. It exists so that a test can show what the defence is worth.
	// Nothing else may set it.
	AcceptForgedAUTN bool

	run   Run
	sqn   SQNArray
	store func(SQNArray) error
}

// NewUSIM is a USIM with the algorithm a and the state sqn. store, which may be
// nil where the state need not outlive the value, gets each new state before
// the result that it belongs to is released.
func NewUSIM(a Algorithm, sqn SQNArray, store func(SQNArray) error) *USIM {
	return &USIM{run: a.Begin(), sqn: sqn, store: store}
}

// SQN is the current state.
func (u *USIM) SQN() SQNArray { return u.sqn }

// Authenticate answers a challenge (TS 33.102, 6.3.3). MILENAGE has exactly three
// Encrypt calls: TEMP; OUT2 to OUT5 with f1* over SQN_MS, so that a
// synchronisation failure costs nothing more; OUT1.
//
// MAC-A is checked before SQN, so a wrong one is ErrMAC whatever the SQN. An
// SQN that is not accepted is a *SyncError. The new state is stored before the
// result is returned: an error of the store, as one of the algorithm, is returned
// as it is, with no result and the old state.
func (u *USIM) Authenticate(rand, autn [16]byte) (Result, error) {
	return u.answer(rand, autn, false)
}

// Bootstrap answers a challenge of GBA_U (TS 33.220, 5.3.2; TS 31.102, 7.1.1.6),
// whose AUTN carries MAC* as Vector.GBA makes it. CK and IK of the result make up
// Ks and stay in the UICC. It is Authenticate in all else.
func (u *USIM) Bootstrap(rand, autn [16]byte) (Result, error) {
	return u.answer(rand, autn, true)
}

func (u *USIM) answer(rand, autn [16]byte, gba bool) (Result, error) {
	ms := u.sqn.Highest()
	o, macS, err := u.run.Start(rand, F1Star, ms, amfStar)
	if err != nil {
		return Result{}, err
	}
	var s [6]byte
	subtle.XORBytes(s[:], autn[:6], o.AK[:])
	sqn := SQNFromBytes(s)
	macA, err := u.run.MAC(F1, sqn, [2]byte(autn[6:8]))
	if err != nil {
		return Result{}, err
	}
	if gba {
		macA = maskGBA(macA, o.IK)
	}
	result := Result{RES: o.RES, CK: o.CK, IK: o.IK}
	if subtle.ConstantTimeCompare(macA[:], autn[8:]) != 1 {
		if u.AcceptForgedAUTN {
			return result, nil
		}
		return Result{}, ErrMAC
	}
	if err := u.sqn.Check(sqn); err != nil {
		return Result{}, syncError(ms, o.AKStar, macS, err)
	}
	next := u.sqn
	next.enter(sqn)
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
