package cat

import (
	"fmt"

	"mcim/apdu"
)

// Instruction bytes of the toolkit (TS 102 221, 10.1.2); the class is 80.
const (
	INSTerminalProfile  byte = 0x10
	INSFetch            byte = 0x12
	INSTerminalResponse byte = 0x14
	INSEnvelope         byte = 0xC2
)

const class = 0x80

// TerminalProfile is TERMINAL PROFILE (TS 102 221, 11.2.1).
type TerminalProfile struct {
	Profile Profile // 1 to 255 bytes
}

// Command encodes the command.
func (t TerminalProfile) Command() apdu.Command {
	return commandOf(INSTerminalProfile, t.Profile, nil)
}

// Fetch is FETCH (TS 102 221, 11.2.3).
type Fetch struct {
	Ne int // length that 91xx told, 1 to 256
}

// Command encodes the command.
func (f Fetch) Command() apdu.Command {
	if f.Ne < 1 || f.Ne > apdu.MaxShortNe {
		return apdu.Command{Err: fmt.Errorf("FETCH: %w: %d bytes, want 1 to 256", ErrValue, f.Ne)}
	}
	return apdu.Command{CLA: class, INS: INSFetch, Ne: f.Ne}
}

// Command encodes the response as TERMINAL RESPONSE (TS 102 221, 11.2.4).
func (r Response) Command() apdu.Command {
	b, err := r.Bytes()
	return commandOf(INSTerminalResponse, b, err)
}

// Command encodes the envelope as ENVELOPE (TS 102 221, 11.2.2).
func (e Envelope) Command() apdu.Command {
	b, err := e.Bytes()
	c := commandOf(INSEnvelope, b, err)
	c.Ne = apdu.MaxShortNe
	return c
}

func commandOf(ins byte, data []byte, err error) apdu.Command {
	if err == nil && (len(data) < 1 || len(data) > apdu.MaxShortData) {
		err = fmt.Errorf("%w: %d bytes, want 1 to 255", ErrValue, len(data))
	}
	return apdu.Command{CLA: class, INS: ins, Data: data, Err: err}
}
