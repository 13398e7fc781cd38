package m2me

import (
	"context"
	"errors"
	"fmt"

	"mcim/apdu"
	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/aka"
	"mcim/card/model"
	"mcim/tpm/mcim"
)

// ErrForeignCard says that the card in the machine is not the one that the
// supplier put into it.
var ErrForeignCard = errors.New("another card than the one supplied with the machine")

// UICC is the card in the machine's reader, with the secrets that open it: the
// TRE holds them, and releases them only while the platform is in its approved
// state.
type UICC struct {
	card    card.Card
	session *card.Session
	allow   []string
	dryRun  bool
	budget  *card.Spent
	release func() (*cardSecrets, error)
	guard   *card.Guard
	secrets *cardSecrets
	open    bool // the USIM answers: PIN1 was verified since the last reset
}

// cardSecrets are wire.CardSecrets after their way into the TPM and out again.
type cardSecrets struct {
	iccid      string
	pin1, adm1 secret.Bytes // 8 bytes each
}

// start resets the card, makes sure that it is the supplied one, and verifies
// PIN1, which no person enters (TR 22.868, 5.2.2: the device holds it).
func (u *UICC) start(ctx context.Context) error {
	if u.open {
		return nil
	}
	atr, err := u.session.Reset(ctx)
	if err != nil {
		return err
	}
	if u.secrets == nil {
		if u.secrets, err = u.release(); err != nil {
			return fmt.Errorf("the TRE does not release the card's PIN: %w", err)
		}
	}
	u.guard = card.NewGuard(u.session, card.GuardConfig{ATR: atr, Allow: u.allow, DryRun: u.dryRun, Budget: u.left()})
	raw, err := u.session.ReadFile(ctx, card.InMF(uicc.FIDEFICCID))
	if err != nil {
		return err
	}
	iccid, err := uicc.DecodeICCID(raw)
	if err != nil {
		return err
	}
	if iccid != u.secrets.iccid {
		return fmt.Errorf("%w: ICCID %s, supplied was %s: no PIN is given to it; put the right card back", ErrForeignCard, iccid, u.secrets.iccid)
	}
	if _, err := u.session.Select(ctx, card.InApp(usim.AIDPrefix())); err != nil {
		return err
	}
	if err := u.guard.Verify(ctx, uicc.RefPIN1, u.secrets.pin1); err != nil {
		return err
	}
	u.open = true
	return nil
}

// left is what remains of the budget for a new guard.
func (u *UICC) left() *card.Spent {
	if u.budget == nil || u.guard == nil {
		return u.budget
	}
	spent := u.guard.Spent()
	u.budget = &card.Spent{
		PINTries: u.budget.PINTries - spent.PINTries,
		Writes:   u.budget.Writes - spent.Writes,
		Auths:    u.budget.Auths - spent.Auths,
	}
	return u.budget
}

// reset makes the next use start the card anew.
func (u *UICC) reset() { u.open = false }

// identity reads EF.IMSI.
func (u *UICC) identity(ctx context.Context) (string, error) {
	if err := u.start(ctx); err != nil {
		return "", err
	}
	raw, err := u.session.ReadFile(ctx, card.InApp(usim.AIDPrefix(), usim.EFIMSI))
	if err != nil {
		return "", err
	}
	imsi, err := usim.DecodeIMSI(raw)
	return string(imsi), err
}

// authenticate lets the card answer a challenge in the 3G context (TS 31.102,
// 7.1.2). Errors are those of the MCIM in the TRE: aka.ErrMAC, *aka.SyncError.
func (u *UICC) authenticate(ctx context.Context, rand, autn [16]byte) (aka.Result, error) {
	var result aka.Result
	if err := u.start(ctx); err != nil {
		return result, err
	}
	response, err := u.guard.Authenticate(ctx, usim.AIDPrefix(), usim.Authenticate{RAND: rand, AUTN: autn})
	switch {
	case err != nil:
		return result, err
	case response.SW == apdu.SWAuthenticationMAC:
		return result, fmt.Errorf("%w (status word %s)", aka.ErrMAC, response.SW)
	case !response.SW.OK():
		return result, &card.CommandError{Command: "AUTHENTICATE", SW: response.SW}
	}
	answer, err := usim.ParseAuthenticate(response.Data)
	if err != nil {
		return result, err
	}
	if answer.AUTS != nil {
		return result, &aka.SyncError{AUTS: *answer.AUTS, Reason: errors.New("the card does not accept the SQN")}
	}
	if len(answer.RES) != len(result.RES) {
		return result, fmt.Errorf("the card answers with a RES of %d bytes, want %d", len(answer.RES), len(result.RES))
	}
	copy(result.RES[:], answer.RES)
	result.CK, result.IK = answer.CK, answer.IK
	return result, nil
}

// write is one change of P8c.8: the file and how to write it.
type write struct {
	name string
	do   func(context.Context) error
}

// writes is what P8c.8 changes in the card, in this order: the keys first, since
// with the new IMSI and the old K the card would ask a network that does not
// know it, then the identity, then what the old network left behind.
func (u *UICC) writes(sub *mcim.Subscription) ([]write, error) {
	imsi, err := usim.IMSI(sub.IMSI).Encode()
	if err != nil {
		return nil, err
	}
	list := []write{
		{"key file", func(ctx context.Context) error {
			return u.guard.UpdateKey(ctx, model.Key{Algorithm: model.Milenage, K: sub.K, OPc: sub.OPc})
		}},
		{"SQN file", func(ctx context.Context) error {
			return u.guard.UpdateSQN(ctx, model.NewSQN(uint64(sub.SQN)))
		}},
		u.file("EF.IMSI", usim.EFIMSI, imsi),
	}
	cleared, err := u.cleared()
	return append(list, cleared...), err
}

// cleared is the LOCI family and the keys of the old subscription, at the values
// of a USIM that was never attached.
func (u *UICC) cleared() ([]write, error) {
	loci, err1 := usim.DefaultLOCI().Encode()
	psloci, err2 := usim.DefaultPSLOCI().Encode()
	epsloci, err3 := usim.DefaultEPSLOCI().Encode()
	return []write{
		u.file("EF.LOCI", usim.EFLOCI, loci),
		u.file("EF.PSLOCI", usim.EFPSLOCI, psloci),
		u.file("EF.EPSLOCI", usim.EFEPSLOCI, epsloci),
		u.file("EF.Keys", usim.EFKeys, usim.DefaultKeys()),
		u.file("EF.KeysPS", usim.EFKeysPS, usim.DefaultKeys()),
		u.unused("EF.FPLMN", usim.EFFPLMN),
	}, errors.Join(err1, err2, err3)
}

func (u *UICC) file(name string, fid uint16, data []byte) write {
	return write{name, func(ctx context.Context) error {
		return u.guard.UpdateBinary(ctx, card.InApp(usim.AIDPrefix(), fid), 0, data)
	}}
}

// unused fills a file, as long as the card has it, with FF.
func (u *UICC) unused(name string, fid uint16) write {
	return write{name, func(ctx context.Context) error {
		file := card.InApp(usim.AIDPrefix(), fid)
		fcp, err := u.session.Select(ctx, file)
		if err != nil {
			return err
		}
		return u.guard.UpdateBinary(ctx, file, 0, usim.Unused(fcp.Size.N))
	}}
}
