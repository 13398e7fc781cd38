package lint

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"mcim/apdu/ef"
)

// identityRules are about EF.IMSI, EF.AD and EF.ACC.
func identityRules() []Rule {
	return []Rule{
		{ID: "imsi-missing", Severity: Error, Clause: "TS 31.102, 4.2.2", scope: ofSubscriber, judge: judgeIMSIMissing,
			What: "EF.IMSI is missing, empty or not understood", Remedy: "write EF.IMSI (a plan needs \"imsi\"), with the length and parity that the clause asks for"},
		{ID: "imsi-country", Severity: Error, Clause: "TS 23.003, 2.2", scope: ofSubscriber, judge: judgeIMSICountry,
			What: "the IMSI begins with no mobile country code", Remedy: "write the IMSI that the home operator has given"},
		{ID: "imsi-length", Severity: Warning, Clause: "TS 23.003, 2.2", scope: ofSubscriber, judge: judgeIMSILength,
			What: "the IMSI has fewer than 15 digits, which some networks refuse", Remedy: "write the IMSI that the home operator has given"},
		{ID: "imsi-gsm", Severity: Warning, Clause: "TS 31.102, 4.1", scope: ofUSIM, judge: judgeIMSIGSM,
			What: "DF.GSM has another IMSI than the USIM", Remedy: "write the same IMSI into DF.GSM/EF.IMSI"},
		{ID: "ad-missing", Severity: Error, Clause: "TS 31.102, 4.2.18", scope: ofSubscriber, judge: judgeADMissing,
			What: "EF.AD is empty or not understood", Remedy: "write EF.AD: mode normal, and the number of digits of the MNC"},
		{ID: "ad-mnc-length", Severity: Error, Clause: "TS 31.102, 4.2.18", scope: ofUSIM, judge: judgeMNCLength,
			What: "EF.AD does not say how many digits the MNC has, so that the home network is a guess", Remedy: "write EF.AD with mnc_length 2 or 3"},
		{ID: "ad-mnc-country", Severity: Warning, Clause: "ITU-T E.212, annex B", scope: ofSubscriber, judge: judgeMNCCountry,
			What: "EF.AD has another number of MNC digits than the country of the IMSI", Remedy: "write EF.AD with the other mnc_length, or correct the IMSI"},
		{ID: "ad-mode", Severity: Error, Clause: "TS 31.102, 4.2.18", scope: ofSubscriber, judge: judgeMode,
			What: "EF.AD makes this a card for tests or maintenance", Remedy: "write EF.AD with mode \"normal\""},
		{ID: "acc-none", Severity: Error, Clause: "TS 22.011, 4.2", scope: ofSubscriber, judge: judgeACCNone,
			What: "the subscription has no access class from 0 to 9, and is barred where access is", Remedy: "write EF.ACC with the class that is the last digit of the IMSI"},
		{ID: "acc-several", Severity: Warning, Clause: "TS 22.011, 4.2", scope: ofSubscriber, judge: judgeACCSeveral,
			What: "the subscription has several access classes from 0 to 9", Remedy: "write EF.ACC with one class, the last digit of the IMSI"},
		{ID: "acc-imsi", Severity: Info, Clause: "TS 31.102, 4.2.15", scope: ofSubscriber, judge: judgeACCIMSI,
			What: "the access class is not the last digit of the IMSI: has the IMSI been changed?", Remedy: "write EF.ACC with the last digit of the IMSI, unless the operator gave another"},
		{ID: "acc-special", Severity: Warning, Clause: "TS 22.011, 4.3", scope: ofSubscriber, judge: judgeACCSpecial,
			What: "the subscription has a special access class (11 to 15), which networks other than the home refuse", Remedy: "write EF.ACC without classes 11 to 15, unless the operator gave one"},
	}
}

func judgeIMSIMissing(v *view) {
	path := v.at("EF.IMSI")
	f := v.files[path]
	switch {
	case f == nil:
		if v.missing(path) {
			v.find(path, "the file is not on the card")
		}
	case f.Undecoded != "":
		v.find(path, "%s", strings.TrimPrefix(f.Undecoded, f.Name+": "))
	case v.unused(path):
		v.find(path, "it is empty: there is no subscription")
	}
}

// judgeIMSICountry: codes are given from 2 to 7, 9 is shared ones, 001 and 999 are for
// tests and private networks (ITU-T E.212, annex A).
func judgeIMSICountry(v *view) {
	imsi := v.imsi()
	if imsi == "" {
		return
	}
	first := imsi[0]
	if imsi[:3] == "001" || first >= '2' && first <= '7' || imsi[:2] == "90" || imsi[:3] == "999" || imsi[:3] == "991" {
		return
	}
	v.find(v.at("EF.IMSI"), "%s begins with %s", imsi, imsi[:3])
}

func judgeIMSILength(v *view) {
	if imsi := v.imsi(); imsi != "" && len(imsi) < 15 {
		v.find(v.at("EF.IMSI"), "%s has %d digits", imsi, len(imsi))
	}
}

func judgeIMSIGSM(v *view) {
	const path = "DF.GSM/EF.IMSI"
	gsm, imsi := read[ef.IMSI](v, path), v.imsi()
	if gsm != nil && imsi != "" && string(gsm.IMSI) != imsi {
		v.find(path, "%s, and %s has %s", gsm.IMSI, v.at("EF.IMSI"), imsi)
	}
}

// rawAD gives the bytes of EF.AD; nil where they are not seen.
func (v *view) rawAD() []byte {
	path := v.at("EF.AD")
	f := v.files[path]
	switch {
	case f == nil:
		v.missing(path)
		return nil
	case f.Error != "":
		v.unseen("%s: %s", path, f.Error)
		return nil
	}
	b, err := hex.DecodeString(f.Raw)
	if err != nil {
		v.unseen("%s: its content is not understood", path)
		return nil
	}
	return b
}

const mncByte = 3 // of EF.AD

// judgeADMissing leaves the byte with the MNC's length to ad-mnc-length, and an
// EF.AD of DF.GSM without it alone: it was optional there.
func judgeADMissing(v *view) {
	path, raw := v.at("EF.AD"), v.rawAD()
	switch f := v.files[path]; {
	case raw == nil:
	case strings.Trim(f.Raw, "f") == "":
		v.find(path, "it is empty")
	case f.Undecoded != "" && len(raw) > mncByte && validMNC(raw[mncByte]):
		v.find(path, "%s", strings.TrimPrefix(f.Undecoded, f.Name+": "))
	case f.Undecoded != "" && len(raw) < mncByte:
		v.find(path, "it has %s, want 4", count(len(raw), "byte", "bytes"))
	}
}

func validMNC(b byte) bool { return b == 2 || b == 3 }

func judgeMNCLength(v *view) {
	raw := v.rawAD()
	switch {
	case len(raw) < mncByte || slices.IndexFunc(raw, func(b byte) bool { return b != 0xFF }) < 0: // ad-missing tells
	case len(raw) == mncByte:
		v.find(v.at("EF.AD"), "it has 3 bytes, and the fourth is missing")
	case !validMNC(raw[mncByte]):
		v.find(v.at("EF.AD"), "byte 4 is %02x, want 02 or 03", raw[mncByte])
	}
}

// threeDigits are country codes in which every MNC has 3 digits: those of North
// America and of some countries that number as they do (ITU-T E.212, annex to the
// Operational Bulletin). India, for one, has both.
func threeDigits(mcc string) bool {
	n, err := strconv.Atoi(mcc)
	return err == nil && (n == 302 || n >= 310 && n <= 316 || slices.Contains([]int{334, 342, 344, 346, 348, 352, 354, 356, 358, 360, 365, 366, 376, 708, 722, 732, 750}, n))
}

// twoDigits are country codes in which every MNC has 2 digits: those of Europe but
// for France, which has private networks with 3.
func twoDigits(mcc string) bool { return mcc[0] == '2' && mcc != "208" }

func judgeMNCCountry(v *view) {
	imsi, ad := v.imsi(), read[ef.AdministrativeData](v, v.at("EF.AD"))
	switch {
	case imsi == "" || ad == nil:
	case ad.MNCLength == 2 && threeDigits(imsi[:3]):
		v.find(v.at("EF.AD"), "the MNC has 2 digits, and all of country %s have 3", imsi[:3])
	case ad.MNCLength == 3 && twoDigits(imsi[:3]):
		v.find(v.at("EF.AD"), "the MNC has 3 digits, and all of country %s have 2", imsi[:3])
	}
}

func judgeMode(v *view) {
	raw := v.rawAD()
	if len(raw) < mncByte || raw[0] == 0x00 || raw[0] == 0x01 || strings.Trim(hex.EncodeToString(raw), "f") == "" {
		return
	}
	names := map[byte]string{0x80: "type approval", 0x81: "type approval with specific facilities", 0x02: "maintenance", 0x04: "cell test"}
	name := names[raw[0]]
	if name == "" {
		name = "reserved"
	}
	v.find(v.at("EF.AD"), "mode %02x, %s", raw[0], name)
}

// classes are the access classes below and from 10; ok where they are seen.
func (v *view) classes() (ordinary, special []int, ok bool) {
	path := v.at("EF.ACC")
	acc := read[ef.AccessClasses](v, path)
	if acc == nil {
		return nil, nil, false
	}
	for _, c := range acc.Classes {
		if c < 10 {
			ordinary = append(ordinary, c)
		} else {
			special = append(special, c)
		}
	}
	return ordinary, special, true
}

func judgeACCNone(v *view) {
	if ordinary, _, ok := v.classes(); ok && len(ordinary) == 0 || v.unused(v.at("EF.ACC")) {
		v.find(v.at("EF.ACC"), "no class from 0 to 9")
	}
}

func judgeACCSeveral(v *view) {
	if ordinary, _, _ := v.classes(); len(ordinary) > 1 {
		v.find(v.at("EF.ACC"), "classes %s", numbers(ordinary))
	}
}

func numbers(list []int) string {
	var words []string
	for _, n := range list {
		words = append(words, strconv.Itoa(n))
	}
	return strings.Join(words, ", ")
}

func judgeACCIMSI(v *view) {
	ordinary, _, _ := v.classes()
	imsi := v.imsi()
	if len(ordinary) == 1 && imsi != "" && ordinary[0] != int(imsi[len(imsi)-1]-'0') {
		v.find(v.at("EF.ACC"), "class %d, and the IMSI ends in %c", ordinary[0], imsi[len(imsi)-1])
	}
}

func judgeACCSpecial(v *view) {
	if _, special, _ := v.classes(); len(special) > 0 {
		v.find(v.at("EF.ACC"), "classes %s", numbers(special))
	}
}
