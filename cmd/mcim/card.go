package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"mcim/card/device"
	"mcim/card/emul"
	"mcim/card/model"
	"mcim/card/trace"
	"mcim/hwtest"
)

type cardCmd struct {
	Info    cardInfoCmd    `cmd:"" help:"Tell all that a card says of itself, without writing and without spending a try."`
	Dump    cardDumpCmd    `cmd:"" help:"Write the whole card as one JSON document."`
	Diff    cardDiffCmd    `cmd:"" help:"Compare two dumps or cards, field by field."`
	Plan    cardPlanCmd    `cmd:"" help:"Show what a document of changes would change, and which rights that needs."`
	Apply   cardApplyCmd   `cmd:"" help:"Change files as a document says, with an undo file; resume or undo that."`
	Lint    cardLintCmd    `cmd:"" help:"Tell why a card does not register: judge what is on it by rules."`
	Auth    cardAuthCmd    `cmd:"" help:"Let a card authenticate in all contexts, and compare with its keys."`
	APDU    cardAPDUCmd    `cmd:"" name:"apdu" help:"Send raw APDUs and explain the answers."`
	Shell   cardShellCmd   `cmd:"" help:"Take the commands of mcim card, and a few more, line by line on one open card."`
	PIN     cardPINCmd     `cmd:"" name:"pin" help:"Show, verify, change, enable, disable and unblock PINs and administrative codes."`
	Toolkit cardToolkitCmd `cmd:"" help:"Play the terminal to what a card asks for, and print it in words."`
}

type cardInfoCmd struct {
	Card  string `help:"Card to read: pcsc:INDEX, pcsc:NAME, emul:usim, emul:IMAGE or replay:FILE." placeholder:"URI" default:"pcsc:0"`
	Probe bool   `help:"Also ask for applications that EF.DIR leaves out, commands, logical channels and long lengths."`
}

// Help is the long help text.
func (cardInfoCmd) Help() string {
	return `Reads the answer to reset, ICCID, applications, PIN states and what of the subscription is
readable without a PIN. --probe selects each application and sends reading commands with
parameters that a card has to refuse. Nothing is verified, written or authenticated.

Examples:
  mcim card info
  mcim card info --card pcsc:1 --json
  mcim card info --card 'pcsc:ACS ACR39U'
  mcim card info --probe
  mcim card info --card emul:card.img`
}

// Run reads the card.
func (c *cardInfoCmd) Run(con console, ctx *contextHolder) error {
	open, err := device.Open(ctx, c.Card, 0)
	if err != nil {
		return imageError(err)
	}
	defer func() { _ = open.Close() }()
	info, err := hwtest.InspectCard(ctx, open)
	if c.Probe && err == nil {
		info.Probe, err = probe(ctx, open, info)
	}
	return errors.Join(con.print(info, info.WriteText), err)
}

func probe(ctx context.Context, c *device.Card, info hwtest.CardInfo) (*hwtest.CardProbe, error) {
	p, err := hwtest.ProbeCard(ctx, c, info)
	return &p, err
}

// imageError marks what is wrong with a file that the caller named, and says
// what to try where the cause alone does not.
func imageError(err error) error {
	var other *emul.ICCIDError
	var profile *emul.ProfileError
	var recording *trace.FileError
	var layout *model.FileError
	switch {
	case errors.As(err, &other), errors.As(err, &profile), errors.As(err, &recording), errors.As(err, &layout),
		errors.Is(err, emul.ErrImageVersion), errors.Is(err, emul.ErrImageKey):
		return usage(err)
	case errors.Is(err, emul.ErrImageDamaged):
		return usage(fmt.Errorf("%w; put a copy of it back, or remove it to start anew from a profile", err))
	case errors.Is(err, fs.ErrExist):
		return usage(err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.ENOTDIR):
		return usage(fmt.Errorf("%w; check the path and who may use it", err))
	default:
		return err
	}
}
