package explain

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"mcim/apdu"
	"mcim/apdu/ef"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
)

// aidISIM is the start of the AID of an ISIM (TS 101 220, annex E).
var aidISIM = []byte{0xA0, 0x00, 0x00, 0x00, 0x87, 0x10, 0x04}

const (
	fidTelecom   = 0x7F10
	fidGSM       = 0x7F20
	fidGSMAccess = 0x5F3B
	fid5GS       = 0x5FC0
)

// selects is SELECT (TS 102 221, 11.1.1).
func (p *place) selects(c apdu.Command, took bool) (string, []string, answer) {
	to := *p
	what := to.target(c)
	if took {
		*p = to
	}
	switch c.P2 & 0x0C {
	case 0x0C:
		what += ", without answer"
	case 0x04:
		what += ", with FCP"
	}
	return "SELECT " + what, nil, parameters
}

// target moves p to where SELECT goes, and names that.
func (p *place) target(c apdu.Command) string {
	switch by := uicc.SelectBy(c.P1); {
	case by == uicc.ByAID:
		return p.application(c.Data)
	case by == uicc.ParentDF:
		p.dir, p.file = parentOf(p.dir), nil
		return "the parent directory"
	case len(c.Data) == 0 && c.P1 == 0:
		p.dir, p.file = ef.DirMF, nil
		return "the MF"
	case len(c.Data)%2 != 0 || len(c.Data) == 0:
		return fmt.Sprintf("%X", c.Data)
	case by == uicc.ByPathFromMF:
		p.dir, p.file = ef.DirMF, nil
	}
	name := ""
	for fid := range slices.Chunk(c.Data, 2) {
		name = p.step(binary.BigEndian.Uint16(fid))
	}
	return name
}

// parentOf is the directory above; "" where that is not known.
func parentOf(d ef.Dir) ef.Dir {
	above, _, nested := strings.Cut(string(d), "/")
	switch {
	case d == "":
		return ""
	case nested:
		return ef.Dir(above)
	default:
		return ef.DirMF
	}
}

// application selects an application by its AID.
func (p *place) application(aid []byte) string {
	p.dir, p.file = "", nil
	kind := ""
	switch {
	case bytes.HasPrefix(aid, usim.AIDPrefix()):
		p.dir, kind = ef.DirUSIM, " (USIM)"
	case bytes.HasPrefix(aid, aidISIM):
		p.dir, kind = ef.DirISIM, " (ISIM)"
	}
	p.app = p.dir
	return fmt.Sprintf("application %X%s", aid, kind)
}

// step selects one file identifier, and names what it is.
func (p *place) step(fid uint16) string {
	below := map[uint16]ef.Dir{
		uicc.FIDMF: ef.DirMF, uicc.FIDCurrentADF: p.app, fidTelecom: ef.DirTelecom, fidGSM: ef.DirGSM,
		fidGSMAccess: ef.DirGSMAccess, fid5GS: ef.Dir5GS,
	}
	if dir, ok := below[fid]; ok && dir != "" {
		p.dir, p.file = dir, nil
		return fmt.Sprintf("%s (%04X)", dir, fid)
	}
	if fid>>8 == 0x5F || fid>>8 == 0x7F {
		p.dir, p.file = "", nil
		return fmt.Sprintf("DF %04X", fid)
	}
	p.file = &file{fid: fid}
	if known, ok := ef.Find(p.dir, fid); ok {
		p.file.known = &known
	}
	return p.file.String()
}

// bySFI selects the file with a short file identifier, as a command on it does.
func (p *place) bySFI(sfi byte) *file {
	for _, f := range ef.Files() {
		if f.Dir == p.dir && f.SFI == sfi {
			return &file{f.FID, &f}
		}
	}
	return nil
}

// on is the file that a command on one means: that of the SFI, if there is one.
func (p *place) on(sfi byte, named, took bool) (f *file, name string) {
	if !named {
		return p.file, p.file.String()
	}
	f = p.bySFI(sfi)
	if took {
		p.file = f
	}
	return f, fmt.Sprintf("%s by SFI %d", f, sfi)
}

// binary is READ BINARY and UPDATE BINARY (TS 102 221, 11.1.3 and 11.1.4).
func (p *place) binary(c apdu.Command, took bool) (string, []string, answer) {
	named := c.P1&0x80 != 0
	offset := int(c.P1)<<8 | int(c.P2)
	if named {
		offset = int(c.P2)
	}
	f, name := p.on(c.P1&0x1F, named, took)
	content := func(data []byte) []string { return f.content(data, offset == 0) }
	if c.INS == uicc.INSUpdateBinary {
		return fmt.Sprintf("UPDATE BINARY of %s: %d bytes from %d", name, len(c.Data), offset), content(c.Data), raw
	}
	return fmt.Sprintf("READ BINARY of %s: %s from %d", name, asked(c.Ne), offset), nil, content
}

// record is READ RECORD and UPDATE RECORD (TS 102 221, 11.1.5 and 11.1.6).
func (p *place) record(c apdu.Command, took bool) (string, []string, answer) {
	sfi := c.P2 >> 3
	f, name := p.on(sfi, sfi != 0, took)
	which := fmt.Sprintf("record %d", c.P1)
	switch mode := c.P2 & 0x07; {
	case mode == 0x02:
		which = "the next record"
	case mode == 0x03:
		which = "the previous record"
	case c.P1 == 0:
		which = "the current record"
	}
	content := func(data []byte) []string { return f.content(data, true) }
	if c.INS == uicc.INSUpdateRecord {
		return fmt.Sprintf("UPDATE RECORD of %s: %s, %d bytes", name, which, len(c.Data)), content(c.Data), raw
	}
	return fmt.Sprintf("READ RECORD of %s: %s, %s", name, which, asked(c.Ne)), nil, content
}

func asked(ne int) string {
	if ne == apdu.MaxShortNe {
		return "as many bytes as there are"
	}
	return fmt.Sprintf("%d bytes", ne)
}

// content is what a file has, as a document where it is decoded.
func (f *file) content(data []byte, whole bool) []string {
	if len(data) == 0 {
		return nil
	}
	if f == nil || f.known == nil || !whole {
		return raw(data)
	}
	v, err := f.known.Decode(data)
	if err != nil {
		if f.known.Secret {
			return []string{fmt.Sprintf("%d secret bytes", len(data))}
		}
		return append(raw(data), "not as in "+f.known.Clause+": "+err.Error())
	}
	if v == nil {
		return []string{"not in use: all FF"}
	}
	doc, err := json.Marshal(v)
	if err != nil {
		return raw(data)
	}
	if f.known.Secret {
		return []string{string(doc)} // keys print as [redacted]
	}
	return append(raw(data), string(doc))
}
