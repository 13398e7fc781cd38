package hwtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mcim/card/device"
	"mcim/card/model"
	"mcim/flows/world"
	"mcim/tpm"
)

// ErrNotNamed says that hardware is to be used without all that has to be said of
// it: a mistake of the caller. Nothing was sent that writes or spends.
var ErrNotNamed = errors.New("refused")

// ready refuses hardware that the caller names, unless all is said that writing it
// needs: that the card is meant, a model that knows its files, and the keys that
// are in it now; and unless what a run had of it that was cut is given back. known
// says that the lab has the card from before.
func ready(ctx context.Context, c world.Config, known bool) error {
	if err := answers(ctx, c, known); err != nil {
		return err
	}
	if c.Card == "" {
		return settle(ctx, c, "")
	}
	f, err := lookAtCard(ctx, c.Card)
	if err != nil {
		return err
	}
	if f.Model == "" {
		return f.unknown
	}
	if needs := f.needs(c, known); len(needs) > 0 {
		return fmt.Errorf("%w: a run changes the subscription of the card in %s: %s", ErrNotNamed, c.Card, needs[0])
	}
	return settle(ctx, c, f.ICCID)
}

// answers asks a TPM that the caller names who it is, before anything is made for
// it. One of a swtpm: URI is there when it is wanted.
func answers(ctx context.Context, c world.Config, known bool) error {
	if c.TPM == "" || strings.HasPrefix(c.TPM, string(tpm.KindSWTPM)+":") {
		return nil
	}
	t, err := tpm.Open(ctx, c.TPM, tpm.Options{Foreign: true, Timeout: probeTime})
	if err != nil {
		return err
	}
	_, err = t.Info()
	if err = errors.Join(err, t.Close()); err != nil {
		return fmt.Errorf("%s does not answer as a TPM 2.0: %w: name another, mcim doctor --tpm %s tells more", c.TPM, err, c.TPM)
	}
	if c.EKRoots == "" && !known {
		return fmt.Errorf("%w: nothing says which makers of the TPM %s are trusted: name a PEM file of their root certificates by --ek-roots FILE", ErrNotNamed, c.TPM)
	}
	return nil
}

// facts are what a card says of itself to who asks before a run.
type facts struct {
	URI    string `json:"uri"`
	Reader string `json:"reader,omitempty"`
	ATR    string `json:"atr"`
	ICCID  string `json:"iccid"`
	Model  string `json:"model,omitempty"` // by which it may be written

	unknown error // why there is no model
}

// lookAtCard reads a card's model and ICCID.
func lookAtCard(ctx context.Context, uri string) (facts, error) {
	c, err := device.Open(ctx, uri, 0)
	if err != nil {
		return facts{}, err
	}
	defer func() { _ = c.Close() }()
	atr, iccid, err := describe(ctx, c)
	if err != nil {
		return facts{}, err
	}
	f := facts{URI: uri, Reader: c.Reader, ATR: fmt.Sprintf("%x", atr), ICCID: iccid}
	m, err := model.Find(atr)
	if err != nil {
		f.unknown = fmt.Errorf("the card in %s (ICCID %s) cannot be written: %w", uri, iccid, err)
		return f, nil
	}
	f.Model = m.Name
	return f, nil
}

// needs says what a run still has to be told of the card, each with the flag.
func (f facts) needs(c world.Config, known bool) []string {
	var list []string
	if !slices.Contains(c.Allow, f.ICCID) {
		list = append(list, fmt.Sprintf("its ICCID is %s; if it is meant, add --allow %s", f.ICCID, f.ICCID))
	}
	switch {
	case known:
	case c.Profile == nil:
		list = append(list, "its present operator and its maker have to know its keys; add --profile FILE (mcim emulate -h tells the form)")
	case c.Profile.ICCID != f.ICCID:
		list = append(list, fmt.Sprintf("the profile is that of the card with ICCID %s, this one has %s; name the right --profile FILE", c.Profile.ICCID, f.ICCID))
	default:
		if err := world.CheckCard(*c.Profile); err != nil {
			list = append(list, fmt.Sprintf("the card cannot be one of the lab's operator: %v; give it another IMSI first", err))
		}
	}
	return list
}
