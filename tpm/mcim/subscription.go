package mcim

import (
	"errors"
	"fmt"

	"mcim/apdu/secret"
	"mcim/card/aka"
)

// Lengths of keys in bytes.
const (
	keySize    = 16 // K, OPc
	maxOTASize = 32 // KIc, KID
)

// ErrSubscription is returned for a subscription that cannot be.
var ErrSubscription = errors.New("not a subscription")

// Subscription is what makes an MCIM, secrets included.
type Subscription struct {
	IMSI      string       // 6 to 15 digits (TS 23.003, 2.2)
	ICCID     string       // module identity as of a UICC: 18 to 20 digits
	MNCLength int          // 2 or 3
	K         secret.Bytes // 16 bytes; empty once it is in the TPM
	OPc       secret.Bytes // 16 bytes
	AMF       [2]byte
	SQN       aka.SQN      // every entry of the SQN array starts at its SEQ
	KIc, KID  secret.Bytes // OTA keys, optional, both or none, 16 to 32 bytes
}

// body is the form of a Subscription inside HPKE and in the state file.
type body struct {
	IMSI      string  `cbor:"1,keyasint"`
	ICCID     string  `cbor:"2,keyasint"`
	MNCLength int     `cbor:"3,keyasint"`
	K         []byte  `cbor:"4,keyasint,omitempty"`
	OPc       []byte  `cbor:"5,keyasint"`
	AMF       [2]byte `cbor:"6,keyasint"`
	SQN       [6]byte `cbor:"7,keyasint"`
	KIc       []byte  `cbor:"8,keyasint,omitempty"`
	KID       []byte  `cbor:"9,keyasint,omitempty"`
}

func (s *Subscription) body() *body {
	return &body{
		IMSI: s.IMSI, ICCID: s.ICCID, MNCLength: s.MNCLength,
		K: s.K.Reveal(), OPc: s.OPc.Reveal(), AMF: s.AMF, SQN: s.SQN.Bytes(),
		KIc: s.KIc.Reveal(), KID: s.KID.Reveal(),
	}
}

func (b *body) subscription() *Subscription {
	return &Subscription{
		IMSI: b.IMSI, ICCID: b.ICCID, MNCLength: b.MNCLength,
		K: secret.New(b.K), OPc: secret.New(b.OPc), AMF: b.AMF, SQN: aka.SQNFromBytes(b.SQN),
		KIc: secret.New(b.KIc), KID: secret.New(b.KID),
	}
}

// check returns ErrSubscription without repeating any value.
func (b *body) check() error {
	switch {
	case !digits(b.IMSI, 6, 15):
		return fmt.Errorf("%w: IMSI must have 6 to 15 digits", ErrSubscription)
	case !digits(b.ICCID, 18, 20):
		return fmt.Errorf("%w: ICCID must have 18 to 20 digits", ErrSubscription)
	case b.MNCLength != 2 && b.MNCLength != 3:
		return fmt.Errorf("%w: MNC of %d digits, want 2 or 3", ErrSubscription, b.MNCLength)
	case len(b.K) != 0 && len(b.K) != keySize:
		return fmt.Errorf("%w: K of %d bytes, want %d", ErrSubscription, len(b.K), keySize)
	case len(b.OPc) != keySize:
		return fmt.Errorf("%w: OPc of %d bytes, want %d", ErrSubscription, len(b.OPc), keySize)
	case !otaKeys(len(b.KIc), len(b.KID)):
		return fmt.Errorf("%w: OTA keys of %d and %d bytes, want none or both of 16 to 32", ErrSubscription, len(b.KIc), len(b.KID))
	}
	return nil
}

func otaKeys(kic, kid int) bool {
	if kic == 0 && kid == 0 {
		return true
	}
	return min(kic, kid) >= keySize && max(kic, kid) <= maxOTASize
}

func digits(s string, least, most int) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(s) >= least && len(s) <= most
}
