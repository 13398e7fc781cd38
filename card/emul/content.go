package emul

import (
	"slices"

	"mcim/apdu"
	"mcim/apdu/uicc"
)

// target finds the transparent EF and the offset that P1 and P2 name (TS 102
// 221, 11.1.3.2). An EF named by SFI becomes the current one.
func (c *Card) target(ch *channel, cmd *apdu.Command, op uicc.Access) (f *file, offset int, sw apdu.StatusWord) {
	f, offset = ch.file, int(cmd.P1)<<8|int(cmd.P2)
	if cmd.P1&0x80 != 0 {
		if cmd.P1&0x60 != 0 {
			return nil, 0, apdu.SWIncorrectP1P2
		}
		if f = ch.dir.bySFI(cmd.P1 & 0x1F); f == nil {
			return nil, 0, apdu.SWFileNotFound
		}
		offset = int(cmd.P2)
	}
	switch {
	case f == nil:
		return nil, 0, apdu.SWNoFileSelected
	case f.recordLen != 0 || f.limit != 0:
		return nil, 0, apdu.SWWrongStructure
	}
	switch sw := usable(ch.dir, f); {
	case sw != apdu.SWOK:
		return nil, 0, sw
	case !c.granted(f.access, op):
		return nil, 0, apdu.SWSecurityStatus
	case offset >= len(f.data):
		return nil, 0, apdu.SWWrongP1P2
	}
	if cmd.P1&0x80 != 0 {
		ch.file, ch.record = f, 0
	}
	return f, offset, apdu.SWOK
}

// readBinary is READ BINARY (TS 102 221, 11.1.3). More than the file has is
// answered by 6Cxx.
func (c *Card) readBinary(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	if len(cmd.Data) != 0 {
		return apdu.SWWrongLength
	}
	f, offset, sw := c.target(ch, cmd, uicc.AccessRead)
	if sw != apdu.SWOK {
		return sw
	}
	n := expected(cmd)
	if left := len(f.data) - offset; n > left {
		return 0x6C00 | apdu.StatusWord(byte(left))
	}
	c.out = append(c.out, f.data[offset:offset+n]...)
	return apdu.SWOK
}

// updateBinary is UPDATE BINARY (TS 102 221, 11.1.4). Nothing is written where
// not all of it fits.
func (c *Card) updateBinary(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	if len(cmd.Data) == 0 {
		return apdu.SWWrongLength
	}
	f, offset, sw := c.target(ch, cmd, uicc.AccessUpdate)
	if sw != apdu.SWOK {
		return sw
	}
	if offset+len(cmd.Data) > len(f.data) {
		return apdu.SWWrongLength
	}
	return c.writeFile(c.writable(f), offset, cmd.Data)
}

// targetRecord finds the EF with records and the record that P1 and P2 name
// (TS 102 221, 11.1.5.2). The record pointer moves only with a success.
func (c *Card) targetRecord(ch *channel, cmd *apdu.Command, op uicc.Access) (f *file, n int, sw apdu.StatusWord) {
	f, pointer := ch.file, ch.record
	if sfi := cmd.P2 >> 3; sfi != 0 {
		if f = ch.dir.bySFI(sfi); f == nil {
			return nil, 0, apdu.SWFileNotFound
		}
		pointer = 0
	}
	switch {
	case f == nil:
		return nil, 0, apdu.SWNoFileSelected
	case f.recordLen == 0:
		return nil, 0, apdu.SWWrongStructure
	}
	if sw := usable(ch.dir, f); sw != apdu.SWOK {
		return nil, 0, sw
	}
	if n, sw = f.recordNumber(cmd, pointer); sw != apdu.SWOK {
		return nil, 0, sw
	}
	switch {
	case !c.granted(f.access, op):
		return nil, 0, apdu.SWSecurityStatus
	case n < 1 || n > f.records():
		return nil, 0, apdu.SWRecordNotFound
	}
	return f, n, apdu.SWOK
}

// recordNumber is the record that P1 and P2 name, which may not be there. In a cyclic EF
// the next one behind the oldest is the newest.
func (f *file) recordNumber(cmd *apdu.Command, pointer int) (n int, sw apdu.StatusWord) {
	switch cmd.P2 & 0x07 {
	case 2: // next
		if n = pointer + 1; f.cyclic && n > f.records() {
			n = 1
		}
	case 3: // previous; the last one where the pointer is not set
		if n = pointer - 1; pointer == 0 || f.cyclic && n == 0 {
			n = f.records()
		}
	case 4: // absolute, or current where P1 is 0
		if n = int(cmd.P1); n == 0 {
			n = pointer
		}
	default:
		return 0, apdu.SWIncorrectP1P2
	}
	return n, apdu.SWOK
}

// moveTo makes f the current EF; the modes next and previous set its record
// pointer, an absolute number does not (TS 102 221, 11.1.5.1).
func (ch *channel) moveTo(f *file, n int, p2 byte) {
	if ch.file != f || p2>>3 != 0 {
		ch.file, ch.record = f, 0
	}
	if p2&0x07 != 4 {
		ch.record = n
	}
}

// readRecord is READ RECORD (TS 102 221, 11.1.5). An Le other than the length
// of the record is answered by 6Cxx.
func (c *Card) readRecord(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	if len(cmd.Data) != 0 {
		return apdu.SWWrongLength
	}
	f, n, sw := c.targetRecord(ch, cmd, uicc.AccessRead)
	if sw != apdu.SWOK {
		return sw
	}
	if sw := c.reply2(cmd, f.record(n)); sw != apdu.SWOK {
		return sw
	}
	ch.moveTo(f, n, cmd.P2)
	return apdu.SWOK
}

// updateRecord is UPDATE RECORD (TS 102 221, 11.1.6).
func (c *Card) updateRecord(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	f, n, sw := c.targetRecord(ch, cmd, uicc.AccessUpdate)
	switch {
	case sw != apdu.SWOK:
		return sw
	case f.cyclic:
		return c.updateCyclic(ch, c.writable(f), cmd)
	case len(cmd.Data) != f.recordLen:
		return apdu.SWWrongLength
	}
	f = c.writable(f)
	if sw := c.writeFile(f, (n-1)*f.recordLen, cmd.Data); sw != apdu.SWOK {
		return sw
	}
	ch.moveTo(f, n, cmd.P2)
	return apdu.SWOK
}

// writeFile stores the change of a writable file, then makes it, then forgets what was
// derived from the old content.
func (c *Card) writeFile(f *file, offset int, data []byte) apdu.StatusWord {
	if sw := c.storeFile(f, offset, data); sw != apdu.SWOK {
		return sw
	}
	copy(f.data[offset:], data)
	c.reviseRules(f)
	if f == c.keyFile || f == c.sqnFile {
		c.gsm = nil
	}
	c.fileChanged(f)
	return apdu.SWOK
}

func (c *Card) storeFile(f *file, offset int, data []byte) apdu.StatusWord {
	if c.storage == nil {
		return apdu.SWOK
	}
	if f.id&secretObject != 0 {
		whole := slices.Clone(f.data)
		copy(whole[offset:], data)
		offset, data = 0, whole
	}
	return c.store(change{f.id, offset, data})
}
