package lint

import (
	"strings"

	"mcim/apdu/ef"
)

// keyRules are about the keys that a terminal keeps on the card. The keys themselves
// are not seen.
func keyRules() []Rule {
	return []Rule{
		{ID: "key-set", Severity: Warning, Clause: "TS 31.102, 4.2.3", scope: ofSubscriber, judge: judgeKeySet,
			What: "a key set identifier is none of 0 to 7, so that the keys of another network are taken for good ones", Remedy: "write the file with 07, no key"},
		{ID: "start-threshold", Severity: Info, Clause: "TS 31.102, 4.2.52", scope: ofUSIM, judge: judgeStart,
			What: "START has reached THRESHOLD: the keys are deleted each time the terminal is switched on", Remedy: "write EF.START-HFN with f00000 twice, its first value, or a higher EF.THRESHOLD"},
		{ID: "nas-context", Severity: Warning, Clause: "TS 31.102, 4.2.92", scope: ofUSIM, judge: judgeNASContext,
			What: "the security context of EPS or 5G lacks a part, or has no integrity", Remedy: "write the record with all FF: the terminal authenticates anew"},
		{ID: "nas-count", Severity: Warning, Clause: "TS 33.401, 6.5", scope: ofUSIM, judge: judgeNASCount,
			What: "a counter of the security context is about to end", Remedy: "write the record with all FF: the terminal authenticates anew"},
		{ID: "gba-btid", Severity: Info, Clause: "TS 33.220, 4.5.2", scope: ofUSIM, judge: judgeBTID,
			What: "EF.GBABP names a bootstrapped key in no way that a server understands", Remedy: "write EF.GBABP with all FF: the terminal bootstraps anew"},
	}
}

// noKey is the key set identifier that stands for no key.
const noKey = 7

func judgeKeySet(v *view) {
	for _, name := range []string{"EF.Keys", "EF.KeysPS"} {
		v.keySet(v.at(name), "ksi")
	}
	for _, name := range []string{"EF.Kc", "EF.KcGPRS", "DF.GSM-ACCESS/EF.Kc", "DF.GSM-ACCESS/EF.KcGPRS"} {
		v.keySet(v.at(name), "cksn")
	}
}

func (v *view) keySet(path, field string) {
	if v.files[path] == nil {
		return
	}
	if set := read[map[string]any](v, path); set != nil {
		if n, ok := (*set)[field].(float64); ok && n > noKey {
			v.find(path, "%s is %.0f", field, n)
		}
	}
}

func judgeStart(v *view) {
	start, threshold := read[ef.StartHFN](v, v.at("EF.START-HFN")), read[ef.Threshold](v, v.at("EF.THRESHOLD"))
	if start == nil || threshold == nil {
		return
	}
	const value = 0xFFFFF // 20 bit; the upper ones of the first value are none
	if start.CS&value >= threshold.Max || start.PS&value >= threshold.Max {
		v.find(v.at("EF.START-HFN"), "%06x for CS and %06x for PS, and the threshold is %06x", start.CS, start.PS, threshold.Max)
	}
}

// nasContext is a record of a file with security contexts, in either system.
type nasContext struct {
	KSI        *int              `json:"ksi_asme"`
	KSI5G      *int              `json:"ng_ksi"`
	KASME      *string           `json:"k_asme"`
	KAMF       *string           `json:"k_amf"`
	Uplink     *uint32           `json:"uplink_nas_count"`
	Downlink   *uint32           `json:"downlink_nas_count"`
	Algorithms *ef.NASAlgorithms `json:"algorithms"`
}

// contexts calls do with each security context that is in use.
func (v *view) contexts(do func(path string, record int, c *nasContext)) {
	for _, name := range []string{"EF.EPSNSC", "DF.5GS/EF.5GS3GPPNSC", "DF.5GS/EF.5GSN3GPPNSC"} {
		path := v.at(name)
		if v.files[path] == nil {
			continue
		}
		for i, c := range readRecords[nasContext](v, path) {
			if c == nil {
				continue
			}
			ksi := c.KSI
			if ksi == nil {
				ksi = c.KSI5G
			}
			if ksi != nil && *ksi&noKey != noKey {
				do(path, i+1, c)
			}
		}
	}
}

func judgeNASContext(v *view) {
	v.contexts(func(path string, record int, c *nasContext) {
		var lacks []string
		if c.KASME == nil && c.KAMF == nil {
			lacks = append(lacks, "the key")
		}
		if c.Uplink == nil || c.Downlink == nil {
			lacks = append(lacks, "a counter")
		}
		switch {
		case c.Algorithms == nil:
			lacks = append(lacks, "the algorithms")
		case c.Algorithms.Integrity == 0:
			lacks = append(lacks, "integrity")
		}
		if len(lacks) > 0 {
			v.find(path, "record %d lacks %s", record, strings.Join(lacks, ", "))
		}
	})
}

// lastCounts are where a NAS COUNT of 24 bit is as good as used up.
const lastCounts = 0xFFFF00

func judgeNASCount(v *view) {
	v.contexts(func(path string, record int, c *nasContext) {
		for _, n := range []*uint32{c.Uplink, c.Downlink} {
			if n != nil && *n >= lastCounts {
				v.find(path, "record %d: a counter is %06x", record, *n)
			}
		}
	})
}

func judgeBTID(v *view) {
	path := v.at("EF.GBABP")
	if v.files[path] == nil {
		return
	}
	if b := read[ef.Bootstrapping](v, path); b != nil && len(b.RAND) > 0 && !strings.Contains(b.BTID, "@") {
		v.find(path, "the B-TID is %q", b.BTID)
	}
}
