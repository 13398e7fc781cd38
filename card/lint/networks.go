package lint

import (
	"slices"
	"strings"

	"mcim/apdu/ef"
)

// networkRules are about the lists of networks and their names.
func networkRules() []Rule {
	return []Rule{
		{ID: "fplmn-home", Severity: Error, Clause: "TS 31.102, 4.2.16", scope: ofSubscriber, judge: judgeFPLMNHome,
			What: "the home network is forbidden: the terminal does not try to register there by itself", Remedy: "write EF.FPLMN without it, all FF for instance"},
		{ID: "fplmn-full", Severity: Info, Clause: "TS 31.102, 4.2.16", scope: ofSubscriber, judge: judgeFPLMNFull,
			What: "every entry of EF.FPLMN is in use: the card has been refused by many networks", Remedy: "write EF.FPLMN with all FF, so that the terminal tries them again"},
		{ID: "plmn-coding", Severity: Warning, Clause: "TS 24.008, 10.5.1.13", scope: ofSubscriber, judge: judgePLMNCoding,
			What: "a list of networks has an entry that is none", Remedy: "write the list with networks as 262-01; entries without use are FF"},
		{ID: "selector-access", Severity: Warning, Clause: "TS 31.102, 4.2.5", scope: ofSubscriber, judge: judgeSelectorAccess,
			What: "a network is listed without an access technology that exists, so that it is not looked for", Remedy: "write the entry with \"access\", such as eutran, ng_ran or utran"},
		{ID: "hplmn-home", Severity: Warning, Clause: "TS 31.102, 4.2.54", scope: ofUSIM, judge: judgeHPLMN,
			What: "EF.HPLMNwAcT names other networks than the home network", Remedy: "write EF.HPLMNwAcT with the network of the IMSI"},
		{ID: "ehplmn-home", Severity: Warning, Clause: "TS 31.102, 4.2.84", scope: ofUSIM, judge: judgeEHPLMN,
			What: "EF.EHPLMN takes the place of the network of the IMSI, and does not name it", Remedy: "write EF.EHPLMN with the network of the IMSI too, or clear it"},
		{ID: "hpplmn-zero", Severity: Info, Clause: "TS 31.102, 4.2.6", scope: ofSubscriber, judge: judgeHPPLMN,
			What: "abroad the terminal never looks for the home network again", Remedy: "write EF.HPPLMN with a period, such as 5"},
		{ID: "opl-pnn", Severity: Warning, Clause: "TS 31.102, 4.2.59", scope: ofUSIM, judge: judgeOPL,
			What: "EF.OPL or EF.OPL5G refers to a name that EF.PNN has not got", Remedy: "write that record of EF.PNN, or correct pnn_record"},
		{ID: "ecc-empty", Severity: Info, Clause: "TS 31.102, 4.2.21", scope: ofUSIM, judge: judgeECC,
			What: "EF.ECC has no emergency number", Remedy: "write EF.ECC with the numbers of the home country"},
	}
}

// homes are the home network and those of EF.EHPLMN.
func (v *view) homes() []ef.PLMN {
	var list []ef.PLMN
	if home := v.home(); home != "" {
		list = append(list, home)
	}
	if v.files[v.at("EF.EHPLMN")] != nil {
		if e := read[ef.Networks](v, v.at("EF.EHPLMN")); e != nil {
			list = append(list, realNetworks(e.PLMNs)...)
		}
	}
	return list
}

// realNetworks leaves out entries that are not in use, or no network.
func realNetworks(list []ef.PLMN) (networks []ef.PLMN) {
	for _, p := range list {
		if p != "none" && !strings.HasPrefix(string(p), "0x") {
			networks = append(networks, p)
		}
	}
	return networks
}

func judgeFPLMNHome(v *view) {
	forbidden := read[ef.Networks](v, v.at("EF.FPLMN"))
	if forbidden == nil || len(forbidden.PLMNs) == 0 {
		return
	}
	for _, home := range v.homes() {
		if slices.Contains(forbidden.PLMNs, home) {
			v.find(v.at("EF.FPLMN"), "it has %s", home)
		}
	}
}

func judgeFPLMNFull(v *view) {
	path := v.at("EF.FPLMN")
	forbidden := read[ef.Networks](v, path)
	if forbidden == nil {
		return
	}
	if n := len(realNetworks(forbidden.PLMNs)); n >= fewestFPLMN && 6*n == len(v.files[path].Raw)/6*6 {
		v.find(path, "all %d entries are in use", n)
	}
}

// fewestFPLMN is how many entries EF.FPLMN has at least.
const fewestFPLMN = 4

// selectors are the lists of networks with access technologies.
func (v *view) selectors(do func(path string, s ef.Selector)) {
	for _, name := range []string{"EF.PLMNwAcT", "EF.OPLMNwAcT", "EF.HPLMNwAcT"} {
		path := v.at(name)
		if v.files[path] == nil {
			continue
		}
		if list := read[ef.SelectorList](v, path); list != nil {
			for _, s := range list.Entries {
				do(path, s)
			}
		}
	}
}

func judgePLMNCoding(v *view) {
	bad := func(path string, p ef.PLMN) {
		if strings.HasPrefix(string(p), "0x") {
			v.find(path, "%s", p)
		}
	}
	v.selectors(func(path string, s ef.Selector) { bad(path, s.PLMN) })
	for _, name := range []string{"EF.FPLMN", "EF.EHPLMN"} {
		if v.files[v.at(name)] == nil {
			continue
		}
		if list := read[ef.Networks](v, v.at(name)); list != nil {
			for _, p := range list.PLMNs {
				bad(v.at(name), p)
			}
		}
	}
	if v.files[v.at("EF.SPDI")] == nil {
		return
	}
	if list := read[ef.DisplayedAsHome](v, v.at("EF.SPDI")); list != nil {
		for _, p := range list.PLMNs {
			bad(v.at("EF.SPDI"), p)
		}
	}
}

func judgeSelectorAccess(v *view) {
	v.selectors(func(path string, s ef.Selector) {
		named := slices.ContainsFunc(s.Access, func(a string) bool { return !strings.HasPrefix(a, "bit_") })
		if len(realNetworks([]ef.PLMN{s.PLMN})) > 0 && !named {
			v.find(path, "%s", s.PLMN)
		}
	})
}

func judgeHPLMN(v *view) {
	path := v.at("EF.HPLMNwAcT")
	list := read[ef.SelectorList](v, path)
	if list == nil || v.home() == "" {
		return
	}
	var networks []ef.PLMN
	for _, s := range list.Entries {
		networks = append(networks, s.PLMN)
	}
	if networks = realNetworks(networks); len(networks) == 0 {
		return
	}
	if !slices.ContainsFunc(v.homes(), func(home ef.PLMN) bool { return slices.Contains(networks, home) }) {
		v.find(path, "%s, and the home network is %s", join(networks), v.home())
	}
}

func join(networks []ef.PLMN) string {
	var words []string
	for _, p := range networks {
		words = append(words, string(p))
	}
	return strings.Join(words, ", ")
}

func judgeEHPLMN(v *view) {
	path := v.at("EF.EHPLMN")
	list := read[ef.Networks](v, path)
	if list == nil {
		return
	}
	networks, home := realNetworks(list.PLMNs), v.home()
	if len(networks) > 0 && home != "" && !slices.Contains(networks, home) {
		v.find(path, "%s, and the IMSI is of %s", join(networks), home)
	}
}

func judgeHPPLMN(v *view) {
	if p := read[ef.SearchPeriod](v, v.at("EF.HPPLMN")); p != nil && p.Period == 0 {
		v.find(v.at("EF.HPPLMN"), "the period is 0")
	}
}

func judgeOPL(v *view) {
	type area struct {
		PLMN ef.PLMN `json:"plmn"`
		Name int     `json:"pnn_record"`
	}
	for _, name := range []string{"EF.OPL", "DF.5GS/EF.OPL5G"} {
		path := v.at(name)
		if v.files[path] == nil {
			continue
		}
		for i, a := range readRecords[area](v, path) {
			if a != nil && a.Name > 0 {
				v.named(path, i+1, a.Name)
			}
		}
	}
}

// named looks for record n of EF.PNN.
func (v *view) named(path string, record, n int) {
	pnn := v.at("EF.PNN")
	f := v.files[pnn]
	switch {
	case f == nil && v.missing(pnn):
		v.find(path, "record %d refers to record %d of EF.PNN, which is not on the card", record, n)
	case f == nil || f.Error != "":
		v.decoded(pnn)
	case n > len(f.Records):
		v.find(path, "record %d refers to record %d of EF.PNN, which has %d", record, n, len(f.Records))
	case strings.Trim(f.Records[n-1], "f") == "":
		v.find(path, "record %d refers to record %d of EF.PNN, which is empty", record, n)
	}
}

func judgeECC(v *view) {
	path := v.at("EF.ECC")
	if v.files[path] == nil {
		return
	}
	records := readRecords[ef.EmergencyCode](v, path)
	if len(records) > 0 && !slices.ContainsFunc(records, func(c *ef.EmergencyCode) bool { return c != nil }) && len(v.blind) == 0 {
		v.find(path, "no record is in use")
	}
}
