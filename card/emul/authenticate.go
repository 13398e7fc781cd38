package emul

import (
	"encoding/binary"
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

// Services of EF.UST (TS 31.102, 4.2.8) and of EF.IST (TS 31.103, 4.2.7), with the
// letters ISIM, that decide what AUTHENTICATE does.
const (
	serviceGBA          usim.Service = 68
	serviceLocalKey     usim.Service = 76
	serviceGBAISIM      usim.Service = 2
	serviceLocalKeyISIM usim.Service = 4
)

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
	case !c.isVerified(uicc.RefPIN1, ch.app):
		return apdu.SWSecurityStatus
	case cmd.P2 == usim.Context3G:
		return c.authenticate3G(cmd, !ch.app.isim && c.service(usim.ServiceGSMAccess))
	case cmd.P2 == usim.ContextGBA && c.appService(ch.app, serviceGBA, serviceGBAISIM):
		return c.authenticateGBA(ch.app, cmd)
	case cmd.P2 == usim.ContextGSM && !ch.app.isim && c.gsmServices():
		return c.authenticateGSM(cmd)
	}
	return apdu.SWSecurityContext
}

// service reports whether a service is available in EF.UST.
func (c *Card) service(s usim.Service) bool { return c.ust != nil && usim.UST(c.ust.data).Has(s) }

// gsmServices reports whether the GSM context is there.
func (c *Card) gsmServices() bool {
	return c.service(usim.ServiceGSMAccess) && c.service(usim.ServiceGSMContext)
}

// appService reports whether a service is available to an application: that of EF.UST,
// or for an ISIM that of EF.IST, whose table is coded alike.
func (c *Card) appService(app *dir, inUST, inIST usim.Service) bool {
	if !app.isim {
		return c.service(inUST)
	}
	table := app.own(efIST)
	return table != nil && usim.UST(table.data).Has(inIST)
}

// authenticate3G is the 3G context, and that of IMS AKA; withKc adds the key for GSM.
func (c *Card) authenticate3G(cmd *apdu.Command, withKc bool) apdu.StatusWord {
	switch {
	case len(cmd.Data) != authenticateLen:
		return apdu.SWWrongLength
	case cmd.Data[0] != 16 || cmd.Data[17] != 16:
		return apdu.SWWrongData
	}
	if sw := c.beginAKA(); sw != apdu.SWOK {
		return sw
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
	sres, kc, sw := c.triplet([16]byte(cmd.Data[1:]))
	if sw != apdu.SWOK {
		return sw
	}
	return c.reply4(cmd, usim.AuthenticateGSMResponse{SRES: sres, Kc: kc}.Encode())
}

// runGSM is RUN GSM ALGORITHM of class A0 (TS 51.011, 9.2.16): in DF.GSM, after CHV1.
// A USIM without the GSM context has no SIM in it either.
func (c *Card) runGSM(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	switch {
	case c.ust != nil && !c.gsmServices():
		return apdu.SWInstructionNotSupported
	case cmd.P1 != 0 || cmd.P2 != 0:
		return apdu.SWIncorrectP1P2
	case len(cmd.Data) != len(usim.Authenticate{}.RAND):
		return apdu.SWWrongLength
	case ch.dir.fid != usim.DFGSM:
		return apdu.SWConditionsNotSatisfied
	case !c.isVerified(uicc.RefPIN1, ch.app):
		return apdu.SWSecurityStatus
	}
	sres, kc, sw := c.triplet([16]byte(cmd.Data))
	if sw != apdu.SWOK {
		return sw
	}
	return c.reply4(cmd, append(sres[:], kc[:]...))
}

// triplet is what the GSM algorithm gives for RAND.
func (c *Card) triplet(rand [16]byte) (sres [4]byte, kc [8]byte, sw apdu.StatusWord) {
	if err := c.loadEngine(); err != nil {
		return sres, kc, apdu.SWConditionsNotSatisfied
	}
	if sw := c.countAuthentication(); sw != apdu.SWOK {
		return sres, kc, sw
	}
	sres, kc, err := c.gsm.Triplet(rand)
	if err != nil {
		return sres, kc, apdu.SWTechnicalProblem
	}
	return sres, kc, apdu.SWOK
}

// beginAKA makes the engine ready for one more AKA; 9864 where the key is for the GSM
// context alone.
func (c *Card) beginAKA() apdu.StatusWord {
	if err := c.loadEngine(); err != nil {
		return apdu.SWConditionsNotSatisfied
	}
	if c.engine == nil {
		return apdu.SWSecurityContext
	}
	return c.countAuthentication()
}

// countAuthentication takes one off the authentications that are left, where they are
// limited: before the algorithm runs, so that no power cut gives one for nothing. Once
// there are none the keys are invalidated for good, 6984 (TS 102 221, 10.2.1.5.2). No
// specification says which status word this is; cards differ.
func (c *Card) countAuthentication() apdu.StatusWord {
	if c.authLeft == nil {
		return apdu.SWOK
	}
	left := *c.authLeft
	if left == 0 {
		return apdu.SWReferenceInvalidated
	}
	if sw := c.store(change{objectAuthLeft, 0, binary.BigEndian.AppendUint32(nil, left-1)}); sw != apdu.SWOK {
		return sw
	}
	*c.authLeft = left - 1
	return apdu.SWOK
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
	if c.gsm != nil {
		if c.engine != nil {
			c.engine.AcceptForgedAUTN = c.AcceptForgedAUTN
		}
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
	a, gsm, err := functions(key)
	if err != nil {
		return err
	}
	if c.engine, c.gsm = nil, gsm; a != nil {
		c.engine = aka.NewUSIM(a, array, c.storeSQN)
		c.engine.AcceptForgedAUTN = c.AcceptForgedAUTN
	}
	return nil
}

// Functions are the algorithms under the keys of the profile, as the home operator has
// them: AKA, nil where the algorithm is COMP128, and what answers in the GSM context.
// Keys of a wrong length are aka.ErrKey.
func (p *Profile) Functions() (aka.Algorithm, aka.GSM, error) { return functions(p.key()) }

// functions is Functions of a key.
func functions(k model.Key) (a aka.Algorithm, gsm aka.GSM, err error) {
	switch k.Algorithm {
	case model.COMP128v1:
		gsm, err = aka.NewCOMP128(1, k.K)
		return nil, gsm, err
	case model.COMP128v2:
		gsm, err = aka.NewCOMP128(2, k.K)
		return nil, gsm, err
	case model.COMP128v3:
		gsm, err = aka.NewCOMP128(3, k.K)
		return nil, gsm, err
	case model.TUAK:
		a, err = aka.NewTUAK(k.K, k.OPc, aka.TUAKOptions{})
	case model.XOR:
		a, err = aka.NewXOR(k.K)
	default:
		var block aka.Block
		if block, err = aka.NewAES(k.K); err == nil {
			a, err = aka.NewMilenage(block, k.OPc)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	return a, aka.NewGSM(a), nil
}

// sqnArray is the state that the SQN file describes. Settings that switch the
// check or the concealment off are refused: no USIM of TS 33.102 has them.
func sqnArray(f model.SQN) (aka.SQNArray, error) {
	if !f.Check || f.SkipNext || f.KeepAMF || !f.ConcealAUTN || !f.ConcealAUTS {
		return aka.SQNArray{}, fmt.Errorf("%w: SQN file with a check or a concealment switched off", errKeyFiles)
	}
	a := aka.SQNArray{Entries: f.Entries}
	for i, sqn := range f.Seen {
		a.Last[i] = aka.SQN(sqn)
	}
	if f.CheckDelta {
		a.Delta = f.Delta / uint64(f.Entries)
	}
	if f.CheckAge {
		a.AgeLimit = f.AgeLimit / uint64(f.Entries)
	}
	return a, nil
}

// storeSQN writes the entries that differ to the SQN file, whose tail they are.
func (c *Card) storeSQN(next aka.SQNArray) error {
	c.writable(c.sqnFile)
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
