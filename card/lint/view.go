package lint

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"mcim/apdu/ef"
	"mcim/card/dump"
)

// view is a card as one rule sees it. It notes what the rule asked for and could
// not see.
type view struct {
	subject  *Subject
	files    map[string]*dump.File
	table    map[string]ef.File // what files there may be
	rule     Rule
	app      string // path of the application
	findings []Finding
	blind    []string
}

// find adds a finding about a file, or about the card where path is empty.
func (v *view) find(path, format string, args ...any) {
	v.findings = append(v.findings, Finding{v.rule.ID, v.rule.Severity, v.rule.Clause, path, fmt.Sprintf(format, args...), v.rule.Remedy})
}

// unseen notes why something could not be judged.
func (v *view) unseen(format string, args ...any) {
	if why := fmt.Sprintf(format, args...); !slices.Contains(v.blind, why) {
		v.blind = append(v.blind, why)
	}
}

// at is the path of a file of the application: "EF.IMSI", "DF.5GS/EF.SUPI_NAI".
func (v *view) at(name string) string { return v.app + "/" + name }

// missing tells that a file is known not to be on the card.
func (v *view) missing(path string) bool {
	if v.files[path] != nil {
		return false
	}
	for at := strings.LastIndex(path, "/"); at > 0; at = strings.LastIndex(path[:at], "/") {
		if d := v.files[path[:at]]; d != nil && d.Error != "" {
			v.unseen("%s: %s", d.Path, d.Error)
			return false
		}
	}
	return true
}

// decoded is the document of a file that is on the card, read and understood; nil
// otherwise.
func (v *view) decoded(path string) json.RawMessage {
	f := v.files[path]
	switch {
	case f == nil:
		v.missing(path)
		return nil
	case f.Error != "" && f.Decoded == nil:
		v.unseen("%s: %s", path, f.Error)
		return nil
	case f.Undecoded != "" && f.Decoded == nil:
		v.unseen("%s: its content is not understood", path)
		return nil
	}
	return f.Decoded
}

// read gives the content of a transparent file; nil where it is not on the card,
// not in use or not seen.
func read[T any](v *view, path string) *T {
	var content *T
	if raw := v.decoded(path); raw != nil && json.Unmarshal(raw, &content) != nil {
		v.unseen("%s: its content is not understood", path)
		return nil
	}
	return content
}

// readRecords gives the records of a file; nil is a record that is not in use or not
// seen.
func readRecords[T any](v *view, path string) []*T {
	raw := v.decoded(path)
	if raw == nil {
		return nil
	}
	f := v.files[path]
	for _, why := range []string{f.Error, f.Undecoded} {
		if why != "" {
			v.unseen("%s: %s", path, why)
		}
	}
	var documents []json.RawMessage
	if json.Unmarshal(raw, &documents) != nil {
		v.unseen("%s: its content is not understood", path)
		return nil
	}
	records := make([]*T, len(documents))
	for i, d := range documents {
		if json.Unmarshal(d, &records[i]) != nil {
			records[i] = nil
			v.unseen("%s: record %d is not understood", path, i+1)
		}
	}
	return records
}

// unused tells that a transparent file is on the card and read, and all FF.
func (v *view) unused(path string) bool { return string(v.decoded(path)) == "null" }

// services are those of EF.UST; nil where they are not seen, or the file says
// nothing: ust-empty tells of that.
func (v *view) services() *ef.Services {
	ust := read[ef.Services](v, v.at("EF.UST"))
	if ust == nil || v.emptyUST(ust) == "" {
		return ust
	}
	v.unseen("%s: %s", v.at("EF.UST"), v.emptyUST(ust))
	return nil
}

// emptyUST says why EF.UST says nothing; empty where it says something.
func (v *view) emptyUST(ust *ef.Services) string {
	f := v.files[v.at("EF.UST")]
	switch {
	case len(ust.Services) == 0:
		return "no service is set"
	case f.Raw != "" && strings.Trim(f.Raw, "f") == "":
		return "every bit is set: the file was never written"
	}
	return ""
}

// imsi is that of the application; empty where it is not seen.
func (v *view) imsi() string {
	if c := read[ef.IMSI](v, v.at("EF.IMSI")); c != nil && len(c.IMSI) >= shortestIMSI {
		return string(c.IMSI)
	}
	return ""
}

// shortestIMSI has an MCC, an MNC of 3 digits and nothing more.
const shortestIMSI = 6

// home is the home network by EF.IMSI and EF.AD, as "262-01"; empty where it is
// not known.
func (v *view) home() ef.PLMN {
	imsi, ad := v.imsi(), read[ef.AdministrativeData](v, v.at("EF.AD"))
	if imsi == "" || ad == nil || ad.MNCLength < 2 || ad.MNCLength > 3 {
		return ""
	}
	return ef.PLMN(imsi[:3] + "-" + imsi[3:3+ad.MNCLength])
}

// domain is the home domain of IMS that follows from a network (TS 23.003, 13.2).
func domain(home ef.PLMN) string {
	mcc, mnc, _ := strings.Cut(string(home), "-")
	return fmt.Sprintf("ims.mnc%03s.mcc%s.3gppnetwork.org", mnc, mcc)
}

// known gives the file of the table in package ef that belongs to a path; that of a
// second application is the one of the first.
func (v *view) known(path string) (ef.File, bool) {
	app, rest, _ := strings.Cut(path, "/")
	if parts := strings.Split(app, "."); len(parts) > 2 {
		app = parts[0] + "." + parts[1]
	}
	f, ok := v.table[app+"/"+rest]
	return f, ok
}

// tableOf is the table of package ef by path.
func tableOf() map[string]ef.File {
	table := map[string]ef.File{}
	for _, f := range ef.Files() {
		table[f.Path()] = f
	}
	return table
}
