package dump

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mcim/apdu"
	"mcim/apdu/ef"
	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/card"
)

// Class A0 (TS 51.011).
const (
	classGSM                      = 0xA0
	swGSMNotFound apdu.StatusWord = 0x9404
)

// maxFaults is how many times a card may fall silent before it is given up.
const maxFaults = 6

// Redacted stands for contents that hold keys.
const Redacted = "[redacted]"

// byFID is SELECT by file identifier that asks for the parameters of the file.
func (r *reader) byFID(fid uint16) apdu.Command {
	if r.gsm {
		return apdu.Command{CLA: classGSM, INS: uicc.INSSelect, Data: []byte{byte(fid >> 8), byte(fid)}}
	}
	return uicc.SelectFID(fid).Command()
}

func (r *reader) header(b []byte) header {
	if r.gsm {
		return headerGSM(b)
	}
	return headerUICC(b)
}

// selected selects a file or directory; why says that the card refuses it. A
// warning, as for a deactivated file, is no refusal where it comes with the
// parameters.
func (r *reader) selected(ctx context.Context, c apdu.Command) (h header, why, err error) {
	answer, err := r.session.Send(ctx, c)
	switch {
	case err != nil:
		return header{}, nil, err
	case answer.SW.OK(), answer.SW.SW1() == 0x62 && len(answer.Data) > 0:
		return r.header(answer.Data), nil, nil
	default:
		return header{}, &card.CommandError{Command: card.CommandName(c), SW: answer.SW}, nil
	}
}

// twice does something that a silence of the card may cut short, once more if it
// does. A second silence is a reason (why) to go on without it; the error is that
// of a card that is lost.
func (r *reader) twice(ctx context.Context, do func() error) (why, lost error) {
	for range 2 {
		if why = do(); why == nil {
			return nil, nil
		}
		if lost = r.recover(ctx, why); lost != nil {
			return nil, lost
		}
	}
	return why, nil
}

// recover brings the card back into the current directory after it fell silent:
// by a reset, the codes that were verified, and SELECTs that ask for no data. It
// fails where the card is gone.
func (r *reader) recover(ctx context.Context, cause error) error {
	if errors.Is(cause, card.ErrRemoved) || ctx.Err() != nil {
		return cause
	}
	if r.faults++; r.faults >= maxFaults {
		return fmt.Errorf("the card failed %d times, the last time so: %w", r.faults, cause)
	}
	if _, err := r.session.Reset(ctx); err != nil {
		return errors.Join(cause, err)
	}
	for _, v := range r.verified {
		if err := r.guard.Verify(ctx, v.ref, v.code); err != nil {
			return errors.Join(cause, err)
		}
	}
	for _, p := range r.path {
		c := p.selecting
		if !r.gsm {
			c.P2, c.Ne = p2NoData, 0
		}
		if _, err := r.session.Do(ctx, c); err != nil {
			return errors.Join(cause, err)
		}
	}
	return nil
}

const p2NoData = 0x0C // of SELECT (TS 102 221, table 11.2)

// file reads an EF of the current directory. One that is not on the card is no
// part of the document.
func (r *reader) file(ctx context.Context, c candidate) error {
	var f *File
	var h header
	why, lost := r.twice(ctx, func() (err error) {
		f, h, err = r.attempt(ctx, c)
		return err
	})
	if lost != nil || f == nil {
		return lost
	}
	if why != nil {
		f.Error = why.Error()
	}
	rules := r.rulesOf(h)
	if f.Rights == nil { // of EF.ARR, which had to be read first
		f.Rights = rights(rules)
	}
	f.update = r.right(rules)
	r.doc.Files = append(r.doc.Files, *f)
	return nil
}

// attempt reads an EF; nil is one that is not on the card. The error is a silence
// of the card, and the file has then what is known of it.
func (r *reader) attempt(ctx context.Context, c candidate) (f *File, h header, err error) {
	f = &File{Path: r.here().path + "/" + c.Name, Name: c.Name, FID: fmt.Sprintf("%04x", c.FID), place: below(r.here().file, c.FID), entry: c.File}
	h, why, err := r.selected(ctx, r.byFID(c.FID))
	switch {
	case err != nil:
		return f, h, err
	case absent(why):
		return nil, h, nil
	case why != nil:
		f.Error = why.Error()
		return f, h, nil
	}
	f.Structure, f.FCP = h.structure, h.shown
	return f, h, r.body(ctx, c, h, f)
}

// absent tells whether the card has not got a file.
func absent(why error) bool {
	return errors.Is(why, apdu.ErrNotFound) || errors.Is(why, swGSMNotFound)
}

func (r *reader) here() *place { return r.path[len(r.path)-1] }

// body reads and decodes the content of the EF that is selected, where that may
// be and makes sense.
func (r *reader) body(ctx context.Context, c candidate, h header, f *File) error {
	rules := r.rulesOf(h)
	f.Rights = rights(rules)
	switch {
	case h.shown.Error != "":
		f.Error = "not read: what the card says of it is not understood"
	case c.keys:
		f.Error = "not read: it holds keys or sequence numbers of the subscription"
	case h.structure == structureDirectory, h.structure == "":
		f.Error = fmt.Sprintf("not read: the card has a %s here, want a %s EF", h.shown.Type, c.Structure)
	case h.closed != "":
		f.Error = "not read: " + h.closed
	case rules != nil && !uicc.Allowed(rules, uicc.AccessRead, r.open):
		f.Error = missing(rules)
	default:
		return r.read(ctx, c, h, f)
	}
	return nil
}

// missing says which right is missing to read a file.
func missing(rules []uicc.AccessRule) string {
	switch right := card.Right(rules, uicc.AccessRead); right {
	case "never":
		return "not read: its access rule lets nobody read it"
	case "unknown":
		return "not read: its access rule names no right that could be had"
	default:
		return "not read: it needs " + right + ", not verified"
	}
}

// rights says in words what the rules ask for; nil where they are not known.
func rights(rules []uicc.AccessRule) map[string]string {
	if rules == nil {
		return nil
	}
	m := map[string]string{}
	for name, op := range map[string]uicc.Access{
		"read": uicc.AccessRead, "update": uicc.AccessUpdate, "activate": uicc.AccessActivate, "deactivate": uicc.AccessDeactivate,
	} {
		if words := card.Right(rules, op); words != "unknown" {
			m[name] = words
		}
	}
	return m
}

// rulesOf resolves the access rule of a file: that in its parameters, or the one
// in EF.ARR, which is in the directory of the file or in one above (TS 102 221,
// 9.2.7). It is nil where that is not known.
func (r *reader) rulesOf(h header) []uicc.AccessRule {
	if h.rules != nil || h.arr.FID == 0 {
		return h.rules
	}
	record := h.arr.Record
	if len(h.arr.BySE) > 0 {
		record = h.arr.BySE[0].Record
	}
	for i := len(r.path) - 1; i >= 0; i-- {
		if records, found := r.path[i].rules[h.arr.FID]; found {
			if record == 0 || int(record) > len(records) {
				return nil
			}
			return records[record-1]
		}
	}
	return nil
}

// open tells whether the condition that asks for a key is met, or may be: the
// key is verified, or disabled, or it is a PIN and the card tells nothing of its
// PINs.
func (r *reader) open(ref byte) bool {
	if slices.ContainsFunc(r.verified, func(v code) bool { return v.ref == ref }) {
		return true
	}
	told := administrative(ref)
	for i := len(r.path) - 1; i >= 0; i-- {
		pins := r.path[i].pins
		told = told || pins != nil
		enabled, known := pins.Enabled(ref)
		switch {
		case known && enabled:
			return false
		case known && pins.Replaced() && ref != uicc.RefUniversalPIN:
			return r.open(uicc.RefUniversalPIN)
		case known:
			return true
		}
	}
	return !told
}

// right is what is known of the right to update a file with these rules.
func (r *reader) right(rules []uicc.AccessRule) Right {
	if rules == nil {
		return Right{}
	}
	could := func(ref byte) bool {
		return r.open(ref) || ref == r.ref || r.guard.Model() != nil && ref == r.guard.Model().ADM.Reference
	}
	return Right{
		Words: card.Right(rules, uicc.AccessUpdate),
		Now:   uicc.Allowed(rules, uicc.AccessUpdate, r.open),
		Could: uicc.Allowed(rules, uicc.AccessUpdate, could),
	}
}

// administrative tells whether ref is an ADM code (TS 102 221, table 9.3).
func administrative(ref byte) bool {
	n := ref &^ 0x80
	return n >= uicc.RefADM1 && n <= uicc.RefADM1+4
}

// read reads the EF that is selected. What the card refuses is an error in f.
func (r *reader) read(ctx context.Context, c candidate, h header, f *File) error {
	if h.structure == BERTLV {
		return r.objects(ctx, c, f)
	}
	if h.structure == string(ef.Transparent) {
		b, err := r.binary(ctx, h.size)
		switch {
		case refused(err):
			f.Error = refusal(err)
		case err == nil:
			r.transparent(c, b, f)
		}
		return unlessRefused(err)
	}
	var records [][]byte
	var why []string
	for n := 1; n <= h.records; n++ {
		b, err := r.record(ctx, n, h.length)
		if err != nil && !refused(err) {
			return err
		}
		if err != nil {
			why = append(why, fmt.Sprintf("record %d: %s", n, refusal(err)))
		}
		records = append(records, b)
	}
	f.Error = strings.Join(why, "; ")
	r.records(c, records, f)
	return nil
}

// objects reads the data objects of the EF of BER-TLV structure that is selected. No file
// of package ef is one, so nothing is decoded.
func (r *reader) objects(ctx context.Context, c candidate, f *File) error {
	list, err := r.session.ReadObjects(ctx, f.place)
	if refused(err) {
		f.Error = refusal(err)
	}
	for _, o := range list {
		if c.Secret {
			o.Value = nil
		}
		f.Objects, f.content = append(f.Objects, ef.Object{Tag: ef.Tag(o.Tag), Value: append(ef.Hex{}, o.Value...)}), append(f.content, secret.New(o.Value))
	}
	f.Undecoded = fmt.Sprintf("%s has a %s EF", c.Clause, c.Structure)
	return unlessRefused(err)
}

// refused tells what a card refuses, or gives damaged, from its silence.
func refused(err error) bool {
	var command *card.CommandError
	return errors.As(err, &command) || errors.Is(err, card.ErrShortRead)
}

func unlessRefused(err error) error {
	if refused(err) {
		return nil
	}
	return err
}

func refusal(err error) string {
	if errors.Is(err, apdu.ErrAccess) {
		return "not read: a right is missing, and the card does not say which: " + err.Error()
	}
	return "not read: " + err.Error()
}

// binary reads size bytes of the current EF, as many at once as a command can
// ask for.
func (r *reader) binary(ctx context.Context, size int) ([]byte, error) {
	var out []byte
	for len(out) < size {
		c := uicc.ReadBinary{Offset: uint16(min(len(out), uicc.MaxOffset)), Ne: min(size-len(out), apdu.MaxShortNe)}.Command()
		if len(out) > uicc.MaxOffset {
			return nil, fmt.Errorf("%w: of its %d bytes READ BINARY reaches %d", card.ErrShortRead, size, len(out))
		}
		data, err := r.do(ctx, c)
		if err != nil {
			return nil, err
		}
		if len(data) == 0 || len(data) > size-len(out) {
			return nil, fmt.Errorf("%w: it has %d bytes, got %d at offset %d", card.ErrShortRead, size, len(data), len(out))
		}
		out = append(out, data...)
	}
	return out, nil
}

func (r *reader) record(ctx context.Context, n, length int) ([]byte, error) {
	data, err := r.do(ctx, uicc.ReadRecord{Record: byte(n), Ne: length}.Command())
	if err == nil && len(data) != length {
		return nil, fmt.Errorf("%w: it has %d bytes, got %d", card.ErrShortRead, length, len(data))
	}
	return data, err
}

// do sends a command that has to succeed, in the class of the card.
func (r *reader) do(ctx context.Context, c apdu.Command) ([]byte, error) {
	if r.gsm {
		c.CLA = classGSM
	}
	return r.session.Do(ctx, c)
}

// transparent puts the content of a transparent EF into f.
func (r *reader) transparent(c candidate, b []byte, f *File) {
	f.Raw, f.content = hex.EncodeToString(b), []secret.Bytes{secret.New(b)}
	if c.Secret {
		f.Raw = Redacted
	}
	if c.Structure != ef.Transparent {
		f.Undecoded = fmt.Sprintf("%s has a %s EF", c.Clause, c.Structure)
		return
	}
	var err error
	if f.Decoded, err = decode(c.File, b); err != nil {
		f.Undecoded = err.Error()
	}
	if c.Dir == ef.DirMF && c.FID == uicc.FIDEFICCID {
		r.doc.ICCID, _ = uicc.DecodeICCID(b) // Undecoded says why not
	}
}

// records puts the records of an EF into f; one that could not be read is nil.
func (r *reader) records(c candidate, records [][]byte, f *File) {
	decoded := make([]json.RawMessage, len(records))
	var why []string
	for i, b := range records {
		decoded[i] = json.RawMessage("null")
		f.Records, f.content = append(f.Records, hex.EncodeToString(b)), append(f.content, secret.New(b))
		if b == nil {
			continue
		}
		if c.Secret {
			f.Records[i] = Redacted
		}
		doc, err := decode(c.File, b)
		if err != nil {
			why = append(why, fmt.Sprintf("record %d: %v", i+1, err))
			continue
		}
		decoded[i] = doc
	}
	f.Undecoded = strings.Join(why, "; ")
	switch {
	case c.Structure == ef.Transparent:
		f.Undecoded = c.Clause + " has a transparent EF"
	case len(records) > 0:
		f.Decoded, _ = json.Marshal(decoded) // each is a document
	}
	r.remember(c, records)
}

func decode(f ef.File, b []byte) (json.RawMessage, error) {
	v, err := f.Decode(b)
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// remember keeps what others go by: access rules and applications. What is
// malformed is nil, and so not known.
func (r *reader) remember(c candidate, records [][]byte) {
	switch {
	case c.Name == "EF.ARR":
		rules := make([][]uicc.AccessRule, len(records))
		for i, b := range records {
			rules[i], _ = uicc.DecodeARRRecord(b)
		}
		r.here().rules = map[uint16][][]uicc.AccessRule{c.FID: rules}
	case c.Dir == ef.DirMF && c.FID == uicc.FIDEFDIR:
		for _, b := range records {
			d, err := uicc.DecodeDirRecord(b)
			if known := func(aid []byte) bool { return bytes.Equal(aid, d.AID) }; err == nil && !slices.ContainsFunc(r.apps, known) {
				r.apps = append(r.apps, bytes.Clone(d.AID))
			}
		}
	}
}
