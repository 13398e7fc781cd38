package emul

import (
	"bytes"
	"fmt"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card/model"
)

// Files that package usim has no name for.
const (
	efSPN       = 0x6F46 // TS 31.102, 4.2.12
	efEST       = 0x6F56 // 4.2.47
	efStartHFN  = 0x6F5B // 4.2.51
	efThreshold = 0x6F5C // 4.2.52
	efSST       = 0x6F38 // TS 51.011, 10.3.7
	fidADF      = 0x7FD0 // as in the family that the ATR is of

	sfiPL        = 0x05
	sfiEST       = 0x05
	sfiStartHFN  = 0x0F
	sfiThreshold = 0x10
)

// Records of both EF.ARR: who reads and who updates.
const (
	alwaysNever = iota + 1
	alwaysADM
	alwaysPIN
	pinPIN
	pinADM
	neverADM
	admADM
	arrRecords = admADM
)

const arrRecordLen = 24

// aidUSIM is a full AID of a USIM (TS 101 220, annex E).
func aidUSIM() []byte { return append(usim.AIDPrefix(), 0xFF, 0x49, 0xFF, 0x05, 0x89) }

// builder puts a card together; the first error stays.
type builder struct {
	card *Card
	err  error
}

// New makes a card with the content of the profile. Its state ends with the
// value. A profile with a value out of bounds is a *ProfileError.
func New(p Profile) (*Card, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	m, err := model.ByName(p.Model)
	if err != nil {
		return nil, err
	}
	b := builder{card: &Card{model: m}}
	b.masterFile(p)
	b.application(p)
	b.classGSM()
	b.keys(p)
	if b.err != nil {
		return nil, fmt.Errorf("build the software UICC: %w", b.err)
	}
	c := b.card
	c.verified = c.isVerified
	c.channels[0] = channel{open: true, dir: c.mf}
	return c, nil
}

// content takes the result of an encoder.
func (b *builder) content(data []byte, err error) []byte {
	if err != nil && b.err == nil {
		b.err = err
	}
	return data
}

// add makes a transparent EF.
func (b *builder) add(d *dir, rules *ruleFile, rule int, fid uint16, sfi byte, data []byte) *file {
	f := &file{
		id: fileObject(d.fid, fid), fid: fid, sfi: sfi,
		data: bytes.Clone(data), access: access{rules, rule},
	}
	d.files = append(d.files, f)
	b.card.files = append(b.card.files, f)
	return f
}

// addRecords makes a linear fixed EF of records of equal length.
func (b *builder) addRecords(d *dir, rules *ruleFile, rule int, fid uint16, sfi byte, records ...[]byte) *file {
	f := b.add(d, rules, rule, fid, sfi, bytes.Join(records, nil))
	f.recordLen = len(records[0])
	return f
}

// addARR makes an EF.ARR with the rules of the constants above. It is under its
// own record alwaysADM.
func (b *builder) addARR(d *dir, fid uint16, sfi byte) *ruleFile {
	always, never := uicc.Condition{Kind: uicc.Always}, uicc.Condition{Kind: uicc.Never}
	pin, adm := uicc.KeyCondition(uicc.RefPIN1), uicc.KeyCondition(b.card.model.ADM.Reference)
	var records [][]byte
	for _, who := range [arrRecords][2]uicc.Condition{
		{always, never}, {always, adm}, {always, pin}, {pin, pin}, {pin, adm}, {never, adm}, {adm, adm},
	} {
		records = append(records, b.content(uicc.EncodeARRRecord([]uicc.AccessRule{
			{Access: uicc.AccessRead, Conditions: who[:1]},
			{Access: uicc.AccessUpdate, Conditions: who[1:]},
		}, arrRecordLen)))
	}
	r := &ruleFile{}
	r.file = b.addRecords(d, r, alwaysADM, fid, sfi, records...)
	b.card.rules = append(b.card.rules, r)
	d.arr = uicc.ARRReference{FID: fid, Record: alwaysADM}
	return r
}

// masterFile makes the MF (TS 102 221, 13).
func (b *builder) masterFile(p Profile) {
	mf := &dir{fid: uicc.FIDMF}
	b.card.mf = mf
	arr := b.addARR(mf, uicc.FIDEFARR, uicc.SFIEFARR)
	b.add(mf, arr, alwaysNever, uicc.FIDEFICCID, uicc.SFIEFICCID, b.content(uicc.EncodeICCID(p.ICCID)))
	b.addRecords(mf, arr, alwaysADM, uicc.FIDEFDIR, uicc.SFIEFDIR,
		b.content(uicc.DirRecord{AID: aidUSIM(), Label: "USIM"}.Encode(38)), usim.Unused(38))
	b.add(mf, arr, alwaysPIN, uicc.FIDEFPL, sfiPL, []byte("en\xff\xff"))
}

// application makes ADF.USIM (TS 31.102, 4.2), with the key files of the model.
func (b *builder) application(p Profile) {
	adf := &dir{fid: fidADF, aid: aidUSIM(), parent: b.card.mf}
	b.card.mf.dirs = append(b.card.mf.dirs, adf)
	b.card.adf = adf
	arr := b.addARR(adf, usim.EFARR, usim.SFIARR)
	mnc := p.MNCLength
	if mnc == 0 {
		mnc = 2
	}
	acc := usim.ACC(1) << (p.IMSI[len(p.IMSI)-1] - '0') // TS 22.011, 4.2: one of 0 to 9
	ust := usim.NewUST(17, serviceSPN, usim.ServiceEPSMobility)

	b.add(adf, arr, pinADM, usim.EFIMSI, usim.SFIIMSI, b.content(usim.IMSI(p.IMSI).Encode()))
	b.add(adf, arr, alwaysADM, usim.EFAD, usim.SFIAD, b.content(usim.AD{MNCLength: mnc}.Encode()))
	b.add(adf, arr, pinADM, usim.EFACC, usim.SFIACC, b.content(acc.Encode()))
	b.add(adf, arr, pinADM, usim.EFUST, usim.SFIUST, ust)
	b.add(adf, arr, pinADM, efEST, sfiEST, []byte{0})
	b.add(adf, arr, pinPIN, usim.EFLOCI, usim.SFILOCI, b.content(usim.DefaultLOCI().Encode()))
	b.add(adf, arr, pinPIN, usim.EFPSLOCI, usim.SFIPSLOCI, b.content(usim.DefaultPSLOCI().Encode()))
	b.add(adf, arr, pinPIN, usim.EFEPSLOCI, usim.SFIEPSLOCI, b.content(usim.DefaultEPSLOCI().Encode()))
	b.addRecords(adf, arr, pinPIN, usim.EFEPSNSC, usim.SFIEPSNSC, usim.Unused(54))
	b.add(adf, arr, pinPIN, usim.EFFPLMN, usim.SFIFPLMN, usim.Unused(12))
	b.add(adf, arr, pinPIN, usim.EFKeys, usim.SFIKeys, usim.DefaultKeys())
	b.add(adf, arr, pinPIN, usim.EFKeysPS, usim.SFIKeysPS, usim.DefaultKeys())
	b.add(adf, arr, pinADM, usim.EFHPPLMN, usim.SFIHPPLMN, []byte{5})
	b.add(adf, arr, pinPIN, efStartHFN, sfiStartHFN, []byte{0xF0, 0, 0, 0xF0, 0, 0})
	b.add(adf, arr, pinADM, efThreshold, sfiThreshold, []byte{0xFF, 0xFF, 0xFF})
	b.addRecords(adf, arr, alwaysADM, usim.EFECC, usim.SFIECC, append([]byte{0x11, 0xF2, 0xFF}, 0x00))
	b.add(adf, arr, alwaysADM, efSPN, 0, append([]byte("\x00mcim"), usim.Unused(12)...))
	b.keyFiles(adf, arr, p)
}

// serviceSPN is service 19 of EF.UST (TS 31.102, 4.2.8).
const serviceSPN usim.Service = 19

// keyFiles makes the files of the card model: keys that nobody reads, sequence
// numbers that ADM1 may read to see how far a change has come.
func (b *builder) keyFiles(adf *dir, arr *ruleFile, p Profile) {
	c := b.card
	key, err := c.model.EncodeKey(model.Key{Algorithm: model.Milenage, K: p.K, OPc: p.OPc})
	sqn, errSQN := c.model.EncodeSQN(model.NewSQN(uint64(p.SQN)))
	c.keyFile = b.add(adf, arr, neverADM, c.model.KeyFile.FID, 0, b.content(key.Reveal(), err))
	c.keyFile.id |= secretObject
	c.sqnFile = b.add(adf, arr, admADM, c.model.SQNFile.FID, 0, b.content(sqn, errSQN))
}

// classGSM makes what old tools look for: DF.TELECOM, and DF.GSM with the files
// that it has in common with the USIM (TS 51.011, 10).
func (b *builder) classGSM() {
	mf := b.card.mf
	arr := b.card.rules[0]
	gsm := &dir{fid: usim.DFGSM, parent: mf, arr: mf.arr}
	telecom := &dir{fid: usim.DFTelecom, parent: mf, arr: mf.arr}
	mf.dirs = append(mf.dirs, gsm, telecom)
	for _, fid := range []uint16{usim.EFIMSI, usim.EFACC, usim.EFAD, usim.EFLOCI, usim.EFFPLMN, usim.EFHPPLMN, efSPN} {
		gsm.files = append(gsm.files, b.card.adf.file(fid))
	}
	b.add(gsm, arr, pinADM, efSST, 0, []byte{0x03, 0x00, 0x00, 0x00, 0x03}) // CHV1 may be disabled; SPN
}

// keys makes PIN1 and ADM1.
func (b *builder) keys(p Profile) {
	pad := func(digits secret.Bytes) secret.Bytes {
		pin, err := uicc.PadPIN(string(digits.Reveal()))
		b.content(nil, err)
		return pin
	}
	b.card.pins = []*pin{
		{
			ref: uicc.RefPIN1, index: 0, max: pinTries, value: pad(p.PIN1), unblock: pad(p.PUK1),
			pinState: pinState{enabled: true, tries: pinTries, unblocks: unblockTries},
		},
		{
			ref: b.card.model.ADM.Reference, index: 1, max: admTries, value: p.ADM1,
			pinState: pinState{enabled: true, tries: admTries},
		},
	}
}
