package change

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/card"
	"mcim/card/dump"
	"mcim/card/emul"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	testICCID = "8999901000000000013"
	// edits change a key file, a record, parts of files and EF.IMSI.
	edits = `{"iccid":"` + testICCID + `","files":[
		{"path":"ADF.USIM/EF.IMSI","decoded":{"imsi":"001010000000002"}},
		{"path":"ADF.USIM/EF.SPN","decoded":{"display":["plmn_at_home"],"name":"Testnetz"}},
		{"path":"ADF.ISIM/EF.IMPU","record":2,"decoded":{"impu":"sip:lab@example.org"}},
		{"path":"ADF.USIM/EF.FPLMN","offset":3,"raw":"00f11000f120"},
		{"path":"ADF.USIM/EF.Keys","decoded":{"ksi":3,"ck":"00112233445566778899aabbccddeeff","ik":"[redacted]"}},
		{"path":"MF/EF.PL","decoded":{"languages":["de","en"]}}]}`
)

// newProfile is a software UICC with an identity that is always the same.
func newProfile(t testing.TB) emul.Profile {
	t.Helper()
	p, err := emul.RandomProfile("usim")
	if err != nil {
		t.Fatal(err)
	}
	p.ICCID, p.IMSI, p.PIN1, p.ADM1 = testICCID, "001010000000001", secret.New([]byte("1234")), secret.New([]byte("12345678"))
	return p
}

func newCard(t testing.TB) *emul.Card {
	t.Helper()
	c, err := emul.New(newProfile(t))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// options give all rights, and keep the undo document in undo.
func options(t testing.TB, undo *[]byte) Options {
	t.Helper()
	pin, err := uicc.PadPIN("1234")
	if err != nil {
		t.Fatal(err)
	}
	return Options{PIN1: pin, ADM: secret.New([]byte("12345678")), Allow: []string{testICCID}, Journal: func(iccid string, b []byte) error {
		if iccid != testICCID {
			t.Errorf("undo document for the card %q", iccid)
		}
		if *undo != nil {
			t.Error("two undo documents")
		}
		*undo = b
		return nil
	}}
}

func parsed(t testing.TB, doc string) Document {
	t.Helper()
	d, err := Parse([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// state is every byte of a card that can be read, keys included, and its retry
// counters.
func state(t testing.TB, c card.Card) string {
	t.Helper()
	o := options(t, new([]byte))
	d, err := dump.Read(t.Context(), c, dump.Options{PIN1: o.PIN1, ADM: o.ADM})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range d.Files {
		for i, content := range f.Content() {
			fmt.Fprintf(&b, "%s %d %x\n", f.Path, i, content.Reveal())
		}
	}
	s := card.NewSession(c, card.Options{})
	atr, err := s.Reset(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pins, err := card.NewGuard(s, card.GuardConfig{ATR: bytes.Clone(atr)}).PINs(t.Context(), uicc.RefPIN1, uicc.RefADM1)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pins {
		fmt.Fprintf(&b, "tries %d\n", *p.Tries)
	}
	return b.String()
}

// same fails where two states differ, and names the lines.
func same(t testing.TB, when, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range w {
		if i >= len(g) || g[i] != w[i] {
			t.Errorf("%s: want %s", when, w[i])
		}
	}
}

// tap keeps the commands and counts.
type tap struct {
	card.Card
	commands, answers [][]byte
}

func (c *tap) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	answer, err := c.Card.Transmit(ctx, command)
	c.commands, c.answers = append(c.commands, bytes.Clone(command)), append(c.answers, bytes.Clone(answer))
	return answer, err
}

// TestApply: the plan tells, the card changes, the undo document puts all back.
func TestApply(t *testing.T) {
	t.Parallel()
	c := newCard(t)
	before := state(t, c)
	var undo []byte
	o := options(t, &undo)
	d := parsed(t, edits)
	plan, err := Make(t.Context(), c, d, o)
	if err != nil || !plan.Feasible || len(plan.Changes) != 6 || undo != nil {
		t.Fatalf("%+v %v", plan, err)
	}
	same(t, "a plan writes", state(t, c), before)
	var told []string
	o.Progress = func(done, of int, c Change) { told = append(told, fmt.Sprintf("%d/%d %s", done, of, c.Path)) }
	result, err := Apply(t.Context(), c, d, o)
	if err != nil || result.Written != 6 {
		t.Fatalf("%+v %v", result, err)
	}
	want := []string{"0/6 ADF.USIM/EF.Keys", "1/6 ADF.USIM/EF.SPN", "2/6 ADF.ISIM/EF.IMPU", "3/6 ADF.USIM/EF.FPLMN", "4/6 MF/EF.PL", "5/6 ADF.USIM/EF.IMSI"}
	if !slices.Equal(told, want) {
		t.Errorf("order %q", told)
	}
	after := state(t, c)
	for _, line := range []string{
		"ADF.USIM/EF.IMSI 0 080910100000000020", "ADF.USIM/EF.FPLMN 0 ffffff00f11000f120ffffff",
		"MF/EF.PL 0 6465656e", "tries 3",
	} {
		if !strings.Contains(after, line+"\n") {
			t.Errorf("no %s in\n%s", line, after)
		}
	}
	if !strings.Contains(after, "ADF.USIM/EF.Keys 0 0300112233445566778899aabbccddeeff") {
		t.Error("CK was not written")
	}
	again, err := Apply(t.Context(), c, d, o)
	if err != nil || len(again.Changes) != 0 || again.Unchanged != 6 {
		t.Errorf("a second time: %+v %v", again, err)
	}
	var redo []byte
	if _, err := Apply(t.Context(), c, parsed(t, string(undo)), options(t, &redo)); err != nil {
		t.Fatal(err)
	}
	same(t, "undone", state(t, c), before)
	if _, err := Apply(t.Context(), c, parsed(t, string(redo)), options(t, new([]byte))); err != nil {
		t.Fatal(err)
	}
	same(t, "undone twice", state(t, c), after)
}

// TestWholeDump: a dump as it is changes nothing; one field of it, that field.
func TestWholeDump(t *testing.T) {
	t.Parallel()
	c := newCard(t)
	o := options(t, new([]byte))
	doc, err := dump.Read(t.Context(), c, dump.Options{PIN1: o.PIN1})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := Make(t.Context(), c, parsed(t, string(b)), o)
	if err != nil || !plan.Feasible || len(plan.Changes) > 0 || plan.Unchanged < 40 || len(plan.LeftAlone) < 2 {
		t.Errorf("%+v %v", plan, err)
	}
	edited := bytes.ReplaceAll(b, []byte(`"name":"mcim"`), []byte(`"name":"lab1"`))
	plan, err = Make(t.Context(), c, parsed(t, string(edited)), o)
	if err != nil || len(plan.Changes) != 2 { // EF.SPN of the USIM, and of DF.GSM
		t.Fatalf("%+v %v", plan, err)
	}
	got := plan.Changes[1]
	if got.Path != "ADF.USIM/EF.SPN" || got.Right != "ADM1" || !got.RightNow || len(got.Fields) != 1 || got.Fields[0] != (Field{"name", "mcim", "lab1"}) ||
		len(got.Bytes) != 1 || got.Bytes[0] != (Span{1, "6d63696d", "6c616231"}) {
		t.Errorf("%+v", got)
	}
}

// cut is a card that fails at the command with the number at: it is gone before it, or
// after it, or in the middle of an UPDATE, half of whose data arrive.
type cut struct {
	card.Card
	at   int
	how  string
	sent int
}

func (c *cut) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	n := c.sent
	c.sent++
	if n < c.at {
		return c.Card.Transmit(ctx, command)
	}
	if n == c.at && c.how != "before" {
		torn := command
		if half := (len(command) - 5) / 2; c.how == "torn" && command[1] == uicc.INSUpdateBinary && half > 0 {
			torn = append(bytes.Clone(command[:4]), byte(half))
			torn = append(torn, command[5:5+half]...)
		}
		if _, err := c.Card.Transmit(ctx, torn); err != nil {
			return nil, err
		}
	}
	return nil, card.ErrRemoved
}

// onDisk is a software UICC whose image is a file, with the codes of newProfile.
func onDisk(t testing.TB, path string, p *emul.Profile) *emul.Card {
	t.Helper()
	c, err := emul.Open(path, p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// copied is a copy of a card's image, to be opened once.
func copied(t testing.TB, image string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "card")
	for _, end := range []string{"", ".key"} {
		b, err := os.ReadFile(image + end)
		if err == nil {
			err = os.WriteFile(to+end, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// spared applies the edits to the end: the number of APDUs before the undo document
// was kept, and in all.
func spared(t *testing.T, c card.Card) (first, all int) {
	t.Helper()
	counted, o := &cut{Card: c, at: 1 << 30}, options(t, new([]byte))
	o.Journal = func(string, []byte) error {
		first = counted.sent
		return nil
	}
	if _, err := Apply(t.Context(), counted, parsed(t, edits), o); err != nil {
		t.Fatal(err)
	}
	return first, counted.sent
}

// TestCut cuts an apply at each of its APDUs: from what is left on disk, the undo
// document completes it, and undoes it, byte for byte, and no try is lost.
func TestCut(t *testing.T) {
	t.Parallel()
	p := newProfile(t)
	image := filepath.Join(t.TempDir(), "card")
	c := onDisk(t, image, &p)
	before := state(t, c)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = onDisk(t, copied(t, image), nil)
	first, all := spared(t, c)
	after := state(t, c)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = onDisk(t, copied(t, image), nil)
	for at := range first { // it only reads
		var undo []byte
		if _, err := Apply(t.Context(), &cut{Card: c, at: at, how: "before"}, parsed(t, edits), options(t, &undo)); !errors.Is(err, card.ErrRemoved) || undo != nil {
			t.Errorf("cut before APDU %d: %v", at, err)
		}
	}
	same(t, "cut while it reads", state(t, c), before)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for _, how := range []string{"before", "after", "torn"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			broken := 0
			for at := first; at < all; at++ {
				if cutAt(t, image, cut{at: at, how: how}, before, after) {
					broken++
				}
			}
			if broken < 12 {
				t.Errorf("only %d cuts were among the writes", broken)
			}
		})
	}
}

// cutAt cuts an apply once; broken tells that it was among the writes.
func cutAt(t *testing.T, image string, at cut, before, after string) (broken bool) {
	when := fmt.Sprintf("cut %s APDU %d", at.how, at.at)
	path := copied(t, image)
	c := onDisk(t, path, nil)
	var undo []byte
	at.Card = c
	_, err := Apply(t.Context(), &at, parsed(t, edits), options(t, &undo))
	var be *BrokenError
	broken = errors.As(err, &be)
	if !errors.Is(err, card.ErrRemoved) || broken != (undo != nil) {
		t.Errorf("%s: %v, undo document of %d bytes", when, err, len(undo))
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	resumed, err := parsed(t, string(undo)).Resumed()
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range []struct {
		name string
		doc  Document
		want string
	}{{"resumed", resumed, after}, {"undone", parsed(t, string(undo)), before}} {
		c := onDisk(t, copied(t, path), nil)
		o := options(t, new([]byte))
		if _, err := Apply(t.Context(), c, end.doc, o); err != nil {
			t.Errorf("%s, %s: %v", when, end.name, err)
		}
		same(t, when+", "+end.name, state(t, c), end.want)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return broken
}

// TestRefused: what cannot be is told, all at once, and nothing is written.
func TestRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, files, why string }{
		{"no such file known", `{"path":"ADF.USIM/EF.NONE","raw":"00"}`, "no such file is known"},
		{"another case", `{"path":"adf.usim/EF.SPN","raw":"00"}`, "no such file is known"},
		{"not on the card", `{"path":"ADF.USIM.2/EF.SPN","raw":"00"}`, "the card has no such file"},
		{"nothing said", `{"path":"ADF.USIM/EF.SPN"}`, "says nothing"},
		{"a directory", `{"path":"ADF.USIM","raw":"00"}`, "no such file is known"},
		{"too short", `{"path":"ADF.USIM/EF.SPN","raw":"00"}`, "the document has 1 bytes, the card 17"},
		{"past the end", `{"path":"ADF.USIM/EF.SPN","offset":16,"raw":"0000"}`, "do not fit its 17 bytes"},
		{"far past the end", `{"path":"ADF.USIM/EF.SPN","offset":9223372036854775807,"raw":"0000"}`, "do not fit its 17 bytes"},
		{"records of a transparent file", `{"path":"ADF.USIM/EF.SPN","records":["00"]}`, "it is transparent"},
		{"a record of a transparent file", `{"path":"ADF.USIM/EF.SPN","record":1,"raw":"00"}`, "it is transparent"},
		{"a part of a record", `{"path":"ADF.ISIM/EF.IMPU","offset":1,"raw":"00"}`, "written whole"},
		{"bytes of a file with records", `{"path":"ADF.ISIM/EF.IMPU","raw":"00"}`, "it has 2 records: say"},
		{"too many records", `{"path":"ADF.ISIM/EF.IMPU","records":["","",""]}`, "says nothing"},
		{"too many records, said", `{"path":"ADF.ISIM/EF.IMPU","records":["00","00","00"]}`, "the document has 3 records, the card 2"},
		{"a record too many", `{"path":"ADF.ISIM/EF.IMPU","record":3,"raw":"00"}`, "it has 2 records"},
		{"a short record", `{"path":"ADF.ISIM/EF.IMPU","records":["00",""]}`, "the document has 1 bytes, the card 80"},
		{"decoded is no list", `{"path":"ADF.ISIM/EF.IMPU","decoded":{"impu":"sip:x"}}`, "is to be a list"},
		{"a list of another length", `{"path":"ADF.ISIM/EF.IMPU","decoded":[null]}`, `"decoded" has 1 records`},
		{"no such field", `{"path":"ADF.USIM/EF.SPN","decoded":{"nam":"x"}}`, "nam"},
		{"does not fit", `{"path":"ADF.USIM/EF.SPN","decoded":{"display":[],"name":"a name of a network that is too long"}}`, "EF.SPN"},
		{"bytes and fields", `{"path":"ADF.USIM/EF.SPN","raw":"0041ffffffffffffffffffffffffffffff","decoded":{"display":[],"name":"b"}}`, "different things"},
		{"redacted, and nothing there", `{"path":"ADF.USIM/EF.SPN","decoded":{"display":["[redacted]"],"name":"b"}}`, "has none in its place"},
		{"ICCID", `{"path":"MF/EF.ICCID","raw":"98999909000000000010"}`, "the ICCID is not changed"},
		{"access rules", `{"path":"ADF.USIM/EF.ARR","record":1,"decoded":null}`, "access rules are not changed"},
		{"another application", `{"path":"MF/EF.DIR","record":1,"decoded":null}`, "keeps its application"},
		{"cyclic", `{"path":"ADF.USIM/EF.OCI","record":1,"decoded":null}`, "it is cyclic"},
		{"data objects", `{"path":"ADF.USIM/EF.SPN","structure":"BER-TLV","objects":[{"tag":"80","value":"00"}]}`, "it is a BER-TLV EF"},
		{"key file", `{"path":"ADF.USIM/EF.AF20","raw":"00"}`, "key file of the card's maker"},
		{"undo of other bytes", `{"path":"ADF.USIM/EF.SPN","offset":0,"raw":"41","new":"42"}`, "neither those before nor those after"},
		{"undo of another record", `{"path":"ADF.ISIM/EF.IMPU","record":2,"raw":"41","new":"42"}`, "neither those before nor those after"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := &tap{Card: newCard(t)}
			var undo []byte
			good := `{"path":"MF/EF.PL","decoded":{"languages":["de"]}}`
			result, err := Apply(t.Context(), c, parsed(t, `{"files":[`+good+`,`+tt.files+`]}`), options(t, &undo))
			if !errors.Is(err, ErrNotFeasible) || len(result.Problems) != 1 || !strings.Contains(result.Problems[0].Why, tt.why) {
				t.Errorf("%+v %v", result.Problems, err)
			}
			if undo != nil || slices.ContainsFunc(c.commands, func(b []byte) bool { return b[1] == uicc.INSUpdateBinary || b[1] == uicc.INSUpdateRecord }) {
				t.Error("something was written")
			}
		})
	}
}

// TestRefusesBERTLV: bytes for a file that is one of data objects on the card.
func TestRefusesBERTLV(t *testing.T) {
	t.Parallel()
	f := dump.File{Path: "ADF.USIM/EF.SPN", Structure: dump.BERTLV}
	for text, problems := range map[string]int{`"raw":"00"`: 1, `"structure":"BER-TLV"`: 0} {
		r := resolver{plan: &Plan{}, files: map[string]dump.File{f.Path: f}}
		for _, e := range parsed(t, `{"files":[{"path":"ADF.USIM/EF.SPN",`+text+`}]}`).entries {
			r.entry(e)
		}
		if len(r.plan.Problems) != problems || problems > 0 && !strings.Contains(r.plan.Problems[0].Why, "BER-TLV EF") {
			t.Errorf("%s: %+v", text, r.plan.Problems)
		}
	}
}

// TestRights: what is missing is named, for a plan as a need, for an apply as a
// problem.
func TestRights(t *testing.T) {
	t.Parallel()
	d := parsed(t, `{"files":[{"path":"ADF.USIM/EF.SPN","decoded":{"display":[],"name":"x"}},{"path":"MF/EF.PL","decoded":{"languages":["de"]}}]}`)
	all := options(t, new([]byte))
	for _, tt := range []struct {
		name     string
		o        Options
		needs    []string
		problems int
	}{
		{"both", all, []string{}, 0},
		{"PIN1 alone", Options{PIN1: all.PIN1}, []string{"ADM1"}, 1},
		{"none", Options{}, []string{"ADM1", "PIN1 (01)"}, 2},
	} {
		c := newCard(t)
		plan, err := Make(t.Context(), c, d, tt.o)
		if err != nil || !plan.Feasible || !slices.Equal(plan.Needs, tt.needs) {
			t.Errorf("%s: %+v %v", tt.name, plan, err)
		}
		if tt.problems == 0 {
			continue
		}
		tt.o.Allow = all.Allow
		if result, err := Apply(t.Context(), c, d, tt.o); !errors.Is(err, ErrNotFeasible) || len(result.Problems) != tt.problems {
			t.Errorf("%s: %+v %v", tt.name, result, err)
		}
	}
	none := all
	none.Allow = nil
	if _, err := Apply(t.Context(), newCard(t), d, none); !errors.Is(err, card.ErrNotAllowed) {
		t.Errorf("not on the list: %v", err)
	}
	failing := all
	failing.Journal = func(string, []byte) error { return os.ErrExist }
	c := newCard(t)
	before := state(t, c)
	if result, err := Apply(t.Context(), c, d, failing); !errors.Is(err, os.ErrExist) || result.Written != 0 {
		t.Errorf("no undo document: %+v %v", result, err)
	}
	same(t, "no undo document", state(t, c), before)
	other := parsed(t, `{"iccid":"8988211000000467343","files":[]}`)
	if plan, err := Make(t.Context(), c, other, all); err != nil || plan.Feasible {
		t.Errorf("another card: %+v %v", plan, err)
	}
}

// TestInterrupted: the end of the context comes between two writes.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	c := newCard(t)
	var undo []byte
	o := options(t, &undo)
	ctx, cancel := context.WithCancel(t.Context())
	o.Progress = func(done, _ int, _ Change) {
		if done == 1 {
			cancel()
		}
	}
	result, err := Apply(ctx, c, parsed(t, edits), o)
	var broken *BrokenError
	if !errors.As(err, &broken) || broken.Written != 2 || broken.Of != 6 || result.Written != 2 || !errors.Is(err, context.Canceled) {
		t.Errorf("%+v %v", result, err)
	}
	d, err := parsed(t, string(undo)).Resumed()
	if err != nil {
		t.Fatal(err)
	}
	o.Progress, o.Journal = nil, nil
	if rest, err := Apply(t.Context(), c, d, o); err != nil || rest.Written != 4 || rest.Unchanged != 2 {
		t.Errorf("%+v %v", rest, err)
	}
}

// TestParse: what is no document is refused, every entry that is wrong named.
func TestParse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ doc, why string }{
		{``, "EOF"}, {`[]`, "cannot unmarshal"}, {`{}`, `no "files"`}, {`{"files":[]} x`, "stands behind"},
		{`{"files":[{"raw":"00"}]}`, `no "path"`},
		{`{"files":[{"path":"x","rwa":"00"}]}`, "rwa"},
		{`{"files":[{"path":"x","raw":"0"}]}`, "pairs of hexadecimal digits"},
		{`{"files":[{"path":"x","records":["zz"]}]}`, "record 1: want pairs"},
		{`{"files":[{"path":"x","record":0,"raw":"00"}]}`, "count from 1"},
		{`{"files":[{"path":"x","offset":-1,"raw":"00"}]}`, "offset -1"},
		{`{"files":[{"path":"x","record":1,"records":["00"]}]}`, "not with"},
		{`{"files":[{"path":"x","record":1,"offset":1,"raw":"00"}]}`, "written whole"},
		{`{"files":[{"path":"x","offset":1,"decoded":{}}]}`, "goes with"},
		{`{"files":[{"path":"x","raw":"00","new":"0000"}]}`, "same length"},
		{`{"files":[{"path":"x","new":"zz"}]}`, `"new": want pairs`},
		{`{"files":[{"path":"x","new":"00"}]}`, "undo file"},
		{`{"files":[{"path":"x","raw":"00"},{"path":"x","raw":"00"}]}`, "twice"},
		{`{"files":[{"path":"x","record":1,"raw":"00"},{"path":"x","record":1,"raw":"00"}]}`, "twice"},
		{`{"files":[{"path":"x","record":1,"raw":"00"},{"path":"x","raw":"00"}]}`, "twice"},
		{`{"files":[{"path":"x","raw":"00"},{"path":"x","record":1,"raw":"00"}]}`, "twice"},
		{`{"files":[` + strings.Repeat(`{"raw":"00"},`, 20) + `{}]}`, "and 12 more"},
		{strings.Repeat("[", 1<<20), "exceeded max depth"},
		{strings.Repeat("\x00\xff", 1<<19), "invalid character"},
		{`{"files":[{"path":"` + strings.Repeat("x", MaxDocument) + `"}]}`, "more than"},
	} {
		if _, err := Parse([]byte(tt.doc)); !errors.Is(err, ErrDocument) || !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%.60s: %v, want %s", tt.doc, err, tt.why)
		}
	}
	if _, err := parsed(t, edits).Resumed(); !errors.Is(err, ErrDocument) {
		t.Errorf("resume without an undo document: %v", err)
	}
	secrets := parsed(t, `{"files":[{"path":"x","raw":"a1b2c3d4"}]}`)
	if s := fmt.Sprintf("%v %#v", secrets, secrets); strings.Contains(s, "a1b2c3d4") || strings.Contains(s, "161, 178") {
		t.Error("a document prints its content")
	}
}

// FuzzParse: whatever is a document can be planned against files, without a panic,
// and an undo document is one of its own.
func FuzzParse(f *testing.F) {
	f.Add([]byte(edits))
	f.Add([]byte(`{"files":[{"path":"ADF.USIM/EF.SPN","offset":0,"raw":"00","new":"01"},{"path":"ADF.ISIM/EF.IMPU","record":2,"raw":"ff","new":"00"}]}`))
	f.Add([]byte(`{"files":[{"path":"ADF.ISIM/EF.IMPU","records":["","[redacted]"],"decoded":[null,{"impu":"sip:x"}]},{"path":"MF/EF.ARR","record":1,"decoded":null}]}`))
	c := newCard(f)
	o := options(f, new([]byte))
	doc, err := dump.Read(f.Context(), c, dump.Options{PIN1: o.PIN1, ADM: o.ADM})
	if err != nil {
		f.Fatal(err)
	}
	files := map[string]dump.File{}
	for _, file := range doc.Files {
		files[file.Path] = file
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Parse(b)
		if err != nil {
			if !errors.Is(err, ErrDocument) {
				t.Error(err)
			}
			return
		}
		p := Plan{ICCID: testICCID}
		r := newResolver(files, &p)
		for _, e := range d.entries {
			r.entry(e)
		}
		p.conclude(files, true)
		undo, err := p.undo([]byte{0x3B})
		if err != nil {
			t.Fatal(err)
		}
		back, err := Parse(undo)
		if err != nil {
			t.Fatalf("%v: %s", err, undo)
		}
		if _, err := back.Resumed(); err != nil {
			t.Error(err)
		}
	})
}

// TestCounts pins the commands of an apply in a golden file.
func TestCounts(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, tt := range []struct{ name, doc string }{
		{"EF.IMSI", `{"files":[{"path":"ADF.USIM/EF.IMSI","decoded":{"imsi":"001010000000002"}}]}`},
		{"six files", edits},
	} {
		c := &tap{Card: newCard(t)}
		if _, err := Apply(t.Context(), c, parsed(t, tt.doc), options(t, new([]byte))); err != nil {
			t.Fatal(err)
		}
		counts := map[string]int{}
		bytes := 0
		for i, command := range c.commands {
			counts[hex.EncodeToString(command[1:2])]++
			bytes += len(command) + len(c.answers[i])
		}
		fmt.Fprintf(&b, "%s: %d APDUs: %d SELECT, %d READ BINARY, %d READ RECORD, %d UPDATE BINARY, %d UPDATE RECORD, %d VERIFY PIN; %d bytes\n", tt.name, len(c.commands),
			counts["a4"], counts["b0"], counts["b2"], counts["d6"], counts["dc"], counts["20"], bytes)
	}
	const golden = "testdata/apply.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("counts differ; if that is meant, run with -update:\n%swant\n%s", &b, want)
	}
}

// TestTornRecord: a record with bytes of both is completed, and undone; with another
// byte it is neither.
func TestTornRecord(t *testing.T) {
	t.Parallel()
	c := newCard(t)
	var undo []byte
	o := options(t, &undo)
	d := parsed(t, `{"files":[{"path":"ADF.ISIM/EF.IMPU","record":2,"decoded":{"impu":"sip:lab@example.org"}}]}`)
	result, err := Apply(t.Context(), c, d, o)
	if err != nil {
		t.Fatal(err)
	}
	change := result.Changes[0]
	write := func(b []byte) {
		t.Helper()
		doc := fmt.Sprintf(`{"files":[{"path":"ADF.ISIM/EF.IMPU","record":2,"raw":"%x"}]}`, b)
		if _, err := Apply(t.Context(), c, parsed(t, doc), options(t, new([]byte))); err != nil {
			t.Fatal(err)
		}
	}
	torn := append(bytes.Clone(change.after.Reveal()[:10]), change.before.Reveal()[10:]...)
	resumed, err := parsed(t, string(undo)).Resumed()
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range []Document{resumed, parsed(t, string(undo))} {
		write(torn)
		if r, err := Apply(t.Context(), c, end, options(t, new([]byte))); err != nil || r.Written != 1 {
			t.Errorf("%+v %v", r, err)
		}
	}
	torn[5]++
	write(torn)
	for _, end := range []Document{resumed, parsed(t, string(undo))} {
		if _, err := Apply(t.Context(), c, end, options(t, new([]byte))); !errors.Is(err, ErrNotFeasible) {
			t.Error(err)
		}
	}
}

// TestLabel: a record of EF.DIR keeps its application, and may get another label.
func TestLabel(t *testing.T) {
	t.Parallel()
	c := newCard(t)
	o := options(t, new([]byte))
	doc, err := dump.Read(t.Context(), c, dump.Options{})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(doc.Files, func(f dump.File) bool { return f.Path == "MF/EF.DIR" })
	edited := bytes.Replace(doc.Files[i].Decoded, []byte(`"label":"USIM"`), []byte(`"label":"Lab"`), 1)
	d := parsed(t, fmt.Sprintf(`{"files":[{"path":"MF/EF.DIR","decoded":%s},{"path":"ADF.USIM/EF.SPN","decoded":{"display":[],"name":"x"}}]}`, edited))
	result, err := Apply(t.Context(), c, d, o)
	if err != nil || result.Written != 2 || result.Changes[0].Fields[0] != (Field{"label", "USIM", "Lab"}) {
		t.Errorf("%+v %v", result, err)
	}
}
