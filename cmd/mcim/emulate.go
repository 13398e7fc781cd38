package main

import (
	"errors"
	"fmt"
	"os"

	"mcim/card/device"
	"mcim/card/emul"
)

type emulateCmd struct {
	Profile string `help:"Profile of the card: TOML with model, iccid, imsi, pin1, puk1, k, opc, amf, sqn, adm1." placeholder:"FILE"`
	Image   string `help:"File that keeps the card's state; an existing one wins over the profile. Without it the state ends with the command." placeholder:"FILE"`
	VPCD    string `name:"vpcd" help:"Put the card into the virtual reader that listens there." placeholder:"HOST:PORT" xor:"where" required:""`
	Private bool   `help:"Start a pcscd of its own and print PCSCLITE_CSOCK_NAME=... for PC/SC programs." xor:"where" required:""`
}

// Help is the long help text.
func (emulateCmd) Help() string {
	return `Plays a software UICC into pcscd until interrupted.

Example: mcim emulate --private --profile card.toml --image card.img
then, with the line that it prints: PCSCLITE_CSOCK_NAME=/tmp/... pcsc_scan

Note: the virtual reader's driver listens on all addresses of the machine.`
}

// Run plays the card.
func (c *emulateCmd) Run(con console, ctx *contextHolder) error {
	card, err := c.card()
	if err != nil {
		return err
	}
	defer func() { _ = card.Close() }()
	played, err := c.play(ctx, card)
	if err != nil {
		return err
	}
	defer played.Close()
	if c.Private {
		_, err = fmt.Fprintf(con.out, "PCSCLITE_CSOCK_NAME=%s\n", played.Socket)
		con.say("reader %q has the card; end with Ctrl-C", played.Reader)
	} else {
		con.say("the reader at %s has the card; end with Ctrl-C", c.VPCD)
	}
	if err != nil {
		return err
	}
	if err := played.Wait(ctx); ctx.Err() == nil {
		return err
	}
	return nil
}

// card opens the image, or makes the card of the profile.
func (c *emulateCmd) card() (*emul.Card, error) {
	var profile *emul.Profile
	if c.Profile != "" {
		p, err := emul.ReadProfile(c.Profile)
		if err != nil {
			return nil, usage(err)
		}
		profile = &p
	}
	switch {
	case c.Image != "":
		return c.open(profile)
	case profile != nil:
		return emul.New(*profile)
	default:
		return nil, usage(errors.New("nothing says which card to play: give --profile FILE, or --image FILE of an earlier one"))
	}
}

func (c *emulateCmd) open(profile *emul.Profile) (*emul.Card, error) {
	if _, err := os.Stat(c.Image); err != nil && profile == nil {
		return nil, usage(fmt.Errorf("no card image %s yet, and no --profile FILE to make it of", c.Image))
	}
	card, err := emul.Open(c.Image, profile)
	var other *emul.ICCIDError
	if errors.As(err, &other) || errors.Is(err, emul.ErrImageDamaged) || errors.Is(err, emul.ErrImageKey) {
		return nil, usage(err)
	}
	return card, err
}

func (c *emulateCmd) play(ctx *contextHolder, card *emul.Card) (*device.Played, error) {
	if !c.Private {
		return device.Play(ctx, c.VPCD, card)
	}
	return device.PlayPrivate(ctx, "", card)
}
