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

// file is an EF, transparent or linear fixed.
type file struct {
	id        object
	fid       uint16
	sfi       byte // 0: none
	recordLen int  // 0: transparent
	cyclic    bool // record 1 is the newest
	data      []byte
	shared    bool // data is that of all cards with this content: own it before a change
	access    access
	life      uicc.LifeCycle // 0: activated
	made      bool           // by CREATE FILE; the card itself does not look at it
}

// own gives the file data of its own.
func (f *file) own() {
	if f.shared {
		f.data, f.shared = slices.Clone(f.data), false
	}
}

// access says where the rules of a file are.
type access struct {
	rules  *ruleFile
	record int      // from 1
	told   uicc.FCP // of what was created: its attributes, as they were told
}

// ruleFile is an EF.ARR with its records decoded.
type ruleFile struct {
	file     *file
	verified func(ref byte) bool // whether a key is, as the files under these rules see it
	expanded bool                // each FCP has its rules, and the file is in no directory
	records  [][]uicc.AccessRule // nil: not decoded since the last change
}

// granted reports whether the rules allow op now.
func (a access) granted(op uicc.Access) bool { return a.allowed(op, a.rules.verified) }

// allowed reports whether the rules allow op, where verified tells which keys are; a record that is missing or
// malformed allows nothing.
func (a access) allowed(op uicc.Access, verified func(ref byte) bool) bool {
	return uicc.Allowed(a.list(), op, verified)
}

// grantedCommand is granted for a command that rules name by its header.
func (a access) grantedCommand(ins byte) bool { return a.allowedCommand(ins, a.rules.verified) }

// allowedCommand is allowed for a command that rules name by its header.
func (a access) allowedCommand(ins byte, verified func(ref byte) bool) bool {
	return uicc.AllowedCommand(a.list(), ins, verified)
}

// list is the rules; none where the record is missing.
func (a access) list() []uicc.AccessRule {
	if a.rules.records == nil {
		a.rules.decode()
	}
	if a.record > len(a.rules.records) {
		return nil
	}
	return a.rules.records[a.record-1]
}

// describe puts the security attributes into an FCP: where the rules are, or the
// rules.
func (a access) describe(f *uicc.FCP) {
	switch {
	case a.told.FID != 0:
		f.ARR, f.Compact, f.Rules = a.told.ARR, a.told.Compact, a.told.Rules
		return
	case a.rules.expanded:
		f.Rules = a.list()
		return
	}
	f.ARR = uicc.ARRReference{FID: a.rules.file.fid, Record: byte(a.record)}
}

func (r *ruleFile) decode() {
	r.records = make([][]uicc.AccessRule, r.file.records())
	for i := range r.records {
		// Rules that do not decode stay empty, and so allow nothing.
		r.records[i], _ = uicc.DecodeARRRecord(slices.Clone(r.file.record(i + 1)))
	}
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

// fcp is what SELECT says of the file (TS 102 221, 11.1.1.3.2).
func (f *file) fcp() uicc.FCP {
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
		Descriptor: d, FID: f.fid, LifeCycle: cmp.Or(f.life, uicc.LifeCycleActivated), Size: uicc.NewSize(len(f.data)), SFI: sfi,
	}
	f.access.describe(&p)
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
