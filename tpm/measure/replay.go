package measure

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
)

// Errors of Check.
var (
	// ErrDigest: the data of an event does not hash to its digest.
	ErrDigest = errors.New("the data of the event was changed: its digest is another one")
	// ErrEventType: an event type whose meaning is not known.
	ErrEventType = errors.New("unknown type of event in a PCR that counts")
)

// EventError says which event of a log is wrong.
type EventError struct {
	Index int // in Log.Events
	PCR   int
	Type  EventType
	Err   error
}

// Error names event and PCR.
func (e *EventError) Error() string {
	return fmt.Sprintf("event %d (PCR %d, %v): %v", e.Index, e.PCR, e.Type, e.Err)
}

// Unwrap gives the cause.
func (e *EventError) Unwrap() error { return e.Err }

const startupLocality = "StartupLocality\x00"

// Replay computes the values of the PCRs that the log mentions.
func (l Log) Replay() map[int]Digest {
	values := map[int]Digest{}
	for _, e := range l.Events {
		v, begun := values[e.PCR]
		if !begun {
			v = startValue(e.PCR, l.locality())
		}
		if e.Type != EVNoAction {
			v = Extended(v, e.Digest)
		}
		values[e.PCR] = v
	}
	return values
}

// locality is the one from which the TPM was started, as the log tells: PCR 0
// begins with its number (Firmware Profile, 10.4.5.3).
func (l Log) locality() byte {
	for _, e := range l.Events {
		if e.PCR == 0 && e.Type == EVNoAction && len(e.Data) == len(startupLocality)+1 && string(e.Data[:len(startupLocality)]) == startupLocality {
			return e.Data[len(startupLocality)]
		}
	}
	return 0
}

// startValue is a PCR after the start of the TPM.
func startValue(pcr int, locality byte) Digest {
	if pcr != 0 {
		return Digest{}
	}
	return Digest{sha256.Size - 1: locality}
}

// Extended is the value of a PCR after digest was extended into it (TPM 2.0
// Part 1, 17.2).
func Extended(value, digest Digest) Digest {
	return sha256.Sum256(append(value[:], digest[:]...))
}

// Check finds the events of the given PCRs of which data and digest do not
// belong together, or whose type is not known: nothing may be read from the
// data of such a log.
func (l Log) Check(pcrs ...int) []*EventError {
	var wrong []*EventError
	for i, e := range l.Events {
		if !slices.Contains(pcrs, e.PCR) {
			continue
		}
		var err error
		switch e.Type.info().kind {
		case unknown:
			err = ErrEventType
		case ofData:
			if sha256.Sum256(e.Data) != e.Digest {
				err = ErrDigest
			}
		case noDigest:
			if e.Digest != (Digest{}) {
				err = ErrDigest
			}
		}
		if err != nil {
			wrong = append(wrong, &EventError{Index: i, PCR: e.PCR, Type: e.Type, Err: err})
		}
	}
	return wrong
}
