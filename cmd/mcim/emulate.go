package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"mcim/card"
	"mcim/card/device"
	"mcim/card/emul"
	"mcim/card/proc"
	"mcim/card/vpcd"
)

type emulateCmd struct {
	Profile  string   `help:"Profile of the card: TOML with model, iccid, imsi, pin1, puk1, k, opc, amf, sqn, adm1." placeholder:"FILE"`
	Image    string   `help:"File that keeps the card's state; an existing one wins over the profile. Without it the state ends with the command." placeholder:"FILE"`
	Fork     string   `help:"Make the new --image a copy of this one, as it is now: the same card, ICCID and keys. Nothing is replaced." placeholder:"FILE"`
	Count    int      `help:"Play so many cards, up to 16, each in a reader of its own: ICCID and IMSI are counted up, the keys are new." default:"1" placeholder:"N"`
	Profiles string   `help:"Folder for the profile of each card, with its keys: card-01.toml and so on. Those that are there are used." placeholder:"DIR"`
	Card     string   `help:"Play this card in the place of one of a profile: replay:FILE, emul:usim, emul:IMAGE, pcsc:INDEX or pcsc:NAME." placeholder:"URI"`
	Allow    []string `help:"ICCID of the card of --card pcsc:, which others may then write to and spend of." placeholder:"ICCID"`
	VPCD     string   `name:"vpcd" help:"Put the card into the virtual reader that listens there." placeholder:"HOST:PORT" xor:"where" required:""`
	Private  bool     `help:"Start a pcscd of its own and print PCSCLITE_CSOCK_NAME=... for PC/SC programs." xor:"where" required:""`
}

// Help is the long help text.
func (emulateCmd) Help() string {
	return `A profile holds keys: keep it readable for you alone. Values are strings in quotes: model, one
of those below or a file of yours; iccid, imsi, pin1 and puk1 are digits, k, opc, amf, sqn and adm1
hexadecimal without spaces. Optional are mnc_length (a number), algorithm ("milenage"; "tuak" has
topc of 32 bytes in the place of opc, "xor" has neither, nor have "comp128v1" to "comp128v3", which
answer in the GSM context alone), routing (digits of the routing indicator), and suci_scheme
("null", "profile_a", "profile_b") with suci_key_id (a number) and suci_key (the home network's
public key). Numbers, too, are auth_limit (authentications the card ever answers), sqn_entries
(values of IND, 1 to 32; 1 is no IND), sqn_delta and sqn_age_limit (how far SEQ may be ahead of the
highest, and behind it). Codes that a model has besides: pin2 and universal, as pin1 where they are
left out; puk2 and universal_puk, as puk1; adm2 to adm10, as adm1. channel_key (16 or 32 bytes,
hexadecimal) lets the card take a secure channel of ETSI TS 102 484, and channel_limit (a number)
says how many commands one connection carries.

Models: ` + strings.Join(emul.Models(), ", ") + `.

Examples:
  mcim emulate --private --profile card.toml --image card.img
  mcim emulate --private --image card.img
  mcim emulate --private --image copy.img --fork card.img
  mcim emulate --private --count 16 --profile card.toml --profiles cards --image cards/card.img
  mcim emulate --vpcd localhost:35963 --profile card.toml
  mcim emulate --private --card replay:session.jsonl
  mcim emulate --private --card pcsc:0 --allow 8999901000000000013

A model of your own is a TOML file, which the profile names by a path relative to its own:
model = "./mine.toml". It says what files the card has and who may read and update them, "always",
"pin1", "adm", "never" and so on; values are as mcim card dump writes them, and {imsi}, {iccid},
{mcc}, {mnc}, {mnc3}, {msin}, {plmn}, {routing} and {acc} differ from card to card. What it extends
it has too. A wrong one is refused with its line. This is one:

  name = "mine"
  title = "as usim, with another name, a file more and one less"
  extends = "usim"
  rules = "arr"   # or "expanded": access rules in the FCP, and no EF.ARR
  quirks = ["no-pin-status"]  # "no-sfi", "always-61", "no-select-0c" ...
  without = ["MF/EF.UMPC"]
  [[files]]
  path = "ADF.USIM/EF.SPN"
  size = 17
  read = "always"
  update = "adm"
  value = { display = ["plmn_at_home"], name = "lab {plmn}" }
  [[files]]       # of no specification: it needs fid, structure and hex
  path = "ADF.USIM/EF.OWN"
  fid = "6f99"
  structure = "linear fixed"
  record_length = 4
  records = 2
  read = "pin1"
  update = "pin1"
  hex = "0102030405060708"

With emul:./mine.toml as its --card, mcim card dump shows what a card of it looks like.

With the line that --private prints, any PC/SC program reaches the card, from another terminal:
PCSCLITE_CSOCK_NAME=/tmp/mcim-run-pcscd-1/pcscd.comm mcim card info

--fork copies a card image that nobody has open, with a key file of its own, and plays the copy; the
next time leave --fork out. From there on the two change apart. To go back to what a card was, make
a copy, go on with the card, and later fork the copy under a new name. Both are one card with one
ICCID, and each counts its own sequence numbers: let only one of them meet a network.

With --count the first card is that of the profile, and the others are made after it, with the same
PINs and with K, OPc and ADM1 of their own; only --profiles keeps those for you. The readers stand
in the order of the cards, and --image card.img stands for card-01.img, card-02.img and so on. One
pcscd has 16 readers at most: for more cards start the command again.

--card plays a card that is elsewhere. A recording answers what was recorded, in that order, and all
else with 6F00; where, and the first byte that differs, is said on standard error. A reset that was
not recorded begins it anew. A card in a reader (of the pcscd that this command finds) is guarded:
what writes or spends is answered 6985 unless --allow names the card, and so is the last try of a
PIN or PUK, always.

Note: the driver of the virtual reader listens on all addresses of the machine.`
}

// Validate checks the flags before anything is opened.
func (c *emulateCmd) Validate() error {
	switch {
	case c.Count < 1:
		return fmt.Errorf("--count %d: want 1 to %d", c.Count, vpcd.MaxSlots)
	case c.Count > vpcd.MaxSlots:
		return fmt.Errorf("--count %d: one pcscd has %d readers at most; start mcim emulate --private once more for the others", c.Count, vpcd.MaxSlots)
	case c.Count > 1 && !c.Private:
		return fmt.Errorf("--count %d needs --private: --vpcd names one reader, start mcim emulate once for each", c.Count)
	case c.Card != "" && (c.Count > 1 || c.Profile+c.Image+c.Profiles != ""):
		return errors.New("--card is a card that is made already: leave --profile, --image, --profiles and --count out")
	case len(c.Allow) > 0 && c.Card == "":
		return errors.New("--allow is for a card in a reader: --card pcsc:INDEX or pcsc:NAME")
	case c.Profiles != "" && c.Profile == "":
		return errors.New("--profiles keeps what is made after a profile: give --profile FILE too")
	}
	return c.validateWhere()
}

// validateWhere checks what is copied to which image, and the address of the virtual reader.
func (c *emulateCmd) validateWhere() error {
	switch {
	case c.Fork != "" && c.Image == "":
		return errors.New("--fork is copied to a new image: give --image FILE too")
	case c.Fork != "" && (c.Count > 1 || c.Profile != ""):
		return errors.New("--fork copies the one card of an image: leave --profile and --count out")
	case c.VPCD == "":
		return nil
	}
	_, port, err := net.SplitHostPort(c.VPCD)
	if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n == 0 {
		return fmt.Errorf("--vpcd %q: want HOST:PORT, such as localhost:35963", c.VPCD)
	}
	return nil
}

// playing is the output once the cards are in their readers.
type playing struct {
	Socket string        `json:"PCSCLITE_CSOCK_NAME,omitempty"` // of a private pcscd
	Reader string        `json:"reader,omitempty"`              // in a private pcscd, of the first card
	VPCD   string        `json:"vpcd,omitempty"`                // address of the reader of another
	Cards  []playingCard `json:"cards"`                         // in the order of the readers
}

// playingCard is one of the cards.
type playingCard struct {
	Reader  string `json:"reader,omitempty"`
	Card    string `json:"card,omitempty"` // URI, of --card
	ICCID   string `json:"iccid,omitempty"`
	IMSI    string `json:"imsi,omitempty"`    // where a profile tells it
	Image   string `json:"image,omitempty"`   // file
	Profile string `json:"profile,omitempty"` // file

	card card.Card
}

// Run plays the cards.
func (c *emulateCmd) Run(con console, ctx *contextHolder) error {
	start := time.Now()
	cards, err := c.cards(con, ctx)
	defer func() {
		for _, one := range cards {
			_ = one.card.Close()
		}
	}()
	if err != nil {
		return imageError(err)
	}
	rack, err := c.play(ctx, cards)
	switch {
	case ctx.Err() != nil && err != nil:
		return nil // ended while it began
	case err != nil:
		return err
	}
	defer rack.Close()
	for i, p := range rack.Cards {
		cards[i].Reader = p.Reader
	}
	if err := con.printNow(playing{rack.Socket, cards[0].Reader, c.VPCD, cards}, func(w io.Writer) error {
		if !c.Private {
			return nil
		}
		_, err := fmt.Fprintf(w, "PCSCLITE_CSOCK_NAME=%s\n", rack.Socket)
		return err
	}); err != nil {
		return err
	}
	c.tell(con, cards, time.Since(start))
	return wait(con, ctx, rack.Cards)
}

// tell says where the cards are.
func (c *emulateCmd) tell(con console, cards []playingCard, after time.Duration) {
	if len(cards) == 1 {
		con.say("the card is in the reader %s; Ctrl-C takes it out", cmp.Or(c.VPCD, strconv.Quote(cards[0].Reader)))
		return
	}
	con.say("%d cards are in the readers pcsc:0 to pcsc:%d after %d ms; Ctrl-C takes them out", len(cards), len(cards)-1, after.Milliseconds())
	for i, one := range cards {
		con.say("%-7s  ICCID %s  %s", fmt.Sprintf("pcsc:%d", i), one.ICCID, one.Reader)
	}
}

// wait returns when ctx has ended, or when the last card has left its reader, or its
// pcscd has ended.
func wait(con console, ctx context.Context, cards []*device.Played) error {
	type departure struct {
		number int
		why    error
	}
	departures := make(chan departure, len(cards))
	for i, p := range cards {
		go func() { departures <- departure{i + 1, p.Wait(ctx)} }()
	}
	for left := len(cards); ; left-- {
		d := <-departures
		switch {
		case ctx.Err() != nil:
			return nil
		case left == 1, errors.Is(d.why, proc.ErrEnded):
			return fmt.Errorf("the card has left its reader: %w: start mcim emulate again", d.why)
		}
		con.say("card %d has left its reader: %s", d.number, oneLine(d.why))
	}
}

func (c *emulateCmd) play(ctx *contextHolder, cards []playingCard) (*device.Rack, error) {
	list := make([]card.Card, len(cards))
	for i, one := range cards {
		list[i] = one.card
	}
	if c.Private {
		return device.PlayAll(ctx, "", list...)
	}
	p, err := device.Play(ctx, c.VPCD, list[0])
	if err != nil {
		return nil, err
	}
	return &device.Rack{Cards: []*device.Played{p}}, nil
}
