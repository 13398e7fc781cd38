package explain

import (
	"fmt"
	"strings"

	"mcim/apdu"
	"mcim/apdu/tlv"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
)

// parameters reads what SELECT and STATUS answer.
func parameters(data []byte) []string {
	if fcp, err := uicc.ParseFCP(data); err == nil {
		return ofFCP(fcp)
	}
	if gsm, err := uicc.ParseGSMResponse(data); err == nil {
		return ofGSM(gsm)
	}
	return objects(data)
}

// ofFCP is the FCP in words (TS 102 221, 11.1.1.3).
func ofFCP(f uicc.FCP) []string {
	d := f.Descriptor
	first := d.Type.String()
	if f.FID != 0 {
		first += fmt.Sprintf(" %04X", f.FID)
	}
	if d.Type.HasRecords() {
		first += fmt.Sprintf(", %d records of %d bytes", d.Records, d.RecordLength)
	}
	if f.Size.Width > 0 {
		first += fmt.Sprintf(", %d bytes", f.Size.N)
	}
	if sfi, ok := f.ShortID(); ok && d.Type != uicc.Directory {
		first += fmt.Sprintf(", SFI %d", sfi)
	}
	list := []string{first + ", " + f.LifeCycle.String()}
	if len(f.AID) > 0 {
		list = append(list, fmt.Sprintf("AID %X", f.AID))
	}
	switch {
	case f.ARR.FID != 0 && len(f.ARR.BySE) == 0:
		list = append(list, fmt.Sprintf("access rules in record %d of EF.ARR (%04X)", f.ARR.Record, f.ARR.FID))
	case f.ARR.FID != 0:
		list = append(list, fmt.Sprintf("access rules in EF.ARR (%04X), a record for each of %d environments", f.ARR.FID, len(f.ARR.BySE)))
	}
	if f.PINs != nil {
		list = append(list, "PINs: "+pinStates(f.PINs))
	}
	for _, t := range f.Unknown {
		list = append(list, fmt.Sprintf("tag %02X: %x", t.Tag, t.Value))
	}
	return list
}

func pinStates(p *uicc.PINStatus) string {
	var words []string
	for _, k := range p.Keys {
		state := "disabled"
		if on, _ := p.Enabled(k.Ref); on {
			state = "enabled"
		}
		words = append(words, pinName(k.Ref)+" "+state)
	}
	return strings.Join(words, ", ")
}

// pinName is the name of a key reference (TS 102 221, 9.5.1, table 9.3).
func pinName(ref byte) string {
	switch {
	case ref >= 0x01 && ref <= 0x08:
		return fmt.Sprintf("PIN1 of application %d (%02X)", ref, ref)
	case ref >= 0x0A && ref <= 0x0E:
		return fmt.Sprintf("ADM%d (%02X)", ref-0x09, ref)
	case ref == uicc.RefUniversalPIN:
		return "universal PIN (11)"
	case ref >= 0x81 && ref <= 0x88:
		return fmt.Sprintf("PIN2 of application %d (%02X)", ref-0x80, ref)
	case ref >= 0x8A && ref <= 0x8E:
		return fmt.Sprintf("ADM%d (%02X)", ref-0x84, ref)
	default:
		return fmt.Sprintf("key %02X", ref)
	}
}

// ofGSM is the answer to SELECT of class A0 in words (TS 51.011, 9.2.1).
func ofGSM(g uicc.GSMResponse) []string {
	if g.DF == nil {
		return []string{fmt.Sprintf("EF %04X, %d bytes", g.FID, g.Size)}
	}
	chv1 := "enabled"
	if g.DF.CHV1Disabled() {
		chv1 = "disabled"
	}
	return []string{
		fmt.Sprintf("directory %04X with %d directories and %d files", g.FID, g.DF.DFs, g.DF.EFs),
		fmt.Sprintf("CHV1 %s, %d tries left; CHV2 %d tries left", chv1, g.DF.CHV1.Tries(), g.DF.CHV2.Tries()),
	}
}

// objects are data objects one by one, or bytes that are none.
func objects(data []byte) []string {
	list, err := tlv.Decode(data)
	if err != nil || len(list) == 0 {
		return raw(data)
	}
	var lines []string
	for _, t := range list {
		lines = append(lines, fmt.Sprintf("tag %02X: %x", t.Tag, t.Value))
	}
	return lines
}

// authentication is AUTHENTICATE (TS 31.102, 7.1.2).
func authentication(c apdu.Command) (string, []string, answer) {
	contexts := map[byte]string{
		usim.ContextGSM: "GSM", usim.Context3G: "3G", usim.ContextGBA: "GBA", usim.ContextLocalKey: "local key", 0x00: "GSM, of class A0",
	}
	context, ok := contexts[c.P2]
	if !ok {
		context = fmt.Sprintf("unknown (%02X)", c.P2)
	}
	var sent []string
	if a, err := usim.DecodeAuthenticate(c.P2, c.Data); err == nil {
		sent = append(sent, fmt.Sprintf("RAND %x", a.RAND))
		if c.P2 == usim.Context3G {
			sent = append(sent, fmt.Sprintf("AUTN %x", a.AUTN))
		}
	}
	return "AUTHENTICATE in the context " + context, sent, outcome
}

// outcome is the answer to AUTHENTICATE without what it is made of.
func outcome(data []byte) []string {
	a, err := usim.ParseAuthenticate(data)
	switch {
	case err != nil:
		return []string{fmt.Sprintf("%d bytes", len(data))}
	case a.AUTS != nil:
		return []string{fmt.Sprintf("SQN out of range, AUTS %x", *a.AUTS)}
	case a.Kc != nil:
		return []string{fmt.Sprintf("the card accepts the network: RES of %d bytes, CK, IK, Kc", len(a.RES))}
	default:
		return []string{fmt.Sprintf("the card accepts the network: RES of %d bytes, CK, IK", len(a.RES))}
	}
}

// other is a command whose data have no form of their own here.
func other(c apdu.Command) (string, []string, answer) {
	if text, sent, read, ok := ofToolkit(c); ok {
		return text, sent, read
	}
	name := card.CommandName(c)
	if strings.HasSuffix(name, " PIN") {
		text := fmt.Sprintf("%s of %s", name, pinName(c.P2))
		if len(c.Data) == 0 {
			text += ": how many tries are left"
		}
		return text, nil, nil
	}
	var sent []string
	if len(c.Data) > 0 {
		sent = objects(c.Data)
	}
	return fmt.Sprintf("%s, P1 %02X, P2 %02X", name, c.P1, c.P2), sent, objects
}
