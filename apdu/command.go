package apdu

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Lengths of ISO/IEC 7816-3, 12.1.3.
const (
	// MaxShortData is the longest data field of a short command, in bytes.
	MaxShortData = 255
	// MaxShortNe is the most that a short command can expect, in bytes (Le 00).
	MaxShortNe = 256
	// MaxExtendedData is the longest data field of an extended command, in bytes.
	MaxExtendedData = 65535
	// MaxExtendedNe is the most that an extended command can expect, in bytes.
	MaxExtendedNe = 65536

	headerLen = 4
)

// ErrMalformed is returned for bytes that are no command or response APDU.
var ErrMalformed = errors.New("malformed APDU")

// Command is a command APDU (ISO/IEC 7816-3, 12.1; TS 102 221, 10.1).
type Command struct {
	CLA, INS, P1, P2 byte
	Data             []byte // 0 to 65535 bytes; its length is Nc
	Ne               int    // most data bytes expected back: 0 none, up to 65536
	// Extended asks for the extended form where the short one would do. The
	// form is chosen by length otherwise.
	Extended bool
	// Err tells why the command cannot be built; Bytes returns it. Builders of
	// higher layers set it where a field of theirs is out of its bounds.
	Err error
}

// Case is the case of a command, 1 to 4: nothing sent or expected, data
// expected, data sent, both (ISO/IEC 7816-3, 12.1.2).
func (c Command) Case() int {
	switch {
	case len(c.Data) == 0 && c.Ne == 0:
		return 1
	case len(c.Data) == 0:
		return 2
	case c.Ne == 0:
		return 3
	default:
		return 4
	}
}

// extended reports whether the extended form has to be used. A case 1 command
// has one form only.
func (c Command) extended() bool {
	return c.Case() != 1 && (c.Extended || len(c.Data) > MaxShortData || c.Ne > MaxShortNe)
}

// Bytes encodes the command; it fails with ErrMalformed where a length is out
// of the bounds of ISO/IEC 7816-3, 12.1.3, and with Err where that is set.
func (c Command) Bytes() ([]byte, error) {
	return c.Append(nil)
}

// Append is Bytes that appends to dst, for callers that reuse a buffer.
func (c Command) Append(dst []byte) ([]byte, error) {
	if c.Err != nil {
		return nil, c.Err
	}
	if len(c.Data) > MaxExtendedData {
		return nil, fmt.Errorf("%w: %d data bytes, at most %d", ErrMalformed, len(c.Data), MaxExtendedData)
	}
	if c.Ne < 0 || c.Ne > MaxExtendedNe {
		return nil, fmt.Errorf("%w: Ne %d, want 0 to %d", ErrMalformed, c.Ne, MaxExtendedNe)
	}
	dst = append(dst, c.CLA, c.INS, c.P1, c.P2)
	if c.extended() {
		return c.appendExtended(dst), nil
	}
	if len(c.Data) > 0 {
		dst = append(dst, byte(len(c.Data)))
		dst = append(dst, c.Data...)
	}
	if c.Ne > 0 {
		dst = append(dst, byte(c.Ne)) // 256 becomes 00
	}
	return dst, nil
}

func (c Command) appendExtended(dst []byte) []byte {
	dst = append(dst, 0)
	if len(c.Data) > 0 {
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(c.Data)))
		dst = append(dst, c.Data...)
	}
	if c.Ne > 0 {
		dst = binary.BigEndian.AppendUint16(dst, uint16(c.Ne)) // 65536 becomes 0000
	}
	return dst
}

// ParseCommand decodes a command APDU, short or extended. It is strict: bytes
// that Bytes would not produce are refused with ErrMalformed. The data of the
// result is a part of b, not a copy.
func ParseCommand(b []byte) (Command, error) {
	if len(b) < headerLen {
		return Command{}, fmt.Errorf("%w: %d bytes, a command has at least %d", ErrMalformed, len(b), headerLen)
	}
	c := Command{CLA: b[0], INS: b[1], P1: b[2], P2: b[3]}
	body := b[headerLen:]
	switch {
	case len(body) == 0:
		return c, nil
	case len(body) == 1:
		c.Ne = shortNe(body[0])
		return c, nil
	case body[0] == 0:
		return parseExtended(c, body[1:])
	}
	nc := int(body[0])
	rest := body[1:]
	switch len(rest) {
	case nc:
	case nc + 1:
		c.Ne = shortNe(rest[nc])
	default:
		return Command{}, fmt.Errorf("%w: Lc says %d bytes, %d follow", ErrMalformed, nc, len(rest))
	}
	c.Data = rest[:nc:nc]
	return c, nil
}

// parseExtended decodes what follows the leading 00 of an extended body.
func parseExtended(c Command, body []byte) (Command, error) {
	if len(body) < 2 {
		return Command{}, fmt.Errorf("%w: extended length field of %d bytes, want 2", ErrMalformed, len(body))
	}
	c.Extended = true
	n := int(binary.BigEndian.Uint16(body))
	if len(body) == 2 {
		c.Ne = extendedNe(n)
		return c, nil
	}
	rest := body[2:]
	if n == 0 {
		return Command{}, fmt.Errorf("%w: extended Lc of 0", ErrMalformed)
	}
	switch len(rest) {
	case n:
	case n + 2:
		c.Ne = extendedNe(int(binary.BigEndian.Uint16(rest[n:])))
	default:
		return Command{}, fmt.Errorf("%w: extended Lc says %d bytes, %d follow", ErrMalformed, n, len(rest))
	}
	c.Data = rest[:n:n]
	return c, nil
}

func shortNe(le byte) int {
	if le == 0 {
		return MaxShortNe
	}
	return int(le)
}

func extendedNe(le int) int {
	if le == 0 {
		return MaxExtendedNe
	}
	return le
}
