package uicc

import (
	"errors"
	"fmt"
	"time"

	"mcim/apdu"
	"mcim/apdu/secret"
)

// INSSuspend is the instruction byte of SUSPEND UICC; its class is 80.
const INSSuspend byte = 0x76

// P1 of SUSPEND UICC (TS 102 221, 11.1.22).
const (
	P1Suspend byte = 0x00
	P1Resume  byte = 0x01
)

const (
	// TokenBytes is the size of a resume token.
	TokenBytes = 8

	durationBytes = 2
	maxUnits      = 255 // what the length byte of a duration can tell
)

// units are the time units of durations, by their number (TS 102 221, 11.1.22.2).
var units = [...]time.Duration{time.Second, time.Minute, time.Hour, 24 * time.Hour, 10 * 24 * time.Hour}

// ErrDuration is returned for a duration that the card cannot be told, or that it
// told in no known unit.
var ErrDuration = errors.New("no duration of SUSPEND UICC")

// EncodeDuration encodes 1 second to 2550 days in two bytes: a unit, and how many of
// them. What no unit gives exactly is rounded up or down.
func EncodeDuration(d time.Duration, up bool) ([]byte, error) {
	for i, unit := range units {
		n := d / unit
		if up && d%unit != 0 {
			n++
		}
		if n >= 1 && n <= maxUnits {
			return []byte{byte(i), byte(n)}, nil
		}
	}
	return nil, fmt.Errorf("%w: %v, want 1 second to 2550 days", ErrDuration, d)
}

// DecodeDuration decodes the two bytes of a duration.
func DecodeDuration(b []byte) (time.Duration, error) {
	if len(b) != durationBytes || int(b[0]) >= len(units) || b[1] == 0 {
		return 0, fmt.Errorf("%w: %X, want a unit of 00 to 04 and a number of them", ErrDuration, b)
	}
	return time.Duration(b[1]) * units[b[0]], nil
}

// Suspend is SUSPEND UICC with the operation suspend (TS 102 221, 11.1.22): the
// terminal proposes how long the card is to keep its state without power.
type Suspend struct {
	Min, Max time.Duration // 1 second to 2550 days; Min is rounded up, Max down
}

// Command encodes the command.
func (s Suspend) Command() apdu.Command {
	least, err := EncodeDuration(s.Min, true)
	if err != nil {
		return invalid("SUSPEND UICC", "minimum: %v", err)
	}
	most, err := EncodeDuration(s.Max, false)
	if err != nil {
		return invalid("SUSPEND UICC", "maximum: %v", err)
	}
	if s.Min > s.Max {
		return invalid("SUSPEND UICC", "minimum %v is more than the maximum %v", s.Min, s.Max)
	}
	return apdu.Command{CLA: classETSI, INS: INSSuspend, P1: P1Suspend, Data: append(least, most...), Ne: durationBytes + TokenBytes}
}

// Suspension is what a card answers to Suspend.
type Suspension struct {
	Max   time.Duration // how long it keeps its state
	Token secret.Bytes  // 8 bytes, which the terminal shows to resume
}

// ParseSuspension decodes the answer. The error is ErrDuration.
func ParseSuspension(b []byte) (Suspension, error) {
	if len(b) != durationBytes+TokenBytes {
		return Suspension{}, fmt.Errorf("%w: an answer of %d bytes, want a duration and a token, %d", ErrDuration, len(b), durationBytes+TokenBytes)
	}
	d, err := DecodeDuration(b[:durationBytes])
	if err != nil {
		return Suspension{}, err
	}
	return Suspension{d, secret.New(b[durationBytes:])}, nil
}

// Resume is SUSPEND UICC with the operation resume, the first command after power-up.
type Resume struct {
	Token secret.Bytes // 8 bytes
}

// Command encodes the command.
func (r Resume) Command() apdu.Command {
	if r.Token.Len() != TokenBytes {
		return invalid("SUSPEND UICC", "a token of %d bytes, want %d", r.Token.Len(), TokenBytes)
	}
	return apdu.Command{CLA: classETSI, INS: INSSuspend, P1: P1Resume, Data: r.Token.Reveal()}
}
