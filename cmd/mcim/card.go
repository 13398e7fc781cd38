package main

import (
	"errors"
	"io/fs"

	"mcim/card/device"
	"mcim/card/emul"
	"mcim/hwtest"
)

type cardCmd struct {
	Info cardInfoCmd `cmd:"" help:"Tell all that a card says of itself, without writing and without spending a try."`
}

type cardInfoCmd struct {
	Card string `help:"Card to read: pcsc:INDEX, pcsc:NAME, emul:usim or emul:IMAGE." placeholder:"URI" default:"pcsc:0"`
}

// Help is the long help text.
func (cardInfoCmd) Help() string {
	return `Reads the answer to reset, ICCID, applications, PIN states and what of the subscription is
readable without a PIN. Nothing is verified, written or authenticated.

Example: mcim card info --card pcsc:0 --json`
}

// Run reads the card.
func (c *cardInfoCmd) Run(con console, ctx *contextHolder) error {
	open, err := device.Open(ctx, c.Card, 0)
	if err != nil {
		return imageError(err)
	}
	defer func() { _ = open.Close() }()
	info, err := hwtest.InspectCard(ctx, open)
	return errors.Join(con.print(info, info.WriteText), err)
}

// imageError marks what is wrong with a file that the caller named.
func imageError(err error) error {
	var other *emul.ICCIDError
	var profile *emul.ProfileError
	if errors.As(err, &other) || errors.As(err, &profile) {
		return usage(err)
	}
	for _, cause := range []error{emul.ErrImageDamaged, emul.ErrImageVersion, emul.ErrImageKey, fs.ErrNotExist, fs.ErrPermission} {
		if errors.Is(err, cause) {
			return usage(err)
		}
	}
	return err
}
