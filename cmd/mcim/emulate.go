package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"

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
	return `A profile holds keys: keep it readable for you alone. Values are strings in quotes: model, one
of "` + strings.Join(emul.Models(), `", "`) + `"; iccid, imsi, pin1 and puk1 are digits, k, opc, amf,
sqn and adm1 hexadecimal without spaces. Optional are mnc_length (a number), algorithm ("milenage";
"tuak" has topc of 32 bytes in the place of opc, "xor" has neither), routing (digits of the routing
indicator), and suci_scheme ("null", "profile_a", "profile_b") with suci_key_id (a number) and
suci_key (the home network's public key). Codes that a model has besides: pin2 and universal, as
pin1 where they are left out; puk2 and universal_puk, as puk1; adm2 to adm10, as adm1.

Examples:
  mcim emulate --private --profile card.toml --image card.img
  mcim emulate --private --image card.img
  mcim emulate --vpcd localhost:35963 --profile card.toml

With the line that --private prints, any PC/SC program reaches the card, from another terminal:
PCSCLITE_CSOCK_NAME=/tmp/mcim-run-pcscd-1/pcscd.comm mcim card info

Note: the driver of the virtual reader listens on all addresses of the machine.`
}

// Validate checks the address before anything is opened.
func (c *emulateCmd) Validate() error {
	if c.VPCD == "" {
		return nil
	}
	_, port, err := net.SplitHostPort(c.VPCD)
	if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n == 0 {
		return fmt.Errorf("--vpcd %q: want HOST:PORT, such as localhost:35963", c.VPCD)
	}
	return nil
}

// playing is the output once the card is in the reader.
type playing struct {
	Socket string `json:"PCSCLITE_CSOCK_NAME,omitempty"` // of a private pcscd
	Reader string `json:"reader,omitempty"`              // in a private pcscd
	VPCD   string `json:"vpcd,omitempty"`                // address of the reader of another
}

// Run plays the card.
func (c *emulateCmd) Run(con console, ctx *contextHolder) error {
	card, err := c.card()
	if err != nil {
		return imageError(err)
	}
	defer func() { _ = card.Close() }()
	played, err := c.play(ctx, card)
	switch {
	case ctx.Err() != nil && err != nil:
		return nil // ended while it began
	case err != nil:
		return err
	}
	defer played.Close()
	if err := con.printNow(playing{played.Socket, played.Reader, c.VPCD}, func(w io.Writer) error {
		if !c.Private {
			return nil
		}
		_, err := fmt.Fprintf(w, "PCSCLITE_CSOCK_NAME=%s\n", played.Socket)
		return err
	}); err != nil {
		return err
	}
	con.say("the card is in the reader %s; Ctrl-C takes it out", cmp.Or(c.VPCD, strconv.Quote(played.Reader)))
	if err := played.Wait(ctx); ctx.Err() == nil {
		return fmt.Errorf("the card has left its reader: %w: start mcim emulate again", err)
	}
	return nil
}

// card opens the image, or makes the card of the profile.
func (c *emulateCmd) card() (*emul.Card, error) {
	var profile *emul.Profile
	if c.Profile != "" {
		p, err := emul.ReadProfile(c.Profile)
		if err != nil {
			return nil, err
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
	if _, err := os.Stat(c.Image); errors.Is(err, fs.ErrNotExist) && profile == nil {
		return nil, usage(fmt.Errorf("no card image %s yet, and no --profile FILE to make it of", c.Image))
	}
	return emul.Open(c.Image, profile)
}

func (c *emulateCmd) play(ctx *contextHolder, card *emul.Card) (*device.Played, error) {
	if !c.Private {
		return device.Play(ctx, c.VPCD, card)
	}
	return device.PlayPrivate(ctx, "", card)
}
