package lint

import (
	"encoding/hex"
	"strings"

	"mcim/apdu/ef"
	"mcim/apdu/uicc"
	"mcim/card"
)

// cardRules are about the answer to reset, EF.ICCID and EF.DIR.
func cardRules() []Rule {
	return []Rule{
		{ID: "atr", Severity: Warning, Clause: "ISO/IEC 7816-3, 8.2", scope: ofCard, judge: judgeATR,
			What: "the answer to reset is damaged", Remedy: "clean the contacts and try another reader; else the card has to be replaced"},
		{ID: "voltage", Severity: Error, Clause: "TS 102 221, 6.3.1", scope: ofCard, judge: judgeVoltage,
			What: "the card works at 5 V only, which no modem of today gives", Remedy: "take a card of class B or C"},
		{ID: "iccid-missing", Severity: Warning, Clause: "TS 102 221, 13.2", scope: ofCard, judge: judgeICCIDMissing,
			What: "EF.ICCID is missing, empty or not understood", Remedy: "write EF.ICCID (a plan needs \"iccid\"); modems refuse a card without it"},
		{ID: "iccid-form", Severity: Warning, Clause: "ITU-T E.118, 4", scope: ofCard, judge: judgeICCIDForm,
			What: "the ICCID does not begin with 89 or has not 18 to 20 digits", Remedy: "write the ICCID that is printed on the card"},
		{ID: "iccid-luhn", Severity: Info, Clause: "ITU-T E.118, 4", scope: ofCard, judge: judgeICCIDLuhn,
			What: "the ICCID has a wrong check digit", Remedy: "write the ICCID that is printed on the card, with its last digit"},
		{ID: "dir-missing", Severity: Warning, Clause: "TS 102 221, 13.1", scope: ofUICC, judge: judgeDirMissing,
			What: "EF.DIR is missing or names no application", Remedy: "write a record with the AID of the USIM into EF.DIR"},
		{ID: "dir-malformed", Severity: Warning, Clause: "TS 102 221, 13.1", scope: ofUICC, judge: judgeDirMalformed,
			What: "a record of EF.DIR is not understood", Remedy: "write the record anew: 61, length, 4F, length, AID"},
		{ID: "dir-application", Severity: Error, Clause: "TS 102 221, 8.6", scope: ofUICC, judge: judgeDirApplication,
			What: "EF.DIR names an application that cannot be selected", Remedy: "correct the AID in EF.DIR, or clear the record"},
		{ID: "dir-unlisted", Severity: Error, Clause: "TS 102 221, 8.6", scope: ofUICC, judge: judgeDirUnlisted,
			What: "there is a USIM or ISIM that EF.DIR does not name, so that no terminal selects it", Remedy: "add a record with its AID to EF.DIR"},
	}
}

func (v *view) atr() (card.ATR, error) {
	b, err := hex.DecodeString(v.subject.Document.ATR)
	if err != nil {
		return card.ATR{}, err
	}
	return card.ParseATR(b)
}

func judgeATR(v *view) {
	if _, err := v.atr(); err != nil {
		v.find("", "%v", err)
	}
}

func judgeVoltage(v *view) {
	a, err := v.atr()
	if err != nil {
		v.unseen("the answer to reset is damaged")
		return
	}
	if supply := a.Supply(); supply.Known && supply.Classes == card.ClassA {
		v.find("", "the answer to reset offers class A (5 V) alone")
	}
}

const pathICCID = "MF/EF.ICCID"

func judgeICCIDMissing(v *view) {
	switch f := v.files[pathICCID]; {
	case f == nil && v.missing(pathICCID):
		v.find(pathICCID, "the file is not on the card")
	case f != nil && f.Undecoded != "":
		v.find(pathICCID, "%s", f.Undecoded)
	case v.unused(pathICCID):
		v.find(pathICCID, "it is empty")
	}
}

// iccid is that of the card; empty where it is not seen.
func (v *view) iccid() string {
	if c := read[ef.ICCID](v, pathICCID); c != nil {
		return c.ICCID
	}
	return ""
}

func judgeICCIDForm(v *view) {
	if s := v.iccid(); s != "" && (!strings.HasPrefix(s, "89") || len(s) < 18 || len(s) > 20) {
		v.find(pathICCID, "%s, %d digits", s, len(s))
	}
}

// judgeICCIDLuhn leaves ICCIDs of 18 digits alone: they have no check digit.
func judgeICCIDLuhn(v *view) {
	if s := v.iccid(); len(s) >= 19 && !uicc.LuhnOK(s) {
		v.find(pathICCID, "the digits of %s do not add up", s)
	}
}

func judgeDirMissing(v *view) {
	f := v.files[pathDIR]
	switch {
	case f == nil:
		if v.missing(pathDIR) {
			v.find(pathDIR, "the file is not on the card")
		}
	case f.Error != "" || f.Undecoded != "":
		v.unseen("%s: %s%s", pathDIR, f.Error, f.Undecoded)
	case len(listedAIDs(v.subject.Document)) == 0:
		v.find(pathDIR, "no record is in use")
	}
}

func judgeDirMalformed(v *view) {
	if f := v.files[pathDIR]; f != nil && f.Undecoded != "" {
		v.find(pathDIR, "%s", f.Undecoded)
	}
}

func judgeDirApplication(v *view) {
	for _, aid := range listedAIDs(v.subject.Document) {
		if strings.HasPrefix(aid, prefixUSIM()) || strings.HasPrefix(aid, prefixISIM()) {
			v.selected(aid)
			continue
		}
		if v.subject.Probe == nil {
			v.unseen("only the card itself tells whether %s can be selected", aid)
		} else if why := v.subject.Probe.Refused[aid]; why != "" {
			v.find(pathDIR, "%s: %s", aid, why)
		}
	}
}

// selected looks for an application that the dump has selected.
func (v *view) selected(aid string) {
	for _, f := range v.subject.Document.Files {
		if f.AID != aid {
			continue
		}
		if f.Error != "" {
			v.find(pathDIR, "%s: %s", aid, f.Error)
		}
		return
	}
	v.find(pathDIR, "%s is not on the card", aid)
}

func judgeDirUnlisted(v *view) {
	f := v.files[pathDIR]
	switch {
	case v.subject.Probe == nil:
		v.unseen("only the card itself tells which applications it has")
		return
	case f != nil && f.Undecoded != "":
		v.unseen("%s: %s", pathDIR, f.Undecoded)
		return
	}
	for _, aid := range v.subject.Probe.Unlisted {
		v.find(pathDIR, "%s can be selected, and no record names it", aid)
	}
}
