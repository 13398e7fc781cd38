package main

import (
	"context"
	"errors"

	"mcim/flows/world"
	"mcim/hwtest"
)

// errUnproven ends a command whose result, already printed, is that an attack was
// not refused: exit code 3 and nothing more to say.
var errUnproven = errors.New("the attack was not refused")

// attack mounts the attack and prints what became of it. Exit code 1 is for one
// that was refused, and for nothing else.
func (c *demoCmd) attack(con console, ctx context.Context, runner *hwtest.Runner) error {
	outcome, err := runner.Attack(ctx, c.Attack)
	if errors.Is(err, world.ErrHardware) {
		return usage(err)
	}
	if outcome == nil {
		return err
	}
	if err := errors.Join(err, con.print(outcome, outcome.WriteText)); err != nil {
		return err
	}
	if outcome.Verdict == hwtest.Refused {
		return errFailed
	}
	return errUnproven
}
