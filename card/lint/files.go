package lint

import (
	"fmt"
	"slices"
	"strings"

	"mcim/card/dump"
)

// fileRules are about which files there are and what they are like.
func fileRules() []Rule {
	return []Rule{
		{ID: "file-mandatory", Severity: Error, Clause: "TS 31.102, 4.2", scope: ofUSIM, judge: judgeMandatory,
			What: "a file that every terminal reads before it registers is missing", Remedy: "the issuer has to create it; no UPDATE can"},
		{ID: "file-expected", Severity: Warning, Clause: "TS 31.102, 4.2", scope: ofUSIM, judge: judgeExpected,
			What: "a mandatory file is missing that terminals can do without", Remedy: "the issuer has to create it; no UPDATE can"},
		{ID: "file-deactivated", Severity: Error, Clause: "TS 102 221, 11.1.14", scope: ofCard, judge: judgeDeactivated,
			What: "a file is deactivated or terminated, so that no terminal can use it", Remedy: "ACTIVATE FILE opens a deactivated file again; a terminated one is lost"},
		{ID: "file-structure", Severity: Warning, Clause: "TS 102 221, 8.3", scope: ofCard, judge: judgeStructure,
			What: "a file has another structure than its clause says", Remedy: "the issuer has to create it anew"},
		{ID: "file-size", Severity: Warning, Clause: "TS 31.102, 4.2", scope: ofCard, judge: judgeSize,
			What: "a file has another size than its clause says", Remedy: "the issuer has to resize it or create it anew"},
		{ID: "file-content", Severity: Warning, Clause: "TS 31.102, 4.2", scope: ofCard, judge: judgeContent,
			What: "the content of a file is not as its clause says", Remedy: "write the file anew: give its fields in a plan (mcim card plan)"},
		{ID: "file-unreadable", Severity: Warning, Clause: "TS 102 221, 11.1.1.3", scope: ofCard, judge: judgeUnreadable,
			What: "the card says of a file what is not understood, or fails while it is read", Remedy: "read it again on another reader; if it fails again the card is worn and has to be replaced"},
	}
}

func judgeMandatory(v *view) {
	for _, name := range []string{"EF.UST", "EF.AD", "EF.ACC", "EF.LOCI", "EF.Keys"} {
		v.wanted(name)
	}
}

func judgeExpected(v *view) {
	for _, name := range []string{"EF.PSLOCI", "EF.KeysPS", "EF.FPLMN", "EF.HPPLMN", "EF.START-HFN", "EF.THRESHOLD", "EF.ECC"} {
		v.wanted(name)
	}
}

func (v *view) wanted(name string) {
	if v.missing(v.at(name)) {
		v.find(v.at(name), "the file is not on the card")
	}
}

func judgeDeactivated(v *view) {
	for _, f := range v.subject.Document.Files {
		if f.FCP != nil && (f.FCP.LifeCycle == "deactivated" || f.FCP.LifeCycle == "terminated") {
			v.find(f.Path, "it is %s", f.FCP.LifeCycle)
		}
	}
}

// expectedStructure is that of the file's clause where the card has another; empty
// where it has not.
func (v *view) expectedStructure(f *dump.File) string {
	file, ok := v.known(f.Path)
	if !ok || f.Structure == "" || f.Structure == string(file.Structure) {
		return ""
	}
	return string(file.Structure)
}

func judgeStructure(v *view) {
	for i := range v.subject.Document.Files {
		f := &v.subject.Document.Files[i]
		if want := v.expectedStructure(f); want != "" {
			v.find(f.Path, "it is %s, want %s", f.Structure, want)
		}
	}
}

// sizes are those of files whose clause fixes them, in bytes; of a file with records
// the least length of one.
var sizes = map[string]int{
	"EF.ACC": 2, "EF.HPPLMN": 1, "EF.Keys": 33, "EF.KeysPS": 33, "EF.LOCI": 11, "EF.PSLOCI": 14, "EF.EPSLOCI": 18,
	"EF.START-HFN": 6, "EF.THRESHOLD": 3, "EF.EPSNSC": 54, "EF.Kc": 9, "EF.KcGPRS": 9, "EF.5GS3GPPLOCI": 20, "EF.5GSN3GPPLOCI": 20,
}

// wrongSize says what is wrong with the size of a file; empty where nothing is.
func (v *view) wrongSize(f *dump.File) string {
	want, fixed := sizes[f.Name]
	switch {
	case !fixed || f.FCP == nil || v.expectedStructure(f) != "":
		return ""
	case f.FCP.RecordLength > 0 && f.FCP.RecordLength < want:
		return fmt.Sprintf("records of %d bytes, want %d", f.FCP.RecordLength, want)
	case f.FCP.RecordLength == 0 && f.FCP.Size != nil && *f.FCP.Size != want:
		return fmt.Sprintf("%d bytes, want %d", *f.FCP.Size, want)
	}
	return ""
}

func judgeSize(v *view) {
	for i := range v.subject.Document.Files {
		f := &v.subject.Document.Files[i]
		if why := v.wrongSize(f); why != "" {
			v.find(f.Path, "%s", why)
		}
	}
}

// judgeContent leaves to others the files of which a rule of their own says more.
func judgeContent(v *view) {
	own := []string{"EF.IMSI", "EF.AD", "EF.ICCID", "EF.DIR"}
	for i := range v.subject.Document.Files {
		f := &v.subject.Document.Files[i]
		if f.Undecoded == "" || v.expectedStructure(f) != "" || v.wrongSize(f) != "" || slices.Contains(own, f.Name) {
			continue
		}
		v.find(f.Path, "%s", strings.TrimPrefix(f.Undecoded, f.Name+": "))
	}
}

func judgeUnreadable(v *view) {
	for _, f := range v.subject.Document.Files {
		switch {
		case f.FCP != nil && f.FCP.Error != "":
			v.find(f.Path, "its parameters: %s", f.FCP.Error)
		case strings.Contains(f.Error, "not read: READ") || strings.Contains(f.Error, "short read"):
			v.find(f.Path, "%s", f.Error)
		}
	}
}
