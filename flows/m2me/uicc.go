package m2me

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/aka"
	"mcim/card/model"
	"mcim/flows/wire"
)

// ErrForeignCard says that the card in the machine is not the one that the
// supplier put into it.
var ErrForeignCard = errors.New("another card than the one supplied with the machine")

// Names under which the TRE seals what opens the card (P1.7).
const (
	sealedICCID = "card-iccid"
	sealedPIN1  = "card-pin1"
	sealedADM1  = "card-adm1"
)

// inUICC is the card in the machine's reader. What opens it is kept nowhere but
// in the TRE, which releases it for each use, while the platform is in its
// approved state.
type inUICC struct {
	session *card.Session
	allow   []string
	dryRun  bool
	refused *card.Refused
	release func(name string) (secret.Bytes, error)
	guard   *card.Guard
	open    bool // PIN1 was verified since the last reset
}

// lost tells a card that is gone from one that refuses: the first comes back, and
// what was asked of it can be asked again. One that the Guard refuses, and one that
// does not do what it is told, is no fault of the machine. Whatever went wrong, the
// next use starts with a reset.
func (u *inUICC) lost(err error) error {
	if err == nil {
		return nil
	}
	u.open = false
	if errors.Is(err, card.ErrRemoved) || errors.Is(err, card.ErrTimeout) {
		return wire.Errorf(wire.CodeUnavailable, "", "UICC: %w: put the machine's card back and power the machine on", err)
	}
	var (
		guarded *card.RefusalError
		pin     *card.PINError
		command *card.CommandError
	)
	if errors.As(err, &guarded) || errors.As(err, &pin) || errors.As(err, &command) || errors.Is(err, ErrForeignCard) {
		return wire.Refuse("", "UICC: %w", err)
	}
	return err
}

// start resets the card, makes sure that it is the supplied one, and verifies
// PIN1, which no person enters (TR 22.868, 5.2.2: the device holds it).
func (u *inUICC) start(ctx context.Context) error {
	if u.open {
		return nil
	}
	atr, err := u.session.Reset(ctx)
	if err != nil {
		return err
	}
	u.guard = card.NewGuard(u.session, card.GuardConfig{ATR: atr, Allow: u.allow, DryRun: u.dryRun, Refused: u.refused})
	if err := u.recognise(ctx); err != nil {
		return err
	}
	if _, err := u.session.Select(ctx, card.InApp(usim.AIDPrefix())); err != nil {
		return err
	}
	if err := u.verify(ctx, uicc.RefPIN1, sealedPIN1); err != nil {
		return err
	}
	u.open = true
	return nil
}

// recognise refuses every card but the supplied one, before it gets a PIN.
func (u *inUICC) recognise(ctx context.Context) error {
	iccid, err := u.session.ICCID(ctx)
	if err != nil {
		return err
	}
	supplied, err := u.release(sealedICCID)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: ICCID %s, and none was supplied: no PIN is given to it", ErrForeignCard, iccid)
	}
	if err != nil {
		return fmt.Errorf("the TRE does not say which card is the machine's: %w", err)
	}
	if want := string(supplied.Reveal()); iccid != want {
		return fmt.Errorf("%w: ICCID %s, supplied was %s: no PIN is given to it; put the right card back", ErrForeignCard, iccid, want)
	}
	return nil
}

// verify presents a code that the TRE releases.
func (u *inUICC) verify(ctx context.Context, ref byte, name string) error {
	code, err := u.release(name)
	if err != nil {
		return fmt.Errorf("the TRE does not release the card's code: %w", err)
	}
	err = u.guard.Verify(ctx, ref, code)
	if errors.Is(err, card.ErrWrongPIN) {
		return fmt.Errorf("the card refuses its %s, one try is spent: %w", card.KeyName(ref), err)
	}
	return err
}

// identity reads EF.IMSI.
func (u *inUICC) identity(ctx context.Context) (string, error) {
	imsi, err := u.readIMSI(ctx)
	return imsi, u.lost(err)
}

func (u *inUICC) readIMSI(ctx context.Context) (string, error) {
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
func (u *inUICC) authenticate(ctx context.Context, rand, autn [16]byte) (aka.Result, error) {
	if err := u.start(ctx); err != nil {
		return aka.Result{}, u.lost(err)
	}
	result, err := u.guard.AKA(ctx, usim.AIDPrefix(), aka.Vector{RAND: rand, AUTN: autn})
	var sync *aka.SyncError
	if errors.Is(err, aka.ErrMAC) || errors.As(err, &sync) {
		return result, err
	}
	return result, u.lost(err)
}

// write is one change of P8c.8: the file and how to write it.
type write struct {
	name string
	do   func(context.Context) error
}

// writes is what P8c.8 changes in the card, in this order: the keys first, since
// with the new IMSI and the old K the card would ask a network that does not
// know it, then the identity, then what the old network left behind.
func (u *inUICC) writes(sub Content) ([]write, error) {
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
	for _, f := range leftBehind() {
		data, told := sub.Left[f.fid]
		switch {
		case told:
			list = append(list, u.file(f.name, f.fid, data.Reveal()))
		case f.cleared == nil:
			list = append(list, u.unused(f.name, f.fid))
		default:
			list = append(list, u.file(f.name, f.fid, f.cleared()))
		}
	}
	return list, nil
}

// left is a file in which a network leaves something.
type left struct {
	name string
	fid  uint16
	// cleared is what a USIM that was never attached has there; nil for FF, as long
	// as the file is.
	cleared func() []byte
}

// leftBehind is the LOCI family, the keys of the networks, and those that have
// refused the card.
func leftBehind() []left {
	return []left{
		{"EF.LOCI", usim.EFLOCI, usim.DefaultLOCI},
		{"EF.PSLOCI", usim.EFPSLOCI, usim.DefaultPSLOCI},
		{"EF.EPSLOCI", usim.EFEPSLOCI, usim.DefaultEPSLOCI},
		{"EF.Keys", usim.EFKeys, usim.DefaultKeys},
		{"EF.KeysPS", usim.EFKeysPS, usim.DefaultKeys},
		{"EF.FPLMN", usim.EFFPLMN, nil},
	}
}

func (u *inUICC) file(name string, fid uint16, data []byte) write {
	return write{name, func(ctx context.Context) error {
		return u.guard.UpdateBinary(ctx, card.InApp(usim.AIDPrefix(), fid), 0, data)
	}}
}

// unused fills a file, as long as the card has it, with FF.
func (u *inUICC) unused(name string, fid uint16) write {
	return write{name, func(ctx context.Context) error {
		file := card.InApp(usim.AIDPrefix(), fid)
		fcp, err := u.session.Select(ctx, file)
		if err != nil {
			return err
		}
		return u.guard.UpdateBinary(ctx, file, 0, usim.Unused(fcp.Size.N))
	}}
}
