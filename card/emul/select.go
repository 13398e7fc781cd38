package emul

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"mcim/apdu"
	"mcim/apdu/tlv"
	"mcim/apdu/uicc"
	"mcim/card/model"
)

// P2 of SELECT (TS 102 221, table 11.2).
const (
	selectFCP       = 0x04
	selectNothing   = 0x0C
	selectDataMask  = 0x9C
	selectTerminate = 0x40
	selectSession   = 0x60 // activate, terminate
	// occurrence of an AID
	selectOccurrence = 0x03
	selectLast       = 0x01
	selectNext       = 0x02
	selectPrevious   = 0x03
)

// selectFile is SELECT (TS 102 221, 11.1.1). A selection that fails changes
// nothing.
func (c *Card) selectFile(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	data, session := cmd.P2&selectDataMask, cmd.P2&selectSession
	switch {
	case data == selectNothing && c.quirk(model.NoSilentSelect):
		return apdu.SWIncorrectP1P2
	case data != selectFCP && data != selectNothing, session != 0 && session != selectTerminate:
		return apdu.SWIncorrectP1P2
	case uicc.SelectBy(cmd.P1) != uicc.ByAID && cmd.P2&^byte(selectDataMask) != 0:
		return apdu.SWIncorrectP1P2
	}
	next, sw := c.find(*ch, cmd)
	if sw != apdu.SWOK {
		return sw
	}
	if session == selectTerminate {
		return c.terminate(ch, next.app)
	}
	*ch, ch.transfer = next, nil
	if data == selectNothing {
		return ch.warning()
	}
	return c.replyWarned(cmd, c.fcp(ch).Bytes(), ch.warning())
}

// terminate ends the session of the application (TS 102 221, 11.1.1.2).
func (c *Card) terminate(ch *channel, app *dir) apdu.StatusWord {
	if ch.app != app {
		return apdu.SWConditionsNotSatisfied
	}
	*ch = channel{open: true, dir: c.mf}
	return apdu.SWOK
}

// find gives the state of the channel after the selection.
func (c *Card) find(ch channel, cmd *apdu.Command) (channel, apdu.StatusWord) {
	id := cmd.Data
	switch uicc.SelectBy(cmd.P1) {
	case uicc.ByFID:
		if len(id) == 0 { // ISO/IEC 7816-4, 11.2.2: the MF
			return c.byFID(ch, uicc.FIDMF)
		}
		if len(id) != 2 {
			return ch, apdu.SWWrongLength
		}
		return c.byFID(ch, binary.BigEndian.Uint16(id))
	case uicc.ByChild:
		if len(id) != 2 {
			return ch, apdu.SWWrongLength
		}
		return enter(ch, ch.dir.dir(binary.BigEndian.Uint16(id)))
	case uicc.ParentDF:
		if len(id) != 0 {
			return ch, apdu.SWWrongLength
		}
		return enter(ch, ch.dir.parent)
	case uicc.ByAID:
		return c.byAID(ch, id, cmd.P2)
	case uicc.ByPathFromMF:
		return byPath(enterDir(ch, c.mf), id)
	case uicc.ByPathFromCurrent:
		return byPath(enterDir(ch, ch.dir), id)
	}
	return ch, apdu.SWIncorrectP1P2
}

func enterDir(ch channel, d *dir) channel {
	ch.dir, ch.file, ch.record = d, nil, 0
	return ch
}

// enter selects a directory, nil where it was not found.
func enter(ch channel, d *dir) (channel, apdu.StatusWord) {
	if d == nil {
		return ch, apdu.SWFileNotFound
	}
	return enterDir(ch, d), apdu.SWOK
}

// byFID finds a file by the rules of TS 102 221, 8.4.1: the MF and the current
// application, then the children of the current DF, the current DF, its parent,
// the DFs beside it.
func (c *Card) byFID(ch channel, fid uint16) (channel, apdu.StatusWord) {
	switch fid {
	case uicc.FIDMF:
		return enter(ch, c.mf)
	case uicc.FIDCurrentADF:
		return enter(ch, ch.app)
	}
	d := ch.dir
	if f := d.file(fid); f != nil {
		ch.file, ch.record = f, 0
		return ch, apdu.SWOK
	}
	if child := d.dir(fid); child != nil {
		return enter(ch, child)
	}
	for _, near := range []*dir{d, d.parent} {
		if near != nil && near.fid == fid && near.aid == nil {
			return enter(ch, near)
		}
	}
	if d.parent == nil {
		return ch, apdu.SWFileNotFound
	}
	return enter(ch, d.parent.dir(fid))
}

// byAID selects an application by its AID or the beginning of it: the first, the
// last, or the next or previous one from the current (TS 102 221, 11.1.1.2).
func (c *Card) byAID(ch channel, aid []byte, p2 byte) (channel, apdu.StatusWord) {
	if len(aid) < 1 || len(aid) > 16 {
		return ch, apdu.SWWrongLength
	}
	step, at := 1, 0
	switch p2 & selectOccurrence {
	case selectNext:
		at = slices.Index(c.apps, ch.app) + 1
	case selectPrevious:
		if step, at = -1, len(c.apps)-1; ch.app != nil {
			at = slices.Index(c.apps, ch.app) - 1
		}
	case selectLast:
		step, at = -1, len(c.apps)-1
	}
	for ; at >= 0 && at < len(c.apps); at += step {
		if bytes.HasPrefix(c.apps[at].aid, aid) {
			ch.app = c.apps[at]
			return enter(ch, ch.app)
		}
	}
	return ch, apdu.SWFileNotFound
}

// byPath walks down from the current DF of ch; only the last step may be an EF.
func byPath(ch channel, path []byte) (channel, apdu.StatusWord) {
	if len(path) == 0 || len(path)%2 != 0 {
		return ch, apdu.SWWrongLength
	}
	for first := true; len(path) > 0; first = false {
		fid := binary.BigEndian.Uint16(path)
		path = path[2:]
		next := ch.dir.dir(fid)
		if fid == uicc.FIDCurrentADF && first {
			next = ch.app
		}
		if next != nil {
			ch = enterDir(ch, next)
			continue
		}
		if len(path) > 0 || ch.dir.file(fid) == nil {
			return ch, apdu.SWFileNotFound
		}
		ch.file = ch.dir.file(fid)
	}
	return ch, apdu.SWOK
}

// fcp describes what is selected.
func (c *Card) fcp(ch *channel) uicc.FCP {
	if ch.file != nil {
		f := c.fileFCP(ch.file)
		if c.quirk(model.NoSFI) {
			f.SFI = uicc.NoSFI
		}
		return f
	}
	return c.dirFCP(ch.dir)
}

// dirFCP describes a directory (TS 102 221, 11.1.1.3.1). The characteristics
// name all three supply voltages: modems refuse a card that names 5 V only.
func (c *Card) dirFCP(d *dir) uicc.FCP {
	const clockStopAllVoltages = 0x71
	f := uicc.FCP{
		Descriptor:  uicc.FileDescriptor{Type: uicc.Directory, Shareable: true},
		FID:         d.fid,
		AID:         d.aid,
		Proprietary: []tlv.TLV{{Tag: uicc.TagUICCCharacteristics, Value: []byte{clockStopAllVoltages}}},
		LifeCycle:   cmp.Or(d.life, uicc.LifeCycleActivated),
		PINs:        c.pinStatus(d.app()),
	}
	if c.quirk(model.NoPINStatus) {
		f.PINs = nil
	}
	if d.parent == nil || d.aid != nil {
		free := uicc.NewSize(c.free()).Bytes()
		f.Proprietary = append(f.Proprietary, tlv.TLV{Tag: uicc.TagAvailableMemory, Value: free})
	}
	c.describe(d.arr, &f)
	return f
}

// status is STATUS (TS 102 221, 11.1.2).
func (c *Card) status(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	switch {
	case cmd.P1 > 2:
		return apdu.SWIncorrectP1P2
	case len(cmd.Data) != 0:
		return apdu.SWWrongLength
	}
	switch cmd.P2 {
	case 0x00:
		return c.reply2(cmd, c.dirFCP(ch.dir).Bytes())
	case 0x01:
		if ch.app == nil {
			return apdu.SWIncorrectP1P2
		}
		return c.reply2(cmd, tlv.New(uicc.TagDFName, ch.app.aid).Append(nil))
	case 0x0C:
		return apdu.SWOK
	}
	return apdu.SWIncorrectP1P2
}
