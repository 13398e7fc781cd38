package emul

import (
	"crypto/subtle"
	"slices"

	"mcim/apdu"
	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/card/model"
)

const pinBytes = 8

// pin is a code and its state (TS 102 221, 9.5). The state of a PIN is one for
// all logical channels.
type pin struct {
	model.PIN
	app      *dir   // application whose own it is; nil: of the whole card
	object   object // low bits of what the image calls it
	index    int    // position in the counters
	value    secret.Bytes
	unblock  secret.Bytes // PUK; empty: none
	verified bool         // until the next reset
	pinState
}

// pinState is what outlives a reset.
type pinState struct {
	mode     pinMode
	tries    byte // left for the code
	unblocks byte // left for the PUK
}

// pinMode says whether a rule that names the PIN asks for it.
type pinMode byte

const (
	pinOff      pinMode = iota
	pinOn               // enabled
	pinReplaced         // disabled, and the universal PIN stands in for it (TS 102 221, 9.5.1)
)

// pinStateLen is the size of a pinState in the counters.
const pinStateLen = 3

func (s pinState) bytes() []byte { return []byte{byte(s.mode), s.tries, s.unblocks} }

// pinOf finds the code that a key reference means in an application, nil outside of
// any; nil where there is none.
func (c *Card) pinOf(ref byte, app *dir) *pin {
	for _, p := range c.pins {
		if p.Ref == ref && (p.app == nil || p.app == app) {
			return p
		}
	}
	return nil
}

// isVerified tells whether a key reference in an access rule of the application is
// satisfied: its code, or the one that stands in for it, has been verified or need not
// be. Outside of a secure channel that the card insists on none is.
func (c *Card) isVerified(ref byte, app *dir) bool {
	p := c.pinOf(ref, app)
	switch {
	case p == nil, c.outside():
		return false
	case p.mode == pinReplaced:
		return c.isVerified(uicc.RefUniversalPIN, nil)
	}
	return p.verified || p.mode == pinOff
}

// replaced tells whether the universal PIN stands in for another one.
func (c *Card) replaced() bool {
	return slices.ContainsFunc(c.pins, func(p *pin) bool { return p.mode == pinReplaced })
}

// pinStatus is the PIN status template of a directory of the application, nil outside
// of any: the codes of the card and those of the application. The usage qualifier of
// the universal PIN tells whether it stands in for another (TS 102 221, 9.5.2).
func (c *Card) pinStatus(app *dir) *uicc.PINStatus {
	var refs []byte
	for _, p := range c.pins {
		if p.app == nil || p.app == app {
			refs = append(refs, p.Ref)
		}
	}
	s := uicc.NewPINStatus(refs, func(ref byte) bool { return c.pinOf(ref, app).mode == pinOn })
	for i := range s.Keys {
		if k := &s.Keys[i]; k.Ref == uicc.RefUniversalPIN {
			k.HasUsage = true
			if c.replaced() {
				k.Usage = uicc.UsageVerify
			}
		}
	}
	return s
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
func (c *Card) pinCommand(ch *channel, cmd *apdu.Command) (*pin, apdu.StatusWord) {
	if cmd.P1 != 0 {
		return nil, apdu.SWIncorrectP1P2
	}
	p := c.pinOf(cmd.P2, ch.app)
	if p == nil {
		return nil, apdu.SWReferencedDataNotFound
	}
	return p, apdu.SWOK
}

// verifyPIN is VERIFY PIN (TS 102 221, 11.1.9); without data it tells the retry
// counter, or 9000 where no PIN is needed (ISO/IEC 7816-4, 11.5.6).
func (c *Card) verifyPIN(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	p, sw := c.pinCommand(ch, cmd)
	switch {
	case p == nil:
		return sw
	case len(cmd.Data) == 0 && p.mode != pinOn:
		return apdu.SWOK
	case len(cmd.Data) == 0:
		return counter(p.tries)
	case len(cmd.Data) != pinBytes:
		return apdu.SWWrongLength
	case p.mode != pinOn:
		return apdu.SWReferenceInvalidated
	}
	return c.verify(p, cmd.Data)
}

// verify spends a try and gives the tries back where the code is right.
func (c *Card) verify(p *pin, code []byte) apdu.StatusWord {
	if sw := c.spend(p, false, code); sw != apdu.SWOK {
		return sw
	}
	return c.setMode(p, p.mode)
}

// setMode gives the tries back after the right code, which is verified then.
func (c *Card) setMode(p *pin, m pinMode) apdu.StatusWord {
	if sw := c.setState(p, pinState{m, byte(p.Tries), p.unblocks}); sw != apdu.SWOK {
		return sw
	}
	p.verified = true
	return apdu.SWOK
}

// changePIN is CHANGE PIN (TS 102 221, 11.1.10): old PIN, new PIN.
func (c *Card) changePIN(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	p, sw := c.pinCommand(ch, cmd)
	switch {
	case p == nil:
		return sw
	case len(cmd.Data) != 2*pinBytes:
		return apdu.SWWrongLength
	case p.mode != pinOn:
		return apdu.SWReferenceInvalidated
	case p.PUKTries != 0 && !validPIN(cmd.Data[pinBytes:]): // an administrative code is any 8 bytes
		return apdu.SWWrongData
	}
	if sw := c.spend(p, false, cmd.Data[:pinBytes]); sw != apdu.SWOK {
		return sw
	}
	return c.setPIN(p, p.unblocks, cmd.Data[pinBytes:])
}

// setPIN sets a new value and gives the tries of the PIN back, in one write.
func (c *Card) setPIN(p *pin, unblocks byte, value []byte) apdu.StatusWord {
	s := pinState{pinOn, byte(p.Tries), unblocks}
	if sw := c.setState(p, s, change{objectPIN | p.object, 0, value}); sw != apdu.SWOK {
		return sw
	}
	p.value = secret.New(value)
	p.verified = true
	return apdu.SWOK
}

// p1Universal is P1 of DISABLE PIN with the universal PIN as replacement: 80 and the
// key reference in the lower bits (TS 102 221, 11.1.11.2).
const p1Universal = 0x80 | uicc.RefUniversalPIN

// disablePIN is DISABLE PIN (TS 102 221, 11.1.11). The universal PIN can stand in for
// PIN1.
func (c *Card) disablePIN(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	if cmd.P1 != p1Universal {
		return c.switchPIN(ch, cmd, pinOff)
	}
	cmd.P1 = 0
	return c.switchPIN(ch, cmd, pinReplaced)
}

// enablePIN is ENABLE PIN (TS 102 221, 11.1.12).
func (c *Card) enablePIN(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	return c.switchPIN(ch, cmd, pinOn)
}

// canBe tells whether a code can be on, off or replaced. PIN2 and administrative codes
// are always on; only PIN1 can be replaced, by the universal PIN of a card that has one.
func (c *Card) canBe(p *pin, m pinMode) bool {
	switch m {
	case pinOn:
		return true
	case pinOff:
		return p.Ref == uicc.RefPIN1 || p.Ref == uicc.RefUniversalPIN
	case pinReplaced:
		return p.Ref == uicc.RefPIN1 && c.pinOf(uicc.RefUniversalPIN, nil) != nil
	}
	return false
}

// switchPIN switches PIN1 or the universal PIN.
func (c *Card) switchPIN(ch *channel, cmd *apdu.Command, to pinMode) apdu.StatusWord {
	p, sw := c.pinCommand(ch, cmd)
	switch {
	case p == nil:
		return sw
	case len(cmd.Data) != pinBytes:
		return apdu.SWWrongLength
	case !c.canBe(p, pinOff), !c.canBe(p, to):
		return apdu.SWReferencedDataNotFound
	case (p.mode == pinOn) == (to == pinOn):
		return apdu.SWReferenceInvalidated
	}
	if sw := c.spend(p, false, cmd.Data); sw != apdu.SWOK {
		return sw
	}
	return c.setMode(p, to)
}

// unblockPIN is UNBLOCK PIN (TS 102 221, 11.1.13): PUK, new PIN. Without data it
// tells the retry counter of the PUK.
func (c *Card) unblockPIN(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	p, sw := c.pinCommand(ch, cmd)
	switch {
	case p == nil:
		return sw
	case p.PUKTries == 0:
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
	return c.setPIN(p, byte(p.PUKTries), cmd.Data[pinBytes:])
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
