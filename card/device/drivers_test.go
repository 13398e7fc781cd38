package device

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	seeded "math/rand/v2"
	"slices"
	"strings"
	"testing"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/card"
	"mcim/card/aka"
	"mcim/card/change"
	"mcim/card/dump"
	"mcim/card/lint"
	"mcim/card/rehearse"
)

// driver is a case of a package that stands on Session and Guard. What it gives has to be
// equal on all three backends, too.
type driver struct {
	name string
	run  func(*testing.T, card.Card) any
}

// drivers are those cases: what each package gives of a good card, and what it refuses.
func (b *backends) drivers() []driver {
	return []driver{
		{"dump of the whole card", b.dumpsAll},
		{"dump without PIN1", b.dumpsWithoutPIN},
		{"dump with a wrong PIN1", b.dumpWithWrongPIN},
		{"dump of one file", b.dumpsOne},
		{"lint finds nothing on a good card", b.lintsGood},
		{"lint without PIN1 judges less", b.lintsWithoutPIN},
		{"plan of changes", b.plans},
		{"rehearsal with the right keys", b.rehearses},
		{"rehearsal with other keys", b.rehearsesOthers},
		{"rehearsal of a card that is not listed", b.rehearsalRefused},
	}
}

func (b *backends) dump(t *testing.T, c card.Card, o dump.Options) dump.Document {
	t.Helper()
	o.Session = b.facts.Session
	d, err := dump.Read(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	d.Seconds = 0
	return d
}

// refusals are the paths of what could not be read, with the reason.
func refusals(d dump.Document) map[string]string {
	list := map[string]string{}
	for _, f := range d.Files {
		if f.Error != "" {
			list[f.Path] = f.Error
		}
	}
	return list
}

func (b *backends) dumpsAll(t *testing.T, c card.Card) any {
	d := b.dump(t, c, dump.Options{PIN1: b.facts.PIN1, ADM: b.facts.ADM1})
	if d.ICCID != b.facts.ICCID || len(d.Files) < 100 {
		t.Errorf("ICCID %s, %d files", d.ICCID, len(d.Files))
	}
	again := b.dump(t, c, dump.Options{PIN1: b.facts.PIN1, ADM: b.facts.ADM1})
	if compared := dump.Compare(d, again); len(compared.Differences) > 0 || d.APDUs != again.APDUs {
		t.Errorf("the second time %d APDUs, the first time %d; %+v", again.APDUs, d.APDUs, compared.Differences)
	}
	return d
}

const pathIMSI = "ADF.USIM/EF.IMSI"

func (b *backends) dumpsWithoutPIN(t *testing.T, c card.Card) any {
	d := b.dump(t, c, dump.Options{})
	if why := refusals(d)[pathIMSI]; !strings.Contains(why, "PIN1") {
		t.Errorf("EF.IMSI: %q, want that it needs PIN1", why)
	}
	return d
}

// dumpWithWrongPIN spends a try; the right PIN1 gives it back.
func (b *backends) dumpWithWrongPIN(t *testing.T, c card.Card) any {
	wrong := bytes.Clone(b.facts.PIN1.Reveal())
	wrong[0] ^= 1
	_, err := dump.Read(t.Context(), c, dump.Options{PIN1: secret.New(wrong), Session: b.facts.Session})
	var refused *card.PINError
	if !errors.As(err, &refused) || refused.Tries != 2 {
		t.Errorf("%v, want a *PINError with 2 tries", err)
	}
	return []any{fmt.Sprint(err), b.dump(t, c, dump.Options{PIN1: b.facts.PIN1, Only: []string{pathIMSI}})}
}

func (b *backends) dumpsOne(t *testing.T, c card.Card) any {
	d := b.dump(t, c, dump.Options{PIN1: b.facts.PIN1, Only: []string{pathIMSI}})
	at := slices.IndexFunc(d.Files, func(f dump.File) bool { return f.Path == pathIMSI })
	if at < 0 || !strings.Contains(string(d.Files[at].Decoded), b.profile.IMSI) || d.APDUs > 60 {
		t.Errorf("%d APDUs, EF.IMSI at %d", d.APDUs, at)
	}
	return d
}

func (b *backends) lint(t *testing.T, c card.Card, pin secret.Bytes) lint.Report {
	t.Helper()
	s, err := lint.Read(t.Context(), c, lint.Options{PIN1: pin, Session: b.facts.Session})
	if err != nil {
		t.Fatal(err)
	}
	return lint.Judge(s, lint.Rules())
}

func (b *backends) lintsGood(t *testing.T, c card.Card) any {
	r := b.lint(t, c, b.facts.PIN1)
	for _, f := range r.Findings {
		t.Errorf("%s: %s: %s", f.Rule, f.Path, f.Found)
	}
	return r
}

func (b *backends) lintsWithoutPIN(t *testing.T, c card.Card) any {
	r, all := b.lint(t, c, secret.Bytes{}), len(lint.Rules())
	if len(r.NotJudged) < 10 || r.Judged+len(r.NotJudged) > all || r.Errors > 0 {
		t.Errorf("of %d rules %d judged, %d not judged, %d errors", all, r.Judged, len(r.NotJudged), r.Errors)
	}
	return r
}

func (b *backends) plans(t *testing.T, c card.Card) any {
	d, err := change.Parse([]byte(b.facts.Edit))
	if err != nil {
		t.Fatal(err)
	}
	o := change.Options{PIN1: b.facts.PIN1, ADM: b.profile.ADM1, Allow: []string{b.profile.ICCID}, Session: b.facts.Session}
	plan, err := change.Make(t.Context(), c, d, o)
	if err != nil || !plan.Feasible || len(plan.Changes) != 3 {
		t.Errorf("%+v %v", plan, err)
	}
	return plan
}

// rehearse rehearses with the keys of the home operator, on a card that may be listed.
func (b *backends) rehearse(t *testing.T, c card.Card, home aka.Algorithm, listed bool) (*rehearse.Report, error) {
	t.Helper()
	session := card.NewSession(c, b.facts.Session)
	atr, err := session.Reset(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	config := card.GuardConfig{ATR: bytes.Clone(atr)}
	if listed {
		config.Allow = []string{b.facts.ICCID}
	}
	guard := card.NewGuard(session, config)
	if err := guard.Verify(t.Context(), uicc.RefPIN1, b.facts.PIN1); err != nil {
		t.Fatal(err)
	}
	return rehearse.Run(t.Context(), rehearse.Config{
		Guard: guard, Session: session, AKA: home, GSM: b.facts.Auth.GSM, AMF: b.profile.AMF, Candidates: rehearse.Candidates(b.profile),
		HomeKey: b.facts.Auth.SIDF[b.profile.SUCI.ID].Key, Random: seeded.NewChaCha8([32]byte{1}),
	}, rehearse.Contexts())
}

func (b *backends) rehearses(t *testing.T, c card.Card) any {
	r, err := b.rehearse(t, c, b.facts.Auth.AKA, true)
	if err != nil || len(r.Outcomes) < len(rehearse.Contexts()) {
		t.Fatalf("%+v %v", r, err)
	}
	for _, o := range r.Outcomes {
		if o.Verdict != rehearse.Pass {
			t.Errorf("%s: %s: %s", o.Name, o.Verdict, o.Why)
		}
	}
	return r
}

func (b *backends) rehearsesOthers(t *testing.T, c card.Card) any {
	other := b.profile
	other.OPc = secret.New(bytes.Repeat([]byte{7}, 16))
	home, _, err := other.Functions()
	if err != nil {
		t.Fatal(err)
	}
	r, err := b.rehearse(t, c, home, true)
	if err != nil || !r.Failed() || r.Spent != 0 {
		t.Errorf("%+v %v, want a failure that spends nothing", r, err)
	}
	return r
}

func (b *backends) rehearsalRefused(t *testing.T, c card.Card) any {
	_, err := b.rehearse(t, c, b.facts.Auth.AKA, false)
	if !errors.Is(err, card.ErrNotAllowed) {
		t.Errorf("%v, want ErrNotAllowed", err)
	}
	return fmt.Sprint(err)
}

// drive runs the cases, and writes down what they give.
func (b *backends) drive(t *testing.T, open func(testing.TB) card.Card, log *[]string) {
	for _, d := range b.drivers() {
		t.Run(d.name, func(t *testing.T) {
			c := heard{open(t), log}
			result, err := json.Marshal(d.run(t, c))
			if err := errors.Join(err, c.Close()); err != nil {
				t.Error(err)
			}
			*log = append(*log, fmt.Sprintf("%s: %s", d.name, result))
		})
	}
}
