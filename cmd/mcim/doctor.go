package main

import "mcim/hwtest"

type doctorCmd struct {
	Card string `help:"Card that a run is meant for: with pcsc:INDEX or pcsc:NAME, service, permission, reader and card are required." placeholder:"URI"`
	TPM  string `name:"tpm" help:"TPM that a run is meant for: with device:PATH or unix:PATH it is required, and swtpm is not." placeholder:"URI"`
}

// Help is the long help text.
func (doctorCmd) Help() string {
	return `Looks at PC/SC library, pcscd, virtual reader, PC/SC service, permission, reader, card, swtpm,
swtpm_setup and TPM, and changes nothing. What a run in software needs is required: library, pcscd,
virtual reader, swtpm, swtpm_setup; name the hardware to ask for that instead. Exit code 3 tells
that something required is not there.

Examples:
  mcim doctor
  mcim doctor --card pcsc:0
  mcim doctor --card pcsc:0 --tpm device:/dev/tpmrm0 --json`
}

// Run makes the checks.
func (c *doctorCmd) Run(con console, ctx *contextHolder) error {
	d, err := hwtest.Diagnose(ctx, hwtest.Machine{Card: c.Card, TPM: c.TPM})
	if err != nil {
		return err
	}
	if err := con.print(d, d.WriteText); err != nil {
		return err
	}
	if !d.Ready {
		return errNotReady
	}
	return nil
}
