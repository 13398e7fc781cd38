package emul

import (
	"cmp"
	"slices"

	"mcim/apdu/uicc"
)

// object names something that the image keeps: a file by the identifiers of its
// directory and its own, or one of the values below.
type object uint32

const (
	// secretObject marks what lies in the image only sealed.
	secretObject object = 1 << 31

	objectModel      object = 1                    // text of the card model; in version 1 its name
	objectCounters   object = 2                    // pinState of each PIN
	objectBase       object = 3                    // text of the card that the card model extends
	objectAuthLeft   object = 4                    // authentications that are left; missing: no limit
	objectKs         object = secretObject | 0x300 // + application: RAND, CK, IK of the last GBA bootstrapping
	objectLocal      object = secretObject | 0x400 // + application: identifier of the last local key, and the key
	objectNAF        object = secretObject | 0x800 // + application<<8 + record of EF.GBANL: its Ks_int_NAF
	objectChannelKey object = secretObject | 0x500 // limit and key of the secure channel; missing: the card has none
	objectPIN        object = secretObject | 0x100
	objectUnblock    object = secretObject | 0x200

	// appShift is the place of the number of the application in the name of a code
	// that is its own.
	appShift = 12
)

func fileObject(dir, fid uint16) object { return object(dir)<<16 | object(fid) }

// dir is an MF, DF or ADF.
type dir struct {
	fid    uint16
	aid    []byte // of an ADF
	parent *dir   // nil for the MF
	dirs   []*dir
	files  []*file
	arr    access
	life   uicc.LifeCycle // 0: activated
	isim   bool           // the ADF of an ISIM
}

// file is an EF: transparent, with records, or of BER-TLV structure. A shared one is in many cards, and nobody
// changes it any more: writable gives a card one of its own.
type file struct {
	id        object
	fid       uint16
	sfi       byte // 0: none
	recordLen int  // 0: transparent
	cyclic    bool // record 1 is the newest
	data      []byte
	shared    bool
	access    access
	life      uicc.LifeCycle // 0: activated
	made      bool           // by CREATE FILE; the card itself does not look at it
	// limit is how many bytes of data objects an EF of BER-TLV structure may have,
	// reserved how many are its own; limit is 0 for other structures.
	limit, reserved int
}

// access says where the rules of a file are.
type access struct {
	rules  *ruleFile
	record int       // from 1
	told   *uicc.FCP // of what was created: its attributes, as they were told; else nil
}

// ruleFile is an EF.ARR with its records decoded. It never changes: a card whose EF.ARR
// did has the new records in state.ruled.
type ruleFile struct {
	id       object // of the file
	fid      uint16
	app      int  // number of the application whose codes count; -1: only those of the card
	expanded bool // each FCP has its rules, and the file is in no directory
	records  [][]uicc.AccessRule
}

// granted reports whether the rules allow op now.
func (c *Card) granted(a access, op uicc.Access) bool {
	app := c.codesFor(a)
	return uicc.Allowed(c.list(a), op, func(ref byte) bool { return c.isVerified(ref, app) })
}

// allowed reports whether the rules allow op, where verified tells which keys are; a record that is missing or
// malformed allows nothing.
func (c *Card) allowed(a access, op uicc.Access, verified func(ref byte) bool) bool {
	return uicc.Allowed(c.list(a), op, verified)
}

// grantedCommand is granted for a command that rules name by its header.
func (c *Card) grantedCommand(a access, ins byte) bool {
	app := c.codesFor(a)
	return uicc.AllowedCommand(c.list(a), ins, func(ref byte) bool { return c.isVerified(ref, app) })
}

// allowedCommand is allowed for a command that rules name by its header.
func (c *Card) allowedCommand(a access, ins byte, verified func(ref byte) bool) bool {
	return uicc.AllowedCommand(c.list(a), ins, verified)
}

// codesFor is the application whose codes open the files under these rules.
func (c *Card) codesFor(a access) *dir {
	switch {
	case len(c.apps) == 0:
		return c.adf // of a SIM
	case a.rules.app < 0:
		return nil
	}
	return c.apps[a.rules.app]
}

// list is the rules; none where the record is missing.
func (c *Card) list(a access) []uicc.AccessRule {
	records := a.rules.records
	if c.ruled != nil {
		if changed, ok := c.ruled[a.rules]; ok {
			records = changed
		}
	}
	if a.record < 1 || a.record > len(records) {
		return nil
	}
	return records[a.record-1]
}

// describe puts the security attributes into an FCP: where the rules are, or the
// rules.
func (c *Card) describe(a access, f *uicc.FCP) {
	switch {
	case a.told != nil:
		f.ARR, f.Compact, f.Rules = a.told.ARR, a.told.Compact, a.told.Rules
		return
	case a.rules.expanded:
		f.Rules = c.list(a)
		return
	}
	f.ARR = uicc.ARRReference{FID: a.rules.fid, Record: byte(a.record)}
}

// reviseRules takes over what an EF.ARR says now; nothing for other files.
func (c *Card) reviseRules(f *file) {
	for _, r := range c.rules {
		if r.id == f.id {
			c.setRules(r, decodeRules(f))
		}
	}
}

func (c *Card) setRules(r *ruleFile, records [][]uicc.AccessRule) {
	if c.ruled == nil {
		c.ruled = map[*ruleFile][][]uicc.AccessRule{}
	}
	c.ruled[r] = records
}

// decodeRules decodes the records of an EF.ARR. Rules that do not decode stay empty, and
// so allow nothing.
func decodeRules(f *file) [][]uicc.AccessRule {
	records := make([][]uicc.AccessRule, f.records())
	for i := range records {
		records[i], _ = uicc.DecodeARRRecord(slices.Clone(f.record(i + 1)))
	}
	return records
}

// records is the number of records.
func (f *file) records() int {
	if f.recordLen == 0 {
		return 0
	}
	return len(f.data) / f.recordLen
}

// record is record n, from 1.
func (f *file) record(n int) []byte {
	return f.data[(n-1)*f.recordLen : n*f.recordLen]
}

// fileFCP is what SELECT says of the file (TS 102 221, 11.1.1.3.2).
func (c *Card) fileFCP(f *file) uicc.FCP {
	d := uicc.FileDescriptor{Type: uicc.Transparent, Shareable: true}
	if f.recordLen != 0 {
		d.Type, d.RecordLength, d.Records = uicc.LinearFixed, uint16(f.recordLen), byte(f.records())
	}
	if f.cyclic {
		d.Type = uicc.Cyclic
	}
	sfi := uicc.NoSFI
	if f.sfi != 0 {
		sfi = uicc.SFI(f.sfi)
	}
	p := uicc.FCP{
		Descriptor: d, FID: f.fid, LifeCycle: cmp.Or(f.life, uicc.LifeCycleActivated), Size: uicc.NewSize(f.size()), SFI: sfi,
	}
	if f.limit != 0 {
		f.describeObjects(&p)
	}
	c.describe(f.access, &p)
	return p
}

// file finds an EF in the directory.
func (d *dir) file(fid uint16) *file {
	for _, f := range d.files {
		if f.fid == fid {
			return f
		}
	}
	return nil
}

// own finds an EF that the card was made with: what was created in its place later is
// nothing that the card itself can work with.
func (d *dir) own(fid uint16) *file {
	if f := d.file(fid); f != nil && !f.made {
		return f
	}
	return nil
}

// bySFI finds an EF in the directory by its short file identifier.
func (d *dir) bySFI(sfi byte) *file {
	for _, f := range d.files {
		if f.sfi == sfi && sfi != 0 {
			return f
		}
	}
	return nil
}

// dir finds a DF in the directory. An ADF is found by its AID only.
func (d *dir) dir(fid uint16) *dir {
	for _, c := range d.dirs {
		if c.fid == fid && c.aid == nil {
			return c
		}
	}
	return nil
}

// within reports whether d is a or below it.
func (d *dir) within(a *dir) bool {
	for ; d != nil; d = d.parent {
		if d == a {
			return true
		}
	}
	return false
}

// app is the application that the directory belongs to; nil outside of any.
func (d *dir) app() *dir {
	for d != nil && d.aid == nil {
		d = d.parent
	}
	return d
}
