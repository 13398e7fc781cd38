package lint

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mcim/apdu"
	"mcim/apdu/ef"
	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/dump"
)

// Options of Read; the zero value reads what needs no PIN.
type Options struct {
	// PIN1 is verified if two tries or more are left (dump.Options); where they are
	// not, the card is read without it.
	PIN1 secret.Bytes
	// Session are the settings of the transport.
	Session card.Options
}

// Read resets the card and reads it. The errors are those of dump.Read, but for a
// PIN1 that the guard does not present: Probe.PIN1 tells of that.
func Read(ctx context.Context, c card.Card, o Options) (Subject, error) {
	p := &Probe{Refused: map[string]string{}}
	counted := &dump.Counter{Card: c}
	doc, err := dump.Read(ctx, counted, dump.Options{PIN1: o.PIN1, Session: o.Session})
	var refused *card.RefusalError
	if errors.As(err, &refused) {
		p.PIN1 = refused.Error()
		doc, err = dump.Read(ctx, counted, dump.Options{Session: o.Session})
	}
	if err != nil {
		return Subject{}, err
	}
	session := card.NewSession(counted, o.Session)
	if err := p.pins(ctx, session); err != nil {
		return Subject{}, err
	}
	s := Subject{Document: doc, Probe: p}
	if (&view{files: byPath(doc)}).isUICC() {
		if err := p.applications(ctx, session, doc); err != nil {
			return Subject{}, err
		}
	}
	p.APDUs = counted.Sent - doc.APDUs
	return s, nil
}

// pins asks for the tries of PIN1, and of the universal PIN where it stands in.
func (p *Probe) pins(ctx context.Context, session *card.Session) error {
	atr, err := session.Reset(ctx)
	if err != nil {
		return err
	}
	guard := card.NewGuard(session, card.GuardConfig{ATR: bytes.Clone(atr)})
	if p.PINs, err = guard.PINs(ctx, uicc.RefPIN1); err != nil {
		return err
	}
	if len(p.PINs) == 1 && p.PINs[0].Replaced {
		universal, err := guard.PINs(ctx, uicc.RefUniversalPIN)
		if err != nil {
			return err
		}
		p.PINs = append(p.PINs, universal...)
	}
	return nil
}

// applications selects what the dump did not: applications that no specification
// here knows, and a USIM and an ISIM that EF.DIR does not name.
func (p *Probe) applications(ctx context.Context, session *card.Session, doc dump.Document) error {
	listed := listedAIDs(doc)
	for _, aid := range listed {
		if strings.HasPrefix(aid, prefixUSIM()) || strings.HasPrefix(aid, prefixISIM()) {
			continue // the dump has selected it
		}
		b, err := hex.DecodeString(aid)
		if err != nil {
			continue
		}
		if _, why, err := selectAID(ctx, session, b); err != nil {
			return err
		} else if why != "" {
			p.Refused[aid] = why
		}
	}
	if len(listed) == 0 {
		return nil // the dump has tried both
	}
	for _, prefix := range []string{prefixUSIM(), prefixISIM()} {
		if slices.ContainsFunc(listed, func(aid string) bool { return strings.HasPrefix(aid, prefix) }) {
			continue
		}
		b, _ := hex.DecodeString(prefix) // written by prefixUSIM
		aid, why, err := selectAID(ctx, session, b)
		if err != nil {
			return err
		}
		if why == "" {
			p.Unlisted = append(p.Unlisted, aid)
		}
	}
	return nil
}

// selectAID selects an application; why says that the card refuses it. The AID is
// the one in its FCP, or else the one that was asked for.
func selectAID(ctx context.Context, session *card.Session, aid []byte) (found, why string, err error) {
	answer, err := session.Send(ctx, uicc.SelectAID(aid).Command())
	switch {
	case err != nil:
		return "", "", err
	case answer.SW != apdu.SWOK && answer.SW.SW1() != 0x62:
		return "", fmt.Sprintf("SELECT by its AID is answered with %v", answer.SW), nil
	}
	if fcp, err := uicc.ParseFCP(answer.Data); err == nil && len(fcp.AID) > 0 {
		return hex.EncodeToString(fcp.AID), "", nil
	}
	return hex.EncodeToString(aid), "", nil
}

// prefixUSIM and prefixISIM are RID and application code (TS 101 220, annex E), in
// hexadecimal.
func prefixUSIM() string { return hex.EncodeToString(usim.AIDPrefix()) }
func prefixISIM() string { return "a0000000871004" }

// listedAIDs are those of EF.DIR in hexadecimal.
func listedAIDs(doc dump.Document) []string {
	var list []string
	for _, a := range readRecords[ef.Application](&view{files: byPath(doc)}, pathDIR) {
		if a != nil && len(a.AID) > 0 && !slices.Contains(list, hex.EncodeToString(a.AID)) {
			list = append(list, hex.EncodeToString(a.AID))
		}
	}
	return list
}

const pathDIR = "MF/EF.DIR"
