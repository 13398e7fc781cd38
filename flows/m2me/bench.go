package m2me

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/aka"
	"mcim/tpm/mcim"
)

// ErrProfile says that what is told of a card is not what the card shows. Nothing
// was written to it.
var ErrProfile = errors.New("the profile does not fit the card")

// CardKeys is what opens a card.
type CardKeys struct {
	ICCID      string
	PIN1, ADM1 secret.Bytes // 8 bytes each
	// Refused remembers the codes that a card has refused; nil is one of this use
	// alone.
	Refused *card.Refused
}

// Content is a subscription as it is in a card.
type Content struct {
	IMSI   string
	K, OPc secret.Bytes // 16 bytes each
	SQN    aka.SQN      // the highest that the card has accepted
	// Left is what networks have left in the card, by file identifier: the LOCI
	// family, EF.Keys, EF.KeysPS, EF.FPLMN. What is missing is that of a USIM that
	// was never attached.
	Left map[uint16]secret.Bytes
}

// ProveCard finds out whether a card has the subscription that is told of it, and
// writes nothing: the card takes PIN1, has that IMSI, and answers a challenge made
// of K and OPc. The challenge is one that every USIM has seen (SEQ 0), so that it
// answers with AUTS and its sequence number stays where it is (TS 33.102, 6.3.3).
// It spends a PIN try and an AUTHENTICATE. The Content that comes back is the one
// that was told, with the card's own SQN and what is left in it. The error is
// ErrProfile, or that of the Guard or the card.
func ProveCard(ctx context.Context, c card.Card, keys CardKeys, told Content) (Content, error) {
	u := onBench(c, keys, false)
	imsi, err := u.readIMSI(ctx)
	if errors.Is(err, card.ErrWrongPIN) {
		return told, fmt.Errorf("%w: %w; correct pin1 there", ErrProfile, err)
	}
	if err != nil {
		return told, err
	}
	if imsi != told.IMSI {
		return told, fmt.Errorf("%w: the card has IMSI %s, the profile says %s; name the profile of what is in the card now", ErrProfile, imsi, told.IMSI)
	}
	seen, err := u.prove(ctx, told)
	if errors.Is(err, aka.ErrMAC) || errors.Is(err, aka.ErrAUTS) {
		return told, fmt.Errorf("%w: the card refuses a challenge made of its K and OPc; correct k and opc there", ErrProfile)
	}
	if err != nil {
		return told, err
	}
	told.SQN, told.Left = max(told.SQN, seen), map[uint16]secret.Bytes{}
	for _, f := range leftBehind() {
		parts, err := u.parts(ctx, f)
		if err != nil {
			return told, err
		}
		if len(parts) > 0 {
			told.Left[f.FID] = secret.New(bytes.Join(parts, nil))
		}
	}
	return told, nil
}

// prove challenges the card by K and OPc with a sequence number that it has seen,
// and tells its SQN_MS; 0 of a card that does not check sequence numbers. The error
// is aka.ErrMAC or aka.ErrAUTS where the card has other keys.
func (u *inUICC) prove(ctx context.Context, by Content) (aka.SQN, error) {
	block, err := aka.NewAES(by.K)
	if err != nil {
		return 0, err
	}
	milenage, err := aka.NewMilenage(block, by.OPc)
	if err != nil {
		return 0, err
	}
	var random [16]byte
	_, _ = rand.Read(random[:]) // does not fail
	if err := u.start(ctx); err != nil {
		return 0, u.lost(err)
	}
	proof, err := u.guard.ProveKeys(ctx, usim.AIDPrefix(), milenage, random)
	if errors.Is(err, aka.ErrMAC) || errors.Is(err, aka.ErrAUTS) {
		return 0, err
	}
	return proof.SQN, u.lost(err)
}

// CardPlan is what is sent to a card that writes or spends, step by step.
type CardPlan struct {
	Prove  []card.Step // by ProveCard
	Change []card.Step // by P8c.8
	Back   []card.Step // by WriteCard
}

// PlanCard tells what would be sent to a card that writes or spends, and sends
// nothing of it: the Guard makes a dry run. Nothing secret is needed for that.
// Errors are those of the Guard.
func PlanCard(ctx context.Context, c card.Card, iccid string) (CardPlan, error) {
	none := func(n int) secret.Bytes { return secret.New(make([]byte, n)) }
	u := onBench(c, CardKeys{ICCID: iccid, PIN1: none(8), ADM1: none(8)}, true)
	sub := Content{IMSI: "001020000000000", K: none(16), OPc: none(16)}
	if err := u.start(ctx); err != nil {
		return CardPlan{}, err
	}
	if _, err := u.prove(ctx, sub); !errors.Is(err, card.ErrDryRun) {
		return CardPlan{}, err
	}
	p := CardPlan{Prove: u.guard.Plan()}
	if err := u.personalise(ctx, sub); err != nil {
		return p, err
	}
	p.Change = u.guard.Plan()
	_, err := u.prove(ctx, sub)
	if p.Back = u.guard.Plan(); errors.Is(err, card.ErrDryRun) {
		err = nil
	}
	return p, err
}

// WriteCard writes a subscription to a card, as P8c.8 does, without a TRE: for
// who puts back what was in it. That the keys are there is proved by a challenge.
// It spends what the writing of P8c.8 spends, and an AUTHENTICATE. Errors are those
// of the Guard and the card.
func WriteCard(ctx context.Context, c card.Card, keys CardKeys, sub Content) error {
	u := onBench(c, keys, false)
	if err := u.personalise(ctx, sub); err != nil {
		return err
	}
	if _, err := u.prove(ctx, sub); err != nil {
		return fmt.Errorf("the card does not work with what was written: %w", err)
	}
	return nil
}

// onBench is a card in the hands of who knows its codes.
func onBench(c card.Card, keys CardKeys, dryRun bool) *inUICC {
	return &inUICC{session: card.NewSession(c, card.Options{}), allow: []string{keys.ICCID}, dryRun: dryRun, refused: keys.Refused, release: keys.release}
}

func (u *inUICC) personalise(ctx context.Context, sub Content) error {
	if err := u.start(ctx); err != nil {
		return err
	}
	writes, err := u.writes(sub)
	if err != nil {
		return err
	}
	if err := u.verify(ctx, uicc.RefADM1, sealedADM1); err != nil {
		return err
	}
	for _, w := range writes {
		if err := w.do(ctx); err != nil {
			return fmt.Errorf("%s of the card: %w", w.name, err)
		}
	}
	return nil
}

// content is a package's subscription for a card that no network has seen with it.
func content(sub *mcim.Subscription) Content {
	return Content{IMSI: sub.IMSI, K: sub.K, OPc: sub.OPc, SQN: sub.SQN}
}

// release gives what the TRE would give.
func (k CardKeys) release(name string) (secret.Bytes, error) {
	switch name {
	case sealedICCID:
		return secret.New([]byte(k.ICCID)), nil
	case sealedPIN1:
		return k.PIN1, nil
	}
	return k.ADM1, nil
}
