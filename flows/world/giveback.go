package world

import (
	"context"
	"errors"

	"mcim/apdu/uicc"
	"mcim/card/aka"
	"mcim/flows/m2me"
	"mcim/flows/store"
	"mcim/tpm"
	"mcim/tpm/mcim"
)

// RestoreCard writes back to a card that the caller named what its profile says
// was in it: of a lab that is removed, the keys that the card has now are lost.
// Sequence numbers do not go back. It does nothing for the lab's own card.
func (w *World) RestoreCard(ctx context.Context) error {
	p := w.config.Profile
	if w.config.Card == "" || p == nil {
		return nil
	}
	pin1, err := uicc.PadPIN(string(p.PIN1.Reveal()))
	if err != nil {
		return err
	}
	sqn, err := aka.NewSQN(p.SQN.SEQ()+usedSEQ, p.SQN.IND())
	if err != nil {
		return err
	}
	return m2me.WriteCard(ctx, w.tapped, m2me.CardKeys{ICCID: p.ICCID, PIN1: pin1, ADM1: p.ADM1},
		&mcim.Subscription{IMSI: p.IMSI, K: p.K, OPc: p.OPc, SQN: sqn})
}

// usedSEQ is more than the sequence numbers that a run uses of the old K: the
// restored card accepts none of them once more, and its operator, who may be
// behind, learns of it by AUTS.
const usedSEQ = 32

// Remove gives back to the TPM what a lab has in it, and deletes the lab. What was
// given back is listed also where something else failed; then the lab is still
// there.
func Remove(ctx context.Context, c Config) ([]tpm.Removed, error) {
	var removed []tpm.Removed
	err := withTPM(ctx, c, func(t *tpm.TPM) (err error) {
		removed, err = t.Release()
		return err
	})
	if err != nil {
		return removed, err
	}
	lab, err := store.OpenLab(c.Dir, c.Command)
	if err != nil {
		return removed, err
	}
	return removed, lab.Remove()
}

// withTPM opens a lab and its TPM alone, if it has one, for use.
func withTPM(ctx context.Context, c Config, use func(*tpm.TPM) error) (err error) {
	w, err := openLab(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := w.openStores(ctx); err != nil {
		return err
	}
	known, err := w.device(ctx)
	if err != nil || !known.Claimed {
		return err
	}
	t, err := tpm.Open(ctx, w.tpmURI(known), w.tpmOptions(known))
	if err != nil {
		return err
	}
	return errors.Join(use(t), t.Close())
}
