package aka

import (
	"fmt"

	"mcim/apdu/secret"
)

// GSM is A3 and A8 of TS 43.020 under the key of one subscriber: for RAND the
// response SRES and the key Kc. The error is that of the algorithm.
type GSM interface {
	Triplet(rand [16]byte) (sres [4]byte, kc [8]byte, err error)
}

// converted is a GSM over an Algorithm.
type converted struct{ run Run }

// NewGSM is what a USIM with the algorithm a answers in the GSM context: RES and
// CK, IK through the conversion functions c2 and c3 (TS 33.102, 6.8.1.2). It is
// not safe for concurrent use.
func NewGSM(a Algorithm) GSM { return converted{a.Begin()} }

// Triplet implements GSM.
func (c converted) Triplet(rand [16]byte) (sres [4]byte, kc [8]byte, err error) {
	o, _, err := c.run.Start(rand, F1, 0, amfStar)
	if err != nil {
		return sres, kc, err
	}
	return o.RES.SRES(), Kc(o.CK, o.IK), nil
}

// key16 refuses a key of other than 16 bytes; name is that of the key.
func key16(name string, k secret.Bytes) error {
	if k.Len() != keyBytes {
		return fmt.Errorf("%w: %s has %d bytes, want %d", ErrKey, name, k.Len(), keyBytes)
	}
	return nil
}
