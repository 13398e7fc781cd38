package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"mcim/flows/world"
	"mcim/hwtest"
	reporting "mcim/hwtest/report"
	"mcim/tpm"
)

type labCmd struct {
	Init   labInitCmd   `cmd:"" help:"Make a lab: roles with their keys and stores, two home operators, one machine supplied by P1."`
	Status labStatusCmd `cmd:"" help:"Show what is in a lab."`
	Remove labRemoveCmd `cmd:"" help:"Give back what the lab has in the TPM, and delete the lab."`
}

// labDir names the lab folder.
type labDir struct {
	Lab string `help:"Folder of the lab; default: $XDG_STATE_HOME/mcim, or ~/.local/state/mcim." placeholder:"DIR"`
}

// dir is the folder of --lab, or the default.
func (l labDir) dir() (string, error) {
	if l.Lab != "" {
		return l.Lab, nil
	}
	state, err := hwtest.StateDir()
	if err != nil {
		return "", usage(err)
	}
	return filepath.Join(state, "mcim"), nil
}

type labInitCmd struct {
	labDir
	hardware
}

// Help is the long help text.
func (labInitCmd) Help() string {
	return `The machine's AK is certified, its provisional identity (PCID) is in its TPM, and its subscriber
has contracted a home operator: mcim demo --lab DIR goes on from there.

Examples:
  mcim lab init --lab /tmp/lab
  mcim lab init --lab /tmp/lab --card pcsc:0 --allow 8999901000000000013 --profile card.toml`
}

// Run makes the lab.
func (c *labInitCmd) Run(con console, ctx *contextHolder) error {
	dir, err := c.dir()
	if err != nil {
		return err
	}
	config, err := c.config(dir, "lab init")
	if err != nil {
		return err
	}
	if !con.json {
		config.Meter = world.NewMeter(reporting.NewChart(con.out).Step)
	}
	if err := hwtest.MakeLab(ctx, config); err != nil {
		return named(err)
	}
	return showLab(con, ctx, config)
}

type labStatusCmd struct{ labDir }

// Help is the long help text.
func (labStatusCmd) Help() string {
	return `Operators, machine, card, what the lab has in the TPM, subscriptions, and orders that are not over.
Nothing is changed.

Examples:
  mcim lab status --lab /tmp/lab
  mcim lab status --lab /tmp/lab --json`
}

// Run shows the lab.
func (c *labStatusCmd) Run(con console, ctx *contextHolder) error {
	dir, err := c.dir()
	if err != nil {
		return err
	}
	return showLab(con, ctx, world.Config{Dir: dir, Command: "mcim lab status"})
}

// showLab prints what is in the lab; what is in its TPM too, if that is there.
func showLab(con console, ctx context.Context, config world.Config) error {
	status, err := world.Look(ctx, config)
	if err != nil {
		return err
	}
	err = world.LookTPM(ctx, config, &status)
	return errors.Join(con.print(status, func(w io.Writer) error { return writeStatus(w, status) }), err)
}

func writeStatus(w io.Writer, s world.Status) error {
	var b strings.Builder
	say := func(label, format string, args ...any) {
		b.WriteString(reporting.Hang(fmt.Sprintf("%-14s", label), fmt.Sprintf(format, args...)))
	}
	say("lab", "%s", s.Dir)
	say("roles", "%s", strings.Join(s.Roles, ", "))
	for _, o := range s.Operators {
		say("operator", "%s, PLMN %s", o.Role, o.PLMN)
	}
	say("machine", "%s, %s", s.Machine.Role, machineState(s.Machine))
	if s.Card != "" {
		say("card", "%s", s.Card)
	}
	if s.TPM.URI == "" {
		say("TPM", "none yet")
	} else {
		say("TPM", "%s: %s, PCR %d", s.TPM.URI, s.TPM.Range, s.TPM.Register)
	}
	for _, h := range s.TPM.Occupied {
		say("", "%s  %s", h.Handle, h.What)
	}
	for _, x := range s.Subscriptions {
		say("subscription", "%s at %s, %s in %s, ICCID %s", x.IMSI, x.Operator, x.State, x.Placement, x.ICCID)
	}
	for _, o := range s.Orders {
		say("open order", "%s %s for %s, %d steps done", o.Procedure, o.Order, o.Machine, len(o.Done))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func machineState(m world.MachineStatus) string {
	switch {
	case m.Subscribed:
		return "subscribed"
	case m.Supplied:
		return "supplied, not yet subscribed"
	default:
		return "not supplied"
	}
}

type labRemoveCmd struct {
	labDir
	Card      string `help:"Where the lab's card is, if it is in another reader now." placeholder:"URI"`
	LeaveCard bool   `help:"Leave the card with the keys of the lab, which are lost."`
}

// Help is the long help text.
func (labRemoveCmd) Help() string {
	return `Hardware that is not the lab's own gets back what it had. A card that the lab wrote gets its IMSI,
K, OPc and location of before, with sequence numbers ahead of those used, for which PIN1 and ADM1
are verified; a TPM gets its NV indices and handles.

Examples:
  mcim lab remove --lab /tmp/lab`
}

// returned is an NV index or handle that the TPM has back.
type returned struct {
	Handle string `json:"handle"`
	What   string `json:"what"`
	Error  string `json:"error,omitempty"` // why it is still there
}

// removal is the result of a removal.
type removal struct {
	Card bool       `json:"card_restored"`
	TPM  []returned `json:"tpm"`
}

// Run removes the lab.
func (c *labRemoveCmd) Run(con console, ctx *contextHolder) error {
	dir, err := c.dir()
	if err != nil {
		return err
	}
	back, err := world.Remove(ctx, world.Config{Dir: dir, Command: "mcim lab remove", Card: c.Card, LeaveCard: c.LeaveCard})
	result := removal{back.Card, handles(back.TPM)}
	if err != nil && !result.Card && len(result.TPM) == 0 {
		return err
	}
	return errors.Join(con.print(result, func(w io.Writer) error {
		if result.Card {
			_, _ = fmt.Fprintln(w, "the card has its subscription of before")
		}
		for _, r := range result.TPM {
			if r.Error != "" {
				_, _ = fmt.Fprintf(w, "%s  %s: still there: %s\n", r.Handle, r.What, r.Error)
				continue
			}
			_, _ = fmt.Fprintf(w, "%s  %s: given back\n", r.Handle, r.What)
		}
		if err == nil {
			_, _ = fmt.Fprintf(w, "lab %s removed\n", dir)
		}
		return nil
	}), err)
}

func handles(removed []tpm.Removed) []returned {
	list := []returned{}
	for _, r := range removed {
		one := returned{Handle: fmt.Sprintf("%#08x", uint32(r.Handle)), What: r.What}
		if r.Err != nil {
			one.Error = r.Err.Error()
		}
		list = append(list, one)
	}
	return list
}
