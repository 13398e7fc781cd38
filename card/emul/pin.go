package emul

import (
	"crypto/subtle"

	"mcim/apdu"
	"mcim/apdu/secret"
	"mcim/apdu/uicc"
)

// Tries that a fresh or unblocked code has.
const (
	pinTries     = 3
	admTries     = 3
	unblockTries = 10
)

const pinBytes = 8

// pin is a code and its state (TS 102 221, 9.5). The state of a PIN is one for
// all logical channels.
type pin struct {
	ref      byte // key reference
	index    int  // position in the counters
	max      byte // tries after a success
	value    secret.Bytes
	unblock  secret.Bytes // PUK; empty: none
	verified bool         // until the next reset
	pinState
}

// pinState is what outlives a reset.
type pinState struct {
	enabled  bool
	tries    byte // left for the code
	unblocks byte // left for the PUK
}

// pinStateLen is the size of a pinState in the counters.
const pinStateLen = 3

func (s pinState) bytes() []byte {
	b := []byte{0, s.tries, s.unblocks}
	if s.enabled {
		b[0] = 1
	}
	return b
}

// pin finds a code by its key reference; nil where the card has none.
func (c *Card) pin(ref byte) *pin {
	for _, p := range c.pins {
		if p.ref == ref {
			return p
		}
	}
	return nil
}

// isVerified tells whether a key reference in an access rule is satisfied: its
// code has been verified, or need not be.
func (c *Card) isVerified(ref byte) bool {
	p := c.pin(ref)
	return p != nil && (p.verified || !p.enabled)
}

// setState stores a new state and then takes it over, together with more.
func (c *Card) setState(p *pin, s pinState, more ...change) apdu.StatusWord {
	if s == p.pinState && len(more) == 0 {
		return apdu.SWOK
	}
	all := append([]change{{objectCounters, p.index * pinStateLen, s.bytes()}}, more...)
	if sw := c.store(all...); sw != apdu.SWOK {
		return sw
	}
	p.pinState = s
	return apdu.SWOK
}

// spend takes a try off and stores that before it looks at the code, so that
// cutting the power gives no free guess. A right code is 9000: the caller gives
// the tries back with what else changes.
func (c *Card) spend(p *pin, unblock bool, got []byte) apdu.StatusWord {
	s, want := p.pinState, p.value
	left := &s.tries
	if unblock {
		left, want = &s.unblocks, p.unblock
	}
	if *left == 0 {
		return apdu.SWBlocked
	}
	*left--
	if sw := c.setState(p, s); sw != apdu.SWOK {
		return sw
	}
	if subtle.ConstantTimeCompare(got, want.Reveal()) != 1 {
		if !unblock {
			p.verified = false
		}
		return 0x63C0 | apdu.StatusWord(*left)
	}
	return apdu.SWOK
}

// counter answers the query of a retry counter.
func counter(left byte) apdu.StatusWord {
	if left == 0 {
		return apdu.SWBlocked
	}
	return 0x63C0 | apdu.StatusWord(left)
}

// pinCommand checks what all PIN commands share and finds the code.
func (c *Card) pinCommand(cmd *apdu.Command) (*pin, apdu.StatusWord) {
	if cmd.P1 != 0 {
		return nil, apdu.SWIncorrectP1P2
	}
	p := c.pin(cmd.P2)
	if p == nil {
		return nil, apdu.SWReferencedDataNotFound
	}
	return p, apdu.SWOK
}

// verifyPIN is VERIFY PIN (TS 102 221, 11.1.9); without data it tells the retry
// counter, or 9000 where no PIN is needed (ISO/IEC 7816-4, 11.5.6).
func (c *Card) verifyPIN(_ *channel, cmd *apdu.Command) apdu.StatusWord {
	p, sw := c.pinCommand(cmd)
	switch {
	case p == nil:
		return sw
	case len(cmd.Data) == 0 && !p.enabled:
		return apdu.SWOK
	case len(cmd.Data) == 0:
		return counter(p.tries)
	case len(cmd.Data) != pinBytes:
		return apdu.SWWrongLength
	case !p.enabled:
		return apdu.SWReferenceInvalidated
	}
	return c.verify(p, cmd.Data)
}

// verify spends a try and gives the tries back where the code is right.
func (c *Card) verify(p *pin, code []byte) apdu.StatusWord {
	if sw := c.spend(p, false, code); sw != apdu.SWOK {
		return sw
	}
	s := p.pinState
	s.tries = p.max
	if sw := c.setState(p, s); sw != apdu.SWOK {
		return sw
	}
	p.verified = true
	return apdu.SWOK
}

// changePIN is CHANGE PIN (TS 102 221, 11.1.10): old PIN, new PIN.
func (c *Card) changePIN(_ *channel, cmd *apdu.Command) apdu.StatusWord {
	p, sw := c.pinCommand(cmd)
	switch {
	case p == nil:
		return sw
	case len(cmd.Data) != 2*pinBytes:
		return apdu.SWWrongLength
	case p.unblock.Len() == 0: // ADM1: its code is the issuer's for good
		return apdu.SWReferencedDataNotFound
	case !p.enabled:
		return apdu.SWReferenceInvalidated
	case !validPIN(cmd.Data[pinBytes:]):
		return apdu.SWWrongData
	}
	if sw := c.spend(p, false, cmd.Data[:pinBytes]); sw != apdu.SWOK {
		return sw
	}
	return c.setPIN(p, p.unblocks, cmd.Data[pinBytes:])
}

// setPIN sets a new value and gives the tries of the PIN back, in one write.
func (c *Card) setPIN(p *pin, unblocks byte, value []byte) apdu.StatusWord {
	s := pinState{enabled: true, tries: p.max, unblocks: unblocks}
	if sw := c.setState(p, s, change{objectPIN | object(p.ref), 0, value}); sw != apdu.SWOK {
		return sw
	}
	p.value = secret.New(value)
	p.verified = true
	return apdu.SWOK
}

// disablePIN is DISABLE PIN (TS 102 221, 11.1.11), without replacement by
// another PIN: the card has no universal one.
func (c *Card) disablePIN(_ *channel, cmd *apdu.Command) apdu.StatusWord {
	return c.switchPIN(cmd, false)
}

// enablePIN is ENABLE PIN (TS 102 221, 11.1.12).
func (c *Card) enablePIN(_ *channel, cmd *apdu.Command) apdu.StatusWord {
	return c.switchPIN(cmd, true)
}

func (c *Card) switchPIN(cmd *apdu.Command, enable bool) apdu.StatusWord {
	p, sw := c.pinCommand(cmd)
	switch {
	case p == nil:
		return sw
	case len(cmd.Data) != pinBytes:
		return apdu.SWWrongLength
	case p.ref != uicc.RefPIN1:
		return apdu.SWReferencedDataNotFound
	case p.enabled == enable:
		return apdu.SWReferenceInvalidated
	}
	if sw := c.spend(p, false, cmd.Data); sw != apdu.SWOK {
		return sw
	}
	s := p.pinState
	s.tries, s.enabled = p.max, enable
	if sw := c.setState(p, s); sw != apdu.SWOK {
		return sw
	}
	p.verified = true
	return apdu.SWOK
}

// unblockPIN is UNBLOCK PIN (TS 102 221, 11.1.13): PUK, new PIN. Without data it
// tells the retry counter of the PUK.
func (c *Card) unblockPIN(_ *channel, cmd *apdu.Command) apdu.StatusWord {
	p, sw := c.pinCommand(cmd)
	switch {
	case p == nil:
		return sw
	case p.unblock.Len() == 0:
		return apdu.SWReferencedDataNotFound
	case len(cmd.Data) == 0:
		return counter(p.unblocks)
	case len(cmd.Data) != 2*pinBytes:
		return apdu.SWWrongLength
	case !validPIN(cmd.Data[pinBytes:]):
		return apdu.SWWrongData
	}
	if sw := c.spend(p, true, cmd.Data[:pinBytes]); sw != apdu.SWOK {
		return sw
	}
	return c.setPIN(p, unblockTries, cmd.Data[pinBytes:])
}

// verifyCHV is VERIFY CHV (TS 51.011, 9.2.9): it has no form that tells the counter.
func (c *Card) verifyCHV(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	if len(cmd.Data) != pinBytes {
		return apdu.SWWrongLength
	}
	return c.verifyPIN(ch, cmd)
}

// unblockCHV is UNBLOCK CHV (TS 51.011, 9.2.13), which names CHV1 by 00 and has no
// form that tells the counter.
func (c *Card) unblockCHV(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	switch {
	case len(cmd.Data) != 2*pinBytes:
		return apdu.SWWrongLength
	case cmd.P2 != 0:
		return apdu.SWReferencedDataNotFound // the card has no CHV2
	}
	cmd.P2 = uicc.RefPIN1
	return c.unblockPIN(ch, cmd)
}

// validPIN reports whether b is 4 to 8 digits with FF behind (TS 102 221, 9.5.1).
func validPIN(b []byte) bool {
	digits := 0
	for digits < len(b) && b[digits] >= '0' && b[digits] <= '9' {
		digits++
	}
	for _, fill := range b[digits:] {
		if fill != 0xFF {
			return false
		}
	}
	return digits >= 4
}
