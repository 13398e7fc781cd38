package lint

import (
	"slices"
	"strings"

	"mcim/apdu/ef"
)

// locationRules are about where the card was registered last.
func locationRules() []Rule {
	return []Rule{
		{ID: "loci-forbidden", Severity: Warning, Clause: "TS 31.102, 4.2.17", scope: ofSubscriber, judge: judgeForbidden,
			What: "a network has refused the card: the status is that it, or roaming, is not allowed", Remedy: "ask the operator why; then write the status not_updated, so that the terminal tries again"},
		{ID: "loci-status", Severity: Warning, Clause: "TS 31.102, 4.2.17", scope: ofSubscriber, judge: judgeStatus,
			What: "a file of the location has a status that there is not", Remedy: "write the file with the status not_updated"},
		{ID: "loci-updated", Severity: Warning, Clause: "TS 31.102, 4.2.17", scope: ofSubscriber, judge: judgeUpdated,
			What: "the card says that it is registered, and has no temporary identity or no area", Remedy: "write the file with the status not_updated and all else FF"},
		{ID: "loci-network", Severity: Warning, Clause: "TS 24.008, 10.5.1.3", scope: ofSubscriber, judge: judgeArea,
			What: "the area of the last registration is in no network", Remedy: "write the file with the status not_updated and all else FF"},
	}
}

// location is what the files of the location have in common.
type location struct {
	Path   string
	Status string
	Area   ef.Area
	Known  bool // there is a temporary identity
}

// locations are those of the application.
func (v *view) locations() []location {
	var list []location
	add := func(name, status string, area ef.Area, known bool) {
		list = append(list, location{v.at(name), status, area, known})
	}
	used := func(h ef.Hex) bool { return slices.ContainsFunc(h, func(b byte) bool { return b != 0xFF }) }
	if v.files[v.at("EF.LOCI")] != nil {
		if l := read[ef.LOCI](v, v.at("EF.LOCI")); l != nil {
			add("EF.LOCI", l.Status, l.LAI, used(l.TMSI))
		}
	}
	for _, name := range []string{"EF.PSLOCI", "EF.LOCIGPRS"} {
		if v.files[v.at(name)] == nil {
			continue
		}
		if l := read[ef.PSLOCI](v, v.at(name)); l != nil {
			add(name, l.Status, l.RAI, used(l.PTMSI))
		}
	}
	if v.files[v.at("EF.EPSLOCI")] != nil {
		if l := read[ef.EPSLOCI](v, v.at("EF.EPSLOCI")); l != nil {
			add("EF.EPSLOCI", l.Status, l.TAI, l.GUTI != nil)
		}
	}
	for _, name := range []string{"DF.5GS/EF.5GS3GPPLOCI", "DF.5GS/EF.5GSN3GPPLOCI"} {
		if v.files[v.at(name)] == nil {
			continue
		}
		if l := read[ef.LOCI5GS](v, v.at(name)); l != nil {
			add(name, l.Status, l.TAI, l.GUTI != nil)
		}
	}
	return list
}

func judgeForbidden(v *view) {
	for _, l := range v.locations() {
		if strings.HasSuffix(l.Status, "_not_allowed") {
			v.find(l.Path, "%s, area %s in %s", l.Status, code(l.Area), l.Area.PLMN)
		}
	}
}

func code(a ef.Area) string {
	b, _ := a.Code.MarshalText() // does not fail
	return string(b)
}

func judgeStatus(v *view) {
	for _, l := range v.locations() {
		if strings.HasPrefix(l.Status, "0x") {
			v.find(l.Path, "status %s", l.Status)
		}
	}
}

func judgeUpdated(v *view) {
	for _, l := range v.locations() {
		switch {
		case l.Status != "updated":
		case !l.Known:
			v.find(l.Path, "updated, without a temporary identity")
		case l.Area.PLMN == "none":
			v.find(l.Path, "updated, without an area")
		}
	}
}

func judgeArea(v *view) {
	for _, l := range v.locations() {
		if strings.HasPrefix(string(l.Area.PLMN), "0x") {
			v.find(l.Path, "%s", l.Area.PLMN)
		}
	}
}
