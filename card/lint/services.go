package lint

import (
	"slices"

	"mcim/apdu/ef"
)

// serviceRules are about EF.UST, EF.EST and EF.SST against the files.
func serviceRules() []Rule {
	return []Rule{
		{ID: "ust-empty", Severity: Error, Clause: "TS 31.102, 4.2.8", scope: ofUSIM, judge: judgeUSTEmpty,
			What: "EF.UST is empty: every service is on or none", Remedy: "write EF.UST with the services for which the card has files"},
		{ID: "ust-file-missing", Severity: Warning, Clause: "TS 31.102, 4.2.8", scope: ofUSIM, judge: judgeFileMissing,
			What: "EF.UST has a service whose file is not on the card", Remedy: "take the service out of EF.UST, or have the issuer create the file"},
		{ID: "ust-service-off", Severity: Warning, Clause: "TS 31.102, 4.2.8", scope: ofUSIM, judge: judgeServiceOff,
			What: "a file that registration uses is there, and EF.UST has not its service, so that no terminal reads it", Remedy: "add the service to EF.UST"},
		{ID: "est-fdn", Severity: Warning, Clause: "TS 31.102, 5.3.6", scope: ofUSIM, judge: judgeFDN,
			What: "fixed dialling is on: calls and messages go to the numbers of EF.FDN alone, and some modems give no data", Remedy: "take fixed_dialling out of EF.EST, which needs PIN2"},
		{ID: "est-acl", Severity: Warning, Clause: "TS 31.102, 4.2.48", scope: ofUSIM, judge: judgeACL,
			What: "the control of access points is on, and EF.ACL names none: no data connection can be opened", Remedy: "add the access point to EF.ACL, or take apn_control out of EF.EST"},
		{ID: "sst-activated", Severity: Warning, Clause: "TS 51.011, 10.3.7", scope: ofCard, judge: judgeSST,
			What: "a service of EF.SST is activated and not allocated", Remedy: "set both bits of the service in EF.SST, or none"},
		{ID: "spn-empty", Severity: Info, Clause: "TS 31.102, 4.2.12", scope: ofUSIM, judge: judgeSPN,
			What: "service 19 is on, and EF.SPN has no name", Remedy: "write EF.SPN, or take service 19 out of EF.UST"},
	}
}

// filesOf are the files that a service makes mandatory (TS 31.102, 4.2 to 4.4).
func filesOf() map[ef.USIMService][]string {
	return map[ef.USIMService][]string{
		2: {"EF.FDN"}, 4: {"EF.SDN"}, 6: {"EF.BDN"}, 10: {"EF.SMS", "EF.SMSS"}, 11: {"EF.SMSR"}, 12: {"EF.SMSP"},
		13: {"EF.ACM", "EF.ACMmax"}, 15: {"EF.CBMI"}, 16: {"EF.CBMIR"}, 19: {"EF.SPN"}, 20: {"EF.PLMNwAcT"}, 21: {"EF.MSISDN"},
		24: {"EF.eMLPP"}, 25: {"EF.AAeM"}, 27: {"DF.GSM-ACCESS/EF.Kc", "DF.GSM-ACCESS/EF.KcGPRS"}, 29: {"EF.CBMID"}, 34: {"EF.EST"}, 35: {"EF.ACL"},
		36: {"EF.DCK"}, 37: {"EF.CNL"}, 42: {"EF.OPLMNwAcT"}, 43: {"EF.HPLMNwAcT"}, 45: {"EF.PNN"}, 46: {"EF.OPL"}, 47: {"EF.MBDN", "EF.MBI"},
		48: {"EF.MWIS"}, 49: {"EF.CFIS"}, 51: {"EF.SPDI"}, 68: {"EF.GBABP", "EF.GBANL"}, 71: {"EF.EHPLMN"}, 73: {"EF.EHPLMNPI"}, 74: {"EF.LRPLMNSI"},
		85: {"EF.EPSLOCI", "EF.EPSNSC"}, 96: {"EF.NASCONFIG"}, 102: {"EF.IPS", "EF.IPD"},
		122: {"DF.5GS/EF.5GS3GPPLOCI", "DF.5GS/EF.5GS3GPPNSC"}, 123: {"DF.5GS/EF.5GAUTHKEYS"}, 126: {"DF.5GS/EF.UAC_AIC"}, 129: {"DF.5GS/EF.OPL5G"},
	}
}

// sought are the services whose files a terminal uses to find a network and to stay
// in it.
var sought = []ef.USIMService{12, 20, 42, 43, 45, 46, 51, 71, 74, 85, 96, 122, 123, 126}

func judgeUSTEmpty(v *view) {
	if ust := read[ef.Services](v, v.at("EF.UST")); ust != nil {
		if why := v.emptyUST(ust); why != "" {
			v.find(v.at("EF.UST"), "%s", why)
		}
	}
}

func judgeFileMissing(v *view) {
	ust := v.services()
	if ust == nil {
		return
	}
	needed := filesOf()
	for _, s := range ust.Services {
		for _, name := range needed[s] {
			if v.missing(v.at(name)) {
				v.find(v.at("EF.UST"), "service %s, and no %s", serviceName(s), name)
			}
		}
	}
}

func serviceName(s ef.USIMService) string {
	b, _ := s.MarshalText() // does not fail
	return string(b)
}

func judgeServiceOff(v *view) {
	ust := v.services()
	if ust == nil {
		return
	}
	needed := filesOf()
	for _, s := range sought {
		if ust.Has(s) {
			continue
		}
		for _, name := range needed[s] {
			if v.files[v.at(name)] != nil {
				v.find(v.at("EF.UST"), "%s is there, and service %s is not set", name, serviceName(s))
				break
			}
		}
	}
}

// enabled tells that EF.EST enables something for which EF.UST has the service.
func (v *view) enabled(what string, service ef.USIMService) bool {
	est := read[ef.Enabled](v, v.at("EF.EST"))
	if est == nil || !slices.Contains(est.Enabled, what) {
		return false
	}
	ust := v.services()
	return ust != nil && ust.Has(service)
}

func judgeFDN(v *view) {
	if v.enabled("fixed_dialling", 2) {
		v.find(v.at("EF.EST"), "fixed_dialling is enabled")
	}
}

func judgeACL(v *view) {
	if !v.enabled("apn_control", 35) {
		return
	}
	path := v.at("EF.ACL")
	acl := read[ef.APNControl](v, path)
	if v.unused(path) || acl != nil && (acl.Count == 0 || len(acl.APNs) == 0) {
		v.find(path, "apn_control is enabled, and no access point is listed")
	}
}

func judgeSST(v *view) {
	const path = "DF.GSM/EF.SST"
	sst := read[ef.SIMServices](v, path)
	if sst == nil {
		return
	}
	for _, s := range sst.Activated {
		if !slices.Contains(sst.Allocated, s) {
			v.find(path, "service %d", s)
		}
	}
}

func judgeSPN(v *view) {
	ust, spn := v.services(), read[ef.ProviderName](v, v.at("EF.SPN"))
	if ust == nil || !ust.Has(19) {
		return
	}
	if v.unused(v.at("EF.SPN")) || spn != nil && spn.Name.Text == "" && len(spn.Name.Raw) == 0 {
		v.find(v.at("EF.SPN"), "it has no name")
	}
}
