package lint

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"mcim/apdu"
	"mcim/apdu/ef"
	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/card"
	"mcim/card/aka"
	"mcim/card/dump"
	"mcim/card/emul"
)

const testIMSI = "001010000000001"

// profile is that of a card with an identity that is always the same.
func profile(t testing.TB, modelName string) emul.Profile {
	t.Helper()
	p, err := emul.RandomProfile(modelName)
	if err != nil {
		t.Fatal(err)
	}
	p.ICCID, p.IMSI, p.PIN1 = "8999901000000000013", testIMSI, secret.New([]byte("1234"))
	return p
}

func newCard(t testing.TB, modelName string) (*emul.Card, emul.Profile) {
	t.Helper()
	p := profile(t, modelName)
	c, err := emul.New(p)
	if err != nil {
		t.Fatal(err)
	}
	return c, p
}

func withPIN(t testing.TB, digits string) Options {
	t.Helper()
	b, err := uicc.PadPIN(digits)
	if err != nil {
		t.Fatal(err)
	}
	return Options{PIN1: b}
}

// TestGood: no rule finds anything on a card that is as it should be, whichever model
// it is of.
func TestGood(t *testing.T) {
	t.Parallel()
	for _, name := range emul.Models() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _ := newCard(t, name)
			s, err := Read(t.Context(), c, withPIN(t, "1234"))
			if err != nil {
				t.Fatal(err)
			}
			r := Judge(s, Rules())
			for _, f := range r.Findings {
				t.Errorf("%s: %s: %s", f.Rule, f.Path, f.Found)
			}
			for _, n := range r.NotJudged {
				if !strings.HasPrefix(n.Rule, "aka-") && !strings.HasPrefix(n.Rule, "sqn-") {
					t.Errorf("not judged: %s: %q", n.Rule, n.Reasons)
				}
			}
		})
	}
}

// tap counts commands by name.
type tap struct {
	card.Card
	n      map[string]int
	writes []string
}

func (c *tap) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	parsed, err := apdu.ParseCommand(command)
	if err != nil {
		return nil, err
	}
	name := card.CommandName(parsed)
	c.n[name]++
	if strings.HasPrefix(name, "UPDATE") || strings.HasPrefix(name, "VERIFY") && len(parsed.Data) > 0 {
		c.writes = append(c.writes, name)
	}
	return c.Card.Transmit(ctx, command)
}

func (c *tap) String() string {
	total, s := 0, ""
	for _, name := range slices.Sorted(maps.Keys(c.n)) {
		total += c.n[name]
		s += fmt.Sprintf(", %d %s", c.n[name], name)
	}
	return fmt.Sprintf("%d APDUs%s\n", total, s)
}

// TestRead pins what a look at the software UICC costs, beside a dump: the tries of
// PIN1. Nothing is written, and without PIN1 none is presented.
func TestRead(t *testing.T) {
	t.Parallel()
	c, _ := newCard(t, "usim-1")
	got := ""
	for _, o := range []Options{{}, withPIN(t, "1234")} {
		name := fmt.Sprintf("PIN1 of %d bytes", o.PIN1.Len())
		tapped := &tap{Card: c, n: map[string]int{}}
		s, err := Read(t.Context(), tapped, o)
		if err != nil {
			t.Fatal(err)
		}
		plain := &tap{Card: c, n: map[string]int{}}
		if _, err := dump.Read(t.Context(), plain, dump.Options{PIN1: o.PIN1}); err != nil {
			t.Fatal(err)
		}
		for command := range plain.n {
			tapped.n[command] -= plain.n[command]
			if tapped.n[command] == 0 {
				delete(tapped.n, command)
			}
		}
		got += "beside the dump: " + tapped.String()
		if r := Judge(s, Rules()); r.APDUs != s.Document.APDUs+s.Probe.APDUs || s.Probe.APDUs != 4 {
			t.Errorf("%s: %d APDUs, %d for the dump, %d beside it", name, r.APDUs, s.Document.APDUs, s.Probe.APDUs)
		}
		if want := map[bool]int{true: 1}[o.PIN1.Len() > 0]; len(tapped.writes) != want {
			t.Errorf("%s: %v", name, tapped.writes)
		}
	}
	const golden = "testdata/read.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(golden); err != nil || got != string(want) {
		t.Errorf("%v\n%swant\n%sgo test ./card/lint -update writes it anew", err, got, want)
	}
}

var update = flag.Bool("update", false, "write the golden files anew")

// TestNotJudged: a rule that needs what was not read says so, and what is missing.
func TestNotJudged(t *testing.T) {
	t.Parallel()
	c, _ := newCard(t, "usim")
	s, err := Read(t.Context(), c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := Judge(s, Rules())
	reasons := func(r Report, rule string) []string {
		for _, n := range r.NotJudged {
			if n.Rule == rule {
				return n.Reasons
			}
		}
		return nil
	}
	if got := reasons(r, "acc-imsi"); !slices.Contains(got, "ADF.USIM/EF.ACC: not read: it needs PIN1 (01), not verified") {
		t.Errorf("acc-imsi: %q", got)
	}
	if len(r.Findings) != 0 || reasons(r, "iccid-luhn") != nil || reasons(r, "pin-tries") != nil {
		t.Errorf("%+v", r)
	}
	// A dump alone does not tell everything.
	s.Probe = nil
	r = Judge(s, Rules())
	if got := reasons(r, "pin-tries"); len(got) != 1 || got[0] != "a dump does not tell the tries of PIN1" {
		t.Errorf("pin-tries: %q", got)
	}
	if got := reasons(r, "dir-unlisted"); len(got) != 1 {
		t.Errorf("dir-unlisted: %q", got)
	}
	if n := len(Rules()); r.Judged+len(r.NotJudged)+len(r.NotApplicable) != n {
		t.Errorf("%d judged, %d not, %d not applicable of %d rules", r.Judged, len(r.NotJudged), len(r.NotApplicable), n)
	}
	// A card without applications has no rule about one.
	r = Judge(Subject{Document: dump.Document{ATR: s.Document.ATR, Files: s.Document.Files[:1]}}, Rules())
	if !slices.Contains(r.NotApplicable, "acc-imsi") || !slices.Contains(r.NotApplicable, "impi-form") {
		t.Errorf("not applicable: %q", r.NotApplicable)
	}
}

// TestBlocked: with few tries PIN1 is not presented, and the rules tell of that; with a
// blocked PIN1 that is the finding.
func TestBlocked(t *testing.T) {
	t.Parallel()
	c, _ := newCard(t, "usim")
	wrong := withPIN(t, "9999")
	for range 2 {
		if _, err := Read(t.Context(), c, wrong); !errors.Is(err, card.ErrWrongPIN) {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"pin-tries", "pin-blocked"} {
		s, err := Read(t.Context(), c, withPIN(t, "1234"))
		if err != nil {
			t.Fatal(err)
		}
		r := Judge(s, Rules())
		if len(r.Findings) != 1 || r.Findings[0].Rule != want || s.Probe.PIN1 == "" {
			t.Errorf("%+v, PIN1 %q", r.Findings, s.Probe.PIN1)
		}
		session := card.NewSession(c, card.Options{}) // the last try
		if _, err := session.Send(t.Context(), apdu.Command{INS: 0x20, P2: uicc.RefPIN1, Data: []byte("99999999")}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRules: what people go by is there, and can be told apart.
func TestRules(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, r := range Rules() {
		if seen[r.ID] || r.Severity.rank() < 0 || !strings.Contains(r.Clause, ",") || r.What == "" || r.Remedy == "" || r.judge == nil {
			t.Errorf("%+v", r)
		}
		seen[r.ID] = true
	}
	if len(seen) < 30 {
		t.Errorf("%d rules", len(seen))
	}
}

// TestRehearse: the card's keys are proved by a challenge that spends no sequence
// number, and its SQN is compared with the operator's.
func TestRehearse(t *testing.T) {
	t.Parallel()
	c, p := newCard(t, "usim")
	s, err := Read(t.Context(), c, withPIN(t, "1234"))
	if err != nil {
		t.Fatal(err)
	}
	milenage := func(k, opc secret.Bytes) aka.Algorithm {
		block, err := aka.NewAES(k)
		if err != nil {
			t.Fatal(err)
		}
		m, err := aka.NewMilenage(block, opc)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	right := Operator{IMSI: p.IMSI, Algorithm: milenage(p.K, p.OPc), SQN: &p.SQN, PIN1: withPIN(t, "1234").PIN1, Allow: []string{p.ICCID}}
	other, ahead := p.SQN, p.SQN+(1<<40)
	for name, test := range map[string]struct {
		change func(o *Operator)
		want   string // rules that find something
		unseen bool
	}{
		"right":        {func(*Operator) {}, "", false},
		"other K":      {func(o *Operator) { o.Algorithm = milenage(p.OPc, p.OPc) }, "aka-keys", false},
		"other OPc":    {func(o *Operator) { o.Algorithm = milenage(p.K, p.K) }, "aka-keys", false},
		"ahead":        {func(o *Operator) { o.SQN = &ahead }, "sqn-ahead", false},
		"no SQN":       {func(o *Operator) { o.SQN = nil }, "", true},
		"not allowed":  {func(o *Operator) { o.Allow = []string{"8988211000000467343"} }, "", true},
		"other IMSI":   {func(o *Operator) { o.IMSI = "001010000000002" }, "aka-imsi", false},
		"spare":        {func(o *Operator) { o.Allow, o.Spare, o.SQN = nil, true, &other }, "", false},
		"without PIN1": {func(o *Operator) { o.PIN1 = secret.Bytes{} }, "", true},
	} {
		o := right
		test.change(&o)
		r, err := Rehearse(t.Context(), c, s, o, card.Options{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		judged := s
		judged.AKA = r
		report := Judge(judged, Rules())
		got := ""
		for _, f := range report.Findings {
			got += f.Rule
		}
		if got != test.want || len(report.NotJudged) > 0 != (test.unseen || test.want == "aka-keys") {
			t.Errorf("%s: %q, want %q; %v", name, got, test.want, report.NotJudged)
		}
	}
	wrong := right
	wrong.PIN1 = withPIN(t, "9999").PIN1
	if _, err := Rehearse(t.Context(), c, s, wrong, card.Options{}); !errors.Is(err, card.ErrWrongPIN) {
		t.Error(err)
	}
	if r, err := Rehearse(t.Context(), c, Subject{}, right, card.Options{}); err != nil || !errors.Is(r.Err, card.ErrNoApplication) {
		t.Error(r, err)
	}
}

// FuzzJudge: whatever a file has, decoded or not, no rule panics.
func FuzzJudge(f *testing.F) {
	p, err := emul.RandomProfile("usim")
	if err != nil {
		f.Fatal(err)
	}
	c, err := emul.New(p)
	if err != nil {
		f.Fatal(err)
	}
	pin, err := uicc.PadPIN(string(p.PIN1.Reveal()))
	if err != nil {
		f.Fatal(err)
	}
	base, err := Read(f.Context(), c, Options{PIN1: pin})
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range ef.Files() {
		f.Add(file.Path(), []byte{0, 1, 2, 3}, "", byte(0))
	}
	f.Add("ADF.USIM/EF.IMSI", []byte{}, `{"imsi":"abcdef"}`, byte(1))
	f.Add("ADF.USIM/EF.IMSI", []byte{}, `{"imsi":"é"}`, byte(1))
	f.Add("ADF.USIM/EF.AD", []byte{}, `{"mnc_length":200}`, byte(1))
	f.Add("MF/EF.DIR", []byte{}, `[{"aid":""},{"aid":"a0000000871002"}]`, byte(1))
	f.Add("ADF.USIM.2", []byte{}, "", byte(3))
	f.Fuzz(func(t *testing.T, path string, content []byte, decoded string, how byte) {
		doc := base.Document
		doc.Files = slices.Clone(doc.Files)
		file := dump.File{Path: path, Name: path[strings.LastIndexByte(path, '/')+1:], Raw: hex.EncodeToString(content), FCP: &dump.FCP{}}
		if known, ok := (&view{table: tableOf()}).known(path); ok && len(content) > 0 {
			file.Structure = string(known.Structure)
			v, err := known.Decode(content)
			if err != nil {
				file.Undecoded = err.Error()
			} else {
				file.Decoded, _ = json.Marshal(v)
			}
			if known.Structure != ef.Transparent {
				file.Records, file.Raw = []string{file.Raw, ""}, ""
				file.Decoded = json.RawMessage("[" + string(append(file.Decoded, ",null]"...)))
			}
		}
		if how&1 != 0 {
			file.Decoded = json.RawMessage(decoded)
		}
		if how&2 != 0 {
			file.FCP, file.AID, file.Rights = nil, path, nil
		}
		if how&4 != 0 {
			doc.Files = doc.Files[:len(content)%len(doc.Files)]
		}
		doc.Files = append(slices.DeleteFunc(doc.Files, func(f dump.File) bool { return f.Path == path }), file)
		rules := Rules()
		r := Judge(Subject{Document: doc, Probe: base.Probe}, rules)
		if r.Judged+len(r.NotJudged)+len(r.NotApplicable) != len(rules) {
			t.Errorf("%d judged, %d not, %d not applicable", r.Judged, len(r.NotJudged), len(r.NotApplicable))
		}
	})
}
