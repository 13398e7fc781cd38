//go:build cgo

package pcsc

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"
	"time"

	"github.com/ebfe/scard"

	"mcim/card"
)

// explain turns what the PC/SC library says into an error of this package. What
// is one already stays as it is.
func explain(err error, reader, socket string) error {
	var code scard.Error
	if err == nil || !errors.As(err, &code) {
		return err
	}
	text := func(is error, format string, args ...any) error {
		return &problem{is: []error{is}, text: fmt.Sprintf(format, args...)}
	}
	switch code {
	case scard.ErrNoService, scard.ErrServiceStopped, scard.ErrShutdown, scard.ErrCommError, scard.ErrInvalidHandle:
		return noService(socket)
	case scard.ErrSecurityViolation, scard.ErrNoAccess:
		return text(ErrPermission, "pcscd at %s refuses this user: its polkit rules ask for an active session or a permission, see /usr/share/doc/pcscd/README.polkit, or run as root", socket)
	case scard.ErrUnknownReader, scard.ErrReaderUnavailable, scard.ErrNoReadersAvailable:
		return text(ErrNoReader, "reader %q is gone: plug it in again", reader)
	case scard.ErrNoSmartcard, scard.ErrRemovedCard:
		return text(ErrNoCard, "no card in reader %q: put one in", reader)
	case scard.ErrSharingViolation:
		return text(ErrSharing, "card in reader %q is in use by another program: end it (another mcim, pcsc_scan, scdaemon of GnuPG by gpgconf --kill scdaemon, a browser) and try again", reader)
	case scard.ErrUnresponsiveCard, scard.ErrUnpoweredCard:
		return text(ErrMute, "card in reader %q does not answer to reset: it lies the wrong way round, is dirty, or is broken", reader)
	case scard.ErrProtoMismatch, scard.ErrUnsupportedCard, scard.ErrReaderUnsupported, scard.ErrCardUnsupported:
		return text(ErrProtocol, "card in reader %q offers neither T=0 nor T=1: it is no UICC, or was opened with another protocol; take it out and put it in again", reader)
	case scard.ErrResetCard:
		return text(ErrReset, "card in reader %q was reset by another program, selection and PIN state are lost: reset it and begin anew", reader)
	case scard.ErrNotTransacted:
		return text(ErrTransmission, "reader %q could not exchange the command with the card, whose state is unknown: reset it; if it happens again, clean the contacts", reader)
	default:
		return fmt.Errorf("reader %q: %w", reader, err)
	}
}

// noService finds out why pcscd does not answer.
func noService(socket string) error {
	conn, err := net.DialTimeout("unix", socket, time.Second)
	if err == nil {
		_ = conn.Close()
	}
	is, why := ErrNoService, ""
	switch {
	case err == nil:
		why = "pcscd at " + socket + " ended the connection: it was restarted, or speaks another version; try again, and look at its log"
	case errors.Is(err, fs.ErrPermission):
		is, why = ErrPermission, "no permission for the socket of pcscd, "+socket+": run as a user that has it, or as root"
	case errors.Is(err, syscall.ECONNREFUSED):
		why = "pcscd is not running, its socket " + socket + " is left over: start it (systemctl start pcscd.socket, or pcscd as root)"
	default:
		why = "pcscd is not running, there is no socket at " + socket + ": start it (systemctl start pcscd.socket, or pcscd as root), or name the socket of a private one by " + socketEnv
	}
	return &problem{is: []error{is}, text: why}
}

// removed says that an open card is gone, for a cause that explain found.
func removed(cause error) error {
	return &problem{is: []error{card.ErrRemoved, cause}, text: fmt.Sprintf("%v: %v", card.ErrRemoved, cause)}
}
