package change

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"mcim/apdu/ef"
	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/card/dump"
)

// resolver finds out what a document changes of the files of a card.
type resolver struct {
	files map[string]dump.File
	known map[string]bool // the paths of package ef
	plan  *Plan
}

func newResolver(files map[string]dump.File, plan *Plan) *resolver {
	r := &resolver{files, map[string]bool{}, plan}
	for _, f := range ef.Files() {
		r.known[f.Path()] = true
	}
	return r
}

// entry adds what one entry of the document changes to the plan.
func (r *resolver) entry(e entry) {
	refuse := func(format string, args ...any) { r.plan.problem(e.path, e.record, format, args...) }
	f, there := r.files[e.path]
	switch {
	case ofObjects(f, e):
		refuse("it is a BER-TLV EF, whose data objects are not changed here; leave it out of the document")
	case !e.says() && e.failed:
		r.plan.LeftAlone = append(r.plan.LeftAlone, Note{e.path, e.record, "the document has no content of it, only an error"})
	case !e.says() && !e.known:
		refuse("the document says nothing of what it shall have")
	case !e.says():
		r.plan.Unchanged++
	case !there && !r.known[firstApplication(e.path)]:
		refuse("no such file is known; paths are as `mcim card dump` writes them")
	case !there:
		refuse("the card has no such file")
	case f.Entry().Clause == "" && f.Structure != "directory":
		refuse("it is a key file of the card's maker, which is not changed here")
	case len(f.Content()) == 0 && f.Error != "":
		refuse("its content has to be known first: %s", f.Error)
	case len(f.Content()) == 0:
		refuse("it is a %s without content", f.Structure)
	case f.Structure == string(ef.Transparent):
		r.transparent(f, e)
	default:
		r.records(f, e)
	}
}

// ofObjects tells that an entry would change data objects. A file that the card has not got
// has no structure.
func ofObjects(f dump.File, e entry) bool {
	return e.objects || f.Structure == dump.BERTLV && e.says()
}

// firstApplication is a path of a dump without the number of a second application:
// "ADF.USIM" of "ADF.USIM.2".
func firstApplication(path string) string {
	app, rest, _ := strings.Cut(path, "/")
	if parts := strings.Split(app, "."); len(parts) == 3 && parts[0] == "ADF" {
		app = parts[0] + "." + parts[1]
	}
	return app + "/" + rest
}

// transparent adds the change of a transparent file.
func (r *resolver) transparent(f dump.File, e entry) {
	refuse := func(format string, args ...any) { r.plan.problem(e.path, e.record, format, args...) }
	now, raw := f.Content()[0].Reveal(), e.raw
	switch {
	case e.record > 0 || len(e.records) > 0:
		refuse("it is transparent and has no records: say \"raw\" or \"decoded\"")
		return
	case e.ranged && (e.offset > len(now) || raw.bytes.Len() > len(now)-e.offset):
		refuse("%d bytes from offset %d do not fit its %d bytes", raw.bytes.Len(), e.offset, len(now))
		return
	case e.ranged:
		raw = value{true, secret.New(splice(now, e.offset, raw.bytes.Reveal()))}
	}
	if e.other.given {
		other := splice(now, e.offset, e.other.bytes.Reveal())
		if !mixed(now, raw.bytes.Reveal(), other) {
			refuse("%s", errForeign)
			return
		}
	}
	r.content(f, 0, now, raw, e.decoded, false)
}

// errForeign says that an undo document is not about what the card has.
const errForeign = "the card has bytes that are neither those before nor those after the change: something else wrote them; dump it, and change it by that"

// splice is b with other bytes from an offset, which may be past its end.
func splice(b []byte, offset int, bytes []byte) []byte {
	if offset+len(bytes) > len(b) {
		return bytes // of another size, which is found out
	}
	out := append([]byte{}, b...)
	copy(out[offset:], bytes)
	return out
}

// records adds the changes of a file with records.
func (r *resolver) records(f dump.File, e entry) {
	refuse := func(format string, args ...any) { r.plan.problem(e.path, e.record, format, args...) }
	content := f.Content()
	decoded, err := e.list(len(content))
	switch {
	case e.ranged:
		refuse("it has records, which are written whole: \"offset\" is for transparent files")
	case e.record == 0 && e.raw.given:
		refuse("it has %d records: say \"records\", or \"record\" beside \"raw\"", len(content))
	case e.record > len(content):
		refuse("it has %d records", len(content))
	case len(e.records) > 0 && len(e.records) != len(content):
		refuse("the document has %d records, the card %d; a single one is said by \"record\" and \"raw\"", len(e.records), len(content))
	case err != nil:
		refuse("%v", err)
	case e.record > 0:
		now := content[e.record-1].Reveal()
		if e.other.given && !mixed(now, e.raw.bytes.Reveal(), e.other.bytes.Reveal()) {
			refuse("%s", errForeign)
			return
		}
		r.content(f, e.record, now, e.raw, e.decoded, false)
	default:
		for i, c := range content {
			raw := value{}
			if len(e.records) > 0 {
				raw = e.records[i]
			}
			r.content(f, i+1, c.Reveal(), raw, decoded[i], true)
		}
	}
}

// list is what is decoded of each of n records.
func (e entry) list(n int) ([]value, error) {
	out := make([]value, n)
	if e.record > 0 || !e.decoded.given {
		return out, nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(e.decoded.bytes.Reveal(), &list); err != nil {
		return nil, errors.New("\"decoded\" is to be a list with one value for each record")
	}
	if len(list) != n {
		return nil, fmt.Errorf("\"decoded\" has %d records, the card %d; a single one is said by \"record\" and \"decoded\"", len(list), n)
	}
	for i, doc := range list {
		out[i] = value{true, secret.New(doc)}
	}
	return out, nil
}

// content adds the change of a file or record. listed says that decoded is one of a
// list, in which null stands also for what cannot be decoded.
func (r *resolver) content(f dump.File, record int, now []byte, raw, decoded value, listed bool) {
	want, why := wanted(f, now, raw, decoded, listed)
	if why == "" {
		why = forbidden(f, now, want)
	}
	switch {
	case why != "":
		r.plan.problem(f.Path, record, "%s", why)
	case bytes.Equal(want, now):
		r.plan.Unchanged++
	default:
		r.plan.Changes = append(r.plan.Changes, newChange(f, record, now, want))
	}
}

// wanted is the content that a document says, or why it says none.
func wanted(f dump.File, now []byte, raw, decoded value, listed bool) (want []byte, why string) {
	switch {
	case len(now) == 0 && !raw.given && (listed || !decoded.given):
		return now, ""
	case len(now) == 0:
		return nil, "its content has to be known first: " + f.Error
	case raw.given && raw.bytes.Len() != len(now):
		return nil, fmt.Sprintf("the document has %d bytes, the card %d", raw.bytes.Len(), len(now))
	}
	byRaw := raw.given && !bytes.Equal(raw.bytes.Reveal(), now)
	byFields, edited, err := encoded(f, now, decoded, listed)
	switch {
	case err != nil:
		return nil, err.Error()
	case byRaw && edited && !bytes.Equal(byFields, raw.bytes.Reveal()):
		return nil, "\"decoded\" and the bytes say different things, and neither is what the card has: remove one of them, or dump the card anew"
	case byRaw:
		return raw.bytes.Reveal(), ""
	case edited:
		return byFields, ""
	}
	return now, ""
}

// encoded is the content that decoded says. It is not edited where it is what a dump
// of the card would show.
func encoded(f dump.File, now []byte, decoded value, listed bool) (want []byte, edited bool, err error) {
	if !decoded.given {
		return nil, false, nil
	}
	codec := f.Entry()
	doc, err := parseJSON(decoded.bytes.Reveal())
	if err != nil {
		return nil, false, err
	}
	shown, clear, fails := documents(codec, now)
	switch {
	case codec.Structure != ef.Structure(f.Structure):
		return nil, false, fmt.Errorf("\"decoded\" cannot be used: %s has a %s EF; say the bytes", codec.Clause, codec.Structure)
	case fails != nil && doc == nil && listed, fails == nil && reflect.DeepEqual(doc, shown):
		return nil, false, nil
	}
	if doc, err = unredact(doc, clear); err != nil {
		return nil, false, err
	}
	b, err := codec.Encode(doc, len(now))
	return b, err == nil, err
}

// documents are what a content decodes to, as shown and with its keys.
func documents(codec ef.File, b []byte) (shown, clear any, err error) {
	for _, of := range []struct {
		decode func([]byte) (any, error)
		to     *any
	}{{codec.Decode, &shown}, {codec.DecodeClear, &clear}} {
		v, err := of.decode(b)
		if err != nil {
			return nil, nil, err
		}
		doc, err := json.Marshal(v)
		if err != nil {
			return nil, nil, err
		}
		if *of.to, err = parseJSON(doc); err != nil {
			return nil, nil, err
		}
	}
	return shown, clear, nil
}

// parseJSON keeps numbers as they are written.
func parseJSON(b []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

// unredact puts what the card has in the place of redacted values.
func unredact(doc, clear any) (any, error) {
	switch v := doc.(type) {
	case string:
		if v != dump.Redacted {
			return v, nil
		}
		if _, ok := clear.(string); !ok {
			return nil, errors.New("a value is [redacted], and the card has none in its place")
		}
		return clear, nil
	case map[string]any:
		has, _ := clear.(map[string]any)
		for key := range v {
			filled, err := unredact(v[key], has[key])
			if err != nil {
				return nil, fmt.Errorf("%q: %w", key, err)
			}
			v[key] = filled
		}
	case []any:
		has, _ := clear.([]any)
		for i := range v {
			var at any
			if i < len(has) {
				at = has[i]
			}
			filled, err := unredact(v[i], at)
			if err != nil {
				return nil, err
			}
			v[i] = filled
		}
	}
	return doc, nil
}

// forbidden says why a content is not changed, whoever asks; empty where it may be.
func forbidden(f dump.File, now, want []byte) string {
	switch {
	case bytes.Equal(now, want):
		return ""
	case f.Structure == string(ef.Cyclic):
		return "it is cyclic: a write pushes its oldest record out, and no undo would put the records back in order"
	case f.Name == "EF.ICCID":
		return "the ICCID is not changed: by it --allow and undo files know the card"
	case f.Name == "EF.ARR":
		return "access rules are not changed: an undo might not be allowed after it"
	case f.Name == "EF.DIR" && !sameApplication(now, want):
		return "a record of EF.DIR keeps its application: by it the files are found again"
	case f.FCP != nil && strings.HasPrefix(f.FCP.LifeCycle, "deactivated"):
		return "the file is deactivated; ACTIVATE FILE opens it again"
	}
	return ""
}

func sameApplication(now, want []byte) bool {
	a, errA := uicc.DecodeDirRecord(now)
	b, errB := uicc.DecodeDirRecord(want)
	return errA == nil && errB == nil && bytes.Equal(a.AID, b.AID)
}
