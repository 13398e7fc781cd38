package m2me

import (
	"context"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/card"
	"mcim/tpm/mcim"
)

// PlanCard tells what P8c.8 would send to a card that writes or spends, in its
// order, and sends nothing of it: the Guard makes a dry run. Nothing secret is
// needed for that. Errors are those of the Guard.
func PlanCard(ctx context.Context, c card.Card, iccid string) ([]card.Step, error) {
	placeholder := func(n int) secret.Bytes { return secret.New(make([]byte, n)) }
	u := &UICC{
		session: card.NewSession(c, card.Options{}), allow: []string{iccid}, dryRun: true,
		secrets: &cardSecrets{iccid: iccid, pin1: placeholder(8), adm1: placeholder(8)},
	}
	if err := u.start(ctx); err != nil {
		return nil, err
	}
	if err := u.guard.Verify(ctx, uicc.RefADM1, u.secrets.adm1); err != nil {
		return nil, err
	}
	writes, err := u.writes(&mcim.Subscription{IMSI: "001020000000000", K: placeholder(16), OPc: placeholder(16)})
	if err != nil {
		return nil, err
	}
	for _, w := range writes {
		if err := w.do(ctx); err != nil {
			return u.guard.Plan(), err
		}
	}
	return u.guard.Plan(), nil
}
