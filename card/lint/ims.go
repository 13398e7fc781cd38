package lint

import (
	"slices"
	"strings"

	"mcim/apdu/ef"
)

// imsRules are about the ISIM.
func imsRules() []Rule {
	return []Rule{
		{ID: "impi-form", Severity: Error, Clause: "TS 23.003, 13.3", scope: ofISIM, judge: judgeIMPI,
			What: "the private identity of IMS is missing or has not the form user@realm", Remedy: "write EF.IMPI as IMSI@ims.mncMNC.mccMCC.3gppnetwork.org, or as the operator gave it"},
		{ID: "impi-imsi", Severity: Warning, Clause: "TS 23.003, 13.3", scope: ofISIM, judge: judgeIMPIIMSI,
			What: "the private identity is made of another IMSI than that of the USIM", Remedy: "write EF.IMPI with the IMSI of the USIM"},
		{ID: "ims-domain", Severity: Warning, Clause: "TS 23.003, 13.2", scope: ofISIM, judge: judgeDomain,
			What: "the home domain of IMS is missing, or that of another network than the IMSI's", Remedy: "write EF.DOMAIN as ims.mncMNC.mccMCC.3gppnetwork.org, or as the operator gave it"},
		{ID: "impu-form", Severity: Error, Clause: "TS 23.003, 13.4", scope: ofISIM, judge: judgeIMPU,
			What: "there is no public identity of IMS, or none that is a SIP URI", Remedy: "write EF.IMPU with sip:IMSI@ims.mncMNC.mccMCC.3gppnetwork.org, or as the operator gave it"},
		{ID: "p-cscf", Severity: Warning, Clause: "TS 31.103, 4.2.8", scope: ofISIM, judge: judgePCSCF,
			What: "service 1 of EF.IST is set, and EF.P-CSCF has no address", Remedy: "write EF.P-CSCF, or take service 1 out of EF.IST"},
		{ID: "ist-file-missing", Severity: Warning, Clause: "TS 31.103, 4.2.7", scope: ofISIM, judge: judgeIST,
			What: "EF.IST has a service whose file is not on the card", Remedy: "take the service out of EF.IST, or have the issuer create the file"},
	}
}

// impi is the private identity; empty where it is not seen.
func (v *view) impi() string {
	if c := read[ef.PrivateIdentity](v, v.at("EF.IMPI")); c != nil {
		return c.NAI
	}
	return ""
}

func judgeIMPI(v *view) {
	path := v.at("EF.IMPI")
	switch {
	case v.missing(path):
		v.find(path, "the file is not on the card")
	case v.unused(path):
		v.find(path, "it is empty")
	default:
		impi := v.impi()
		user, realm, _ := strings.Cut(impi, "@")
		if f := v.files[path]; f != nil && f.Decoded != nil && (user == "" || !strings.Contains(realm, ".") || strings.ContainsAny(impi, " :")) {
			v.find(path, "%q", impi)
		}
	}
}

// usim is the same card as one sees it from its first USIM; nil without one.
func (v *view) usim() *view {
	if v.files["ADF.USIM"] == nil {
		return nil
	}
	return &view{subject: v.subject, files: v.files, app: "ADF.USIM"}
}

// derived tells that a realm is the one that the network of an IMSI gives
// (TS 23.003, 13.2), of whichever network.
func derived(realm string) bool { return strings.HasSuffix(realm, ".3gppnetwork.org") }

func judgeIMPIIMSI(v *view) {
	usim := v.usim()
	if usim == nil {
		return
	}
	user, realm, _ := strings.Cut(v.impi(), "@")
	imsi := usim.imsi()
	v.blind = append(v.blind, usim.blind...)
	if imsi != "" && derived(realm) && user != imsi {
		v.find(v.at("EF.IMPI"), "%s, and the IMSI is %s", user, imsi)
	}
}

func judgeDomain(v *view) {
	path := v.at("EF.DOMAIN")
	if v.missing(path) {
		v.find(path, "the file is not on the card")
		return
	}
	if v.unused(path) {
		v.find(path, "it is empty")
		return
	}
	d, usim := read[ef.HomeDomain](v, path), v.usim()
	if d == nil || usim == nil {
		return
	}
	home := usim.home()
	v.blind = append(v.blind, usim.blind...)
	if home != "" && derived(d.Domain) && d.Domain != domain(home) {
		v.find(path, "%s, and that of %s is %s", d.Domain, home, domain(home))
	}
}

func judgeIMPU(v *view) {
	path := v.at("EF.IMPU")
	if v.missing(path) {
		v.find(path, "the file is not on the card")
		return
	}
	records := readRecords[ef.PublicIdentity](v, path)
	if records == nil || len(v.blind) > 0 {
		return
	}
	var uris []string
	for _, r := range records {
		switch {
		case r == nil:
		case strings.HasPrefix(r.URI, "sip:") && strings.Contains(r.URI, "@"):
			return
		default:
			uris = append(uris, r.URI)
		}
	}
	if len(uris) == 0 {
		v.find(path, "no record is in use")
	} else {
		v.find(path, "%q", uris)
	}
}

func (v *view) isimServices() *ef.ISIMServices { return read[ef.ISIMServices](v, v.at("EF.IST")) }

func judgePCSCF(v *view) {
	ist, path := v.isimServices(), v.at("EF.P-CSCF")
	switch {
	case ist == nil || !ist.Has(1):
	case v.missing(path):
		v.find(path, "the file is not on the card")
	default:
		records := readRecords[ef.ProxyAddress](v, path)
		used := func(a *ef.ProxyAddress) bool { return a != nil && a.PCSCF.Address != "" }
		if len(records) > 0 && len(v.blind) == 0 && !slices.ContainsFunc(records, used) {
			v.find(path, "no record is in use")
		}
	}
}

func judgeIST(v *view) {
	ist := v.isimServices()
	if ist == nil {
		return
	}
	files := map[ef.ISIMService][]string{2: {"EF.GBABP", "EF.GBANL"}, 6: {"EF.SMS", "EF.SMSS"}, 7: {"EF.SMSR"}, 10: {"EF.UICCIARI"}}
	for _, s := range ist.Services {
		for _, name := range files[s] {
			if v.missing(v.at(name)) {
				text, _ := s.MarshalText() // does not fail
				v.find(v.at("EF.IST"), "service %s, and no %s", text, name)
			}
		}
	}
}
