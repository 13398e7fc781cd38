package dump

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"time"

	"mcim/apdu"
	"mcim/apdu/ef"
	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/model"
)

// ErrNoFiles is returned for a card that has no MF, in class 00 and A0.
var ErrNoFiles = errors.New("neither a UICC nor a SIM of class A0: it has no MF")

// Options of Read; the zero value reads what needs no PIN.
type Options struct {
	// PIN1 is the PIN to verify first, 8 bytes (uicc.PadPIN); where the card says
	// that the universal PIN stands in for it, it is taken for that one. It is not
	// sent where the card says that PIN1 is disabled.
	PIN1 secret.Bytes
	// ADM is the administrative code of the card's model, 8 bytes (uicc.ADMHex,
	// uicc.ADMText), to verify as well. A card without a model is refused it.
	ADM secret.Bytes
	// Only are the paths of the files to read, with those that tell of access
	// rules and applications; none is all.
	Only []string
	// Session are the settings of the transport.
	Session card.Options
}

// Read resets the card and reads it. What it refuses, or gives damaged, is an
// error in its place of the document. A card that falls silent is reset and asked
// for the same file again, once. The error is that of a card that is gone or
// falls silent again and again, a *card.PINError or *card.RefusalError where PIN1
// could not be verified, or ErrNoFiles; the document is then empty.
func Read(ctx context.Context, c card.Card, o Options) (Document, error) {
	start := time.Now()
	counted := &Counter{Card: c}
	session := card.NewSession(counted, o.Session)
	atr, err := session.Reset(ctx)
	if err != nil {
		return Document{}, err
	}
	guard := card.NewGuard(session, card.GuardConfig{ATR: bytes.Clone(atr)})
	doc, err := ReadIn(ctx, session, guard, o)
	if err != nil {
		return Document{}, err
	}
	doc.ATR = hex.EncodeToString(atr)
	doc.APDUs = counted.Sent
	doc.Seconds = math.Round(time.Since(start).Seconds()*1e6) / 1e6
	return doc, nil
}

// ReadIn is Read in a session on a card that was reset, with the guard on it: what
// is verified stays so afterwards. ATR, APDUs and Seconds are not in the document.
func ReadIn(ctx context.Context, s *card.Session, g *card.Guard, o Options) (Document, error) {
	r := &reader{session: s, guard: g, options: o, table: table(), doc: Document{Files: []File{}}}
	if err := r.run(ctx); err != nil {
		return Document{}, err
	}
	return r.doc, nil
}

// Counter is a card that counts the commands it is sent.
type Counter struct {
	card.Card
	Sent int // commands so far
}

// Transmit implements card.Card.
func (c *Counter) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	c.Sent++
	return c.Card.Transmit(ctx, command)
}

// reader is a card that is being read.
type reader struct {
	session  *card.Session
	guard    *card.Guard
	options  Options
	ref      byte   // key reference of PIN1, or of what stands in for it
	verified []code // in this order
	gsm      bool   // the card knows class A0 only
	table    map[ef.Dir]*folder
	path     []*place // from the MF to the current directory
	apps     [][]byte // AIDs in EF.DIR
	faults   int
	doc      Document
}

// place is a directory that was selected.
type place struct {
	path      string
	file      card.File
	selecting apdu.Command
	pins      *uicc.PINStatus
	rules     map[uint16][][]uicc.AccessRule // of each EF.ARR by record; nil where one cannot be read
}

func (r *reader) run(ctx context.Context) error {
	mf := r.table[ef.DirMF]
	if err := r.master(ctx, mf); err != nil {
		return err
	}
	if err := r.verify(ctx); err != nil {
		return err
	}
	if err := r.contents(ctx, mf, nil); err != nil {
		return err
	}
	if r.gsm {
		return nil
	}
	if len(r.apps) == 0 { // no EF.DIR to go by
		r.apps = [][]byte{usim.AIDPrefix(), aidISIM()}
	}
	seen := map[ef.Dir]int{}
	for _, aid := range r.apps {
		if err := r.application(ctx, aid, seen); err != nil {
			return err
		}
	}
	return nil
}

// master selects the MF, in class A0 where the card does not know class 00.
func (r *reader) master(ctx context.Context, mf *folder) error {
	h, why, err := r.selected(ctx, r.byFID(mf.fid))
	if why != nil {
		r.gsm = true
		h, why, err = r.selected(ctx, r.byFID(mf.fid))
	}
	switch {
	case err != nil:
		return err
	case why != nil:
		return fmt.Errorf("%w: %w", ErrNoFiles, why)
	}
	r.doc.Files = append(r.doc.Files, directory("MF", mf, h))
	r.path = []*place{{path: "MF", selecting: r.byFID(mf.fid), pins: h.pins}}
	return nil
}

// code is a PIN or key and its reference.
type code struct {
	ref  byte
	code secret.Bytes
}

// verify verifies the codes that were given, PIN1 unless it is disabled.
func (r *reader) verify(ctx context.Context) error {
	r.ref = uicc.RefPIN1
	disabled := false
	if pins := r.path[0].pins; pins != nil {
		r.ref = pinOf(pins)
		enabled, known := pins.Enabled(r.ref)
		disabled = known && !enabled
	}
	if r.options.PIN1.Len() > 0 && !disabled {
		if err := r.present(ctx, code{r.ref, r.options.PIN1}); err != nil {
			return err
		}
	}
	if r.options.ADM.Len() == 0 {
		return nil
	}
	m := r.guard.Model()
	if m == nil {
		return &card.RefusalError{What: "VERIFY of an administrative code", Why: "which one it is, the card's model says",
			Try: "`mcim card pin verify --key` verifies one that is named", Cause: model.ErrUnknown}
	}
	return r.present(ctx, code{m.ADM.Reference, r.options.ADM})
}

func (r *reader) present(ctx context.Context, c code) error {
	if err := r.guard.Verify(ctx, c.ref, c.code); err != nil {
		return err
	}
	r.verified = append(r.verified, c)
	return nil
}

// pinOf is the key reference of PIN1: the first of 01 to 08 that the MF names, or
// that of the universal PIN where it stands in for it.
func pinOf(pins *uicc.PINStatus) byte {
	if pins.Replaced() {
		return uicc.RefUniversalPIN
	}
	for _, k := range pins.Keys {
		if k.Ref >= uicc.RefPIN1 && k.Ref <= lastPIN1 {
			return k.Ref
		}
	}
	return uicc.RefPIN1
}

const lastPIN1 = 0x08 // key reference of the PIN of the last application (TS 102 221, table 9.3)

// contents reads the files of the current directory, then the directories below.
// One is a child of the current directory, or beside it, so that its identifier
// is enough (TS 102 221, 8.4.1).
func (r *reader) contents(ctx context.Context, d *folder, more []candidate) error {
	for _, list := range [][]candidate{d.files, more} {
		for _, c := range list {
			if !r.wanted(c) {
				continue
			}
			if err := r.file(ctx, c); err != nil {
				return err
			}
		}
	}
	here := r.path[len(r.path)-1]
	for _, child := range d.below {
		path := child.name
		if len(r.path) > 1 {
			path = here.path + "/" + child.name
		}
		if err := r.enter(ctx, child, path, r.byFID(child.fid), nil); err != nil {
			return err
		}
	}
	return nil
}

// application reads the application with that AID. Of one that is in no
// specification here, nothing is known that could be tried.
func (r *reader) application(ctx context.Context, aid []byte, seen map[ef.Dir]int) error {
	name := fmt.Sprintf("%x", aid)
	dir := applicationDir(aid)
	switch {
	case dir == "" && len(r.options.Only) > 0:
		return nil
	case dir == "":
		r.doc.Files = append(r.doc.Files, File{Path: "ADF." + name, Name: "ADF." + name, AID: name, Structure: structureDirectory,
			Error: "no files of this application are known, so it was not selected"})
		return nil
	}
	path := string(dir)
	if seen[dir]++; seen[dir] > 1 {
		path = fmt.Sprintf("%s.%d", dir, seen[dir])
	}
	return r.enter(ctx, r.table[dir], path, uicc.SelectAID(aid).Command(), keyFiles(r.guard.Model(), aid, dir))
}

// enter selects a directory and reads what is in it and below, and what else may
// be in it; where it is not on the card, there is nothing to tell.
func (r *reader) enter(ctx context.Context, d *folder, path string, selecting apdu.Command, more []candidate) error {
	if !r.inside(path) {
		return nil
	}
	var h header
	var refusal error
	why, lost := r.twice(ctx, func() (err error) {
		h, refusal, err = r.selected(ctx, selecting)
		return err
	})
	if lost != nil || absent(refusal) {
		return lost
	}
	why = cmp.Or(why, refusal)
	f := directory(path, d, h)
	if why != nil {
		f.Error = why.Error()
	}
	if d.fid == 0 {
		f.AID = hex.EncodeToString(selecting.Data)
	}
	r.doc.Files = append(r.doc.Files, f)
	if why != nil {
		return nil
	}
	above := r.path
	defer func() { r.path = above }()
	base := above
	if d.fid == 0 {
		base = above[:1] // an application is below the MF
	}
	at := card.File{AID: selecting.Data}
	if d.fid != 0 {
		at = below(base[len(base)-1].file, d.fid)
	}
	r.path = append(append([]*place{}, base...), &place{path: path, file: at, selecting: selecting, pins: h.pins})
	return r.contents(ctx, d, more)
}

func directory(path string, d *folder, h header) File {
	f := File{Path: path, Name: d.name, Structure: structureDirectory, FCP: h.shown}
	if d.fid != 0 {
		f.FID = fmt.Sprintf("%04x", d.fid)
	}
	return f
}
