package lint

import (
	"slices"

	"mcim/apdu/ef"
)

// smsRules are about short messages.
func smsRules() []Rule {
	return []Rule{
		{ID: "smsp-centre", Severity: Warning, Clause: "TS 31.102, 4.2.27", scope: ofUSIM, judge: judgeCentre,
			What: "no record of EF.SMSP has a service centre: no short message can be sent", Remedy: "write EF.SMSP with service_centre, and service_centre in present"},
		{ID: "smsp-number", Severity: Warning, Clause: "TS 31.102, 4.2.27", scope: ofUSIM, judge: judgeCentreNumber,
			What: "the service centre is no international number, so that it is not reached from abroad", Remedy: "write service_centre with type international, plan isdn and all digits"},
		{ID: "sms-full", Severity: Warning, Clause: "TS 31.102, 4.2.25", scope: ofUSIM, judge: judgeSMSFull,
			What: "the card has no room for short messages, and a network may stop to deliver", Remedy: "write a record of EF.SMS with the status free, and EF.SMSS without memory_exceeded"},
	}
}

// centres are the service centres of EF.SMSP; ok where it is seen and has its
// service.
func (v *view) centres() (centres []ef.Number, ok bool) {
	ust, path := v.services(), v.at("EF.SMSP")
	if ust == nil || !ust.Has(12) || v.files[path] == nil {
		return nil, false
	}
	records := readRecords[ef.SMSParameters](v, path)
	for _, p := range records {
		if p != nil && p.ServiceCentre != nil && p.ServiceCentre.Digits != "" && slices.Contains(p.Present, "service_centre") {
			centres = append(centres, *p.ServiceCentre)
		}
	}
	return centres, records != nil
}

func judgeCentre(v *view) {
	if centres, ok := v.centres(); ok && len(centres) == 0 {
		v.find(v.at("EF.SMSP"), "no record has one")
	}
}

func judgeCentreNumber(v *view) {
	centres, _ := v.centres()
	for _, n := range centres {
		if n.Type != "international" {
			v.find(v.at("EF.SMSP"), "%s, type %s", n.Digits, n.Type)
		}
	}
}

func judgeSMSFull(v *view) {
	if path := v.at("EF.SMSS"); v.files[path] != nil {
		if s := read[ef.SMSStatus](v, path); s != nil && slices.Contains(s.Flags, "memory_exceeded") {
			v.find(path, "memory_exceeded is set")
		}
	}
	path := v.at("EF.SMS")
	if v.files[path] == nil {
		return
	}
	records := readRecords[ef.ShortMessage](v, path)
	free := func(m *ef.ShortMessage) bool { return m == nil || m.Status == "free" }
	if len(records) > 0 && !slices.ContainsFunc(records, free) {
		v.find(path, "all %s are in use", count(len(records), "record", "records"))
	}
}
