package lint

import (
	"strings"

	"mcim/apdu/ef"
)

// fivegRules are about DF.5GS and the SUCI.
func fivegRules() []Rule {
	return []Rule{
		{ID: "suci-info", Severity: Warning, Clause: "TS 31.102, 4.4.11.8", scope: ofUSIM, judge: judgeSUCIInfo,
			What: "the terminal is to conceal the identity (service 124), and has nothing to do it with: it uses the null scheme", Remedy: "write EF.SUCI_Calc_Info with the home network's key, or take service 124 out of EF.UST"},
		{ID: "suci-service", Severity: Warning, Clause: "TS 31.102, 4.2.8", scope: ofUSIM, judge: judgeSUCIService,
			What: "service 125, SUCI by the USIM, is set without 124, and means nothing then", Remedy: "add service 124 to EF.UST"},
		{ID: "suci-readable", Severity: Warning, Clause: "TS 31.102, 4.4.11.8", scope: ofUSIM, judge: judgeSUCIReadable,
			What: "the card makes the SUCI (service 125), and EF.SUCI_Calc_Info can be read by the terminal", Remedy: "the issuer has to correct the access rule, or take service 125 out of EF.UST"},
		{ID: "suci-key-index", Severity: Error, Clause: "TS 31.102, 4.4.11.8", scope: ofUSIM, judge: judgeSUCIKey,
			What: "a protection scheme has no key", Remedy: "write EF.SUCI_Calc_Info with key_index as the place of the key in the list, from 1"},
		{ID: "suci-key-length", Severity: Error, Clause: "TS 33.501, C.3.4", scope: ofUSIM, judge: judgeSUCILength,
			What: "a key of the home network has not the length of its scheme", Remedy: "write the key: 32 bytes for profile_a, 33 or 65 for profile_b"},
		{ID: "suci-scheme", Severity: Warning, Clause: "TS 33.501, C.1", scope: ofUSIM, judge: judgeSUCIScheme,
			What: "a protection scheme is unknown, or the null scheme goes before one with a key", Remedy: "write the schemes in the order of preference, null last"},
		{ID: "routing-indicator", Severity: Warning, Clause: "TS 31.102, 4.4.11.11", scope: ofUSIM, judge: judgeRouting,
			What: "the routing indicator is missing though the terminal makes a SUCI: the home network may not find the subscription", Remedy: "write EF.Routing_Indicator, 0 where the operator gave none"},
		{ID: "uac-special", Severity: Warning, Clause: "TS 31.102, 4.4.11.7", scope: ofUSIM, judge: judgeUAC,
			What: "the subscription claims priority (access identity 1 or 2), which a network refuses that has not given it", Remedy: "write EF.UAC_AIC without identities"},
		{ID: "supi-nai", Severity: Error, Clause: "TS 31.102, 4.4.11.10", scope: ofUSIM, judge: judgeSUPI,
			What: "the identity is said to be in EF.SUPI_NAI (service 130), and is not there", Remedy: "write EF.SUPI_NAI, or take service 130 out of EF.UST"},
	}
}

// Services of 5G (TS 31.102, 4.2.8).
const (
	concealed ef.USIMService = 124 // subscription identifier privacy
	byUSIM    ef.USIMService = 125 // SUCI calculation by the USIM
	notIMSI   ef.USIMService = 130 // SUPI of another type than the IMSI
)

const (
	suciInfo         = "DF.5GS/EF.SUCI_Calc_Info"
	routingIndicator = "DF.5GS/EF.Routing_Indicator"
)

func judgeSUCIInfo(v *view) {
	ust := v.services()
	if ust == nil || !ust.Has(concealed) || ust.Has(byUSIM) {
		return
	}
	path := v.at(suciInfo)
	switch {
	case v.files[path] != nil && v.unused(path):
		v.find(path, "it is empty")
	case v.missing(path):
		v.find(path, "the file is not on the card")
	}
}

func judgeSUCIService(v *view) {
	if ust := v.services(); ust != nil && ust.Has(byUSIM) && !ust.Has(concealed) {
		v.find(v.at("EF.UST"), "service %s without %s", serviceName(byUSIM), serviceName(concealed))
	}
}

func judgeSUCIReadable(v *view) {
	ust, f := v.services(), v.files[v.at(suciInfo)]
	if ust == nil || !ust.Has(byUSIM) || f == nil {
		return
	}
	switch right := f.Rights["read"]; {
	case right == "":
		v.unseen("%s: its access rule is not known", f.Path)
	case open(right, true):
		v.find(f.Path, "read: %s", right)
	}
}

// suci is how the SUCI is made. Where the card makes it, that is not seen, and not
// noted: it is as it should be.
func (v *view) suci() *ef.SUCIInfo {
	f := v.files[v.at(suciInfo)]
	if f == nil || f.Decoded == nil && f.Rights["read"] != "" && !open(f.Rights["read"], true) {
		return nil
	}
	return read[ef.SUCIInfo](v, f.Path)
}

func keysOf(info *ef.SUCIInfo) []ef.HomeKey {
	if info.Keys == nil {
		return nil
	}
	return *info.Keys
}

func judgeSUCIKey(v *view) {
	info := v.suci()
	if info == nil {
		return
	}
	keys := keysOf(info)
	for _, s := range info.Schemes {
		if s.Scheme != "null" && (s.Key == 0 || int(s.Key) > len(keys)) {
			v.find(v.at(suciInfo), "%s has key_index %d, and there are %s", s.Scheme, s.Key, count(len(keys), "key", "keys"))
		}
	}
}

func judgeSUCILength(v *view) {
	info := v.suci()
	if info == nil {
		return
	}
	keys := keysOf(info)
	for _, s := range info.Schemes {
		if s.Key == 0 || int(s.Key) > len(keys) {
			continue
		}
		n := len(keys[s.Key-1].Key)
		if s.Scheme == "profile_a" && n != 32 || s.Scheme == "profile_b" && n != 33 && n != 65 {
			v.find(v.at(suciInfo), "%s, key %d: %s", s.Scheme, s.Key, count(n, "byte", "bytes"))
		}
	}
}

func judgeSUCIScheme(v *view) {
	info := v.suci()
	if info == nil {
		return
	}
	for i, s := range info.Schemes {
		switch {
		case strings.HasPrefix(s.Scheme, "0x"):
			v.find(v.at(suciInfo), "scheme %s", s.Scheme)
		case s.Scheme == "null" && i < len(info.Schemes)-1:
			v.find(v.at(suciInfo), "null goes before %s", info.Schemes[i+1].Scheme)
		}
	}
}

func judgeRouting(v *view) { v.holds(concealed, routingIndicator) }

func judgeUAC(v *view) {
	path := v.at("DF.5GS/EF.UAC_AIC")
	ust := v.services()
	if ust == nil || !ust.Has(126) || v.files[path] == nil {
		return
	}
	if a := read[ef.AccessIdentities](v, path); a != nil && len(a.Identities) > 0 {
		v.find(path, "%s", strings.Join(a.Identities, ", "))
	}
}

func judgeSUPI(v *view) { v.holds(notIMSI, "DF.5GS/EF.SUPI_NAI") }

// holds finds a file of the USIM that is missing or empty though the service needs it.
func (v *view) holds(service ef.USIMService, name string) {
	ust, path := v.services(), v.at(name)
	if ust == nil || !ust.Has(service) {
		return
	}
	switch {
	case v.missing(path):
		v.find(path, "the file is not on the card")
	case v.files[path] != nil && v.unused(path):
		v.find(path, "it is empty")
	}
}
