package emul

import (
	"mcim/apdu"
)

// closeChannels leaves the basic channel, as after a reset.
func (c *Card) closeChannels() {
	clear(c.channels)
	c.channels[0] = channel{open: true, dir: c.mf}
}

// p1Close is P1 of MANAGE CHANNEL that closes (TS 102 221, 11.1.17.2).
const p1Close = 0x80

// manageChannel is MANAGE CHANNEL (TS 102 221, 11.1.17). The basic channel is never
// closed.
func (c *Card) manageChannel(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	switch {
	case len(cmd.Data) != 0:
		return apdu.SWWrongLength
	case cmd.P1 == 0x00:
		return c.openChannel(ch, cmd)
	case cmd.P1 != p1Close, cmd.P2 == 0, int(cmd.P2) >= len(c.channels):
		return apdu.SWIncorrectP1P2
	case !c.channels[cmd.P2].open:
		return apdu.SWConditionsNotSatisfied
	}
	c.channels[cmd.P2] = channel{}
	return apdu.SWOK
}

// openChannel opens the channel P2, or the first free one for P2 0. From the
// basic channel it starts at the MF, from another one where that one is.
func (c *Card) openChannel(from *channel, cmd *apdu.Command) apdu.StatusWord {
	n := int(cmd.P2)
	if n >= len(c.channels) {
		return apdu.SWIncorrectP1P2
	}
	if n != 0 && c.channels[n].open {
		return apdu.SWConditionsNotSatisfied
	}
	for i := 1; n == 0 && i < len(c.channels); i++ {
		if !c.channels[i].open {
			n = i
		}
	}
	if n == 0 {
		return apdu.SWFunctionNotSupported
	}
	if cmd.P2 == 0 {
		if sw := c.reply2(cmd, []byte{byte(n)}); sw != apdu.SWOK {
			return sw
		}
	}
	c.channels[n] = channel{open: true, dir: c.mf}
	if from != &c.channels[0] {
		c.channels[n].dir, c.channels[n].app = from.dir, from.app
	}
	return apdu.SWOK
}
