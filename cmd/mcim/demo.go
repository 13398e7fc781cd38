package main

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"mcim/card/emul"
	"mcim/card/model"
	"mcim/flows"
	"mcim/flows/m2me"
	"mcim/flows/world"
	"mcim/hwtest"
	reporting "mcim/hwtest/report"
	"mcim/tpm"
	"mcim/tpm/measure"
)

// hardware are the flags that say what a lab stands on.
type hardware struct {
	Card          string   `help:"The machine's UICC: pcsc:INDEX or pcsc:NAME. Without it: a software UICC behind a private pcscd." placeholder:"URI"`
	TPM           string   `name:"tpm" help:"The machine's TPM: device:PATH, unix:PATH or swtpm:DIR. Without it: a swtpm in the lab." placeholder:"URI"`
	Allow         []string `help:"ICCID of a card that may be written." placeholder:"ICCID"`
	Profile       string   `help:"What the present operator and the maker of --card know of it: TOML as for mcim emulate." placeholder:"FILE"`
	EKRoots       string   `name:"ek-roots" help:"PEM file with the certificates of the TPM makers that are trusted." placeholder:"FILE"`
	BootLog       string   `name:"boot-log" help:"Event log of the machine's boot, where --tpm is not this machine's own." placeholder:"FILE"`
	Register      *uint    `help:"PCR of --tpm that is the TRE's own, where something else uses the default, 14: 10 to 15." placeholder:"N"`
	TakeOwnership string   `name:"take-ownership" help:"Let the TPM with this EK (hash as --dry-run prints it) be taken over." placeholder:"EKHASH"`
}

// config is the lab in dir on that hardware. Mistakes in flags and files are
// usage errors.
func (h hardware) config(dir, command string) (world.Config, error) {
	c := world.Config{Dir: dir, Command: "mcim " + command, Card: h.Card, TPM: h.TPM, Allow: h.Allow, EKRoots: h.EKRoots, BootLog: h.BootLog}
	if h.Profile != "" {
		if h.Card == "" {
			return c, usage(errors.New("--profile describes the card of --card URI: name that too"))
		}
		p, err := emul.ReadProfile(h.Profile)
		if err != nil {
			return c, imageError(err)
		}
		c.Profile = &p
	}
	for flag, file := range map[string]string{"--ek-roots": h.EKRoots, "--boot-log": h.BootLog} {
		if file == "" {
			continue
		}
		if _, err := os.ReadFile(file); err != nil {
			return c, usage(fmt.Errorf("%s: %w", flag, err))
		}
	}
	if h.Register != nil {
		if err := h.checkRegister(); err != nil {
			return c, usage(fmt.Errorf("--register: %w", err))
		}
		c.TPMOptions.Register = *h.Register
	}
	pin, err := hex.DecodeString(h.TakeOwnership)
	if err != nil {
		return c, usage(fmt.Errorf("--take-ownership %q: want the hash of the EK in hexadecimal digits", h.TakeOwnership))
	}
	if len(pin) > 0 {
		c.TPMOptions.TakeOwnership = pin
	}
	return c, nil
}

// checkRegister refuses a PCR that cannot be the TRE's, and one for a TPM that has the
// default free: a swtpm, of the lab or of swtpm:DIR, boots as the lab lets it.
func (h hardware) checkRegister() error {
	if h.TPM == "" || strings.HasPrefix(h.TPM, string(tpm.KindSWTPM)+":") {
		return errors.New("it is for the TPM of a machine, which --tpm has to name; in a swtpm PCR 14 is free")
	}
	return measure.CheckRegister(*h.Register)
}

// software says that no flag names or describes hardware.
func (h hardware) software() bool {
	return h.Card+h.TPM+h.Profile+h.EKRoots+h.BootLog+h.TakeOwnership == "" && len(h.Allow) == 0 && h.Register == nil
}

type demoCmd struct {
	Lab    string `help:"Lab to use; made if it is not there, and kept. Without it: a temporary one." placeholder:"DIR"`
	Out    string `help:"Folder for report.json, trace.jsonl, trace.pcap and log.jsonl; default: demo. An attack without it leaves none." placeholder:"DIR"`
	JUnit  string `name:"junit" help:"Write JUnit XML too." placeholder:"FILE"`
	DryRun bool   `help:"Say what would be spent and written, and send nothing of it."`
	Attack string `help:"Mount an attack instead, on a copy of the lab: platform, replay, redirect or autn. A defence has to stop it: exit code 1." placeholder:"NAME"`
	hardware
}

// defaultOut is where a run leaves its files.
const defaultOut = "demo"

// Help is the long help text.
func (demoCmd) Help() string {
	return `Runs a machine's life: supply (P1), initial connectivity (P2), first provisioning (P4, P5c, P6, P7),
change of subscription with the MCIM in the TPM (P8a) and in the UICC (P8c), each with the proof
that what must not work does not. Exit code 0 only when every verdict is pass.

With --lab it goes on where the lab is: what was cut there is finished, and what it has behind it is
left out.

Examples:
  mcim demo --out demo
  mcim demo --junit demo.xml --json
  mcim demo --attack replay
  mcim demo --card pcsc:0 --tpm device:/dev/tpmrm0 --ek-roots makers.pem \
    --allow 8999901000000000013 --profile card.toml --dry-run

The last one is for hardware and shows the plan. Without --dry-run it proves that the card is the
one of the profile, and changes its subscription. Without --lab it writes back at the end, if it has
written to the card, what was in it, with sequence numbers ahead of those used. Of a run that is
killed the lab stays; the next run with that card names the command that gives it back.

An attack is mounted on a temporary lab or, with --lab, on a copy of that one, which stays as it is.
Its last line is "refused: NAME at STEP: DEFENCE" with exit code 1 if a defence stopped it. With
exit code 3 it is "succeeded: NAME: ..." if none did, "not reached: NAME: ..." if it was over
before, and none of these if there was no lab to attack.`
}

// Validate checks flags against each other.
func (c *demoCmd) Validate() error {
	if c.Attack == "" {
		return nil
	}
	if _, err := flows.FindAttack(c.Attack); err != nil {
		return fmt.Errorf("--attack: %w", err)
	}
	if c.DryRun || !c.software() {
		return errors.New("--attack is for a lab in software: leave --dry-run and all that names hardware out")
	}
	return nil
}

// Run runs the procedures, the dry run or the attack.
func (c *demoCmd) Run(con console, ctx *contextHolder) error {
	config, err := c.config(c.Lab, "demo")
	if err != nil {
		return err
	}
	runner := &hwtest.Runner{Lab: config, Version: version(), Out: c.Out, JUnit: c.JUnit}
	if !con.json {
		runner.Listeners = append(runner.Listeners, reporting.NewChart(con.out))
	}
	switch {
	case c.Attack != "":
		return c.attack(con, ctx, runner)
	case c.DryRun:
		plan, err := runner.Plan(ctx)
		if plan == nil {
			return err
		}
		return errors.Join(con.print(plan, plan.WriteText), err)
	}
	runner.Out = cmp.Or(c.Out, defaultOut)
	result, err := runner.Run(ctx)
	if result == nil {
		return named(err)
	}
	if perr := con.print(result, result.WriteText); err != nil || perr != nil {
		return errors.Join(named(err), perr)
	}
	con.say("report and traces are in %s", runner.Out)
	if result.Verdict != reporting.Pass {
		return errFailed
	}
	return nil
}

// named marks what the caller has not said of the hardware, or not rightly.
func named(err error) error {
	if errors.Is(err, hwtest.ErrNotNamed) || errors.Is(err, m2me.ErrProfile) || errors.Is(err, hwtest.ErrNoHome) {
		return usage(err)
	}
	var layout *model.FileError
	image := errors.As(err, &layout) || errors.Is(err, emul.ErrImageDamaged) || errors.Is(err, emul.ErrImageKey) || errors.Is(err, emul.ErrImageVersion)
	if image && !errors.Is(err, world.ErrDamaged) { // not the lab's own, but one that was named
		return imageError(err)
	}
	return err
}
