package usim

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"mcim/apdu"
	"mcim/apdu/tlv"
	"mcim/apdu/uicc"
)

// INSGetIdentity is the instruction byte of GET IDENTITY (7.5.2), in class 80.
const INSGetIdentity byte = 0x78

// IdentityContext is what GET IDENTITY asks for: bits 1 to 7 of P2 (7.5.2).
type IdentityContext byte

// The contexts.
const (
	IdentitySUCI IdentityContext = 0x01
	IdentityNSWO IdentityContext = 0x02 // SUCI for non-seamless offload to a WLAN
)

const (
	classIdentity   = 0x80
	p2Specific      = 0x80 // bit 8 of P2
	tagSUCI         = 0xA1
	maxRouting      = 4
	suciHeaderBytes = 8
	suciIMSI        = 0x01 // octet 4 of TS 24.501, 9.11.3.4: SUCI, SUPI format IMSI
	suciNAI         = 0x11 // the same, SUPI format network specific identifier
	maxKeyID        = 254  // 255 is reserved (TS 24.501, 9.11.3.4)
	maxMSIN         = 10   // digits: an IMSI of 15 less MCC and an MNC of 2
)

// GetIdentity is GET IDENTITY (7.5).
type GetIdentity struct {
	Context  IdentityContext // 0 stands for IdentitySUCI
	Specific bool            // bit 8 of P2: specific reference data
}

// Command encodes the command; an unknown context is uicc.ErrField in its Err.
func (g GetIdentity) Command() apdu.Command {
	if g.Context == 0 {
		g.Context = IdentitySUCI
	}
	if g.Context > IdentityNSWO {
		return apdu.Command{Err: fmt.Errorf("GET IDENTITY: %w: context %02X, want 01 or 02", uicc.ErrField, byte(g.Context))}
	}
	p2 := byte(g.Context)
	if g.Specific {
		p2 |= p2Specific
	}
	return apdu.Command{CLA: classIdentity, INS: INSGetIdentity, P2: p2, Ne: apdu.MaxShortNe}
}

// DecodeGetIdentity decodes P2, as a card gets it. It is strict: Command of the result
// has the same. The error wraps uicc.ErrField.
func DecodeGetIdentity(p2 byte) (GetIdentity, error) {
	g := GetIdentity{Context: IdentityContext(p2 &^ p2Specific), Specific: p2&p2Specific != 0}
	if g.Context == 0 || g.Context > IdentityNSWO {
		return GetIdentity{}, fmt.Errorf("GET IDENTITY: %w: context %02X, want 01 or 02", uicc.ErrField, byte(g.Context))
	}
	return g, nil
}

// Scheme is a protection scheme (TS 33.501, C.1).
type Scheme byte

// The schemes. 3 to 11 are reserved, 12 to 15 are the operators' own.
const (
	SchemeNull Scheme = 0
	SchemeA    Scheme = 1 // ECIES over X25519
	SchemeB    Scheme = 2 // ECIES over P-256
	maxScheme  Scheme = 15
)

// SUCI is the concealed identity as GET IDENTITY gives it (7.5.2; TS 24.501,
// 9.11.3.4; TS 23.003, 2.2B): of an IMSI, or NAI alone.
type SUCI struct {
	Home    PLMN   // of the IMSI
	Routing string // routing indicator, 1 to 4 digits
	Scheme  Scheme
	KeyID   byte   // home network public key identifier, 0 with SchemeNull, at most 254
	Output  []byte // scheme output, at least 1 byte; with SchemeNull the MSIN (PackMSIN)
	NAI     string // network specific identifier, UTF-8; the other fields are empty then
}

// Encode encodes the value of the data object; what has no coding is ErrContent.
func (s SUCI) Encode() ([]byte, error) {
	if s.NAI != "" {
		if s.Home != (PLMN{}) || s.Routing != "" || s.Scheme != 0 || s.KeyID != 0 || s.Output != nil || !utf8.ValidString(s.NAI) {
			return nil, fmt.Errorf("%w: a SUCI is either of an IMSI or a network specific identifier in UTF-8", ErrContent)
		}
		return append([]byte{suciNAI}, s.NAI...), nil
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	home, err := s.Home.Encode()
	if err != nil {
		return nil, err
	}
	b := append([]byte{suciIMSI}, home[:]...)
	b = append(b, 0xFF, 0xFF)
	for i := range len(s.Routing) {
		setNibble(b[4:], i, s.Routing[i]-'0')
	}
	return append(append(b, byte(s.Scheme), s.KeyID), s.Output...), nil
}

func (s SUCI) check() error {
	switch {
	case s.Home == PLMN{}:
		return fmt.Errorf("%w: a SUCI without a home network", ErrContent)
	case s.Routing == "" || len(s.Routing) > maxRouting || !isDigits(s.Routing):
		return fmt.Errorf("%w: a routing indicator is 1 to 4 digits", ErrContent)
	case s.Scheme > maxScheme:
		return fmt.Errorf("%w: protection scheme %d, want 0 to 15", ErrContent, s.Scheme)
	case s.KeyID > maxKeyID, s.Scheme == SchemeNull && s.KeyID != 0:
		return fmt.Errorf("%w: home network key %d with scheme %d", ErrContent, s.KeyID, s.Scheme)
	case len(s.Output) == 0:
		return fmt.Errorf("%w: a SUCI without scheme output", ErrContent)
	case s.Scheme == SchemeNull:
		_, err := UnpackMSIN(s.Output)
		return err
	}
	return nil
}

// DecodeSUCI decodes the value of the data object. It is strict: Encode of the result
// is b. The error wraps ErrContent.
func DecodeSUCI(b []byte) (SUCI, error) {
	if len(b) > 1 && b[0] == suciNAI {
		s := SUCI{NAI: string(b[1:])}
		_, err := s.Encode()
		if err != nil {
			return SUCI{}, err
		}
		return s, nil
	}
	if len(b) <= suciHeaderBytes || b[0] != suciIMSI {
		return SUCI{}, fmt.Errorf("%w: %d bytes are no SUCI", ErrContent, len(b))
	}
	home, err := DecodePLMN([3]byte(b[1:]))
	if err != nil {
		return SUCI{}, err
	}
	routing, err := digits(b[4:6])
	if err != nil {
		return SUCI{}, fmt.Errorf("%w: routing indicator", err)
	}
	s := SUCI{Home: home, Routing: routing, Scheme: Scheme(b[6]), KeyID: b[7], Output: append([]byte{}, b[suciHeaderBytes:]...)}
	if err := s.check(); err != nil {
		return SUCI{}, err
	}
	return s, nil
}

// digits reads decimal digits, the lower half of a byte first, up to a tail of F.
func digits(b []byte) (string, error) {
	var s strings.Builder
	for i := range 2 * len(b) {
		switch d := nibble(b, i); {
		case d <= 9 && s.Len() == i:
			s.WriteByte('0' + d)
		case d != 0x0F:
			return "", fmt.Errorf("%w: digit %d is %X", ErrContent, i+1, d)
		}
	}
	return s.String(), nil
}

// PackMSIN encodes the digits of an MSIN, 1 to 10, as the scheme input (TS 33.501,
// C.3.1): BCD, filled up with F. Anything else is ErrContent.
func PackMSIN(msin string) ([]byte, error) {
	if msin == "" || len(msin) > maxMSIN || !isDigits(msin) {
		return nil, fmt.Errorf("%w: an MSIN is 1 to %d digits", ErrContent, maxMSIN)
	}
	b := make([]byte, (len(msin)+1)/2)
	b[len(b)-1] = 0xF0
	for i := range len(msin) {
		setNibble(b, i, msin[i]-'0')
	}
	return b, nil
}

// UnpackMSIN is the strict inverse of PackMSIN; its error does not repeat a digit.
func UnpackMSIN(b []byte) (string, error) {
	s, err := digits(b)
	if err != nil || len(s) == 0 || len(s) > maxMSIN || (len(s)+1)/2 != len(b) {
		return "", fmt.Errorf("%w: %d bytes are no MSIN", ErrContent, len(b))
	}
	return s, nil
}

// String is the form of TS 29.503, 6.1.3.2: suci-0-MCC-MNC-ROUTING-SCHEME-KEY-OUTPUT,
// where the output of the null scheme is the digits of the MSIN and any other is
// hexadecimal. Of a network specific identifier it is the identifier itself.
func (s SUCI) String() string {
	if s.NAI != "" {
		return s.NAI
	}
	out := hex.EncodeToString(s.Output)
	if msin, err := UnpackMSIN(s.Output); s.Scheme == SchemeNull && err == nil {
		out = msin
	}
	return fmt.Sprintf("suci-0-%s-%s-%s-%x-%d-%s", s.Home.MCC, s.Home.MNC, s.Routing, byte(s.Scheme), s.KeyID, out)
}

// ParseSUCI reads the text of a SUCI of an IMSI, the strict inverse of String. The
// error wraps ErrContent.
func ParseSUCI(text string) (SUCI, error) {
	const fields = 8
	f := strings.Split(text, "-")
	if len(f) != fields || f[0] != "suci" || f[1] != "0" {
		return SUCI{}, fmt.Errorf("%w: want suci-0-MCC-MNC-ROUTING-SCHEME-KEY-OUTPUT", ErrContent)
	}
	scheme, err1 := strconv.ParseUint(f[5], 16, 4)
	key, err2 := strconv.ParseUint(f[6], 10, 8)
	if err1 != nil || err2 != nil {
		return SUCI{}, fmt.Errorf("%w: scheme or key identifier of a SUCI is no number in range", ErrContent)
	}
	s := SUCI{Home: PLMN{MCC: f[2], MNC: f[3]}, Routing: f[4], Scheme: Scheme(scheme), KeyID: byte(key)}
	var err error
	if s.Scheme == SchemeNull {
		s.Output, err = PackMSIN(f[7])
	} else if s.Output, err = hex.DecodeString(f[7]); err != nil {
		err = fmt.Errorf("%w: scheme output is not hexadecimal", ErrContent)
	}
	if err == nil {
		_, err = s.Encode()
	}
	if err == nil && s.String() != text {
		err = fmt.Errorf("%w: a SUCI with leading zeros or capital letters", ErrContent)
	}
	if err != nil {
		return SUCI{}, err
	}
	return s, nil
}

// EncodeIdentity is the answer to GET IDENTITY (7.5.2): the data object with the SUCI.
func EncodeIdentity(s SUCI) ([]byte, error) {
	value, err := s.Encode()
	if err != nil {
		return nil, err
	}
	return tlv.Encode(tlv.New(tagSUCI, value)), nil
}

// ParseIdentity decodes the answer to GET IDENTITY. It is strict: EncodeIdentity of
// the result is data. The error wraps ErrContent, or tlv.ErrMalformed.
func ParseIdentity(data []byte) (SUCI, error) {
	list, err := tlv.Decode(data)
	if err != nil {
		return SUCI{}, fmt.Errorf("answer to GET IDENTITY: %w", err)
	}
	if len(list) != 1 || list[0].Tag != tagSUCI {
		return SUCI{}, fmt.Errorf("%w: want one data object A1 in the answer to GET IDENTITY", ErrContent)
	}
	return DecodeSUCI(list[0].Value)
}
