package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/card"
	"mcim/card/device"
	reporting "mcim/hwtest/report"
)

type cardPINCmd struct {
	Status  cardPINStatusCmd  `cmd:"" help:"Show the state and the tries of all PINs and administrative codes."`
	Verify  cardPINVerifyCmd  `cmd:"" help:"Verify a PIN or ADM: is it the right one?"`
	Change  cardPINChangeCmd  `cmd:"" help:"Give a PIN or ADM a new value."`
	Enable  cardPINEnableCmd  `cmd:"" help:"Switch a PIN on."`
	Disable cardPINDisableCmd `cmd:"" help:"Switch a PIN off, or let the universal PIN stand in for it."`
	Unblock cardPINUnblockCmd `cmd:"" help:"Give a PIN a new value and its tries back, by its PUK."`
}

// keyRefs are the names of --key (TS 102 221, 9.5.1, table 9.3), in the order of the
// table that people read.
var keyRefs = []struct {
	name string
	ref  byte
}{
	{"pin1", uicc.RefPIN1}, {"universal", uicc.RefUniversalPIN}, {"pin2", uicc.RefPIN2},
	{"adm1", uicc.RefADM1}, {"adm2", uicc.RefADM1 + 1}, {"adm3", uicc.RefADM1 + 2}, {"adm4", uicc.RefADM1 + 3}, {"adm5", uicc.RefADM1 + 4},
	{"adm6", uicc.RefADM6}, {"adm7", uicc.RefADM6 + 1}, {"adm8", uicc.RefADM6 + 2}, {"adm9", uicc.RefADM6 + 3}, {"adm10", uicc.RefADM6 + 4},
}

// pinTarget are the flags of every command that presents a code.
type pinTarget struct {
	Card         string   `help:"Card: pcsc:INDEX, pcsc:NAME, emul:usim, emul:IMAGE or replay:FILE." placeholder:"URI" default:"pcsc:0"`
	Key          string   `help:"Which one: pin1, universal, pin2, adm1 to adm10." required:"" placeholder:"KEY" enum:"pin1,universal,pin2,adm1,adm2,adm3,adm4,adm5,adm6,adm7,adm8,adm9,adm10"`
	SpendLastTry string   `name:"spend-last-try" help:"Let the last try be spent on the card with this ICCID, or one that the card does not tell." placeholder:"ICCID"`
	Allow        []string `help:"ICCID of a card whose administrative codes may be changed." placeholder:"ICCID"`
	DryRun       bool     `help:"Say what would be sent, and send nothing of it."`
}

// ref is the key reference of --key.
func (t *pinTarget) ref() byte {
	for _, k := range keyRefs {
		if k.name == t.Key {
			return k.ref
		}
	}
	return 0 // kong lets no other name through
}

// isADM tells that --key is an administrative code.
func (t *pinTarget) isADM() bool { return strings.HasPrefix(t.Key, "adm") }

// Flags that name the files with codes.
const (
	flagPIN, flagNewPIN         = "--pin-file", "--new-pin-file"
	flagADMHex, flagNewADMHex   = "--adm-hex-file", "--new-adm-hex-file"
	flagADMText, flagNewADMText = "--adm-text-file", "--new-adm-text-file"
)

// presentedCode is the code of a PIN or ADM. What the bytes of an ADM are, the flag says.
type presentedCode struct {
	PINFile     string `name:"pin-file" help:"File with the PIN: 4 to 8 digits." placeholder:"FILE" xor:"code" required:""`
	ADMHexFile  string `name:"adm-hex-file" help:"File with the ADM in hexadecimal: 16 digits." placeholder:"FILE" xor:"code" required:""`
	ADMTextFile string `name:"adm-text-file" help:"File with the ADM in text: 8 characters." placeholder:"FILE" xor:"code" required:""`
}

func (c *presentedCode) read(t *pinTarget) (secret.Bytes, error) {
	return t.code(codeFile{flagPIN, c.PINFile}, codeFile{flagADMHex, c.ADMHexFile}, codeFile{flagADMText, c.ADMTextFile})
}

// newCode is the code that a PIN or ADM shall have.
type newCode struct {
	NewPINFile     string `name:"new-pin-file" help:"File with the new PIN: 4 to 8 digits." placeholder:"FILE" xor:"new" required:""`
	NewADMHexFile  string `name:"new-adm-hex-file" help:"File with the new ADM in hexadecimal: 16 digits." placeholder:"FILE" xor:"new" required:""`
	NewADMTextFile string `name:"new-adm-text-file" help:"File with the new ADM in text: 8 characters." placeholder:"FILE" xor:"new" required:""`
}

func (c *newCode) read(t *pinTarget) (secret.Bytes, error) {
	return t.code(codeFile{flagNewPIN, c.NewPINFile}, codeFile{flagNewADMHex, c.NewADMHexFile}, codeFile{flagNewADMText, c.NewADMTextFile})
}

// codeFile is a flag and the file that it names, "" where it is not given.
type codeFile struct{ flag, path string }

// code reads the one file that is given: a PIN for a PIN, one of the two forms of an
// ADM for an ADM.
func (t *pinTarget) code(pin, admHex, admText codeFile) (secret.Bytes, error) {
	switch {
	case t.isADM() && pin.path != "":
		return secret.Bytes{}, usage(fmt.Errorf("%s is for a PIN; --key %s is an administrative code: use %s or %s", pin.flag, t.Key, admHex.flag, admText.flag))
	case !t.isADM() && pin.path == "":
		return secret.Bytes{}, usage(fmt.Errorf("--key %s is a PIN: use %s", t.Key, pin.flag))
	case admHex.path != "":
		return admHex.read(uicc.ADMHex)
	case admText.path != "":
		return admText.read(uicc.ADMText)
	}
	return pin.read(uicc.PadPIN)
}

// switched reads the PIN that is to be switched on or off.
func (t *pinTarget) switched(path string) (secret.Bytes, error) {
	if t.isADM() {
		return secret.Bytes{}, usage(fmt.Errorf("--key %s: an administrative code cannot be switched on or off", t.Key))
	}
	return codeFile{flagPIN, path}.read(uicc.PadPIN)
}

// read reads a code; one line end behind it does not count.
func (f codeFile) read(encode func(string) (secret.Bytes, error)) (secret.Bytes, error) {
	b, err := os.ReadFile(f.path)
	if err != nil {
		return secret.Bytes{}, imageError(fmt.Errorf("%s: %w", f.flag, err))
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	code, err := encode(text)
	if err != nil {
		return secret.Bytes{}, usage(fmt.Errorf("%s %s: %w; the file has %d characters", f.flag, f.path, err, len(text)))
	}
	return code, nil
}

// pinResult is what --json prints.
type pinResult struct {
	Steps  []pinStep       `json:"steps"` // what was sent, or with --dry-run would be
	DryRun bool            `json:"dry_run,omitempty"`
	PINs   []card.PINState `json:"pins"` // as they are now
}

// pinStep is a command that presents a code.
type pinStep struct {
	Command     string `json:"command"`
	Key         string `json:"key"`
	TriesBefore *int   `json:"tries_before,omitempty"` // where the card tells them
}

// run does act behind the guard and prints how the key is then.
func (t *pinTarget) run(con console, ctx context.Context, act func(*card.Guard) error) error {
	config := card.GuardConfig{Allow: t.Allow, SpendLastTry: t.SpendLastTry, DryRun: t.DryRun}
	return withGuard(con, ctx, t.Card, config, []byte{t.ref()}, func(g *card.Guard) error {
		if err := g.SelectFor(ctx, t.ref()); err != nil {
			return err
		}
		return act(g)
	})
}

// withGuard opens and resets the card, does act behind its guard, and prints what was sent and how the keys are then.
func withGuard(con console, ctx context.Context, uri string, config card.GuardConfig, refs []byte, act func(*card.Guard) error) error {
	open, err := device.Open(ctx, uri, 0)
	if err != nil {
		return imageError(err)
	}
	defer func() { _ = open.Close() }()
	session := card.NewSession(open, card.Options{})
	atr, err := session.Reset(ctx)
	if err != nil {
		return err
	}
	config.ATR, config.Spare = bytes.Clone(atr), open.Spare
	guard := card.NewGuard(session, config)
	if err = act(guard); err != nil && !answered(err) {
		return err
	}
	pins, lost := guard.PINs(ctx, refs...)
	if lost != nil {
		return errors.Join(err, lost)
	}
	if err != nil {
		err = failing(err)
	}
	result := pinResult{Steps: steps(guard.Plan()), DryRun: config.DryRun, PINs: pins}
	return errors.Join(con.print(result, result.writeText), err)
}

// failing is the error that ends a command which the card or its guard refused.
func failing(err error) error {
	if errors.Is(err, card.ErrNotAllowed) {
		return usage(err) // another command line gets round it
	}
	return failedError{err}
}

// answered tells what a card or its guard answers from a card that is lost.
func answered(err error) bool {
	var guarded *card.RefusalError
	var wrong *card.PINError
	var command *card.CommandError
	return errors.As(err, &guarded) || errors.As(err, &wrong) || errors.As(err, &command) ||
		errors.Is(err, card.ErrNoApplication) || errors.Is(err, card.ErrReadBack) || errors.Is(err, uicc.ErrField)
}

func steps(plan []card.Step) []pinStep {
	list := []pinStep{}
	for _, s := range plan {
		step := pinStep{Command: s.Command, Key: card.KeyName(s.Ref)}
		if s.Tries >= 0 {
			step.TriesBefore = &s.Tries
		}
		list = append(list, step)
	}
	return list
}

// writeText writes what was sent and the table.
func (r pinResult) writeText(w io.Writer) error {
	var b bytes.Buffer
	verb := map[bool]string{false: "sent", true: "would be sent"}[r.DryRun]
	for _, s := range r.Steps {
		fmt.Fprintf(&b, "%s of %s: %s, with tries left: %s\n", s.Command, s.Key, verb, number(s.TriesBefore))
	}
	if r.DryRun {
		b.WriteString("nothing written\n")
	}
	if silent := table(&b, r.PINs); len(silent) > 0 {
		b.WriteString(reporting.Hang("the card tells nothing of: ", strings.Join(silent, ", ")))
	}
	_, err := w.Write(b.Bytes())
	return err
}

// table writes a line for each key of which the card tells something, and gives the
// names of the others.
func table(w io.Writer, pins []card.PINState) (silent []string) {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(t, "KEY\tSTATE\tTRIES\tTRIES OF ITS PUK")
	for _, p := range pins {
		if p.Tries == nil && p.Enabled == nil {
			silent = append(silent, p.Name)
			continue
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", p.Name, state(p), number(p.Tries), number(p.PUKTries))
	}
	_ = t.Flush()
	return silent
}

// state is what is known of a PIN but its counters.
func state(p card.PINState) string {
	var words []string
	if p.Enabled != nil {
		words = append(words, map[bool]string{true: "enabled", false: "disabled"}[*p.Enabled])
	}
	if p.Replaced {
		words = append(words, "the universal PIN stands in")
	}
	switch {
	case p.Tries != nil && *p.Tries == 0:
		words = append(words, "blocked")
	}
	if len(words) == 0 {
		return "-"
	}
	return strings.Join(words, ", ")
}

func number(n *int) string {
	if n == nil {
		return "-"
	}
	return strconv.Itoa(*n)
}

type cardPINStatusCmd struct {
	Card string `help:"Card: pcsc:INDEX, pcsc:NAME, emul:usim, emul:IMAGE or replay:FILE." placeholder:"URI" default:"pcsc:0"`
}

// Help is the long help text.
func (cardPINStatusCmd) Help() string {
	return `Asks for the state of PIN1, the universal PIN, PIN2 and ADM1 to ADM10, and for the tries left of
each and of its PUK. Nothing is presented, so no try is spent. A dash is what the card does not
tell.

Examples:
  mcim card pin status
  mcim card pin status --card emul:card.img --json`
}

// Run shows all.
func (c *cardPINStatusCmd) Run(con console, ctx *contextHolder) error {
	var refs []byte
	for _, k := range keyRefs {
		refs = append(refs, k.ref)
	}
	return withGuard(con, ctx, c.Card, card.GuardConfig{}, refs, func(g *card.Guard) error {
		if err := g.SelectFor(ctx, refs...); !answered(err) {
			return err
		}
		return nil // there is more to tell than what is an application's own
	})
}

type cardPINVerifyCmd struct {
	pinTarget
	presentedCode
}

// pinHelp is what the commands that present a code have in common.
const pinHelp = `Codes come from files, with or without a line end. Before a code is presented, its retry counter is
read: with fewer than 2 tries, or with a counter that the card does not tell, nothing is sent unless
--spend-last-try names the ICCID of this very card. Afterwards the state is read back and shown.
Exit code 1: the code is wrong, or was not presented.`

// Help is the long help text.
func (cardPINVerifyCmd) Help() string {
	return `The card forgets that it was verified when mcim ends. An ADM is given in hexadecimal or in text, by
two flags: nothing is guessed.

` + pinHelp + `

Examples:
  mcim card pin verify --key pin1 --pin-file pin.txt
  mcim card pin verify --key adm1 --adm-hex-file adm.txt --dry-run
  mcim card pin verify --card emul:card.img --key adm1 --adm-text-file adm.txt --json`
}

// Run verifies.
func (c *cardPINVerifyCmd) Run(con console, ctx *contextHolder) error {
	code, err := c.read(&c.pinTarget)
	if err != nil {
		return err
	}
	return c.run(con, ctx, func(g *card.Guard) error { return g.Verify(ctx, c.ref(), code) })
}

type cardPINChangeCmd struct {
	pinTarget
	presentedCode
	newCode
}

// Help is the long help text.
func (cardPINChangeCmd) Help() string {
	return `The old code is presented and the new one set. An administrative code is changed only on a card of a
known model (mcim card info) whose ICCID --allow names.

` + pinHelp + `

Examples:
  mcim card pin change --key pin1 --pin-file old.txt --new-pin-file new.txt
  mcim card pin change --key adm1 --adm-hex-file old.txt --new-adm-hex-file new.txt \
    --allow 8999901000000000013 --dry-run`
}

// Run changes.
func (c *cardPINChangeCmd) Run(con console, ctx *contextHolder) error {
	old, err := c.presentedCode.read(&c.pinTarget)
	if err != nil {
		return err
	}
	fresh, err := c.newCode.read(&c.pinTarget)
	if err != nil {
		return err
	}
	return c.run(con, ctx, func(g *card.Guard) error { return g.Change(ctx, c.ref(), old, fresh) })
}

type cardPINEnableCmd struct {
	pinTarget
	PINFile string `name:"pin-file" help:"File with the PIN: 4 to 8 digits." placeholder:"FILE" required:""`
}

// Help is the long help text.
func (cardPINEnableCmd) Help() string {
	return `From now on files ask for the PIN again.

` + pinHelp + `

Examples:
  mcim card pin enable --key pin1 --pin-file pin.txt
  mcim card pin enable --card emul:card.img --key pin1 --pin-file pin.txt --json`
}

// Run enables.
func (c *cardPINEnableCmd) Run(con console, ctx *contextHolder) error {
	code, err := c.switched(c.PINFile)
	if err != nil {
		return err
	}
	return c.run(con, ctx, func(g *card.Guard) error { return g.Enable(ctx, c.ref(), code) })
}

type cardPINDisableCmd struct {
	pinTarget
	PINFile      string `name:"pin-file" help:"File with the PIN: 4 to 8 digits." placeholder:"FILE" required:""`
	UseUniversal bool   `name:"use-universal" help:"Let the universal PIN stand in for it."`
}

// Help is the long help text.
func (cardPINDisableCmd) Help() string {
	return `From now on files that ask for the PIN are open, or with --use-universal ask for the universal PIN.

` + pinHelp + `

Examples:
  mcim card pin disable --key pin1 --pin-file pin.txt
  mcim card pin disable --key pin1 --pin-file pin.txt --use-universal --dry-run`
}

// Run disables.
func (c *cardPINDisableCmd) Run(con console, ctx *contextHolder) error {
	code, err := c.switched(c.PINFile)
	if err != nil {
		return err
	}
	return c.run(con, ctx, func(g *card.Guard) error { return g.Disable(ctx, c.ref(), code, c.UseUniversal) })
}

type cardPINUnblockCmd struct {
	pinTarget
	PUKFile    string `name:"puk-file" help:"File with the PUK: 8 digits." placeholder:"FILE" required:""`
	NewPINFile string `name:"new-pin-file" help:"File with the new PIN: 4 to 8 digits." placeholder:"FILE" required:""`
}

// Help is the long help text.
func (cardPINUnblockCmd) Help() string {
	return `The PUK is presented, and the PIN gets a new value and its tries back; it is enabled then. The last
wrong PUK cannot be made good by anybody but the issuer.

` + pinHelp + `

Examples:
  mcim card pin unblock --key pin1 --puk-file puk.txt --new-pin-file pin.txt
  mcim card pin unblock --card emul:card.img --key pin1 --puk-file puk.txt --new-pin-file pin.txt`
}

// Run unblocks.
func (c *cardPINUnblockCmd) Run(con console, ctx *contextHolder) error {
	if c.isADM() {
		return usage(fmt.Errorf("--key %s: an administrative code has no PUK", c.Key))
	}
	puk, err := codeFile{"--puk-file", c.PUKFile}.read(uicc.PUK)
	if err != nil {
		return err
	}
	fresh, err := codeFile{flagNewPIN, c.NewPINFile}.read(uicc.PadPIN)
	if err != nil {
		return err
	}
	return c.run(con, ctx, func(g *card.Guard) error { return g.Unblock(ctx, c.ref(), puk, fresh) })
}
