package hwtest

import (
	"context"
	"errors"

	"mcim/flows"
	"mcim/flows/world"
)

// MakeLab makes a lab and supplies its machine (P1). After an error nothing of it
// is left, except what a TPM that cannot be reached any more would not give back.
func MakeLab(ctx context.Context, c world.Config) error {
	if err := ready(ctx, c, false); err != nil {
		return err
	}
	w, err := world.Create(ctx, c)
	if err != nil {
		return err
	}
	err = errors.Join(flows.NewRun(w).Supply(ctx), w.Close())
	if err == nil {
		return nil
	}
	_, rerr := world.Remove(context.WithoutCancel(ctx), c)
	return errors.Join(err, rerr)
}
