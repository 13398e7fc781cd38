package lint

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"mcim/apdu"
	"mcim/apdu/ef"
	"mcim/apdu/uicc"
	"mcim/card"
	"mcim/card/aka"
	"mcim/card/dump"
	"mcim/card/emul"
)

// trigger is one change of a good card.
type trigger struct {
	profile func(p *emul.Profile)
	write   map[string]string      // documents of files that are written to the card, or 0x and hex
	doc     func(d *dump.Document) // what cannot be written to the software UICC
	subject func(s *Subject)
}

// triggers have a card for every rule, by its ID.
func triggers() map[string][]trigger {
	doc := func(f func(d *dump.Document)) trigger { return trigger{doc: f} }
	write := func(path, content string) trigger { return trigger{write: map[string]string{path: content}} }
	subject := func(f func(s *Subject)) trigger { return trigger{subject: f} }
	without := func(path string) trigger { return doc(func(d *dump.Document) { remove(d, path) }) }
	right := func(path, op, who string) trigger {
		return doc(func(d *dump.Document) { at(d, path).Rights[op] = who })
	}
	// with puts files and services into the card.
	with := func(services []int, files map[string][]string) trigger {
		return doc(func(d *dump.Document) {
			for path, contents := range files {
				put(d, path, contents...)
			}
			serve(d, services...)
		})
	}
	rehearsed := func(r Rehearsal) trigger {
		return subject(func(s *Subject) {
			r.IMSI = testIMSI
			s.AKA = &r
		})
	}
	tries := func(pin, puk int) trigger {
		return subject(func(s *Subject) { s.Probe.PINs[0].Tries, s.Probe.PINs[0].PUKTries = &pin, &puk })
	}
	const suci = "ADF.USIM/DF.5GS/EF.SUCI_Calc_Info"
	// ownSUCI lets the terminal make the SUCI.
	ownSUCI := func(content string) trigger {
		return doc(func(d *dump.Document) {
			unserve(d, 125)
			at(d, suci).Rights["read"], at(d, suci).Error = "PIN1 (01)", ""
			put(d, suci, content)
		})
	}
	keyA := strings.Repeat("5a", 32)
	return map[string][]trigger{
		"atr":           {doc(func(d *dump.Document) { d.ATR = d.ATR[:len(d.ATR)-2] + "00" }), doc(func(d *dump.Document) { d.ATR = "x" })},
		"voltage":       {doc(func(d *dump.Document) { d.ATR = "3b80801f011e" })},
		"iccid-missing": {without("MF/EF.ICCID"), doc(func(d *dump.Document) { put(d, "MF/EF.ICCID", "null") }), doc(func(d *dump.Document) { put(d, "MF/EF.ICCID", "0x00aabbccddeeff001122") })},
		"iccid-form":    {{profile: func(p *emul.Profile) { p.ICCID = "7999901000000000014" }}},
		"iccid-luhn":    {{profile: func(p *emul.Profile) { p.ICCID = "8999901000000000018" }}},
		"dir-missing":   {without("MF/EF.DIR"), doc(func(d *dump.Document) { put(d, "MF/EF.DIR", "null", "null") })},
		"dir-malformed": {write("MF/EF.DIR#2", "0x610f4f0ba0000000871004ff49ff05")},
		"dir-application": {
			write("MF/EF.DIR#2", `{"aid":"a00000000000000001"}`), write("MF/EF.DIR#2", `{"aid":"a0000000871004ffffffff01"}`),
			doc(func(d *dump.Document) { at(d, "ADF.ISIM").Error = "SELECT refused: 6985"; remove(d, "ADF.ISIM/") }),
		},
		"dir-unlisted": {write("MF/EF.DIR#2", "null")},

		"pin-blocked": {tries(0, 10)},
		"puk-blocked": {tries(0, 0)},
		"pin-tries":   {tries(2, 10)},
		"puk-tries":   {tries(3, 1)},
		"pin-status":  {doc(func(d *dump.Document) { at(d, "ADF.USIM").FCP.PINs = nil })},

		"file-mandatory": {without("ADF.USIM/EF.ACC"), without("ADF.USIM/EF.Keys")},
		"file-expected":  {without("ADF.USIM/EF.FPLMN"), without("ADF.USIM/EF.ECC")},
		"file-deactivated": {doc(func(d *dump.Document) { at(d, "ADF.USIM/EF.SPN").FCP.LifeCycle = "deactivated" }),
			doc(func(d *dump.Document) { at(d, "ADF.USIM").FCP.LifeCycle = "terminated" })},
		"file-structure": {doc(func(d *dump.Document) { at(d, "ADF.USIM/EF.SPN").Structure = "cyclic" })},
		"file-size": {doc(func(d *dump.Document) { *at(d, "ADF.USIM/EF.LOCI").FCP.Size = 12 }),
			doc(func(d *dump.Document) { at(d, "ADF.USIM/EF.EPSNSC").FCP.RecordLength = 20 })},
		"file-content": {write("ADF.USIM/EF.GBABP", "0x05")},
		"file-unreadable": {doc(func(d *dump.Document) { at(d, "ADF.USIM/EF.SPN").FCP = &dump.FCP{Error: "no template"} }),
			doc(func(d *dump.Document) { at(d, "ADF.USIM/EF.SPN").Error = "not read: READ BINARY: 6581" })},

		"key-readable":      {right("ADF.USIM/EF.Keys", "read", "always")},
		"identity-writable": {right("ADF.USIM/EF.IMSI", "update", "PIN1 (01)"), right("ADF.USIM/EF.AD", "update", "ADM1 or always")},
		"identity-locked":   {right("ADF.USIM/EF.IMSI", "read", "ADM1"), right("ADF.USIM/EF.AD", "read", "PIN1 (01) and ADM1")},
		"state-locked":      {right("ADF.USIM/EF.EPSLOCI", "update", "never")},
		"arr-dangling": {
			doc(func(d *dump.Document) { at(d, "ADF.USIM/EF.IMSI").FCP.ARR.Record = 20 }),
			doc(func(d *dump.Document) {
				at(d, "ADF.USIM/EF.IMSI").FCP.ARR = &dump.ARR{FID: "6f06", BySE: map[string]byte{"01": 0}}
			}),
			doc(func(d *dump.Document) { at(d, "ADF.USIM/EF.IMSI").FCP.ARR.FID = "6f99" }),
			doc(func(d *dump.Document) { at(d, "ADF.USIM/DF.5GS/EF.5GAUTHKEYS").FCP.ARR.FID = "2f99" }),
			doc(func(d *dump.Document) {
				arr := at(d, "ADF.ISIM/EF.ARR")
				arr.Records[at(d, "ADF.ISIM/EF.IMPI").FCP.ARR.Record-1] = strings.Repeat("ff", 24)
			}),
		},

		"imsi-missing":   {without("ADF.USIM/EF.IMSI"), write("ADF.USIM/EF.IMSI", "null"), write("ADF.USIM/EF.IMSI", "0x08012345ff")},
		"imsi-country":   {{profile: func(p *emul.Profile) { p.IMSI = "100010000000001" }}},
		"imsi-length":    {{profile: func(p *emul.Profile) { p.IMSI = "00101000001" }}},
		"imsi-gsm":       {doc(func(d *dump.Document) { put(d, "DF.GSM/EF.IMSI", `{"imsi":"001010000000091"}`) })},
		"ad-missing":     {write("ADF.USIM/EF.AD", "null"), doc(func(d *dump.Document) { put(d, "ADF.USIM/EF.AD", "0x0000") })},
		"ad-mnc-length":  {doc(func(d *dump.Document) { put(d, "ADF.USIM/EF.AD", "0x000000") }), write("ADF.USIM/EF.AD", "0x00000000")},
		"ad-mnc-country": {{profile: func(p *emul.Profile) { p.IMSI = "310010000000001" }}, {profile: func(p *emul.Profile) { p.IMSI, p.MNCLength = "262010000000001", 3 }}},
		"ad-mode":        {write("ADF.USIM/EF.AD", `{"mode":"type_approval","facilities":[],"mnc_length":2}`), write("ADF.USIM/EF.AD", "0x70000002")},
		"acc-none":       {write("ADF.USIM/EF.ACC", `{"classes":[]}`), write("ADF.USIM/EF.ACC", "null")},
		"acc-several":    {write("ADF.USIM/EF.ACC", `{"classes":[1,2]}`)},
		"acc-imsi":       {write("ADF.USIM/EF.ACC", `{"classes":[2]}`)},
		"acc-special":    {write("ADF.USIM/EF.ACC", `{"classes":[1,15]}`)},

		"ust-empty":        {write("ADF.USIM/EF.UST", `{"services":[]}`), write("ADF.USIM/EF.UST", "0x"+strings.Repeat("ff", 18))},
		"ust-file-missing": {without("ADF.USIM/EF.EPSNSC"), without("ADF.USIM/DF.5GS/EF.UAC_AIC")},
		"ust-service-off":  {doc(func(d *dump.Document) { unserve(d, 85) })},
		"est-fdn":          {with([]int{2}, map[string][]string{"ADF.USIM/EF.FDN": {"null"}, "ADF.USIM/EF.EST": {`{"enabled":["fixed_dialling"]}`}})},
		"est-acl": {
			with([]int{35}, map[string][]string{"ADF.USIM/EF.ACL": {"null"}, "ADF.USIM/EF.EST": {`{"enabled":["apn_control"]}`}}),
			with([]int{35}, map[string][]string{"ADF.USIM/EF.ACL": {`{"count":0,"apns":[]}`}, "ADF.USIM/EF.EST": {`{"enabled":["apn_control"]}`}}),
		},
		"sst-activated": {doc(func(d *dump.Document) { put(d, "DF.GSM/EF.SST", `{"allocated":[1],"activated":[1,5]}`) })},
		"spn-empty":     {write("ADF.USIM/EF.SPN", "null"), write("ADF.USIM/EF.SPN", `{"display":[],"name":{}}`)},

		"fplmn-home": {write("ADF.USIM/EF.FPLMN", `{"plmns":["262-01","001-01"]}`),
			with([]int{71}, map[string][]string{"ADF.USIM/EF.EHPLMN": {`{"plmns":["001-01","001-02"]}`}, "ADF.USIM/EF.FPLMN": {`{"plmns":["001-02"]}`}})},
		"fplmn-full":  {write("ADF.USIM/EF.FPLMN", `{"plmns":["262-01","262-02","262-03","262-07"]}`)},
		"plmn-coding": {write("ADF.USIM/EF.FPLMN", `{"plmns":["0x00ffaa"]}`), with([]int{51, 71}, map[string][]string{"ADF.USIM/EF.SPDI": {`{"plmns":["0xaaaaaa"]}`}, "ADF.USIM/EF.EHPLMN": {`{"plmns":["001-01","0xaaaaaa"]}`}})},
		"selector-access": {
			with([]int{42}, map[string][]string{"ADF.USIM/EF.OPLMNwAcT": {`{"entries":[{"plmn":"262-01","access":[]}]}`}}),
			with([]int{20}, map[string][]string{"ADF.USIM/EF.PLMNwAcT": {`{"entries":[{"plmn":"262-01","access":["bit_0"]}]}`}}),
		},
		"hplmn-home":  {with([]int{43}, map[string][]string{"ADF.USIM/EF.HPLMNwAcT": {`{"entries":[{"plmn":"262-01","access":["eutran"]}]}`}})},
		"ehplmn-home": {with([]int{71}, map[string][]string{"ADF.USIM/EF.EHPLMN": {`{"plmns":["262-01"]}`}})},
		"hpplmn-zero": {write("ADF.USIM/EF.HPPLMN", `{"period":0}`)},
		"opl-pnn": {
			with([]int{45, 46}, map[string][]string{"ADF.USIM/EF.OPL": {`{"plmn":"001-01","area_low":"0000","area_high":"fffe","pnn_record":2}`}, "ADF.USIM/EF.PNN": {"0x430a82c596b34cbfbfe5eb39"}}),
			with([]int{45, 46}, map[string][]string{"ADF.USIM/EF.OPL": {`{"plmn":"001-01","area_low":"0000","area_high":"fffe","pnn_record":1}`}, "ADF.USIM/EF.PNN": {"null"}}),
			doc(func(d *dump.Document) {
				put(d, "ADF.USIM/EF.OPL", `{"plmn":"001-01","area_low":"0000","area_high":"fffe","pnn_record":1}`)
				serve(d, 46)
				unserve(d, 45)
				remove(d, "ADF.USIM/EF.PNN")
			}),
		},
		"ecc-empty": {doc(func(d *dump.Document) { put(d, "ADF.USIM/EF.ECC", "null", "null") })},

		"loci-forbidden": {
			write("ADF.USIM/EF.LOCI", `{"tmsi":"ffffffff","lai":{"plmn":"262-01","code":"fffe"},"rfu":255,"status":"network_not_allowed"}`),
			write("ADF.USIM/EF.EPSLOCI", `{"tai":{"plmn":"262-01","code":"fffe"},"status":"roaming_not_allowed"}`),
		},
		"loci-status":  {write("ADF.USIM/EF.PSLOCI", "0xffffffffffffffffffffffffff77")},
		"loci-updated": {write("ADF.USIM/EF.EPSLOCI", `{"tai":{"plmn":"262-01","code":"0001"},"status":"updated"}`), write("ADF.USIM/EF.LOCI", "0x01020304fffffffffeff00")},
		"loci-network": {write("ADF.USIM/EF.LOCI", "0xffffffffaaaaaa0001ff01")},

		"smsp-centre": {smsp(`{"name":{},"present":[],"protocol_identifier":0,"data_coding_scheme":0,"validity_period":0}`), smsp("null")},
		"smsp-number": {smsp(`{"name":{},"present":["service_centre"],"service_centre":{"type":"national","plan":"isdn","digits":"12345"},"protocol_identifier":0,"data_coding_scheme":0,"validity_period":0}`)},
		"sms-full": {
			with([]int{10}, map[string][]string{"ADF.USIM/EF.SMS": {"null"}, "ADF.USIM/EF.SMSS": {`{"last_message_reference":1,"flags":["memory_exceeded"]}`}}),
			with([]int{10}, map[string][]string{"ADF.USIM/EF.SMS": {`{"status":"received_read"}`}, "ADF.USIM/EF.SMSS": {`{"last_message_reference":1,"flags":[]}`}}),
		},

		"key-set":         {write("ADF.USIM/EF.KeysPS", "0x09"), write("ADF.USIM/DF.GSM-ACCESS/EF.Kc", "0x000102030405060708")},
		"start-threshold": {write("ADF.USIM/EF.THRESHOLD", `{"max_start":0}`)},
		"nas-context": {write("ADF.USIM/EF.EPSNSC#1", "0xa009800100820400000000"),
			write("ADF.USIM/EF.EPSNSC#1", "0xa0348001008120"+strings.Repeat("11", 32)+"82040000000083040000000084010"+"0")},
		"nas-count": {write("ADF.USIM/EF.EPSNSC#1", "0xa0348001008120"+strings.Repeat("11", 32)+"820400ffff0083040000000084010"+"2")},
		"gba-btid":  {write("ADF.USIM/EF.GBABP", "0x01aa0162"+"0163")},

		"suci-info":     {doc(func(d *dump.Document) { unserve(d, 125); remove(d, suci) }), ownSUCI("null")},
		"suci-service":  {doc(func(d *dump.Document) { unserve(d, 124) })},
		"suci-readable": {right(suci, "read", "PIN1 (01)")},
		"suci-key-index": {
			ownSUCI(`{"schemes":[{"scheme":"profile_a","key_index":2}],"home_network_keys":[{"id":1,"public_key":"` + keyA + `"}]}`),
			ownSUCI(`{"schemes":[{"scheme":"profile_b","key_index":0}]}`),
		},
		"suci-key-length":   {ownSUCI(`{"schemes":[{"scheme":"profile_b","key_index":1}],"home_network_keys":[{"id":1,"public_key":"` + keyA + `"}]}`)},
		"suci-scheme":       {ownSUCI(`{"schemes":[{"scheme":"null","key_index":0},{"scheme":"profile_a","key_index":1}],"home_network_keys":[{"id":1,"public_key":"` + keyA + `"}]}`), ownSUCI(`{"schemes":[{"scheme":"0x0c","key_index":1}],"home_network_keys":[{"id":1,"public_key":"00"}]}`)},
		"routing-indicator": {without("ADF.USIM/DF.5GS/EF.Routing_Indicator"), write("ADF.USIM/DF.5GS/EF.Routing_Indicator", "null")},
		"uac-special":       {write("ADF.USIM/DF.5GS/EF.UAC_AIC", `{"identities":["mission_critical"],"rfu":"000000"}`)},
		"supi-nai":          {with([]int{130}, map[string][]string{"ADF.USIM/DF.5GS/EF.SUPI_NAI": {"null"}}), doc(func(d *dump.Document) { remove(d, "ADF.USIM/DF.5GS/EF.SUPI_NAI"); serve(d, 130) })},

		"impi-form":        {without("ADF.ISIM/EF.IMPI"), write("ADF.ISIM/EF.IMPI", "null"), write("ADF.ISIM/EF.IMPI", `{"impi":"me"}`)},
		"impi-imsi":        {write("ADF.ISIM/EF.IMPI", `{"impi":"001010000000002@ims.mnc001.mcc001.3gppnetwork.org"}`)},
		"ims-domain":       {without("ADF.ISIM/EF.DOMAIN"), write("ADF.ISIM/EF.DOMAIN", "null"), write("ADF.ISIM/EF.DOMAIN", `{"domain":"ims.mnc001.mcc262.3gppnetwork.org"}`)},
		"impu-form":        {without("ADF.ISIM/EF.IMPU"), write("ADF.ISIM/EF.IMPU#1", `{"impu":"tel:+491"}`), doc(func(d *dump.Document) { put(d, "ADF.ISIM/EF.IMPU", "null", "null") })},
		"p-cscf":           {without("ADF.ISIM/EF.P-CSCF"), doc(func(d *dump.Document) { put(d, "ADF.ISIM/EF.P-CSCF", "null", "null") })},
		"ist-file-missing": {doc(func(d *dump.Document) { put(d, "ADF.ISIM/EF.IST", `{"services":["7"]}`); remove(d, "ADF.ISIM/EF.SMSR") })},

		"aka-keys":      {rehearsed(Rehearsal{Err: fmt.Errorf("%w: 9862", aka.ErrMAC)})},
		"aka-imsi":      {subject(func(s *Subject) { s.AKA.IMSI = "001010000000002" })},
		"aka-refused":   {rehearsed(Rehearsal{Err: &card.CommandError{Command: "AUTHENTICATE", SW: apdu.StatusWord(0x6F00)}})},
		"aka-unchecked": {rehearsed(Rehearsal{Proof: card.KeyProof{Unchecked: true}})},
		"sqn-behind":    {rehearsed(Rehearsal{Proof: card.KeyProof{SQN: 100 << 5}, Own: sqn(50)})},
		"sqn-ahead":     {rehearsed(Rehearsal{Proof: card.KeyProof{SQN: 100 << 5}, Own: sqn(1 << 40)})},
		"sqn-end":       {rehearsed(Rehearsal{Proof: card.KeyProof{SQN: aka.MaxSEQ << 5}, Own: sqn(aka.MaxSEQ)})},
	}
}

func sqn(seq uint64) *aka.SQN {
	s := aka.SQN(seq << aka.INDBits)
	return &s
}

func smsp(record string) trigger {
	return trigger{doc: func(d *dump.Document) {
		remove(d, "ADF.USIM/EF.SMSP")
		put(d, "ADF.USIM/EF.SMSP", record)
		serve(d, 12)
	}}
}

// at finds a file of a dump.
func at(d *dump.Document, path string) *dump.File {
	i := slices.IndexFunc(d.Files, func(f dump.File) bool { return f.Path == path })
	if i < 0 {
		panic("no " + path)
	}
	return &d.Files[i]
}

// remove takes a file out of a dump, or all with a prefix that ends in a slash.
func remove(d *dump.Document, path string) {
	d.Files = slices.DeleteFunc(d.Files, func(f dump.File) bool {
		return f.Path == path || strings.HasSuffix(path, "/") && strings.HasPrefix(f.Path, path)
	})
}

// encode encodes a document, null, or hex behind 0x; size 0 is what the hex has, or
// enough.
func encode(f ef.File, size int, content string) []byte {
	if digits, ok := strings.CutPrefix(content, "0x"); ok {
		b, err := hex.DecodeString(digits)
		for err == nil && len(b) < size {
			b = append(b, 0xFF)
		}
		if err != nil {
			panic(err)
		}
		return b
	}
	v, err := f.Parse([]byte(content))
	if err != nil {
		panic(err)
	}
	for _, n := range []int{size, 1, 2, 3, 4, 6, 7, 9, 10, 12, 20, 30, 34, 80} {
		if b, err := f.Encode(v, n); n > 0 && err == nil {
			return b
		}
	}
	panic(fmt.Sprintf("%s does not take %s", f.Name, content))
}

// put gives a file of a dump another content, or adds the file.
func put(d *dump.Document, path string, contents ...string) {
	file, ok := ef.ByPath(path)
	if !ok {
		panic("no file " + path)
	}
	i := slices.IndexFunc(d.Files, func(f dump.File) bool { return f.Path == path })
	if i < 0 {
		i = len(d.Files)
		d.Files = append(d.Files, dump.File{Path: path, Name: file.Name, Structure: string(file.Structure), Rights: map[string]string{"read": "PIN1 (01)", "update": "ADM1"}})
	}
	f := &d.Files[i]
	f.Records, f.Raw, f.Undecoded = nil, "", ""
	documents := []json.RawMessage{}
	for _, content := range contents {
		b := encode(file, 0, content)
		v, err := file.Decode(b)
		if err != nil {
			f.Undecoded = err.Error()
		}
		document, _ := json.Marshal(v)
		documents = append(documents, document)
		f.Raw = hex.EncodeToString(b)
		f.Records = append(f.Records, f.Raw)
	}
	if f.Decoded, _ = json.Marshal(documents); file.Structure == ef.Transparent {
		f.Decoded, f.Records = documents[0], nil
	} else {
		f.Raw = ""
	}
	if f.Undecoded != "" && f.Records == nil {
		f.Decoded = nil
	}
}

func ustOf(d *dump.Document) ef.Services {
	var ust ef.Services
	if err := json.Unmarshal(at(d, "ADF.USIM/EF.UST").Decoded, &ust); err != nil {
		panic(err)
	}
	return ust
}

// serve and unserve change EF.UST.
func serve(d *dump.Document, services ...int) {
	ust := ustOf(d)
	for _, s := range services {
		if !ust.Has(ef.USIMService(s)) {
			ust.Services = append(ust.Services, ef.USIMService(s))
		}
	}
	at(d, "ADF.USIM/EF.UST").Decoded, _ = json.Marshal(ust)
}

func unserve(d *dump.Document, service ef.USIMService) {
	ust := ustOf(d)
	ust.Services = slices.DeleteFunc(ust.Services, func(s ef.USIMService) bool { return s == service })
	at(d, "ADF.USIM/EF.UST").Decoded, _ = json.Marshal(ust)
}

// good is a card that is as it should be, with AKA done.
func good(t *testing.T) Subject {
	t.Helper()
	return subjectOf(t, trigger{}, nil)
}

// clone copies a subject as deep as triggers change it.
func clone(t *testing.T, s Subject) Subject {
	t.Helper()
	b, err := json.Marshal(s.Document)
	if err != nil {
		t.Fatal(err)
	}
	if s.Document, err = dump.Parse(b); err != nil {
		t.Fatal(err)
	}
	probe := *s.Probe
	probe.PINs = slices.Clone(probe.PINs)
	s.Probe = &probe
	rehearsal := *s.AKA
	s.AKA = &rehearsal
	return s
}

// subjectOf makes the card of a trigger and reads it; base is one without changes, for
// those that change what was read.
func subjectOf(t *testing.T, change trigger, base *Subject) Subject {
	t.Helper()
	if base != nil && change.profile == nil && change.write == nil {
		s := clone(t, *base)
		change.apply(&s)
		return s
	}
	p := profile(t, "usim")
	if change.profile != nil {
		change.profile(&p)
	}
	c, err := emul.New(p)
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range change.write {
		writeFile(t, c, p, path, content)
	}
	s, err := Read(t.Context(), c, withPIN(t, "1234"))
	if err != nil {
		t.Fatal(err)
	}
	own := p.SQN
	s.AKA = &Rehearsal{Proof: card.KeyProof{SQN: own}, IMSI: p.IMSI, Own: &own}
	change.apply(&s)
	return s
}

// apply changes what was read.
func (change trigger) apply(s *Subject) {
	if change.doc != nil {
		change.doc(&s.Document)
	}
	if change.subject != nil {
		change.subject(s)
	}
}

// writeFile writes a file of the card, or with #n a record.
func writeFile(t *testing.T, c card.Card, p emul.Profile, path, content string) {
	t.Helper()
	name, number, _ := strings.Cut(path, "#")
	f, ok := ef.ByPath(name)
	if !ok {
		t.Fatalf("no file %s", name)
	}
	session := card.NewSession(c, card.Options{})
	atr, err := session.Reset(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	g := card.NewGuard(session, card.GuardConfig{ATR: slices.Clone(atr), Spare: true})
	pin, _ := uicc.PadPIN("1234")
	where := card.InApp(nil, append(f.Dir.FIDs()[1:], f.FID)...)
	switch root, _, _ := strings.Cut(name, "/"); root {
	case "ADF.USIM":
		where.AID = unhex(prefixUSIM())
	case "ADF.ISIM":
		where.AID = unhex(prefixISIM())
	}
	fcp, err := session.Select(t.Context(), where)
	if err == nil {
		err = errors.Join(g.Verify(t.Context(), uicc.RefPIN1, pin), g.Verify(t.Context(), uicc.RefADM1, p.ADM1))
	}
	if err != nil {
		t.Fatal(err)
	}
	if number == "" {
		err = g.UpdateBinary(t.Context(), where, 0, encode(f, fcp.Size.N, content))
	} else {
		err = g.UpdateRecord(t.Context(), where, int(number[0]-'0'), encode(f, int(fcp.Descriptor.RecordLength), content))
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// alsoFinds are rules that find the same card wrong for a reason of their own.
var alsoFinds = map[string]string{"puk-blocked": "pin-blocked", "dir-application": "dir-unlisted"}

// TestTriggers: every rule has a card with one change that makes it find something,
// and no other rule does.
func TestTriggers(t *testing.T) {
	t.Parallel()
	all, base := triggers(), good(t)
	if r := Judge(base, Rules()); len(r.Findings) > 0 {
		t.Fatalf("the card without a change is not good: %+v", r.Findings)
	}
	for _, rule := range Rules() {
		if len(all[rule.ID]) == 0 {
			t.Errorf("%s has no card that triggers it", rule.ID)
		}
		for i, change := range all[rule.ID] {
			t.Run(fmt.Sprintf("%s/%d", rule.ID, i+1), func(t *testing.T) {
				t.Parallel()
				r := Judge(subjectOf(t, change, &base), Rules())
				mine := 0
				for _, f := range r.Findings {
					if f.Rule == rule.ID {
						mine++
					} else if alsoFinds[rule.ID] != f.Rule {
						t.Errorf("%s finds something, too: %s: %s", f.Rule, f.Path, f.Found)
					}
				}
				if mine == 0 {
					t.Errorf("no finding; not judged: %v", r.NotJudged)
				}
			})
		}
		delete(all, rule.ID)
	}
	for id := range all {
		t.Errorf("there is no rule %s", id)
	}
}
