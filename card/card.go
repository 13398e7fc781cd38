package card

import (
	"context"
	"errors"
)

// Card is anything that answers command APDUs: a UICC in a reader, the software
// UICC, an MCIM in the TRE, a recorded session.
//
// Transmit sends one command APDU of at least 4 bytes and returns the response
// APDU of at least 2 bytes, as the card gave it: no GET RESPONSE, no repeated
// Le. A status word that tells of a failure is no error. The response is the
// caller's to keep only until the next call. Reset powers the card down and up
// again (cold reset), so that every selection, PIN state and logical channel is
// gone, and returns the answer to reset. Close gives the card back; it is safe
// to call twice.
//
// Implementations return ErrRemoved when the card or its reader is gone,
// ErrTimeout when ctx ended before the answer came, ErrCommand for a command
// that is no APDU, and wrap each of them with what happened and what to try.
// A Card serves one caller at a time; implementations need no lock.
type Card interface {
	Transmit(ctx context.Context, command []byte) ([]byte, error)
	Reset(ctx context.Context) (atr []byte, err error)
	Close() error
}

// Errors that every Card returns for the same cause.
var (
	// ErrRemoved: the card is no longer in the reader, or the reader is gone.
	ErrRemoved = errors.New("card removed")
	// ErrTimeout: no answer within the deadline. The state of the card is
	// unknown; Reset it before the next command.
	ErrTimeout = errors.New("card did not answer in time")
	// ErrCommand: the bytes are no command APDU, nothing was sent.
	ErrCommand = errors.New("not a command APDU")
	// ErrBudget: the command would spend more than may be, nothing was sent. It
	// comes from a bound in front of a Card alone.
	ErrBudget = errors.New("budget is spent")
)
