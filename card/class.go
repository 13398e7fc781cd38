package card

import (
	"errors"
	"fmt"
)

// MaxChannel is the highest logical channel (TS 102 221, 10.1.1).
const MaxChannel = 19

// classGSM is the class of TS 51.011. It knows no logical channels.
const classGSM = 0xA0

// ErrClass says that a class byte and a logical channel do not go together.
var ErrClass = errors.New("class byte does not fit the logical channel")

// ClassChannel gives the logical channel that a class byte names, 0 to 19
// (TS 102 221, 10.1.1, tables 10.3 and 10.4a). ok is false for a class that
// names none; such a command is for the basic channel.
func ClassChannel(cla byte) (channel int, ok bool) {
	switch {
	case cla&0x60 == 0: // 0X, 1X, 8X, 9X
		return int(cla & 0x03), true
	case cla&0x40 != 0 && cla != 0xFF: // 4X to 7X, CX to FX
		return 4 + int(cla&0x0F), true
	default: // 2X and 3X are reserved, A0 is GSM, FF is no class
		return 0, false
	}
}

// ClassOn puts a class byte of the basic channel on another one. The secure
// messaging bits stay: what the form for channels 4 to 19 cannot say, and a
// class that names another channel already, are ErrClass.
func ClassOn(cla byte, channel int) (byte, error) {
	named, ok := ClassChannel(cla)
	switch {
	case channel < 0 || channel > MaxChannel:
		return 0, fmt.Errorf("%w: channel %d, want 0 to %d", ErrClass, channel, MaxChannel)
	case named == channel:
		return cla, nil
	case !ok:
		return 0, fmt.Errorf("%w: class %02X has no channel %d; use the basic channel", ErrClass, cla, channel)
	case named != 0:
		return 0, fmt.Errorf("%w: class %02X names channel %d, the session is on %d", ErrClass, cla, named, channel)
	case channel <= 3:
		return cla | byte(channel), nil
	}
	further := cla&0x90 | 0x40 | byte(channel-4)
	switch cla & 0x0C {
	case 0x00:
		return further, nil
	case 0x08: // secured, header not authenticated
		return further | 0x20, nil
	default:
		return 0, fmt.Errorf("%w: secure messaging of class %02X has no form on channel %d; use channels 0 to 3", ErrClass, cla, channel)
	}
}
