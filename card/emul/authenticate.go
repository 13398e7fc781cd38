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
// not have.
const (
	contextVGCS = 0x82
	contextMBMS = 0x85
)

// Tags of the answer (TS 31.102, 7.1.2.1).
const (
	tagSuccess = 0xDB
	tagSync    = 0xDC
)

// Lengths of the data of AUTHENTICATE: RAND, and AUTN, each behind its length.
const (
	gsmLen          = 1 + 16
	authenticateLen = 2 * gsmLen
	sqnBytes        = 6
)

// Services of EF.UST (TS 31.102, 4.2.8) that decide what AUTHENTICATE does.
const serviceGBA usim.Service = 68

var (
	errKeyFiles = errors.New("the key files hold nothing that this card can run")
	errStorage  = errors.New("the image could not be written")
)

// authenticate is AUTHENTICATE (TS 31.102, 7.1; TS 31.103, 7.1), with the
// application selected and PIN1 verified. The ISIM has the one context that both
// applications write 81.
func (c *Card) authenticate(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	if cmd.P1 != 0 {
		return apdu.SWIncorrectP1P2
	}
	switch cmd.P2 {
	case usim.Context3G, usim.ContextGSM, usim.ContextGBA, contextVGCS, contextMBMS, usim.ContextLocalKey:
	default:
		return apdu.SWIncorrectP1P2
	}
	switch {
	case ch.app == nil || !ch.dir.within(ch.app):
		return apdu.SWConditionsNotSatisfied
	case !c.verified(uicc.RefPIN1):
		return apdu.SWSecurityStatus
	case cmd.P2 == usim.Context3G:
		return c.authenticate3G(cmd, !ch.app.isim && c.service(usim.ServiceGSMAccess))
	case ch.app.isim:
		return apdu.SWSecurityContext
	case cmd.P2 == usim.ContextGSM && c.service(usim.ServiceGSMAccess) && c.service(usim.ServiceGSMContext):
		return c.authenticateGSM(cmd)
	case cmd.P2 == usim.ContextGBA && c.service(serviceGBA):
		return c.authenticateGBA(cmd)
	}
	return apdu.SWSecurityContext
}

// service reports whether a service is available in EF.UST.
func (c *Card) service(s usim.Service) bool { return usim.UST(c.ust.data).Has(s) }

// authenticate3G is the 3G context, and that of IMS AKA; withKc adds the key for GSM.
func (c *Card) authenticate3G(cmd *apdu.Command, withKc bool) apdu.StatusWord {
	switch {
	case len(cmd.Data) != authenticateLen:
		return apdu.SWWrongLength
	case cmd.Data[0] != 16 || cmd.Data[17] != 16:
		return apdu.SWWrongData
	}
	if err := c.loadEngine(); err != nil {
		return apdu.SWConditionsNotSatisfied
	}
	result, err := c.engine.Authenticate([16]byte(cmd.Data[1:]), [16]byte(cmd.Data[18:]))
	if err != nil {
		return c.refuseAKA(cmd, err)
	}
	var answer [1 + 3*(1+16) + 1 + 8]byte
	res := result.RES.Bytes()
	b := append(append(answer[:0], tagSuccess, byte(len(res))), res...)
	b = append(append(b, 16), result.CK[:]...)
	b = append(append(b, 16), result.IK[:]...)
	if withKc {
		kc := aka.Kc(result.CK, result.IK)
		b = append(append(b, byte(len(kc))), kc[:]...)
	}
	return c.reply4(cmd, b)
}

// authenticateGSM is the GSM context (TS 31.102, 7.1.1.2).
func (c *Card) authenticateGSM(cmd *apdu.Command) apdu.StatusWord {
	switch {
	case len(cmd.Data) != gsmLen:
		return apdu.SWWrongLength
	case cmd.Data[0] != 16:
		return apdu.SWWrongData
	}
	if err := c.loadEngine(); err != nil {
		return apdu.SWConditionsNotSatisfied
	}
	sres, kc, err := c.gsm.Triplet([16]byte(cmd.Data[1:]))
	if err != nil {
		return c.refuseAKA(cmd, err)
	}
	return c.reply4(cmd, usim.AuthenticateGSMResponse{SRES: sres, Kc: kc}.Encode())
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
	if c.engine != nil {
		c.engine.AcceptForgedAUTN = c.AcceptForgedAUTN
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
	a, err := algorithmOf(key)
	if err != nil {
		return err
	}
	c.engine, c.gsm = aka.NewUSIM(a, array, c.storeSQN), aka.NewGSM(a)
	c.engine.AcceptForgedAUTN = c.AcceptForgedAUTN
	return nil
}

// algorithmOf is the algorithm under a key.
func algorithmOf(k model.Key) (aka.Algorithm, error) {
	switch k.Algorithm {
	case model.TUAK:
		return aka.NewTUAK(k.K, k.OPc, aka.TUAKOptions{})
	case model.XOR:
		return aka.NewXOR(k.K)
	}
	block, err := aka.NewAES(k.K)
	if err != nil {
		return nil, err
	}
	return aka.NewMilenage(block, k.OPc)
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
