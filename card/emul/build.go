package emul

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"mcim/apdu/ef"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card/model"
)

// rule is who may read and update a file: a record of EF.ARR.
type rule struct{ read, update model.Who }

// commonRules are the first records of every EF.ARR; others that the card's files need
// come behind.
func commonRules() []rule {
	return []rule{
		{model.Anyone, model.Nobody}, {model.Anyone, model.ADM1}, {model.Anyone, model.PIN1}, {model.PIN1, model.PIN1},
		{model.PIN1, model.ADM1}, {model.Nobody, model.ADM1}, {model.ADM1, model.ADM1},
	}
}

// Records behind those for reading and updating, counted from 1 behind them.
const (
	forMeters    = iota + 1 // PIN1 reads, updates and increases
	forDirectory            // ADM1 creates below
	forADM                  // ADM1 does all there is, for files that are created
)

const arrRecordLen = 24

// sfiARRISIM is the SFI of EF.ARR below an
// ISIM (TS 31.103, 4.2.6).
const sfiARRISIM = 0x06

// builder puts a card together; the first error stays.
type builder struct {
	card  *Card
	dirs  map[ef.Dir]*dir
	rules map[*dir]*ruleFile
	who   []rule // records of every EF.ARR
	err   error
}

// New makes a card with the content of the profile. Its state ends with the
// value. A profile with a value out of bounds is a *ProfileError.
func New(p Profile) (*Card, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	l, err := p.layout()
	if err != nil {
		return nil, err
	}
	return build(l, p)
}

// build makes the card l with the content of the profile: a fork of its template, with
// files of its own where the profile makes a difference.
func build(l *model.Card, p Profile) (*Card, error) {
	t, err := templateOf(l)
	if err != nil {
		return nil, err
	}
	b := builder{card: begin(t.fork())}
	b.personalise(t, p)
	if b.err != nil {
		return nil, fmt.Errorf("build the software UICC: %w", b.err)
	}
	return b.card, nil
}

// personalise makes the difference between the template and the card of the profile.
func (b *builder) personalise(t *template, p Profile) {
	c, identity := b.card, p.identity()
	for i, at := range t.places {
		if at < 0 {
			continue
		}
		data := b.must(c.layout.Files[i].Content(identity))
		if f := c.files[at]; !bytes.Equal(f.data, data) {
			c.replace(f, f.with(data))
		}
	}
	key, err := c.model.EncodeKey(p.key())
	c.replace(c.keyFile, c.keyFile.with(b.must(key.Reveal(), err)))
	c.replace(c.sqnFile, c.sqnFile.with(b.must(c.model.EncodeSQN(p.sqnFile()))))
	if p.AuthLimit > 0 {
		left := uint32(p.AuthLimit)
		c.authLeft = &left
	}
	c.channelKey, c.channelLimit = p.ChannelKey, cmp.Or(p.ChannelLimit, defaultChannelLimit)
	for _, one := range c.pins {
		one.value, one.unblock = b.codes(p, one.PIN)
	}
}

// template is what all cards of one layout share. Nobody changes it.
type template struct {
	state
	places []int // of each file of the layout in state.files; -1: the same as another
}

// makeTemplate makes the directories, files and codes of the card l, with a content that
// every card replaces.
func makeTemplate(l *model.Card) (*template, error) {
	b := builder{
		card: &Card{state: state{layout: l, model: l.Family}}, dirs: map[ef.Dir]*dir{}, rules: map[*dir]*ruleFile{}, who: commonRules(),
	}
	for _, f := range l.Files {
		if r := (rule{f.Read, f.Update}); f.Same == "" && !slices.Contains(b.who, r) {
			b.who = append(b.who, r)
		}
	}
	p := placeholder()
	b.directories()
	places := b.content(p)
	b.keyFiles(p)
	b.keys(p)
	if b.err != nil {
		return nil, fmt.Errorf("build the software UICC: %w", b.err)
	}
	b.card.freeze()
	return &template{b.card.state, places}, nil
}

// must takes the result of an encoder.
func (b *builder) must(data []byte, err error) []byte {
	if err != nil && b.err == nil {
		b.err = err
	}
	return data
}

// directories makes the MF, the applications, and DF.GSM and DF.TELECOM for old
// tools (TS 51.011, 10). Each has an EF.ARR, and all of them the same records: a
// file that is in two directories finds its rule in both.
func (b *builder) directories() {
	c := b.card
	c.mf = &dir{fid: uicc.FIDMF}
	b.dirs[ef.DirMF] = c.mf
	b.addARR(c.mf, uicc.FIDEFARR, uicc.SFIEFARR)
	for _, a := range c.layout.Applications {
		adf := &dir{fid: a.FID, aid: a.AID, parent: c.mf}
		c.mf.dirs, c.apps = append(c.mf.dirs, adf), append(c.apps, adf)
		b.dirs[a.Dir] = adf
		sfi := usim.SFIARR
		if a.Dir == ef.DirISIM {
			adf.isim, sfi = true, sfiARRISIM
		}
		b.addARR(adf, usim.EFARR, sfi)
	}
	gsm := b.directory(ef.DirGSM)
	if c.adf = gsm; len(c.apps) > 0 {
		c.adf = c.apps[0]
	}
	b.directory(ef.DirTelecom)
}

// directory finds or makes a DF.
func (b *builder) directory(path ef.Dir) *dir {
	if d := b.dirs[path]; d != nil {
		return d
	}
	parent := b.card.mf
	if up, _, below := strings.Cut(string(path), "/"); below {
		parent = b.dirs[ef.Dir(up)]
	}
	fids := path.FIDs()
	d := &dir{fid: fids[len(fids)-1], parent: parent}
	parent.dirs, b.dirs[path] = append(parent.dirs, d), d
	b.addARR(d, usim.EFARR, 0)
	return d
}

// addARR makes an EF.ARR, under its own record for what anyone reads and ADM1 updates.
// The directory is under its record forDirectory. On a card with expanded rules no
// directory has it. Files outside of applications are
// opened by the codes of the USIM.
func (b *builder) addARR(d *dir, fid uint16, sfi byte) {
	f := &file{id: fileObject(d.fid, fid), fid: fid, sfi: sfi, recordLen: arrRecordLen}
	for _, who := range b.who {
		update := uicc.AccessUpdate
		if who.update == model.ADM1 { // one more access rule would not fit
			update |= uicc.AccessActivate | uicc.AccessDeactivate
		}
		b.addRules(f, uicc.AccessRule{Access: uicc.AccessRead, Conditions: b.condition(who.read)},
			uicc.AccessRule{Access: update, Conditions: b.condition(who.update)})
	}
	b.addSpecialRules(f)
	c := b.card
	r := &ruleFile{id: f.id, fid: f.fid, expanded: c.layout.ExpandedRules, records: decodeRules(f)}
	if app := d.app(); app != nil { // files outside of applications: the codes of the USIM, the first one
		r.app = slices.Index(c.apps, app)
	}
	f.access = access{rules: r, record: b.record(model.Anyone, model.ADM1)}
	b.rules[d], d.arr = r, access{rules: r, record: len(b.who) + forDirectory}
	c.rules = append(c.rules, r)
	if !r.expanded {
		b.add(d, f)
	}
}

// addRules puts one more record into an EF.ARR.
func (b *builder) addRules(arr *file, rules ...uicc.AccessRule) {
	arr.data = append(arr.data, b.must(uicc.EncodeARRRecord(rules, arrRecordLen))...)
}

// addSpecialRules puts the records forMeters, forDirectory and forADM behind the others.
func (b *builder) addSpecialRules(arr *file) {
	byPIN, byADM := b.condition(model.PIN1), b.condition(model.ADM1)
	const switching = uicc.AccessActivate | uicc.AccessDeactivate
	b.addRules(arr, uicc.AccessRule{Access: uicc.AccessRead | uicc.AccessUpdate, Conditions: byPIN},
		uicc.AccessRule{HeaderTag: uicc.HeaderINS, Header: []byte{uicc.INSIncrease}, Conditions: byPIN})
	b.addRules(arr, uicc.AccessRule{Access: uicc.AccessCreateEF | uicc.AccessCreateDF | switching, Conditions: byADM})
	b.addRules(arr, uicc.AccessRule{
		Access:     uicc.AccessRead | uicc.AccessUpdate | uicc.AccessTerminate | uicc.AccessDelete | switching,
		Conditions: byADM,
	}, uicc.AccessRule{HeaderTag: uicc.HeaderINS, Header: []byte{uicc.INSResizeFile}, Conditions: byADM})
}

// condition is the security condition of a word.
func (b *builder) condition(w model.Who) []uicc.Condition {
	switch w {
	case model.Anyone:
		return []uicc.Condition{{Kind: uicc.Always}}
	case model.Nobody:
		return []uicc.Condition{{Kind: uicc.Never}}
	}
	ref, known := w.KeyRef(b.card.model.ADM.Reference)
	if !known {
		b.must(nil, fmt.Errorf("no code %q", w))
	}
	return []uicc.Condition{uicc.KeyCondition(ref)}
}

func (b *builder) add(d *dir, f *file) {
	d.files = append(d.files, f)
	b.card.files = append(b.card.files, f)
}

// content makes the files of the card, and tells where in state.files each of the layout
// is.
func (b *builder) content(p Profile) (places []int) {
	identity := p.identity()
	made := map[string]*file{}
	var same []*model.CardFile // may stand before what they are the same as
	for i := range b.card.layout.Files {
		l := &b.card.layout.Files[i]
		d := b.directory(l.Dir)
		if l.Same != "" {
			same, places = append(same, l), append(places, -1)
			continue
		}
		f := &file{
			id: fileObject(d.fid, l.FID), fid: l.FID, sfi: l.SFI, recordLen: l.RecordLength,
			cyclic: l.Structure == ef.Cyclic,
			data:   b.must(l.Content(identity)), access: access{rules: b.rules[d], record: b.recordOf(l)},
		}
		made[l.Path()], places = f, append(places, len(b.card.files))
		b.add(d, f)
	}
	for _, l := range same {
		d := b.directory(l.Dir)
		d.files = append(d.files, made[l.Same])
	}
	if len(b.card.apps) > 0 { // EF.SST of a SIM has the same identifier
		b.card.ust = b.card.adf.file(usim.EFUST)
	}
	return places
}

// recordOf is the record of EF.ARR for a file.
func (b *builder) recordOf(l *model.CardFile) int {
	if l.Structure == ef.Cyclic && l.Read == model.PIN1 && l.Update == model.PIN1 {
		return len(b.who) + forMeters
	}
	return b.record(l.Read, l.Update)
}

// record is the record of EF.ARR for who may read and update.
func (b *builder) record(read, update model.Who) int {
	return slices.Index(b.who, rule{read, update}) + 1
}

// keyFiles makes the files of the card model: keys that nobody reads, sequence
// numbers that ADM1 may read to see how far a change has come. The ISIM has no
// own: both applications are of one subscription. A SIM keeps its keys where no
// command reaches them.
func (b *builder) keyFiles(p Profile) {
	c := b.card
	rules := b.rules[c.adf]
	key, err := c.model.EncodeKey(p.key())
	sqn, errSQN := c.model.EncodeSQN(p.sqnFile())
	c.keyFile = &file{
		id: fileObject(c.adf.fid, c.model.KeyFile.FID) | secretObject, fid: c.model.KeyFile.FID,
		data: b.must(key.Reveal(), err), access: access{rules: rules, record: b.record(model.Nobody, model.ADM1)},
	}
	c.sqnFile = &file{
		id: fileObject(c.adf.fid, c.model.SQNFile.FID), fid: c.model.SQNFile.FID,
		data: b.must(sqn, errSQN), access: access{rules: rules, record: b.record(model.ADM1, model.ADM1)},
	}
	if c.layout.SIM() {
		c.files = append(c.files, c.keyFile, c.sqnFile)
		return
	}
	b.add(c.adf, c.keyFile)
	b.add(c.adf, c.sqnFile)
}

// keys makes the codes of the card.
func (b *builder) keys(p Profile) {
	c := b.card
	c.pins = make([]*pin, len(c.layout.PINs))
	for i, m := range c.layout.PINs {
		one := &pin{PIN: m, index: i, object: object(m.Ref), pinState: pinState{pinOn, byte(m.Tries), byte(m.PUKTries)}}
		one.value, one.unblock = b.codes(p, m)
		if m.Dir != "" {
			one.app = b.dirs[m.Dir]
			one.object |= object(max(0, slices.Index(c.apps, one.app))) << appShift
		}
		c.pins[i] = one
	}
}
