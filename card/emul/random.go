package emul

import (
	"crypto/rand"
	"math/big"
	"strings"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/card/model"
)

// Numbers of a test network (TS 23.003; PLMN 001-01 and the issuer prefix of
// ICCIDs that no operator has).
const (
	testPLMN   = "00101"
	testIssuer = "8999901"
)

// RandomProfile makes a profile of the card with that name, or of the file with that
// path, with an identity of the test PLMN
// 001-01 and keys, PIN and codes that are new each time.
func RandomProfile(name string) (Profile, error) {
	var file *model.Card
	if IsFile(name) {
		var err error
		if file, err = model.ReadCard(name); err != nil {
			return Profile{}, err
		}
	}
	p := Profile{Model: name, Card: file, AMF: [2]byte{0x80, 0x00}, MNCLength: 2}
	p.ICCID = withCheckDigit(testIssuer + digits(11))
	p.IMSI = testPLMN + digits(10)
	p.PIN1, p.PUK1 = secret.New([]byte(digits(4))), secret.New([]byte(digits(8)))
	p.K, p.OPc, p.ADM1 = random(16), random(16), random(8)
	l, err := p.layout()
	if err != nil {
		return p, p.check()
	}
	if l.SecureChannel == model.SecureRequired {
		p.ChannelKey = random(32)
	}
	for _, one := range l.PINs {
		switch ref := one.Ref; {
		case ref == uicc.RefPIN2:
			p.PIN2, p.PUK2 = secret.New([]byte(digits(4))), secret.New([]byte(digits(8)))
		case ref == uicc.RefUniversalPIN:
			p.Universal, p.UniversalPUK = secret.New([]byte(digits(4))), secret.New([]byte(digits(8)))
		case ref != uicc.RefPIN1 && ref != l.Family.ADM.Reference && admIndex(ref) > 0:
			p.ADMs[admIndex(ref)-1] = random(8)
		}
	}
	return p, p.check()
}

// withCheckDigit ends the digits of an ICCID with the check digit (ITU-T E.118, 4.1).
func withCheckDigit(digits string) string {
	for check := '0'; check < '9'; check++ {
		if full := digits + string(check); uicc.LuhnOK(full) {
			return full
		}
	}
	return digits + "9"
}

func digits(n int) string {
	var s strings.Builder
	for range n {
		d, _ := rand.Int(rand.Reader, big.NewInt(10)) // crypto/rand.Reader does not fail
		s.WriteByte('0' + byte(d.Int64()))
	}
	return s.String()
}

func random(n int) secret.Bytes {
	b := make([]byte, n)
	_, _ = rand.Read(b) // does not fail
	return secret.New(b)
}
