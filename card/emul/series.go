package emul

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"mcim/apdu/secret"
)

// issuerDigits is how many digits of an ICCID say who issued the card, at most
// (ITU-T E.118, 4.1).
const issuerDigits = 7

// Series gives n profiles, of n cards of one order: the first is p, the others have
// p's ICCID and IMSI counted up, each ICCID with its right check digit, and K, OPc,
// TOPc and ADMs that are new each time. All else is as in p, the PINs too. A
// number that has no room to count up is a *ProfileError.
func (p Profile) Series(n int) ([]Profile, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	list := []Profile{p}
	for len(list) < n {
		next := list[len(list)-1]
		account, ok := countUp(next.ICCID[:len(next.ICCID)-1], issuerDigits)
		if !ok {
			return nil, &ProfileError{Field: "iccid", Reason: fmt.Sprintf("cannot be counted up for %d cards: leave room below its first %d digits", n, issuerDigits)}
		}
		next.ICCID = withCheckDigit(account)
		if next.IMSI, ok = countUp(next.IMSI, 3+max(next.MNCLength, 2)); !ok {
			return nil, &ProfileError{Field: "imsi", Reason: fmt.Sprintf("cannot be counted up for %d cards: leave room below MCC and MNC", n)}
		}
		next.K, next.OPc, next.TOPc, next.ADM1 = another(next.K), another(next.OPc), another(next.TOPc), another(next.ADM1)
		for i, adm := range next.ADMs {
			next.ADMs[i] = another(adm)
		}
		list = append(list, next)
	}
	return list, nil
}

// countUp adds one to a number in digits; the first fixed ones must not change.
func countUp(number string, fixed int) (string, bool) {
	digits := []byte(number)
	for i := len(digits) - 1; i >= fixed; i-- {
		if digits[i] < '9' {
			digits[i]++
			return string(digits), true
		}
		digits[i] = '0'
	}
	return "", false
}

// another is a key as long as the one given.
func another(key secret.Bytes) secret.Bytes {
	if key.Len() == 0 {
		return key
	}
	return random(key.Len())
}

// WriteFile writes the profile as ReadProfile reads it, keys and all, to a new file
// for its owner alone. A file that is there is fs.ErrExist.
func (p Profile) WriteFile(path string) error {
	if err := p.check(); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write the profile: %w", err)
	}
	_, err = f.WriteString(p.toml())
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write the profile: %w", err)
	}
	return nil
}

// modelText is the model as another profile names it: a file by its whole path.
func (p *Profile) modelText() string {
	if abs, err := filepath.Abs(p.Model); err == nil && p.Card != nil {
		return abs
	}
	return p.Model
}

// toml is the document that ParseProfile reads.
func (p *Profile) toml() string {
	var b strings.Builder
	text := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s = %q\n", key, value)
		}
	}
	number := func(key string, value uint64) {
		if value != 0 {
			fmt.Fprintf(&b, "%s = %d\n", key, value)
		}
	}
	hex := func(key string, value []byte) { text(key, fmt.Sprintf("%x", value)) }
	text("model", p.modelText())
	text("iccid", p.ICCID)
	text("imsi", p.IMSI)
	text("pin1", string(p.PIN1.Reveal()))
	text("puk1", string(p.PUK1.Reveal()))
	hex("k", p.K.Reveal())
	hex("opc", p.OPc.Reveal())
	hex("topc", p.TOPc.Reveal())
	hex("amf", p.AMF[:])
	sqn := p.SQN.Bytes()
	hex("sqn", sqn[:])
	hex("adm1", p.ADM1.Reveal())
	text("pin2", string(p.PIN2.Reveal()))
	text("puk2", string(p.PUK2.Reveal()))
	text("universal", string(p.Universal.Reveal()))
	text("universal_puk", string(p.UniversalPUK.Reveal()))
	for i, adm := range p.ADMs {
		hex(fmt.Sprintf("adm%d", i+2), adm.Reveal())
	}
	number("mnc_length", uint64(p.MNCLength))
	text("algorithm", string(p.Algorithm))
	text("routing", p.Routing)
	if len(p.SUCI.Key) > 0 {
		text("suci_scheme", schemeNames()[p.SUCI.Scheme])
		fmt.Fprintf(&b, "suci_key_id = %d\n", p.SUCI.ID) // 0 is one, too
		hex("suci_key", p.SUCI.Key)
	}
	hex("channel_key", p.ChannelKey.Reveal())
	number("channel_limit", uint64(p.ChannelLimit))
	number("auth_limit", uint64(p.AuthLimit))
	number("sqn_entries", uint64(p.SQNEntries))
	number("sqn_delta", p.Delta)
	number("sqn_age_limit", p.AgeLimit)
	return b.String()
}
