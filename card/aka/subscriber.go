package aka

import "errors"

// ErrSQNExhausted is returned when no SEQ is left. The subscriber needs a new K.
var ErrSQNExhausted = errors.New("all sequence numbers are used up: give the subscriber a new key")

// Subscriber is the authentication centre's end of AKA for one subscription.
// It is not safe for concurrent use.
type Subscriber struct {
	AMF [2]byte // goes into each AUTN; 8000 separates for EPS (TS 33.102, annex H)
	// Delta is the limit for jumps that the USIM applies; 0 is DefaultDelta.
	// It tells Resync whether the next SQN would be accepted.
	Delta uint64

	a     Algorithm
	sqn   SQN
	store func(SQN) error
}

// NewSubscriber continues after sqn, SQN_HE: the last one that was used. store,
// which may be nil, gets each new SQN_HE before the vector is released.
func NewSubscriber(a Algorithm, sqn SQN, amf [2]byte, store func(SQN) error) *Subscriber {
	return &Subscriber{AMF: amf, a: a, sqn: sqn, store: store}
}

// SQN is SQN_HE, the last one used.
func (s *Subscriber) SQN() SQN { return s.sqn }

// Next makes the next vector over rand, which must be fresh and random: SEQ
// grows by one, IND cycles (TS 33.102, C.1.1 and C.1.2). It fails with
// ErrSQNExhausted, or with the error of the store or the algorithm.
func (s *Subscriber) Next(rand [16]byte) (Vector, error) {
	if s.sqn.SEQ() >= MaxSEQ {
		return Vector{}, ErrSQNExhausted
	}
	next, err := NewSQN(s.sqn.SEQ()+1, (s.sqn.IND()+1)%ArraySize)
	if err != nil {
		return Vector{}, err
	}
	v, err := NewVector(s.a, rand, next, s.AMF)
	if err != nil {
		return Vector{}, err
	}
	if err := s.save(next); err != nil {
		return Vector{}, err
	}
	return v, nil
}

// Resync takes an AUTS that answers rand. With a wrong MAC-S it is ErrAUTS and
// nothing changes. SQN_HE becomes SQN_MS only where the USIM would not accept
// the next SQN (TS 33.102, 6.3.5), so that an AUTS sent twice does no harm.
func (s *Subscriber) Resync(rand [16]byte, auts [14]byte) error {
	ms, err := Resync(s.a, rand, auts)
	if err != nil {
		return err
	}
	delta := s.Delta
	if delta == 0 {
		delta = DefaultDelta
	}
	if next := s.sqn.SEQ() + 1; next > ms.SEQ() && next-ms.SEQ() <= delta {
		return nil
	}
	return s.save(ms)
}

func (s *Subscriber) save(sqn SQN) error {
	if s.store != nil {
		if err := s.store(sqn); err != nil {
			return err
		}
	}
	s.sqn = sqn
	return nil
}
