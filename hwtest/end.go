package hwtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"mcim/flows/world"
)

// close ends the lab, and removes a temporary one, after what it changed of
// hardware that is not its own is as before.
func (r *run) close() error {
	if r.world == nil {
		return r.remove(nil)
	}
	var restored error
	if r.temporary && r.changedCard() {
		ctx, cancel := context.WithTimeout(context.Background(), restoreTime)
		defer cancel()
		restored = r.world.RestoreCard(ctx)
		r.report.Environment.Restored = restored == nil && r.lab.Card != ""
	}
	return r.remove(errors.Join(restored, r.world.Close()))
}

// restoreTime bounds the writing back.
const restoreTime = 30 * time.Second

// changedCard says whether the run has written to the card: one that refused a
// PIN or the keys of its profile was left as it was, and stays so.
func (r *run) changedCard() bool { return r.spent.Total().CardWrites > 0 }

// remove removes a temporary lab. Where the card could not be restored it stays:
// the keys that are in the card are there and nowhere else.
func (r *run) remove(err error) error {
	switch {
	case !r.temporary:
		return err
	case r.folder != nil:
		return errors.Join(err, r.folder.Remove())
	case err != nil && r.changedCard():
		return fmt.Errorf("the card in %s may have keys of this run, which are in lab %s: it is kept: %w", r.lab.Card, r.lab.Dir, err)
	case r.world != nil && r.lab.TPM != "":
		removed, rerr := world.Remove(context.Background(), r.lab)
		r.report.Environment.GivenBack = len(removed)
		return errors.Join(err, rerr)
	default:
		return errors.Join(err, os.RemoveAll(r.lab.Dir))
	}
}
