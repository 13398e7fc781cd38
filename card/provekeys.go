package card

import (
	"context"
	"errors"
	"fmt"

	"mcim/card/aka"
)

// KeyProof is what a card has shown of its keys.
type KeyProof struct {
	// SQN is SQN_MS, the highest sequence number that the card has accepted; 0 where
	// Unchecked.
	SQN aka.SQN
	// Unchecked: the card answered RES to a sequence number that it had seen. It does
	// not check them.
	Unchecked bool
}

// proofAMF is the AMF of the challenge: with the separation bit, so that it is good for
// EPS and 5G too (TS 33.102, annex H).
var proofAMF = [2]byte{0x80, 0}

// ProveKeys finds out whether the application app, of a USIM or ISIM, has the keys of a,
// without spending a sequence number: it sends a challenge over rand with SEQ 0, which
// every card has seen. A card that shares the keys finds MAC-A right and answers AUTS,
// whose MAC-S proves K and OPc once more and whose content is SQN_MS (TS 33.102, 6.3.3
// and 6.3.5).
//
// The application's PIN has to be verified before. Other keys are aka.ErrMAC (the card
// refuses MAC-A with 9862, or answers another RES) or aka.ErrAUTS (MAC-S is wrong). In
// a dry run nothing is sent, and the error is a *RefusalError with ErrDryRun. Any
// other status word is a *CommandError, a malformed answer usim.ErrAuthenticate.
func (g *Guard) ProveKeys(ctx context.Context, app []byte, a aka.Algorithm, rand [16]byte) (KeyProof, error) {
	v, err := aka.NewVector(a, rand, 0, proofAMF)
	if err != nil {
		return KeyProof{}, err
	}
	result, err := g.AKA(ctx, app, v)
	var sync *aka.SyncError
	switch {
	case errors.As(err, &sync):
		seen, err := aka.Resync(a, rand, sync.AUTS)
		return KeyProof{SQN: seen}, err
	case err != nil:
		return KeyProof{}, err
	case result.RES != v.XRES:
		return KeyProof{}, fmt.Errorf("%w: the card answered another RES", aka.ErrMAC)
	}
	return KeyProof{Unchecked: true}, nil
}

// errSyncByCard is the reason in an AUTS that came from a card, which does not tell
// which of the three it was.
var errSyncByCard = errors.New("the card does not accept the SQN")
