package emul

import (
	"slices"

	"mcim/apdu"
	"mcim/apdu/uicc"
)

// P2 of SEEK (TS 51.011, 9.2.7): the type in the upper half-byte, the way in the
// lower.
const (
	seekTold     = 0x10 // type 2: the answer is the number of the record
	seekEnd      = 0x01
	seekNext     = 0x02
	seekPrevious = 0x03
)

// updateCyclic is UPDATE RECORD of a cyclic EF, which knows the mode PREVIOUS only:
// the oldest record is overwritten and becomes record 1, the newest (TS 102 221, 8.2.2.3
// and 11.1.6.1).
func (c *Card) updateCyclic(ch *channel, f *file, cmd *apdu.Command) apdu.StatusWord {
	const previous = 3
	switch {
	case cmd.P2&0x07 != previous || cmd.P1 != 0:
		return apdu.SWWrongStructure
	case len(cmd.Data) != f.recordLen:
		return apdu.SWWrongLength
	}
	if sw := c.turn(f, cmd.Data); sw != apdu.SWOK {
		return sw
	}
	ch.file, ch.record = f, 1
	return apdu.SWOK
}

// turn puts a new record in front of a writable cyclic EF; the oldest one falls off.
func (c *Card) turn(f *file, record []byte) apdu.StatusWord {
	return c.writeFile(f, 0, append(slices.Clone(record), f.data[:len(f.data)-f.recordLen]...))
}

// increase is INCREASE (TS 102 221, 11.1.8); P1 names the EF.
func (c *Card) increase(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	const sfiMask = 0x1F
	f := ch.file
	switch {
	case cmd.P2 != 0, cmd.P1 != 0 && cmd.P1&^sfiMask != 0x80:
		return apdu.SWIncorrectP1P2
	case cmd.P1 != 0:
		if f = ch.dir.bySFI(cmd.P1 & sfiMask); f == nil {
			return apdu.SWFileNotFound
		}
	}
	switch {
	case f == nil:
		return apdu.SWNoFileSelected
	case !f.cyclic:
		return apdu.SWWrongStructure
	}
	if sw := usable(ch.dir, f); sw != apdu.SWOK {
		return sw
	}
	switch {
	case !c.grantedCommand(f.access, uicc.INSIncrease):
		return apdu.SWSecurityStatus
	case len(cmd.Data) == 0 || len(cmd.Data) > min(f.recordLen, 127):
		return apdu.SWWrongLength
	}
	sum, over := add(f.record(1), cmd.Data)
	if over {
		return apdu.SWIncreaseMaximum
	}
	f = c.writable(f)
	if sw := c.turn(f, sum); sw != apdu.SWOK {
		return sw
	}
	ch.file, ch.record = f, 1
	return c.reply4(cmd, append(sum, cmd.Data...))
}

// add adds a number of as many bytes or fewer; over tells that the sum has more.
func add(record, value []byte) (sum []byte, over bool) {
	sum = slices.Clone(record)
	carry := 0
	for i := 1; i <= len(sum); i++ {
		carry += int(sum[len(sum)-i])
		if i <= len(value) {
			carry += int(value[len(value)-i])
		}
		sum[len(sum)-i] = byte(carry)
		carry >>= 8
	}
	return sum, carry != 0
}

// increaseGSM is INCREASE of class A0 (TS 51.011, 9.2.16): of the current EF, by 3
// bytes.
func (c *Card) increaseGSM(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	switch {
	case cmd.P1 != 0:
		return apdu.SWIncorrectP1P2
	case len(cmd.Data) != 3:
		return apdu.SWWrongLength
	}
	return c.increase(ch, cmd)
}

// searchRecord is SEARCH RECORD (TS 102 221, 11.1.7): the numbers of the records with
// the pattern, or 6282. The first of them becomes the current one.
func (c *Card) searchRecord(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	s, err := uicc.ParseSearchRecord(*cmd)
	if err != nil {
		if len(cmd.Data) == 0 || cmd.P2&0x07 == 6 && len(cmd.Data) < 3 {
			return apdu.SWWrongLength
		}
		return apdu.SWIncorrectP1P2
	}
	f, pointer := ch.file, ch.record
	if s.SFI != 0 {
		if f = ch.dir.bySFI(s.SFI); f == nil {
			return apdu.SWFileNotFound
		}
		pointer = 0
	}
	sw := c.searchable(ch.dir, f, len(s.Pattern))
	if sw != apdu.SWOK {
		return sw
	}
	order, sw := searchOrder(s, pointer, f.records())
	if sw != apdu.SWOK {
		return sw
	}
	var found []byte
	for _, n := range order {
		if s.Find(f.record(n)) {
			found = append(found, byte(n))
		}
	}
	if len(found) == 0 {
		return apdu.SWUnsuccessfulSearch
	}
	ch.file, ch.record = f, int(found[0])
	return c.reply4(cmd, found)
}

// searchable checks what SEARCH RECORD and SEEK need of the EF.
func (c *Card) searchable(d *dir, f *file, pattern int) apdu.StatusWord {
	switch {
	case f == nil:
		return apdu.SWNoFileSelected
	case f.recordLen == 0:
		return apdu.SWWrongStructure
	}
	if sw := usable(d, f); sw != apdu.SWOK {
		return sw
	}
	switch {
	case !c.granted(f.access, uicc.AccessRead):
		return apdu.SWSecurityStatus
	case pattern > f.recordLen:
		return apdu.SWWrongLength
	}
	return apdu.SWOK
}

// searchOrder is the numbers of the records in the order of the search. Without a
// current record the search begins at the end that it comes from.
func searchOrder(s uicc.SearchRecord, pointer, records int) ([]int, apdu.StatusWord) {
	from, step := int(s.Record), 1
	if s.From == uicc.BackwardFrom || s.From == uicc.BackwardFromPrevious {
		step = -1
	}
	if from == 0 {
		from = pointer
	}
	switch {
	case from > records:
		return nil, apdu.SWRecordNotFound
	case from == 0 && step > 0:
		from = 1
	case from == 0:
		from = records
	case s.From >= uicc.ForwardFromNext:
		from += step
	}
	var order []int
	for n := from; n >= 1 && n <= records; n += step {
		order = append(order, n)
	}
	return order, apdu.SWOK
}

// seekGSM is SEEK (TS 51.011, 9.2.7) in a linear fixed EF: the first record that begins
// with the pattern becomes the current one.
func (c *Card) seekGSM(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	kind, way := cmd.P2&0xF0, cmd.P2&0x0F
	switch {
	case cmd.P1 != 0, kind != 0 && kind != seekTold, way > seekPrevious:
		return apdu.SWIncorrectP1P2
	case len(cmd.Data) == 0 || len(cmd.Data) > 16:
		return apdu.SWWrongLength
	}
	f := ch.file
	if sw := c.searchable(ch.dir, f, len(cmd.Data)); sw != apdu.SWOK {
		return sw
	}
	if f.cyclic {
		return apdu.SWWrongStructure
	}
	n := seek(f, ch.record, way, cmd.Data)
	if n == 0 {
		return apdu.SWReferencedDataNotFound
	}
	ch.record = n
	if kind != seekTold {
		return apdu.SWOK
	}
	return c.reply4(cmd, []byte{byte(n)})
}

// seek gives the number of the record, 0 where there is none.
func seek(f *file, pointer int, way byte, pattern []byte) int {
	from, step := 1, 1
	switch {
	case way == seekEnd, way == seekPrevious && pointer == 0:
		from, step = f.records(), -1
	case way == seekNext:
		from = pointer + 1
	case way == seekPrevious:
		from, step = pointer-1, -1
	}
	for n := from; n >= 1 && n <= f.records(); n += step {
		if slices.Equal(f.record(n)[:len(pattern)], pattern) {
			return n
		}
	}
	return 0
}
