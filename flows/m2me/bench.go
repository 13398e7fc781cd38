package m2me

import (
	"context"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/card"
	"mcim/tpm/mcim"
)

// CardKeys is what opens a card.
type CardKeys struct {
	ICCID      string
	PIN1, ADM1 secret.Bytes // 8 bytes each
}

// PlanCard tells what P8c.8 would send to a card that writes or spends, in its
// order, and sends nothing of it: the Guard makes a dry run. Nothing secret is
// needed for that. Errors are those of the Guard.
func PlanCard(ctx context.Context, c card.Card, iccid string) ([]card.Step, error) {
	none := func(n int) secret.Bytes { return secret.New(make([]byte, n)) }
	return personalise(ctx, c, CardKeys{iccid, none(8), none(8)}, true,
		&mcim.Subscription{IMSI: "001020000000000", K: none(16), OPc: none(16)})
}

// WriteCard writes a subscription to a card, as P8c.8 does, without a TRE: for
// who puts back what was in it. Errors are those of the Guard.
func WriteCard(ctx context.Context, c card.Card, keys CardKeys, sub *mcim.Subscription) error {
	_, err := personalise(ctx, c, keys, false, sub)
	return err
}

func personalise(ctx context.Context, c card.Card, keys CardKeys, dryRun bool, sub *mcim.Subscription) ([]card.Step, error) {
	u := &inUICC{session: card.NewSession(c, card.Options{}), allow: []string{keys.ICCID}, dryRun: dryRun, release: keys.release}
	if err := u.start(ctx); err != nil {
		return nil, err
	}
	writes, err := u.writes(sub)
	if err != nil {
		return nil, err
	}
	if err := u.verify(ctx, uicc.RefADM1, sealedADM1); err != nil {
		return nil, err
	}
	for _, w := range writes {
		if err := w.do(ctx); err != nil {
			return u.guard.Plan(), err
		}
	}
	return u.guard.Plan(), nil
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
