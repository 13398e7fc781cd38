package emul

import (
	"encoding/binary"
	"slices"

	"mcim/apdu"
	"mcim/apdu/uicc"
)

// createFile is CREATE FILE (TS 102 222, 6.3): a DF, an ADF below the MF or an EF in the
// current directory, by the right of that directory. What was created is selected.
func (c *Card) createFile(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	if cmd.P1 != 0 || cmd.P2 != 0 {
		return apdu.SWIncorrectP1P2
	}
	fcp, err := uicc.ParseFCP(cmd.Data)
	if err != nil {
		return apdu.SWWrongData
	}
	op := uicc.AccessCreateEF
	if fcp.Descriptor.Type == uicc.Directory {
		op = uicc.AccessCreateDF
	}
	if sw := usable(ch.dir, nil); sw != apdu.SWOK {
		return sw
	}
	if !c.granted(ch.dir.arr, op) {
		return apdu.SWSecurityStatus
	}
	sw := c.mayCreate(ch.dir, fcp)
	if sw != apdu.SWOK {
		return sw
	}
	size := fileExpense
	if fcp.Descriptor.Type != uicc.Directory {
		size += expense(fcp)
	}
	if size > c.free() {
		return apdu.SWNotEnoughMemory
	}
	return c.createAndSelect(ch, slices.Clone(cmd.Data))
}

// createAndSelect makes what may be created, keeps it and selects it. The template is
// the card's.
func (c *Card) createAndSelect(ch *channel, template []byte) apdu.StatusWord {
	fcp, err := uicc.ParseFCP(template)
	if err != nil {
		return apdu.SWWrongData
	}
	serial := c.serial()
	m := c.create(ch.dir, serial, fcp, template)
	b := binary.BigEndian.AppendUint16(place(ch.dir), serial)
	changes := []change{{objectCreate, 0, append(b, template...)}}
	if m.file != nil {
		changes = append(changes, change{m.file.id, 0, m.file.data})
	}
	if sw := c.store(changes...); sw != apdu.SWOK {
		c.remove(m)
		return sw
	}
	switch {
	case m.file != nil:
		ch.file, ch.record = m.file, 0
	case m.dir.aid != nil:
		ch.dir, ch.app, ch.file, ch.record = m.dir, m.dir, nil, 0
	default:
		ch.dir, ch.file, ch.record = m.dir, nil, 0
	}
	return apdu.SWOK
}

// serial is a number that no file has that was created.
func (c *Card) serial() uint16 {
	n := uint16(1)
	for slices.ContainsFunc(c.made, func(m *made) bool { return m.serial == n }) {
		n++
	}
	return n
}

// mayCreate checks the FCP of a file that is to be created.
func (c *Card) mayCreate(parent *dir, f uicc.FCP) apdu.StatusWord {
	reserved := []uint16{0, uicc.FIDMF, uicc.FIDCurrentADF, 0x3FFF, 0xFFFF} // TS 102 221, 8.6
	switch {
	case slices.Contains(reserved, f.FID), f.LifeCycle.Terminated() || f.LifeCycle > 0x0F || f.LifeCycle == 0:
		return apdu.SWWrongData
	case parent.file(f.FID) != nil || parent.child(f.FID) != nil || parent.fid == f.FID:
		return apdu.SWFileExists
	case f.Descriptor.Type == uicc.Directory:
		return c.mayCreateDF(parent, f)
	case f.AID != nil || !validSize(f):
		return apdu.SWWrongData
	}
	if sfi, ok := f.ShortID(); ok && parent.bySFI(sfi) != nil && f.SFI != uicc.SFIFromFID {
		return apdu.SWWrongData
	}
	return apdu.SWOK
}

func (c *Card) mayCreateDF(parent *dir, f uicc.FCP) apdu.StatusWord {
	depth := 0
	for d := parent; d != nil; d = d.parent {
		depth++
	}
	if depth > maxDepth || f.AID != nil && parent != c.mf {
		return apdu.SWWrongData
	}
	for _, app := range c.apps {
		if f.AID != nil && slices.Equal(app.aid, f.AID) {
			return apdu.SWNameExists
		}
	}
	return apdu.SWOK
}

// expense is the memory that the body of an EF takes at first, in bytes.
func expense(f uicc.FCP) int {
	if f.Descriptor.Type == uicc.BERTLV {
		reserved, _ := f.ObjectRoom()
		return reserved
	}
	return f.Size.N
}

// validSize tells whether the EF can be: a working EF whose size is that of its records.
func validSize(f uicc.FCP) bool {
	d := f.Descriptor
	switch d.Type {
	case uicc.Transparent:
	case uicc.BERTLV:
		reserved, most := f.ObjectRoom()
		return reserved <= most && most > 0 && most <= maxFile
	case uicc.LinearFixed, uicc.Cyclic:
		if d.RecordLength == 0 || d.RecordLength > apdu.MaxShortData {
			return false
		}
		if d.Records != 0 && f.Size.N != int(d.Records)*int(d.RecordLength) {
			return false
		}
	default:
		return false
	}
	like := file{recordLen: int(d.RecordLength)}
	return like.fits(f.Size.N)
}

// deleteFile is DELETE FILE (TS 102 222, 6.4): a file in the current directory, or that
// directory itself, by the right of the file or by that of its parent over its children.
// What the card was made with stays: applications work with it.
func (c *Card) deleteFile(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	switch {
	case cmd.P1 != 0 || cmd.P2 != 0:
		return apdu.SWIncorrectP1P2
	case len(cmd.Data) != 2:
		return apdu.SWWrongLength
	}
	d, f := c.named(ch.dir, binary.BigEndian.Uint16(cmd.Data))
	if d == nil {
		return apdu.SWFileNotFound
	}
	own, parent := d.arr, d.parent
	if f != nil {
		own, parent = f.access, d
	}
	m := c.madeOf(d, f)
	switch {
	case !c.granted(own, uicc.AccessDelete) && (parent == nil || !c.granted(parent.arr, uicc.AccessDeleteChild)):
		return apdu.SWSecurityStatus
	case m == nil, c.busy(ch, m):
		return apdu.SWConditionsNotSatisfied
	}
	if sw := c.store(change{objectDelete, 0, place(m.parent, fidOf(m))}); sw != apdu.SWOK {
		return sw
	}
	c.remove(m)
	if m.dir != nil && ch.dir.within(m.dir) {
		ch.dir, ch.file, ch.record = m.parent, nil, 0
	}
	if ch.app == m.dir {
		ch.app = nil
	}
	if ch.file == m.file {
		ch.file, ch.record = nil, 0
	}
	return apdu.SWOK
}

// fidOf is the file identifier of what was created.
func fidOf(m *made) uint16 {
	if m.dir != nil {
		return m.dir.fid
	}
	return m.file.fid
}

// named finds what a file identifier means to commands that administer: an EF or DF in
// the directory, or the directory itself.
func (c *Card) named(d *dir, fid uint16) (*dir, *file) {
	if f := d.file(fid); f != nil {
		return d, f
	}
	if child := d.child(fid); child != nil {
		return child, nil
	}
	if d.fid == fid {
		return d, nil
	}
	return nil, nil
}

// busy tells whether another channel is in the file or directory.
func (c *Card) busy(from *channel, m *made) bool {
	for i := range c.channels {
		ch := &c.channels[i]
		if ch == from || !ch.open {
			continue
		}
		if m.file != nil && ch.file == m.file || m.dir != nil && (ch.dir.within(m.dir) || ch.app == m.dir) {
			return true
		}
	}
	return false
}

// resizeFile is RESIZE FILE (TS 102 222, 6.10) of an EF in the current directory.
func (c *Card) resizeFile(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	if cmd.P1 != 0 || cmd.P2 != 0 {
		return apdu.SWIncorrectP1P2
	}
	r, err := uicc.ParseResizeFile(cmd.Data)
	if err != nil {
		return apdu.SWWrongData
	}
	f := ch.dir.file(r.FID)
	if f == nil {
		return apdu.SWFileNotFound
	}
	m := c.madeOf(ch.dir, f)
	if sw := usable(ch.dir, f); sw != apdu.SWOK {
		return sw
	}
	switch {
	case !c.grantedCommand(f.access, uicc.INSResizeFile):
		return apdu.SWSecurityStatus
	case m == nil:
		return apdu.SWConditionsNotSatisfied
	case !f.fits(r.Size):
		return apdu.SWWrongData
	case r.Size-f.size() > c.free():
		return apdu.SWNotEnoughMemory
	}
	f = c.writable(f)
	before, resized := *f, m.resized
	m.resize(r.Size, r.Proprietary)
	path := binary.BigEndian.AppendUint32(place(ch.dir, f.fid), uint32(r.Size))
	if sw := c.store(change{objectResize, 0, path}, change{f.id, 0, f.data}); sw != apdu.SWOK {
		*f, m.resized = before, resized
		return sw
	}
	c.reviseRules(f)
	ch.file, ch.record = f, 0
	return apdu.SWOK
}

// addressed finds the file of a command that changes a life cycle: by file identifier,
// or the current EF, or the current directory where no EF is selected.
func (c *Card) addressed(ch *channel, cmd *apdu.Command) (*dir, *file, apdu.StatusWord) {
	switch {
	case cmd.P1 != 0 || cmd.P2 != 0:
		return nil, nil, apdu.SWIncorrectP1P2
	case len(cmd.Data) == 0:
		return ch.dir, ch.file, apdu.SWOK
	case len(cmd.Data) != 2:
		return nil, nil, apdu.SWWrongLength
	}
	d, f := c.named(ch.dir, binary.BigEndian.Uint16(cmd.Data))
	if d == nil {
		return nil, nil, apdu.SWFileNotFound
	}
	return d, f, apdu.SWOK
}

// activateFile is ACTIVATE FILE (TS 102 221, 11.1.14).
func (c *Card) activateFile(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	d, f, sw := c.addressed(ch, cmd)
	if sw != apdu.SWOK {
		return sw
	}
	return c.turnLife(d, f, uicc.AccessActivate, uicc.LifeCycleActivated)
}

// deactivateFile is DEACTIVATE FILE (TS 102 221, 11.1.15).
func (c *Card) deactivateFile(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	d, f, sw := c.addressed(ch, cmd)
	if sw != apdu.SWOK {
		return sw
	}
	return c.turnLife(d, f, uicc.AccessDeactivate, uicc.LifeCycleDeactivated)
}

// terminateEF is TERMINATE EF (TS 102 222, 6.8).
func (c *Card) terminateEF(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	d, f, sw := c.addressed(ch, cmd)
	switch {
	case sw != apdu.SWOK:
		return sw
	case f == nil:
		return apdu.SWNoFileSelected
	}
	return c.turnLife(d, f, uicc.AccessTerminate, uicc.LifeCycleTerminated)
}

// terminateDF is TERMINATE DF (TS 102 222, 6.7).
func (c *Card) terminateDF(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	d, f, sw := c.addressed(ch, cmd)
	switch {
	case sw != apdu.SWOK:
		return sw
	case f != nil && len(cmd.Data) != 0 || d.parent == nil:
		return apdu.SWWrongStructure
	}
	return c.turnLife(d, nil, uicc.AccessTerminate, uicc.LifeCycleTerminated)
}

// terminateCard is TERMINATE CARD USAGE (TS 102 222, 6.9), by the right of the MF to be
// terminated.
func (c *Card) terminateCard(_ *channel, cmd *apdu.Command) apdu.StatusWord {
	switch {
	case cmd.P1 != 0 || cmd.P2 != 0:
		return apdu.SWIncorrectP1P2
	case len(cmd.Data) != 0:
		return apdu.SWWrongLength
	}
	return c.turnLife(c.mf, nil, uicc.AccessTerminate, uicc.LifeCycleTerminated)
}

// turnLife changes the life cycle status of a file, or of d where f is nil. What is
// terminated stays so.
func (c *Card) turnLife(d *dir, f *file, op uicc.Access, life uicc.LifeCycle) apdu.StatusWord {
	rules, now, path, above := d.arr, d.life, place(d), d.parent
	if f != nil {
		rules, now, path, above = f.access, f.life, place(d, f.fid), d
	}
	if above != nil {
		if sw := usable(above, nil); sw != apdu.SWOK {
			return sw
		}
	}
	switch {
	case now.Terminated():
		return apdu.SWConditionsNotSatisfied
	case !c.granted(rules, op):
		return apdu.SWSecurityStatus
	}
	if sw := c.store(change{objectLife, 0, append(path, byte(life))}); sw != apdu.SWOK {
		return sw
	}
	c.setLife(d, f, life)
	return apdu.SWOK
}

// usable tells whether the content of a file, or of the directory where f is nil, may be
// used: 6984 where it or a directory above is deactivated, 6985 where it is terminated.
func usable(d *dir, f *file) apdu.StatusWord {
	var life uicc.LifeCycle
	if f != nil {
		life = f.life
	}
	for ; d != nil; d = d.parent {
		life = max(life, d.life)
	}
	switch {
	case life.Terminated():
		return apdu.SWConditionsNotSatisfied
	case life.Deactivated():
		return apdu.SWReferenceInvalidated
	}
	return apdu.SWOK
}

// warning is the status word of a selection: 6283 of what is deactivated, 6285 of what
// is terminated (TS 102 221, 11.1.1.3).
func (ch *channel) warning() apdu.StatusWord {
	life := ch.dir.life
	if ch.file != nil {
		life = ch.file.life
	}
	switch {
	case life.Terminated():
		return apdu.SWFileTerminated
	case life.Deactivated():
		return apdu.SWFileDeactivated
	}
	return apdu.SWOK
}
