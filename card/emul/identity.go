package emul

import (
	"errors"
	"io"

	"mcim/apdu"
	"mcim/apdu/ef"
	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card/aka/suci"
)

// serviceSUCIByUSIM is service 125 of EF.UST (TS 31.102, 4.2.8).
const serviceSUCIByUSIM usim.Service = 125

const ephemeralBytes = 32 // private key of both profiles (TS 33.501, C.3.4)

var errIdentityFiles = errors.New("the files of the identity hold none")

// getIdentity is GET IDENTITY (TS 31.102, 7.5): the SUCI of EF.IMSI, another one
// each time unless the scheme is null.
func (c *Card) getIdentity(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	g, err := usim.DecodeGetIdentity(cmd.P2)
	switch {
	case err != nil || cmd.P1 != 0:
		return apdu.SWIncorrectP1P2
	case len(cmd.Data) != 0:
		return apdu.SWWrongLength
	case ch.app == nil || ch.app.isim || !ch.dir.within(ch.app):
		return apdu.SWConditionsNotSatisfied
	case !c.isVerified(uicc.RefPIN1, ch.app):
		return apdu.SWSecurityStatus
	case g.Context != usim.IdentitySUCI || !c.service(usim.ServiceSUCI) || !c.service(serviceSUCIByUSIM):
		return apdu.SWFunctionNotSupported
	}
	s, err := c.conceal()
	if err != nil {
		return apdu.SWConditionsNotSatisfied
	}
	answer, err := usim.EncodeIdentity(s)
	if err != nil {
		return apdu.SWConditionsNotSatisfied
	}
	return c.reply2(cmd, answer)
}

// conceal makes the SUCI out of the files, with the scheme that is preferred.
func (c *Card) conceal() (usim.SUCI, error) {
	imsi, err := usim.DecodeIMSI(c.adf.own(usim.EFIMSI).data)
	if err != nil {
		return usim.SUCI{}, err
	}
	ad, err := ef.As[ef.AdministrativeData](ef.DirUSIM, usim.EFAD, c.adf.own(usim.EFAD).data)
	if err != nil {
		return usim.SUCI{}, err
	}
	routing, _ := c.file5GS(0x4F0A).(*ef.RoutingIndicator)
	info, _ := c.file5GS(0x4F07).(*ef.SUCIInfo)
	if routing == nil || info == nil || len(info.Schemes) == 0 {
		return usim.SUCI{}, errIdentityFiles
	}
	key, err := homeKey(info)
	if err != nil {
		return usim.SUCI{}, err
	}
	ephemeral := make([]byte, ephemeralBytes)
	if _, err := io.ReadFull(c.random(), ephemeral); err != nil {
		return usim.SUCI{}, err
	}
	return suci.Conceal(imsi, int(ad.MNCLength), routing.Digits, key, secret.New(ephemeral))
}

// homeKey is the key of the scheme that is preferred.
func homeKey(info *ef.SUCIInfo) (suci.PublicKey, error) {
	first := info.Schemes[0]
	for s, name := range schemeNames() {
		switch {
		case name != first.Scheme:
		case usim.Scheme(s) == usim.SchemeNull:
			return suci.PublicKey{}, nil
		case info.Keys != nil && first.Key >= 1 && int(first.Key) <= len(*info.Keys):
			k := (*info.Keys)[first.Key-1]
			return suci.PublicKey{Scheme: usim.Scheme(s), ID: k.ID, Key: k.Key}, nil
		}
	}
	return suci.PublicKey{}, errIdentityFiles
}

// file5GS is the content of a file of DF.5GS; nil where there is none.
func (c *Card) file5GS(fid uint16) any {
	fids := ef.Dir5GS.FIDs()
	d := c.adf.dir(fids[len(fids)-1])
	if d == nil || d.own(fid) == nil {
		return nil
	}
	f, _ := ef.Find(ef.Dir5GS, fid)
	v, err := f.Decode(d.own(fid).data)
	if err != nil {
		return nil
	}
	return v
}
