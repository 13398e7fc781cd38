package m2me

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"mcim/apdu"
	"mcim/apdu/ef"
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
		list = append(list, u.cleared(f, sub.Left[f.FID]))
	}
	return list, nil
}

// left is a file of the USIM in which a network leaves something.
type left struct {
	ef.File
	// cleared is what a USIM that was never attached has there; nil for FF, as long
	// as the file is.
	cleared func() []byte
	// optional is a file that a USIM need not have. It is written only where it holds
	// something.
	optional bool
}

// file says where it is.
func (f left) file() card.File {
	return card.InApp(usim.AIDPrefix(), append(f.Dir.FIDs()[1:], f.FID)...)
}

// content is what the file, or a record of it, is cleared to.
func (f left) content(size int) []byte {
	if f.cleared == nil {
		return usim.Unused(size)
	}
	return f.cleared()
}

// leftBehind is the LOCI family, the networks that have refused the card, and the
// keys of the networks: CK and IK, and those of GSM, EPS and 5GS that come from them.
// No two of them have the same file identifier.
func leftBehind() []left {
	var list []left
	for _, f := range []struct {
		path     string
		cleared  func() []byte
		optional bool
	}{
		{"ADF.USIM/EF.LOCI", usim.DefaultLOCI, false},
		{"ADF.USIM/EF.PSLOCI", usim.DefaultPSLOCI, false},
		{"ADF.USIM/EF.EPSLOCI", usim.DefaultEPSLOCI, false},
		{"ADF.USIM/EF.Keys", usim.DefaultKeys, false},
		{"ADF.USIM/EF.KeysPS", usim.DefaultKeys, false},
		{"ADF.USIM/EF.FPLMN", nil, false},
		{"ADF.USIM/EF.EPSNSC", nil, true},
		{"ADF.USIM/DF.GSM-ACCESS/EF.Kc", usim.DefaultKc, true},
		{"ADF.USIM/DF.GSM-ACCESS/EF.KcGPRS", usim.DefaultKc, true},
		{"ADF.USIM/DF.5GS/EF.5GS3GPPLOCI", usim.Default5GSLOCI, true},
		{"ADF.USIM/DF.5GS/EF.5GSN3GPPLOCI", usim.Default5GSLOCI, true},
		{"ADF.USIM/DF.5GS/EF.5GS3GPPNSC", nil, true},
		{"ADF.USIM/DF.5GS/EF.5GSN3GPPNSC", nil, true},
		{"ADF.USIM/DF.5GS/EF.5GAUTHKEYS", nil, true},
	} {
		file, _ := ef.ByPath(f.path) // a test looks that all are there
		list = append(list, left{file, f.cleared, f.optional})
	}
	return list
}

func (u *inUICC) file(name string, fid uint16, data []byte) write {
	return write{name, func(ctx context.Context) error {
		return u.guard.UpdateBinary(ctx, card.InApp(usim.AIDPrefix(), fid), 0, data)
	}}
}

// cleared writes told into the file, or where there is none of it what a USIM has
// there that was never attached.
func (u *inUICC) cleared(f left, told secret.Bytes) write {
	return write{f.Name, func(ctx context.Context) error {
		switch {
		case f.optional:
			return u.clearParts(ctx, f, told)
		case told.Len() > 0:
			return u.guard.UpdateBinary(ctx, f.file(), 0, told.Reveal())
		case f.cleared != nil:
			return u.guard.UpdateBinary(ctx, f.file(), 0, f.cleared())
		}
		fcp, err := u.session.Select(ctx, f.file())
		if err != nil {
			return err
		}
		return u.guard.UpdateBinary(ctx, f.file(), 0, usim.Unused(fcp.Size.N))
	}}
}

// clearParts is cleared for a file that may not be there: it writes the parts that
// are other than they should be.
func (u *inUICC) clearParts(ctx context.Context, f left, told secret.Bytes) error {
	parts, err := u.parts(ctx, f)
	if err != nil {
		return err
	}
	at := 0
	for i, has := range parts {
		want := f.content(len(has))
		if told.Len() >= at+len(has) {
			want = told.Reveal()[at : at+len(has)]
		}
		at += len(has)
		switch {
		case bytes.Equal(has, want):
		case f.Structure == ef.LinearFixed:
			err = u.guard.UpdateRecord(ctx, f.file(), i+1, want)
		default:
			err = u.guard.UpdateBinary(ctx, f.file(), 0, want)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// parts reads the records of a file, or all of it as one; none where the file is not
// on the card. A dry run has no PIN to read with, and takes every part as filled.
func (u *inUICC) parts(ctx context.Context, f left) ([][]byte, error) {
	var parts [][]byte
	var err error
	switch {
	case u.dryRun:
		var fcp uicc.FCP
		if fcp, err = u.session.Select(ctx, f.file()); err == nil {
			parts = filledParts(fcp)
		}
	case f.Structure == ef.LinearFixed:
		parts, err = u.session.ReadRecords(ctx, f.file())
	default:
		var all []byte
		all, err = u.session.ReadFile(ctx, f.file())
		parts = [][]byte{all}
	}
	if errors.Is(err, apdu.ErrNotFound) {
		return nil, nil
	}
	return parts, err
}

func filledParts(fcp uicc.FCP) (parts [][]byte) {
	if fcp.Descriptor.Records == 0 {
		return [][]byte{make([]byte, fcp.Size.N)}
	}
	for range fcp.Descriptor.Records {
		parts = append(parts, make([]byte, fcp.Descriptor.RecordLength))
	}
	return parts
}
