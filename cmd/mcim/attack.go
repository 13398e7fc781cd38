package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"mcim/flows"
	"mcim/flows/wire"
	"mcim/flows/world"
	reporting "mcim/hwtest/report"
)

// attacked is the outcome of an attack.
type attacked struct {
	Attack  string `json:"attack"`
	Verdict string `json:"verdict"` // "refused" or "succeeded"
	Step    string `json:"step,omitempty"`
	Defence string `json:"defence,omitempty"`
}

// attack mounts the attack on the lab, or on a temporary one.
func (c *demoCmd) attack(con console, ctx context.Context, config world.Config) error {
	if config.Dir == "" {
		dir, err := os.MkdirTemp("", "mcim-lab-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		config.Dir = dir
	}
	if !con.json {
		config.Meter = world.NewMeter(reporting.NewChart(con.out).Step)
	}
	refusal, err := flows.RunAttack(ctx, config, c.Attack)
	outcome := attacked{Attack: c.Attack, Verdict: "refused", Step: refusal.Step, Defence: refusal.Defence}
	if errors.Is(err, flows.ErrSucceeded) {
		outcome = attacked{Attack: c.Attack, Verdict: "succeeded"}
	} else if err != nil {
		return attackError(con, err)
	}
	return errors.Join(con.print(outcome, outcome.writeText), errFailed)
}

// attackError is a check that failed where a role said no elsewhere, and the
// environment otherwise.
func attackError(con console, err error) error {
	var said *wire.Error
	if errors.As(err, &said) {
		con.say("mcim: error: %s", strings.ReplaceAll(err.Error(), "\n", " "))
		return errFailed
	}
	return err
}

func (a attacked) writeText(w io.Writer) error {
	if a.Verdict != "refused" {
		_, err := fmt.Fprintf(w, "succeeded: %s: no defence acted\n", a.Attack)
		return err
	}
	_, err := fmt.Fprintf(w, "refused: %s at %s: %s\n", a.Attack, a.Step, strings.ReplaceAll(a.Defence, "\n", " "))
	return err
}
