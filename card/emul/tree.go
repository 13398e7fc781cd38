package emul

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"

	"mcim/apdu/tlv"
	"mcim/apdu/uicc"
)

// Changes of the structure lie in the image as objects of their own, in the order in
// which they were made. The data begin with a path: its length in file identifiers, and
// these from the MF down, without the MF itself.
const (
	objectCreate object = 0x10 // path of the directory | serial number (2) | FCP template
	objectDelete object = 0x11 // path
	objectResize object = 0x12 // path | bytes (4)
	objectLife   object = 0x13 // path | life cycle status

	// madeObject is the content of a file that was created: with its serial number, an
	// object that no file of a card model has.
	madeObject object = 0x0100_0000
)

// Bounds of files that are created.
const (
	maxFile     = 0xF000 // bytes; with its FCP it has to fit a record of the journal
	maxRecords  = uicc.MaxRecord
	maxDepth    = 8  // directories
	fileExpense = 32 // bytes of memory that a file takes beside its content
)

// made is a file or directory that CREATE FILE made.
type made struct {
	serial  uint16
	fcp     []byte         // template, as it was sent
	life    uicc.LifeCycle // at first
	parent  *dir
	dir     *dir // one of dir and file
	file    *file
	resized bool
}

// place is the path of a directory and, behind it, more.
func place(d *dir, more ...uint16) []byte {
	var fids []uint16
	for ; d.parent != nil; d = d.parent {
		fids = append([]uint16{d.fid}, fids...)
	}
	fids = append(fids, more...)
	b := []byte{byte(len(fids))}
	for _, fid := range fids {
		b = binary.BigEndian.AppendUint16(b, fid)
	}
	return b
}

// child finds a DF or ADF in the directory.
func (d *dir) child(fid uint16) *dir {
	for _, c := range d.dirs {
		if c.fid == fid {
			return c
		}
	}
	return nil
}

// walk takes a path off the front of b: the directory and, where the last step is an
// EF, that.
func (c *Card) walk(b []byte) (d *dir, f *file, rest []byte, err error) {
	if len(b) == 0 || len(b) < 1+2*int(b[0]) {
		return nil, nil, nil, errors.New("a path is cut")
	}
	d, path, rest := c.mf, b[1:1+2*int(b[0])], b[1+2*int(b[0]):]
	for len(path) > 0 {
		fid := binary.BigEndian.Uint16(path)
		path = path[2:]
		next := d.child(fid)
		if next != nil {
			d = next
			continue
		}
		if f = d.file(fid); f == nil || len(path) > 0 {
			return nil, nil, nil, errors.New("a path leads nowhere")
		}
	}
	return d, f, rest, nil
}

// structure is the changes that make the directories and files of the card out of those
// of its model.
func (c *Card) structure() []change {
	var all []change
	for _, m := range c.made {
		b := binary.BigEndian.AppendUint16(place(m.parent), m.serial)
		all = append(all, change{objectCreate, 0, append(b, m.fcp...)})
		if m.resized {
			b := binary.BigEndian.AppendUint32(place(m.parent, m.file.fid), uint32(m.file.size()))
			all = append(all, change{objectResize, 0, b})
		}
	}
	c.each(func(d *dir, f *file, life uicc.LifeCycle) {
		first := uicc.LifeCycle(0)
		for _, m := range c.made {
			if f == nil && m.dir == d || f != nil && m.file == f {
				first = m.life
			}
		}
		if life == first {
			return
		}
		path := place(d)
		if f != nil {
			path = place(d, f.fid)
		}
		all = append(all, change{objectLife, 0, append(path, byte(cmp.Or(life, uicc.LifeCycleActivated)))})
	})
	return all
}

// each visits every directory, and every file once.
func (c *Card) each(visit func(d *dir, f *file, life uicc.LifeCycle)) {
	seen := map[*file]bool{}
	var down func(d *dir)
	down = func(d *dir) {
		visit(d, nil, d.life)
		for _, f := range d.files {
			if !seen[f] {
				seen[f] = true
				visit(d, f, f.life)
			}
		}
		for _, child := range d.dirs {
			down(child)
		}
	}
	down(c.mf)
}

// restoreStructure makes a change of the structure that the image holds; found is false
// for other objects.
func (c *Card) restoreStructure(ch change) (found bool, err error) {
	if ch.object < objectCreate || ch.object > objectLife {
		return false, nil
	}
	d, f, rest, err := c.walk(ch.data)
	if err != nil {
		return true, err
	}
	return true, c.restructure(ch.object, d, f, rest)
}

// restructure makes one change of the structure, of the file f in d, or of d where f is
// nil.
func (c *Card) restructure(o object, d *dir, f *file, rest []byte) error {
	m := c.madeOf(d, f)
	switch {
	case o == objectCreate && f == nil && len(rest) > 2:
		return c.recreate(d, rest)
	case o == objectDelete && len(rest) == 0 && m != nil:
		c.remove(m)
		return nil
	case o == objectResize && m != nil && f != nil && len(rest) == 4:
		if n := int(binary.BigEndian.Uint32(rest)); f.fits(n) {
			c.writable(f)
			m.resize(n, nil)
			return nil
		}
	case o == objectLife && len(rest) == 1:
		c.setLife(d, f, uicc.LifeCycle(rest[0]))
		return nil
	}
	return errors.New("no change of the structure that can be")
}

func (c *Card) recreate(d *dir, b []byte) error {
	serial := binary.BigEndian.Uint16(b)
	fcp, err := uicc.ParseFCP(b[2:])
	if err != nil {
		return err
	}
	if sw := c.mayCreate(d, fcp); !sw.OK() {
		return sw
	}
	for _, m := range c.made {
		if m.serial == serial {
			return errors.New("two files of one number")
		}
	}
	c.create(d, serial, fcp, slices.Clone(b[2:]))
	return nil
}

// madeOf finds what CREATE FILE made; nil for what is of the card model.
func (c *Card) madeOf(d *dir, f *file) *made {
	for _, m := range c.made {
		if f != nil && m.file == f || f == nil && m.dir == d {
			return m
		}
	}
	return nil
}

// create makes a directory or file that may be created.
func (c *Card) create(parent *dir, serial uint16, fcp uicc.FCP, template []byte) *made {
	m := &made{serial: serial, fcp: template, parent: parent, life: fcp.LifeCycle}
	if fcp.LifeCycle.Activated() {
		m.life = 0
	}
	if fcp.Descriptor.Type == uicc.Directory {
		m.dir = &dir{fid: fcp.FID, aid: fcp.AID, parent: parent, life: m.life}
		m.dir.arr = c.accessOf(m.dir, fcp)
		parent.dirs = append(parent.dirs, m.dir)
		if m.dir.aid != nil {
			c.apps = append(c.apps, m.dir)
		}
	} else {
		m.file = &file{
			id: madeObject | object(serial), fid: fcp.FID, life: m.life, made: true,
			cyclic: fcp.Descriptor.Type == uicc.Cyclic, recordLen: int(fcp.Descriptor.RecordLength),
		}
		m.file.sfi, _ = fcp.ShortID()
		if fcp.Descriptor.Type == uicc.BERTLV {
			m.file.reserved, m.file.limit = fcp.ObjectRoom()
		} else {
			m.file.data = fill(nil, fcp.Size.N, m.file.recordLen, fcp.Proprietary)
		}
		m.file.access = c.accessOf(parent, fcp)
		parent.files = append(parent.files, m.file)
		c.files = append(c.files, m.file)
	}
	c.made = append(c.made, m)
	return m
}

// accessOf finds the access rules of what is created in or as d: in the FCP, or in an
// EF.ARR that lies in d or in a directory above (TS 102 221, 9.2.7).
func (c *Card) accessOf(d *dir, fcp uicc.FCP) access {
	r := &ruleFile{app: c.codesIn(d)}
	a := access{rules: r, record: 1, told: &fcp}
	if fcp.ARR.FID == 0 {
		r.records = append(r.records, fcp.EffectiveRules())
		return a
	}
	if a.record = int(fcp.ARR.Record); len(fcp.ARR.BySE) > 0 {
		a.record = int(fcp.ARR.BySE[0].Record)
	}
	for ; d != nil; d = d.parent {
		if f := d.file(fcp.ARR.FID); f != nil && f.recordLen != 0 {
			r.id, r.records = f.id, decodeRules(f)
			c.rules = append(c.rules, r)
			break
		}
	}
	return a
}

// codesIn is the number of the application whose codes count in a directory: those of the
// USIM outside of applications, and -1 in one that was created, which has none.
func (c *Card) codesIn(d *dir) int {
	app := d.app()
	if app == nil {
		return slices.Index(c.apps, c.adf)
	}
	if c.madeOf(app, nil) != nil {
		return -1
	}
	return slices.Index(c.apps, app)
}

// remove takes a file or directory off the card, with all that is in it.
func (c *Card) remove(m *made) {
	if m.dir != nil {
		for _, below := range slices.Clone(c.made) {
			if below.parent == m.dir {
				c.remove(below)
			}
		}
		m.parent.dirs = slices.DeleteFunc(m.parent.dirs, func(d *dir) bool { return d == m.dir })
		c.apps = slices.DeleteFunc(c.apps, func(d *dir) bool { return d == m.dir })
	} else {
		gone := func(f *file) bool { return f == m.file }
		m.parent.files, c.files = slices.DeleteFunc(m.parent.files, gone), slices.DeleteFunc(c.files, gone)
		c.rules = slices.DeleteFunc(c.rules, func(r *ruleFile) bool {
			if r.id != m.file.id {
				return false
			}
			c.setRules(r, nil) // nothing is allowed by rules that are gone
			return true
		})
	}
	c.made = slices.DeleteFunc(c.made, func(x *made) bool { return x == m })
	c.rules = slices.DeleteFunc(c.rules, func(r *ruleFile) bool { return r == m.rules() })
	delete(c.ruled, m.rules())
}

func (m *made) rules() *ruleFile {
	if m.dir != nil {
		return m.dir.arr.rules
	}
	return m.file.access.rules
}

// size is the size of the file, as RESIZE FILE counts it: of one with data objects the
// memory that it takes.
func (f *file) size() int { return max(len(f.data), f.reserved) }

// fits reports whether the file can have n bytes.
func (f *file) fits(n int) bool {
	if f.limit != 0 && n < len(f.data) {
		return false // which object would have to go?
	}
	return n > 0 && n <= maxFile && (f.recordLen == 0 || n%f.recordLen == 0 && n/f.recordLen <= maxRecords)
}

// resize cuts the file, which is writable, or fills what is new.
func (m *made) resize(n int, proprietary []tlv.TLV) {
	if m.file.limit != 0 {
		m.file.reserved, m.file.limit, m.resized = n, n, true
		return
	}
	old := m.file.data[:min(n, len(m.file.data))]
	m.file.data, m.resized = fill(old, n, m.file.recordLen, proprietary), true
}

// Tags in template A5 of CREATE and RESIZE FILE (TS 102 222, 6.3.2.2.2).
const (
	tagFilling uint32 = 0xC1
	tagRepeat  uint32 = 0xC2
)

// fill puts new bytes behind old ones, up to n: FF, or the pattern that is given. That of
// tag C1 begins each record, or the new part, and its last byte goes on; that of C2 is
// repeated.
func fill(old []byte, n, recordLen int, proprietary []tlv.TLV) []byte {
	data := append(make([]byte, 0, n), old...)
	pattern, repeat := []byte{0xFF}, false
	for _, t := range proprietary {
		if (t.Tag == tagFilling || t.Tag == tagRepeat) && len(t.Value) > 0 {
			pattern, repeat = t.Value, t.Tag == tagRepeat
		}
	}
	unit := cmp.Or(recordLen, n)
	for at := 0; len(data) < n; at++ {
		if recordLen != 0 {
			at = len(data) % unit
		}
		if repeat {
			data = append(data, pattern[at%len(pattern)])
		} else {
			data = append(data, pattern[min(at, len(pattern)-1)])
		}
	}
	return data
}

// setLife sets the life cycle status of a file, or of the directory where f is nil.
func (c *Card) setLife(d *dir, f *file, life uicc.LifeCycle) {
	if life.Activated() {
		life = 0
	}
	if f != nil {
		c.writable(f).life = life
		return
	}
	d.life = life
}

// used is the memory that the files take, in bytes.
func (c *Card) used() int {
	n := fileExpense * c.mf.count()
	for _, f := range c.files {
		n += fileExpense + f.size()
	}
	return n
}

// count is the number of directories from d down.
func (d *dir) count() int {
	n := 1
	for _, child := range d.dirs {
		n += child.count()
	}
	return n
}

// free is the memory that is left for files, in bytes.
func (c *Card) free() int { return max(0, cmp.Or(c.layout.Memory, defaultMemory)-c.used()) }

// defaultMemory is that of a card whose model does not tell.
const defaultMemory = 128 << 10
