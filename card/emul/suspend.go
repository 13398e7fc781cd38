package emul

import (
	"crypto/rand"
	"crypto/subtle"
	"io"
	"slices"
	"time"

	"mcim/apdu"
	"mcim/apdu/uicc"
)

// suspension is the state that the card keeps without power (TS 102 221, 11.1.22). It
// ends with the process, as on a card that loses it: RESUME is refused then.
type suspension struct {
	token    [uicc.TokenBytes]byte
	until    time.Time
	off      bool // the power has gone since
	channels []channel
	verified []bool // of the pins
	toolkit  toolkit
}

// suspendUICC is SUSPEND UICC (TS 102 221, 11.1.22), on the basic channel.
func (c *Card) suspendUICC(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	switch {
	case c.layout.Suspend == 0:
		return apdu.SWInstructionNotSupported
	case ch != &c.channels[0]:
		return apdu.SWClassNotSupported
	case cmd.P2 != 0:
		return apdu.SWIncorrectP1P2
	case cmd.P1 == uicc.P1Suspend:
		return c.suspend(cmd)
	case cmd.P1 == uicc.P1Resume:
		return c.resume(cmd)
	}
	return apdu.SWIncorrectP1P2
}

// suspend keeps the state, as long as the terminal and the card can agree on, but not
// while a proactive command waits.
func (c *Card) suspend(cmd *apdu.Command) apdu.StatusWord {
	if len(cmd.Data) != 4 {
		return apdu.SWWrongLength
	}
	least, err := uicc.DecodeDuration(cmd.Data[:2])
	if err != nil {
		return apdu.SWWrongData
	}
	most, err := uicc.DecodeDuration(cmd.Data[2:])
	if err != nil || least > most {
		return apdu.SWWrongData
	}
	if most = min(most, c.layout.Suspend); least > most || c.proactive() {
		return apdu.SWConditionsNotSatisfied
	}
	answer, err := uicc.EncodeDuration(most, false)
	if err != nil {
		return apdu.SWWrongData
	}
	s := &suspension{until: c.now().Add(most), channels: slices.Clone(c.channels), toolkit: c.toolkit}
	if _, err := io.ReadFull(c.random(), s.token[:]); err != nil {
		return apdu.SWTechnicalProblem
	}
	for _, p := range c.pins {
		s.verified = append(s.verified, p.verified)
	}
	c.suspended = s
	return c.reply4(cmd, append(answer, s.token[:]...))
}

// resume brings the state back, once, for who has the token. It has to be the first
// command after power-up.
func (c *Card) resume(cmd *apdu.Command) apdu.StatusWord {
	s := c.suspended
	c.suspended = nil
	switch {
	case len(cmd.Data) != uicc.TokenBytes:
		return apdu.SWWrongLength
	case s == nil || !c.now().Before(s.until):
		return apdu.SWConditionsNotSatisfied
	case subtle.ConstantTimeCompare(cmd.Data, s.token[:]) != 1:
		return apdu.SWSecurityStatus
	}
	copy(c.channels, s.channels)
	c.toolkit = s.toolkit
	for i, p := range c.pins {
		p.verified = s.verified[i]
	}
	return apdu.SWOK
}

// endSuspension forgets the state once the terminal goes on otherwise: before the power
// goes with anything but GET RESPONSE, after that with anything but RESUME.
func (c *Card) endSuspension(cmd *apdu.Command) {
	resume := cmd.CLA == 0x80 && cmd.INS == uicc.INSSuspend && cmd.P1 == uicc.P1Resume
	if s := c.suspended; s.off && !resume || !s.off && cmd.INS != uicc.INSGetResponse {
		c.suspended = nil
	}
}

func (c *Card) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// random is where the card has its random bytes from.
func (c *Card) random() io.Reader {
	if c.Rand != nil {
		return c.Rand
	}
	return rand.Reader
}
