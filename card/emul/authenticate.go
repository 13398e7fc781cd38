package emul

import (
	"errors"
	"fmt"

	"mcim/apdu"
	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card/aka"
	"mcim/card/model"
)

// Contexts of AUTHENTICATE (TS 31.102, 7.1.2) that the card knows of and does
// not have, beside the GSM context.
const (
	contextVGCS = 0x82
	contextGBA  = 0x84
	contextMBMS = 0x85
	contextKey  = 0x86
)

// Tags of the answer (TS 31.102, 7.1.2.1).
const (
	tagSuccess = 0xDB
	tagSync    = 0xDC
)

const (
	authenticateLen = 2 * (1 + 16) // length and value of RAND and AUTN
	sqnBytes        = 6
)

var (
	errKeyFiles = errors.New("the key files hold nothing that this card can run")
	errStorage  = errors.New("the image could not be written")
)

// authenticate is AUTHENTICATE (TS 31.102, 7.1): 3G context only, with the
// application selected and PIN1 verified.
func (c *Card) authenticate(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	if cmd.P1 != 0 {
		return apdu.SWIncorrectP1P2
	}
	switch cmd.P2 {
	case usim.Context3G, usim.ContextGSM, contextVGCS, contextGBA, contextMBMS, contextKey:
	default:
		return apdu.SWIncorrectP1P2
	}
	switch {
	case ch.app == nil || !ch.dir.within(ch.app):
		return apdu.SWConditionsNotSatisfied
	case !c.verified(uicc.RefPIN1):
		return apdu.SWSecurityStatus
	case cmd.P2 != usim.Context3G:
		return apdu.SWSecurityContext
	case len(cmd.Data) != authenticateLen:
		return apdu.SWWrongLength
	case cmd.Data[0] != 16 || cmd.Data[17] != 16:
		return apdu.SWWrongData
	}
	return c.runAKA(cmd, [16]byte(cmd.Data[1:]), [16]byte(cmd.Data[18:]))
}

func (c *Card) runAKA(cmd *apdu.Command, rand, autn [16]byte) apdu.StatusWord {
	if err := c.loadEngine(); err != nil {
		return apdu.SWConditionsNotSatisfied
	}
	result, err := c.engine.Authenticate(rand, autn)
	if err != nil {
		return c.refuseAKA(cmd, err)
	}
	var answer [1 + 3*(1+16)]byte
	res := result.RES.Bytes()
	b := append(append(answer[:0], tagSuccess, byte(len(res))), res...)
	b = append(append(b, 16), result.CK[:]...)
	return c.reply4(cmd, append(append(b, 16), result.IK[:]...))
}

// refuseAKA answers where there is no result: by AUTS, or by a status word.
func (c *Card) refuseAKA(cmd *apdu.Command, err error) apdu.StatusWord {
	var sync *aka.SyncError
	switch {
	case errors.As(err, &sync):
		return c.reply4(cmd, append([]byte{tagSync, byte(len(sync.AUTS))}, sync.AUTS[:]...))
	case errors.Is(err, aka.ErrMAC):
		return apdu.SWAuthenticationMAC
	case errors.Is(err, errStorage):
		return apdu.SWMemoryProblem
	default:
		return apdu.SWTechnicalProblem
	}
}

// loadEngine makes the USIM out of the key files where they have changed since.
func (c *Card) loadEngine() error {
	if u, ok := c.engine.(*aka.USIM); ok {
		u.AcceptForgedAUTN = c.AcceptForgedAUTN
	}
	if c.engine != nil {
		return nil
	}
	key, err := c.model.DecodeKey(secret.New(c.keyFile.data))
	if err != nil {
		return err
	}
	file, err := c.model.DecodeSQN(c.sqnFile.data)
	if err != nil {
		return err
	}
	array, err := sqnArray(file)
	if err != nil {
		return err
	}
	block, err := aka.NewAES(key.K)
	if err != nil {
		return err
	}
	m, err := aka.NewMilenage(block, key.OPc)
	if err != nil {
		return err
	}
	u := aka.NewUSIM(m, array, c.storeSQN)
	u.AcceptForgedAUTN = c.AcceptForgedAUTN
	c.engine = u
	return nil
}

// sqnArray is the state that the SQN file describes. Settings that switch the
// check or the concealment off are refused: no USIM of TS 33.102 has them.
func sqnArray(f model.SQN) (aka.SQNArray, error) {
	if !f.Check || f.SkipNext || f.KeepAMF || !f.ConcealAUTN || !f.ConcealAUTS {
		return aka.SQNArray{}, fmt.Errorf("%w: SQN file with a check or a concealment switched off", errKeyFiles)
	}
	var a aka.SQNArray
	for i, sqn := range f.Seen {
		a.Last[i] = aka.SQN(sqn)
	}
	if f.CheckDelta {
		a.Delta = f.Delta >> aka.INDBits
	}
	if f.CheckAge {
		a.AgeLimit = f.AgeLimit >> aka.INDBits
	}
	return a, nil
}

// storeSQN writes the entries that differ to the SQN file, whose tail they are.
func (c *Card) storeSQN(next aka.SQNArray) error {
	first := len(c.sqnFile.data) - aka.ArraySize*sqnBytes
	for i, sqn := range next.Last {
		at := first + i*sqnBytes
		c.sqn = sqn.Bytes()
		if [sqnBytes]byte(c.sqnFile.data[at:]) == c.sqn {
			continue
		}
		if sw := c.storeFile(c.sqnFile, at, c.sqn[:]); sw != apdu.SWOK {
			return errStorage
		}
		copy(c.sqnFile.data[at:], c.sqn[:])
	}
	return nil
}
