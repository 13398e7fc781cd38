package lint

import (
	"cmp"
	"slices"
	"strings"

	"mcim/card"
	"mcim/card/dump"
)

// Severity says what a finding means for registration.
type Severity string

// Severities.
const (
	Error   Severity = "error"   // the card will not register
	Warning Severity = "warning" // it may not, or something else will not work
	Info    Severity = "info"    // it will, though not as one may think
)

// rank puts errors first.
func (s Severity) rank() int { return slices.Index([]Severity{Error, Warning, Info}, s) }

// Rule is one thing that may be wrong with a card.
type Rule struct {
	ID       string   `json:"rule"` // such as "acc-imsi"
	Severity Severity `json:"severity"`
	Clause   string   `json:"clause"` // "TS 31.102, 4.2.15"
	What     string   `json:"what"`   // what is wrong where the rule finds something
	Remedy   string   `json:"remedy"` // what to change

	scope scope
	judge func(v *view)
}

// scope is what a rule is about. It is judged once for each of them on the card.
type scope int

const (
	ofCard       scope = iota // the card
	ofUICC                    // a card of class 00
	ofSubscriber              // each USIM, or DF.GSM of a card without one
	ofUSIM                    // each USIM
	ofISIM                    // each ISIM
)

// Rules are all rules, by area.
func Rules() []Rule {
	return slices.Concat(cardRules(), pinRules(), fileRules(), accessRules(), identityRules(), serviceRules(),
		networkRules(), locationRules(), smsRules(), keyRules(), fivegRules(), imsRules(), akaRules())
}

// Subject is a card that is to be judged.
type Subject struct {
	Document dump.Document
	Probe    *Probe     // nil: there is a document only
	AKA      *Rehearsal // nil: AKA was not tried
}

// Probe is what a dump does not tell of a card.
type Probe struct {
	PINs []card.PINState // of PIN1, and of the universal PIN where it stands in for it
	// PIN1 says why PIN1 was not verified though it was given; empty where it was.
	PIN1 string
	// Refused are the applications of EF.DIR that cannot be selected, with the
	// reason, by AID in hexadecimal.
	Refused map[string]string
	// Unlisted are the AIDs, in hexadecimal, of applications that can be selected
	// though EF.DIR does not name them.
	Unlisted []string
	APDUs    int // commands that it took
}

// Finding is something that is wrong.
type Finding struct {
	Rule     string   `json:"rule"`
	Severity Severity `json:"severity"`
	Clause   string   `json:"clause"`
	Path     string   `json:"path,omitempty"` // of the file, where it is about one
	Found    string   `json:"found"`
	Remedy   string   `json:"remedy"`
}

// NotJudged is a rule that could not be judged, or not for all that it is about.
type NotJudged struct {
	Rule    string   `json:"rule"`
	Reasons []string `json:"reasons"`
}

// Report is what the rules found.
type Report struct {
	ICCID     string      `json:"iccid,omitempty"`
	APDUs     int         `json:"apdus"`    // commands that it took; 0 of a document
	Findings  []Finding   `json:"findings"` // errors first
	Judged    int         `json:"judged"`   // rules
	NotJudged []NotJudged `json:"not_judged"`
	// NotApplicable are the rules about what the card has not got, such as an ISIM.
	NotApplicable []string `json:"not_applicable"`
	Errors        int      `json:"errors"` // findings of each severity
	Warnings      int      `json:"warnings"`
	Infos         int      `json:"infos"`
}

// Judge judges a card by the rules. It never panics, whatever is on the card.
func Judge(s Subject, rules []Rule) Report {
	r := Report{ICCID: s.Document.ICCID, Findings: []Finding{}, NotJudged: []NotJudged{}, NotApplicable: []string{}}
	if s.Probe != nil {
		r.APDUs = s.Document.APDUs + s.Probe.APDUs
	}
	if s.AKA != nil {
		r.APDUs += s.AKA.APDUs
	}
	files, table := byPath(s.Document), tableOf()
	for _, rule := range rules {
		v := &view{subject: &s, files: files, table: table, rule: rule}
		apps := v.about(rule.scope)
		for _, v.app = range apps {
			rule.judge(v)
		}
		r.add(v, len(apps) > 0)
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return cmp.Compare(a.Severity.rank(), b.Severity.rank()) })
	return r
}

func byPath(d dump.Document) map[string]*dump.File {
	files := map[string]*dump.File{}
	for i := range d.Files {
		files[d.Files[i].Path] = &d.Files[i]
	}
	return files
}

// add takes over what one rule has found.
func (r *Report) add(v *view, applicable bool) {
	r.Findings = append(r.Findings, v.findings...)
	switch n := len(v.findings); v.rule.Severity {
	case Error:
		r.Errors += n
	case Warning:
		r.Warnings += n
	default:
		r.Infos += n
	}
	switch {
	case !applicable:
		r.NotApplicable = append(r.NotApplicable, v.rule.ID)
	case len(v.blind) > 0:
		r.NotJudged = append(r.NotJudged, NotJudged{v.rule.ID, v.blind})
	default:
		r.Judged++
	}
}

// about lists the applications that a rule is judged for.
func (v *view) about(s scope) []string {
	usims, isims := v.applications("ADF.USIM"), v.applications("ADF.ISIM")
	switch {
	case s == ofCard:
		return []string{""}
	case s == ofUICC && !v.isUICC():
		return nil
	case s == ofUICC:
		return []string{""}
	case s == ofISIM:
		return isims
	case s == ofUSIM || len(usims) > 0 || v.files["DF.GSM"] == nil:
		return usims
	}
	return []string{"DF.GSM"}
}

// applications are the directories name, name.2 and so on of the card.
func (v *view) applications(name string) []string {
	var list []string
	for _, f := range v.subject.Document.Files {
		if f.Path == name || strings.HasPrefix(f.Path, name+".") && !strings.Contains(f.Path, "/") {
			list = append(list, f.Path)
		}
	}
	return list
}

// isUICC tells a card of class 00 from one of class A0: its MF has an FCP template.
func (v *view) isUICC() bool {
	mf := v.files["MF"]
	return mf != nil && mf.FCP != nil && strings.HasPrefix(mf.FCP.Raw, "62")
}
