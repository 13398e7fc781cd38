package lint

import (
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"mcim/apdu/uicc"
	"mcim/card/dump"
)

// accessRules are about who may read and write what.
func accessRules() []Rule {
	return []Rule{
		{ID: "key-readable", Severity: Warning, Clause: "TS 31.102, 4.2.3", scope: ofSubscriber, judge: judgeKeyReadable,
			What: "a file with keys can be read without a PIN", Remedy: "the issuer has to correct the access rule: read and update with PIN1"},
		{ID: "identity-writable", Severity: Warning, Clause: "TS 31.102, 4.2.2", scope: ofSubscriber, judge: judgeIdentityWritable,
			What: "a user can write what only the issuer should", Remedy: "the issuer has to correct the access rule: update with an ADM"},
		{ID: "identity-locked", Severity: Error, Clause: "TS 31.102, 4.2.2", scope: ofSubscriber, judge: judgeIdentityLocked,
			What: "the terminal cannot read what it needs to register", Remedy: "the issuer has to correct the access rule: read with PIN1, or always"},
		{ID: "state-locked", Severity: Warning, Clause: "TS 31.102, 4.2.17", scope: ofSubscriber, judge: judgeStateLocked,
			What: "the terminal cannot write what it keeps on the card while it is registered", Remedy: "the issuer has to correct the access rule: update with PIN1"},
		{ID: "arr-dangling", Severity: Error, Clause: "TS 102 221, 9.2.7", scope: ofUICC, judge: judgeDangling,
			What: "a file refers to a record of EF.ARR that is missing, empty or not understood, so that the card refuses everything", Remedy: "write that record of EF.ARR"},
	}
}

// open tells whether a user gets by a right as card.Right has it: always, or with
// PINs alone.
func open(right string, withPIN bool) bool {
	for _, way := range strings.Split(right, " or ") {
		passed := true
		for _, key := range strings.Split(way, " and ") {
			pin := strings.HasPrefix(key, "PIN") || key == "universal PIN"
			passed = passed && (key == "always" || withPIN && pin)
		}
		if passed {
			return true
		}
	}
	return false
}

// rights calls do with the right of each of the files that is on the card and whose
// right is known.
func (v *view) rights(op string, names []string, do func(f *dump.File, right string)) {
	for _, name := range names {
		f := v.files[v.at(name)]
		if f == nil {
			continue
		}
		if right := f.Rights[op]; right == "" {
			v.unseen("%s: its access rule is not known", f.Path)
		} else {
			do(f, right)
		}
	}
}

func judgeKeyReadable(v *view) {
	names := []string{"EF.Keys", "EF.KeysPS", "EF.EPSNSC", "EF.Kc", "EF.KcGPRS", "DF.GSM-ACCESS/EF.Kc", "DF.GSM-ACCESS/EF.KcGPRS",
		"DF.5GS/EF.5GS3GPPNSC", "DF.5GS/EF.5GSN3GPPNSC", "DF.5GS/EF.5GAUTHKEYS"}
	v.rights("read", names, func(f *dump.File, right string) {
		if open(right, false) {
			v.find(f.Path, "read: %s", right)
		}
	})
}

func judgeIdentityWritable(v *view) {
	names := []string{"EF.IMSI", "EF.ACC", "EF.AD", "EF.UST", "EF.SST", "DF.5GS/EF.SUCI_Calc_Info", "DF.5GS/EF.Routing_Indicator"}
	v.rights("update", names, func(f *dump.File, right string) {
		if open(right, true) {
			v.find(f.Path, "update: %s", right)
		}
	})
}

func judgeIdentityLocked(v *view) {
	v.rights("read", []string{"EF.IMSI", "EF.ACC", "EF.AD", "EF.UST", "EF.LOCI", "EF.FPLMN"}, func(f *dump.File, right string) {
		if !open(right, true) {
			v.find(f.Path, "read: %s", right)
		}
	})
}

func judgeStateLocked(v *view) {
	names := []string{"EF.LOCI", "EF.PSLOCI", "EF.EPSLOCI", "EF.EPSNSC", "EF.Keys", "EF.KeysPS", "EF.FPLMN", "EF.START-HFN",
		"DF.5GS/EF.5GS3GPPLOCI", "DF.5GS/EF.5GS3GPPNSC", "DF.5GS/EF.5GAUTHKEYS"}
	v.rights("update", names, func(f *dump.File, right string) {
		if !open(right, true) {
			v.find(f.Path, "update: %s", right)
		}
	})
}

// judgeDangling leaves DF.GSM and DF.TELECOM alone: their files are those of the
// USIM, and have the conditions of class A0 there.
func judgeDangling(v *view) {
	for _, f := range v.subject.Document.Files {
		closed := f.Structure == "directory" && f.Error != ""
		if f.FCP == nil || f.FCP.ARR == nil || closed || strings.HasPrefix(f.Path, "DF.") {
			continue
		}
		record := f.FCP.ARR.Record
		if environments := slices.Sorted(maps.Keys(f.FCP.ARR.BySE)); len(environments) > 0 {
			record = f.FCP.ARR.BySE[environments[0]]
		}
		v.judgeRule(f, int(record))
	}
}

// judgeRule looks for the record of EF.ARR that has the rule of a file: in the directory
// of the file or above it.
func (v *view) judgeRule(f dump.File, record int) {
	for dir := f.Path; dir != ""; dir = above(dir) { // a directory's own may be inside
		for _, arr := range v.subject.Document.Files {
			if above(arr.Path) != dir || arr.FID != f.FCP.ARR.FID {
				continue
			}
			switch {
			case len(arr.Records) == 0:
				v.unseen("%s: %s", arr.Path, arr.Error)
			case record < 1 || record > len(arr.Records):
				v.find(f.Path, "it refers to record %d of %s, which has %d", record, arr.Path, len(arr.Records))
			case !isRule(arr.Records[record-1]):
				v.find(f.Path, "it refers to record %d of %s, which is no access rule", record, arr.Path)
			}
			return
		}
	}
	v.find(f.Path, "it refers to EF.ARR %s, which is not there", f.FCP.ARR.FID)
}

// above is the directory above a path; empty above the MF.
func above(path string) string {
	if at := strings.LastIndexByte(path, '/'); at >= 0 {
		return path[:at]
	}
	if path == "MF" || path == "" {
		return ""
	}
	return "MF"
}

// isRule is true also for a record that could not be read.
func isRule(record string) bool {
	b, err := hex.DecodeString(record)
	if err != nil || record == "" {
		return true
	}
	rules, err := uicc.DecodeARRRecord(b)
	return err == nil && len(rules) > 0
}
