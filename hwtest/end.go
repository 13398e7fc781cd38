package hwtest

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// close ends the lab, and removes a temporary one, after what it changed of
// hardware that is not its own is as before.
func (r *run) close() error {
	switch {
	case r.world == nil:
		return r.discard()
	case !r.temporary:
		return r.world.Close()
	case r.folder != nil:
		return errors.Join(r.world.Close(), r.discard())
	}
	ctx, cancel := context.WithTimeout(context.Background(), giveBackTime)
	defer cancel()
	back, err := r.world.GiveBack(ctx, !r.changedCard())
	r.report.Environment.Restored, r.report.Environment.GivenBack = back.Card, len(back.TPM)
	if err != nil && r.changedCard() && !back.Card {
		return fmt.Errorf("the card in %s may have keys of this run; when it can be reached again: mcim lab remove --lab %s: %w", r.lab.Card, r.lab.Dir, err)
	}
	return err
}

// giveBackTime bounds the giving back.
const giveBackTime = time.Minute

// changedCard says whether the run has written to the card: one that refused a
// PIN or the keys of its profile was left as it was, and stays so.
func (r *run) changedCard() bool { return r.spent.Total().CardWrites > 0 }

// discard deletes the folder of a temporary lab in software. What could not be made
// on other hardware has removed itself, or is kept for what it owes.
func (r *run) discard() error {
	if r.folder == nil {
		return nil
	}
	return r.folder.Remove()
}
