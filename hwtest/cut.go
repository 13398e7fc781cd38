package hwtest

import (
	"context"
	"fmt"
	"time"
)

// probeTime bounds the look at the devices after a failure.
const probeTime = 5 * time.Second

// environment tells whether a failure is that of the environment: an interrupt, a
// card that was pulled out, a pcscd or a TPM that is gone, a damaged lab. Otherwise
// it is nil, and the failure a verdict.
func (r *run) environment(ctx context.Context, c Case, failure error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s was cut: %w", c.ID, ctx.Err())
	}
	if r.world == nil { // it was not opened, for want of budget
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	for _, look := range []func(context.Context) error{r.card, r.tpm} {
		if err := look(ctx); err != nil {
			return fmt.Errorf("%s was cut: %w: %s", c.ID, err, r.again())
		}
	}
	if r.spent.Refused() != nil { // the look at the files may count in the TPM
		return nil
	}
	if err := r.world.Damage(failure); err != nil {
		return fmt.Errorf("%s was cut: %w", c.ID, err)
	}
	return nil
}

func (r *run) card(ctx context.Context) error {
	_, err := r.world.Device.Reset(ctx)
	return r.world.Played.Cause(err)
}

func (r *run) tpm(context.Context) error {
	_, err := r.world.TPM.Info()
	return err
}

// again is what to do after a cut.
func (r *run) again() string {
	if r.temporary {
		return "start the run again"
	}
	return "start the run again, it goes on with the lab"
}
