package hwtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"

	"mcim/card"
	"mcim/card/device"
	"mcim/card/model"
	"mcim/card/pcsc"
	"mcim/card/proc"
)

// library checks that the program was built with PC/SC.
func (d *doctor) library() {
	version := pcsc.LibraryVersion()
	if version == "" {
		d.lacking(CheckLibrary, true, "this mcim was built without PC/SC", buildPCSC)
		return
	}
	d.ok(CheckLibrary, true, "pcsclite "+version)
}

const buildPCSC = "as root: apt-get install gcc pkg-config libpcsclite-dev; then make build (CGO_ENABLED=1)"

// programPCSCD checks the program that a private PC/SC service is made of.
func (d *doctor) programPCSCD(ctx context.Context) {
	d.program(ctx, CheckPCSCD, d.PCSCD, "pcscd", !d.reader)
}

// program checks that a program is installed and runs.
func (d *doctor) program(ctx context.Context, name, program, pkg string, required bool) {
	path, err := proc.Find(program, pkg)
	if err != nil {
		d.lacking(name, required, "not installed", "as root: apt-get install "+pkg)
		return
	}
	version, err := programVersion(ctx, path)
	if err != nil {
		d.lacking(name, required, fmt.Sprintf("%s does not run: %v", path, err), "as root: apt-get install --reinstall "+pkg)
		return
	}
	d.ok(name, required, version+" at "+path)
}

// programVersion asks a program for its version: what stands behind that word.
// The exit status tells nothing, that of swtpm_setup is 1.
func programVersion(ctx context.Context, path string) (string, error) {
	p, err := proc.Start(ctx, proc.Spec{Path: path, Args: []string{"--version"}})
	if err != nil {
		return "", err
	}
	err = p.Wait(ctx)
	first, _, _ := strings.Cut(p.Output(), "\n")
	_, version, found := strings.Cut(first, "version ")
	if !found {
		return "", cmp.Or(err, errors.New("it does not tell its version"))
	}
	version, _, _ = strings.Cut(version, ",")
	return strings.TrimSuffix(version, "."), nil
}

// driver checks what makes virtual readers.
func (d *doctor) driver() {
	if _, err := os.Stat(d.Driver); err != nil {
		d.lacking(CheckDriver, !d.reader, "the driver is not installed: no "+d.Driver, "as root: apt-get install vsmartcard-vpcd")
		return
	}
	d.ok(CheckDriver, !d.reader, d.Driver)
}

// pcsc checks the service, the permission to use it, the reader and the card.
func (d *doctor) pcsc(ctx context.Context) {
	readers, err := pcsc.Readers(ctx)
	var service, fix string
	switch {
	case errors.Is(err, pcsc.ErrPermission):
		fix = "run as root, or allow this user org.debian.pcsc-lite.access_pcsc and access_card by a polkit rule, " +
			"as /usr/share/doc/pcscd/README.polkit tells"
		d.ok(CheckService, d.reader, "a pcscd is at "+socket())
		d.lacking(CheckPermission, d.reader, account()+" may not use the pcscd at "+socket(), fix)
		d.unknown(CheckPermission, fix, CheckReader, CheckCard)
		return
	case errors.Is(err, pcsc.ErrNoPCSC):
		service, fix = "not known: built without PC/SC", buildPCSC
	case errors.Is(err, pcsc.ErrNoService):
		service, fix = "no pcscd answers at "+socket(), d.startService()
	case err != nil:
		service, fix = err.Error(), d.startService()
	default:
		d.ok(CheckService, d.reader, "pcscd answers at "+socket())
		d.ok(CheckPermission, d.reader, account()+" may use it")
		d.readerAndCard(ctx, readers)
		return
	}
	d.lacking(CheckService, d.reader, service, fix)
	d.unknown(CheckService, fix, CheckPermission, CheckReader, CheckCard)
}

// unknown adds checks that could not be made, with the name and the fix of that
// which kept them from being made.
func (d *doctor) unknown(before, fix string, names ...string) {
	for _, name := range names {
		d.lacking(name, d.reader, "not known before "+before+" is ok, see its fix", fix)
	}
}

// socketEnv is where the PC/SC library finds the socket of pcscd.
const socketEnv = "PCSCLITE_CSOCK_NAME"

func socket() string { return cmp.Or(os.Getenv(socketEnv), "/run/pcscd/pcscd.comm") }

// startService says how pcscd is started on this machine.
func (d *doctor) startService() string {
	if os.Getenv(socketEnv) != "" {
		return "start that pcscd (or mcim emulate) again, or unset " + socketEnv
	}
	start := "pcscd (it goes to the background)"
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		start = "systemctl start pcscd.socket"
	}
	if _, err := proc.Find(d.PCSCD, "pcscd"); err != nil {
		start = "apt-get install pcscd && " + start
	}
	return "as root: " + start
}

func account() string {
	u, err := user.Current()
	if err != nil {
		return fmt.Sprintf("user %d", os.Getuid())
	}
	return "user " + u.Username
}

func (d *doctor) readerAndCard(ctx context.Context, readers []pcsc.Reader) {
	if d.reader {
		d.namedCard(ctx)
		return
	}
	if len(readers) == 0 {
		d.lacking(CheckReader, false, "pcscd sees none", d.plugIn())
		d.unknown(CheckReader, d.plugIn(), CheckCard)
		return
	}
	var names, cards, mute []string
	for _, r := range readers {
		names = append(names, fmt.Sprintf("pcsc:%d %s", r.Index, r.Name))
		switch {
		case r.Mute:
			mute = append(mute, fmt.Sprintf("pcsc:%d", r.Index))
		case r.Card:
			cards = append(cards, fmt.Sprintf("pcsc:%d %s", r.Index, familyName(r.ATR)))
		}
	}
	d.ok(CheckReader, false, strings.Join(names, ", "))
	switch {
	case len(cards) > 0:
		d.ok(CheckCard, false, strings.Join(cards, ", "))
	case len(mute) > 0:
		d.lacking(CheckCard, false, "the card in "+strings.Join(mute, ", ")+" does not answer to reset", turnCard)
	default:
		d.lacking(CheckCard, false, "every reader is empty", insertCard)
	}
}

// Fixes for cards.
const (
	insertCard = "put a card into the reader"
	turnCard   = "take the card out, clean its contacts, and put it in the right way round"
)

func familyName(atr []byte) string {
	guess, err := model.GuessFamily(atr)
	if err != nil {
		return "unknown"
	}
	return guess.Name
}

// plugIn is the fix for a machine without reader.
func (d *doctor) plugIn() string {
	if _, err := os.Stat(d.CCIDDriver); err != nil {
		return "as root: apt-get install libccid (the driver of USB readers), and restart pcscd"
	}
	return "plug a reader in; lsusb has to list it"
}

// namedCard opens the card that the caller named.
func (d *doctor) namedCard(ctx context.Context) {
	c, err := device.Open(ctx, d.Card, 0)
	if errors.Is(err, pcsc.ErrNoReader) {
		fix := "mcim readers lists them; " + d.plugIn()
		d.lacking(CheckReader, true, cause(err), fix)
		d.unknown(CheckReader, fix, CheckCard)
		return
	}
	if err != nil {
		d.ok(CheckReader, true, d.Card)
		found, fix := cardTrouble(err)
		d.lacking(CheckCard, true, found, fix)
		return
	}
	defer func() { _ = c.Close() }()
	d.ok(CheckReader, true, c.Reader)
	atr, err := c.Reset(ctx)
	if err != nil {
		found, fix := cardTrouble(err)
		d.lacking(CheckCard, true, found, fix)
		return
	}
	d.ok(CheckCard, true, fmt.Sprintf("%s, ATR %x", familyName(atr), atr))
}

// cardTrouble tells what is wrong with a card in a reader.
func cardTrouble(err error) (found, fix string) {
	for _, known := range []struct {
		is  error
		fix string
	}{
		{pcsc.ErrNoCard, insertCard},
		{card.ErrRemoved, insertCard},
		{pcsc.ErrSharing, "end the other program: gpgconf --kill scdaemon, pcsc_scan, a browser, another mcim"},
		{pcsc.ErrMute, turnCard},
		{pcsc.ErrProtocol, "use a card that speaks T=0 or T=1: this is no UICC"},
		{card.ErrTimeout, turnCard},
		{pcsc.ErrTransmission, turnCard},
	} {
		if errors.Is(err, known.is) {
			return cause(err), known.fix
		}
	}
	return err.Error(), "mcim readers shows what pcscd sees"
}

// cause cuts the advice off an error of package pcsc, which stands behind a
// colon; the check has its own.
func cause(err error) string {
	text, _, _ := strings.Cut(err.Error(), ": ")
	return text
}
