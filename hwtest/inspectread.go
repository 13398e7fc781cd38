package hwtest

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"mcim/apdu"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/model"
)

// place names a file by the AID of its application, if it is in one, and the
// file identifiers below that or below the MF.
type place struct {
	app  []byte
	path []uint16
}

// app is a file of the USIM, or of DF.GSM.
func (i *inspection) app(fid uint16) place {
	if i.gsm {
		return place{path: []uint16{usim.DFGSM, fid}}
	}
	return place{app: i.usim, path: []uint16{fid}}
}

// classGSM is the class of TS 51.011.
const classGSM = 0xA0

// selection is what a card says of a file, in the form of its class; a form that
// cannot be decoded is left empty, since reading goes without it.
type selection struct {
	fcp uicc.FCP
	gsm uicc.GSMResponse
}

// open selects a file step by step from the MF or the application, as every card
// allows (TS 102 221, 8.4.1).
func (i *inspection) open(ctx context.Context, p place) (selection, error) {
	first := i.byFID(uicc.FIDMF)
	if p.app != nil {
		first = uicc.SelectAID(p.app).Command()
	}
	data, err := i.do(ctx, first)
	for _, fid := range p.path {
		if err != nil {
			break
		}
		data, err = i.do(ctx, i.byFID(fid))
	}
	var s selection
	if err != nil {
		return s, err
	}
	if i.gsm {
		s.gsm, _ = uicc.ParseGSMResponse(data)
		return s, nil
	}
	s.fcp, _ = uicc.ParseFCP(data)
	return s, nil
}

// do is Session.Do in the class of the command, whatever the card knows: that is what is
// looked at here.
func (i *inspection) do(ctx context.Context, c apdu.Command) ([]byte, error) {
	r, err := i.session.Send(ctx, c)
	if err == nil && !r.SW.OK() {
		err = &card.CommandError{Command: card.CommandName(c), SW: r.SW}
	}
	return r.Data, err
}

func (i *inspection) byFID(fid uint16) apdu.Command {
	if i.gsm {
		return apdu.Command{CLA: classGSM, INS: uicc.INSSelect, Data: []byte{byte(fid >> 8), byte(fid)}}
	}
	return uicc.SelectFID(fid).Command()
}

// read reads a transparent file of up to 256 bytes; those of this package have
// less.
func (i *inspection) read(ctx context.Context, p place) ([]byte, error) {
	s, err := i.open(ctx, p)
	if err != nil {
		return nil, err
	}
	size := max(s.fcp.Size.N, int(s.gsm.Size))
	if size == 0 || size > apdu.MaxShortNe {
		size = apdu.MaxShortNe
	}
	c := uicc.ReadBinary{Ne: size}.Command()
	if i.gsm {
		c.CLA = classGSM
	}
	return i.do(ctx, c)
}

// reading reads a file and decodes it, or says why it cannot.
func (i *inspection) reading(ctx context.Context, p place, decode func([]byte) (string, error)) (Reading, error) {
	if i.mute != "" {
		return Reading{Why: i.mute}, nil
	}
	b, err := i.read(ctx, p)
	value := ""
	if err == nil {
		value, err = decode(b)
		if err != nil {
			err = fmt.Errorf("the file is damaged: %w", err)
		}
	}
	why, lost := i.judge(ctx, err)
	if lost != nil || why != "" {
		return Reading{Why: why}, lost
	}
	return Reading{Value: value}, nil
}

// maxRecords is more than any card has in EF.DIR.
const maxRecords = 32

// applications reads EF.DIR record by record, so that a damaged one does not
// hide the others.
func (i *inspection) applications(ctx context.Context) error {
	i.usim = usim.AIDPrefix()
	switch {
	case i.mute != "":
		i.info.ApplicationsWhy = i.mute
		return nil
	case i.gsm:
		i.info.ApplicationsWhy = "a SIM has no EF.DIR"
		return nil
	}
	s, err := i.open(ctx, place{path: []uint16{uicc.FIDEFDIR}})
	if err != nil {
		why, lost := i.judge(ctx, err)
		i.info.ApplicationsWhy = why
		return lost
	}
	length, count := int(s.fcp.Descriptor.RecordLength), int(s.fcp.Descriptor.Records)
	if length == 0 || length > apdu.MaxShortNe {
		length, count = apdu.MaxShortNe, maxRecords
	}
	for n := 1; n <= min(count, maxRecords); n++ {
		more, err := i.application(ctx, n, length)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// application reads record n of EF.DIR, which is selected; more is false where
// the file ends.
func (i *inspection) application(ctx context.Context, n, length int) (more bool, err error) {
	b, err := i.do(ctx, uicc.ReadRecord{Record: byte(n), Ne: length}.Command())
	if errors.Is(err, apdu.SWRecordNotFound) {
		return false, nil
	}
	var d uicc.DirRecord
	if err == nil {
		d, err = uicc.DecodeDirRecord(b)
	}
	if errors.Is(err, uicc.ErrEmptyRecord) {
		return true, nil
	}
	if why, lost := i.judge(ctx, err); why != "" || lost != nil {
		i.damagedRecord(n, why)
		return lost == nil && errors.Is(err, uicc.ErrDirRecord), lost
	}
	if bytes.HasPrefix(d.AID, usim.AIDPrefix()) && len(i.usim) == len(usim.AIDPrefix()) {
		i.usim = bytes.Clone(d.AID)
	}
	i.info.Applications = append(i.info.Applications, Application{hex.EncodeToString(d.AID), applicationKind(d.AID), d.Label})
	return true, nil
}

func (i *inspection) damagedRecord(n int, why string) {
	if i.info.ApplicationsWhy != "" {
		i.info.ApplicationsWhy += "; "
	}
	i.info.ApplicationsWhy += fmt.Sprintf("record %d: %s", n, why)
}

// applicationKind names an application by RID and application code (TS 101 220,
// annexes E and L).
func applicationKind(aid []byte) string {
	for _, known := range []struct{ prefix, name string }{
		{"a0000000871002", "USIM"},
		{"a0000000871004", "ISIM"},
		{"a000000087100a", "HPSIM"},
		{"a0000003431002", "CSIM"},
	} {
		if len(aid) >= 7 && hex.EncodeToString(aid[:7]) == known.prefix {
			return known.name
		}
	}
	return ""
}

// localKey marks a key reference that is the application's own (TS 102 221,
// 9.5.1): the application must be selected for it.
const localKey = 0x80

// pins asks for the state of each PIN that the card names, and of the key by
// which its model is written.
func (i *inspection) pins(ctx context.Context) error {
	switch {
	case i.mute != "":
		i.info.PINsWhy = i.mute
		return nil
	case i.gsm:
		return i.chvs(ctx)
	}
	mf, err := i.open(ctx, place{})
	if why, lost := i.judge(ctx, err); why != "" || lost != nil {
		i.info.PINsWhy = why
		return lost
	}
	adf, err := i.open(ctx, place{app: i.usim})
	_, lost := i.judge(ctx, err) // without it the MF's are told
	if lost != nil {
		return lost
	}
	states := []*uicc.PINStatus{mf.fcp.PINs, adf.fcp.PINs}
	refs := named(states)
	if len(refs) == 0 {
		i.info.PINsWhy = "the card names no PIN in its FCP, so it is not asked for counters: the question could cost a try"
		return nil
	}
	for _, ref := range withModelKey(refs, i.atr) {
		p := PIN{Ref: ref, Name: card.KeyName(ref)}
		for _, s := range states {
			if enabled, known := enabled(s, ref); known {
				p.Enabled = &enabled
			}
		}
		if err := i.pin(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// named lists the key references in the PIN status templates, sorted: those of
// the card before those of the application (TS 102 221, 9.5.1).
func named(states []*uicc.PINStatus) []byte {
	var refs []byte
	for _, s := range states {
		if s == nil {
			continue
		}
		for _, k := range s.Keys {
			refs = append(refs, k.Ref)
		}
	}
	slices.Sort(refs)
	return slices.Compact(refs)
}

func withModelKey(refs []byte, atr []byte) []byte {
	m, err := model.Find(atr)
	if err != nil || slices.Contains(refs, m.ADM.Reference) {
		return refs
	}
	refs = append(refs, m.ADM.Reference)
	slices.Sort(refs)
	return refs
}

func enabled(s *uicc.PINStatus, ref byte) (enabled, known bool) {
	if s == nil {
		return false, false
	}
	return s.Enabled(ref)
}

// pin asks for the counter of p and adds p to the result.
func (i *inspection) pin(ctx context.Context, p PIN) error {
	if p.Ref&localKey != 0 && !i.gsm {
		_, err := i.open(ctx, place{app: i.usim})
		if _, lost := i.judge(ctx, err); lost != nil {
			return lost
		}
	}
	tries, err := i.guard.Tries(ctx, p.Ref)
	var refused *card.RefusalError
	switch {
	case err == nil:
		p.Tries = &tries
	case errors.As(err, &refused):
		p.Why = refused.Why
	default:
		why, lost := i.judge(ctx, err)
		if lost != nil {
			return lost
		}
		p.Why = why
	}
	i.info.PINs = append(i.info.PINs, p)
	return nil
}

// chvs are the two PINs of a SIM (TS 51.011, 9.2.1).
func (i *inspection) chvs(ctx context.Context) error {
	s, err := i.open(ctx, place{})
	if why, lost := i.judge(ctx, err); why != "" || lost != nil {
		i.info.PINsWhy = why
		return lost
	}
	if s.gsm.DF == nil {
		i.info.PINsWhy = "the card does not tell the state of its CHVs"
		return nil
	}
	on := !s.gsm.DF.CHV1Disabled()
	if err := i.pin(ctx, PIN{Ref: uicc.RefPIN1, Name: "CHV1", Enabled: &on}); err != nil {
		return err
	}
	return i.pin(ctx, PIN{Ref: uicc.RefPIN2, Name: "CHV2"})
}
