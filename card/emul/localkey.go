package emul

import (
	"bytes"
	"slices"

	"mcim/apdu"
	"mcim/apdu/ef"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card/aka/kdf"
)

// swResponseWaits is the answer to the last block of a command whose response is fetched
// by AUTHENTICATE itself (TS 102 221, 11.1.16.2).
const swResponseWaits apdu.StatusWord = 0x62F3

// authenticateTLV is AUTHENTICATE with the odd instruction byte (TS 102 221, 11.1.16.2;
// TS 31.102, 7.1.2), of which the card has the local key context. All that it takes and
// gives fits one block.
func (c *Card) authenticateTLV(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	waiting := c.answered.data
	c.answered = response{}
	switch {
	case cmd.P1 != usim.FirstBlock && cmd.P1 != usim.FirstResponse, cmd.P2 < 0x80 || cmd.P2 > usim.ContextLocalKey:
		return apdu.SWIncorrectP1P2
	case ch.app == nil || !ch.dir.within(ch.app):
		return apdu.SWConditionsNotSatisfied
	case !c.isVerified(uicc.RefPIN1, ch.app):
		return apdu.SWSecurityStatus
	case cmd.P2 != usim.ContextLocalKey || !c.appService(ch.app, serviceLocalKey, serviceLocalKeyISIM):
		return apdu.SWSecurityContext
	case cmd.P1 == usim.FirstBlock:
		return c.authenticateLocalKey(ch.app, cmd)
	case waiting == nil:
		return apdu.SWConditionsNotSatisfied
	}
	sw := c.reply2(cmd, waiting)
	if sw != apdu.SWOK {
		c.answered = response{cmd.CLA, waiting} // asked for again with the right length
	}
	return sw
}

// authenticateLocalKey is the local key establishment context (TS 31.102, 7.1.1.6;
// TS 33.110, 4.5.2). Its coding is this project's reading of the clause: no example of
// it is published, and no card was found to compare with.
func (c *Card) authenticateLocalKey(app *dir, cmd *apdu.Command) apdu.StatusWord {
	derive, check, err := usim.DecodeLocalKey(cmd.Data)
	_, state := c.gbaOf(app)
	switch {
	case err != nil:
		return apdu.SWWrongData
	case derive != nil:
		return c.deriveLocal(app, cmd, derive)
	case state.local == nil || !bytes.Equal(state.local[:16], check.KeyIdentifier):
		return apdu.SWReferencedDataNotFound
	}
	return apdu.SWOK
}

// deriveLocal makes Ks_local out of the Ks_int_NAF that a NAF derivation has left,
// checks the terminal's MAC, which becomes the identifier of the key, and keeps the key.
func (c *Card) deriveLocal(app *dir, cmd *apdu.Command, l *usim.LocalKeyDerive) apdu.StatusWord {
	number, state := c.gbaOf(app)
	internal, id := c.internalKey(app, l.NAFID)
	if internal == nil {
		return apdu.SWReferencedDataNotFound
	}
	k := kdf.LocalKey{
		BTID: id, TerminalID: l.TerminalID, ICCID: c.mf.own(uicc.FIDEFICCID).data, TerminalApplication: l.TerminalApplication,
		UICCApplication: l.UICCApplication, RANDx: l.RANDx, CounterLimit: l.CounterLimit,
	}
	key, err := k.Derive([kdf.KeySize]byte(internal))
	if err != nil {
		return apdu.SWWrongData
	}
	if err := k.CheckRequest(key, l.MAC[:]); err != nil {
		return apdu.SWAuthenticationMAC
	}
	local := slices.Concat(l.MAC[:], key[:])
	if sw := c.store(change{objectLocal | object(number), 0, local}); sw != apdu.SWOK {
		return sw
	}
	state.local = local
	c.answered = response{cmd.CLA, usim.LocalKeyResponse{MAC: kdf.ResponseMAC(key)}.Encode()}
	return swResponseWaits
}

// internalKey is the Ks_int_NAF of a server, with the B-TID that it was made under; nil
// where there is none.
func (c *Card) internalKey(app *dir, nafID []byte) (key, id []byte) {
	_, nl, ok := gbaFiles(app)
	if !ok {
		return nil, nil
	}
	_, state := c.gbaOf(app)
	for n := 1; n <= nl.records(); n++ {
		if record := nl.record(n); isNAF(record, nafID) {
			return state.nafs[n], recordBTID(record)
		}
	}
	return nil, nil
}

// recordBTID is the B-TID in a record of EF.GBANL.
func recordBTID(record []byte) []byte {
	f, _ := ef.Find(ef.DirUSIM, efGBANL)
	v, err := f.Decode(record)
	n, _ := v.(*ef.NAF)
	if err != nil || n == nil || n.BTID == nil {
		return nil
	}
	return []byte(*n.BTID)
}
