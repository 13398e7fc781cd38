package usim

import (
	"errors"
	"fmt"
)

// ErrContent is returned for the content of a file that is not as its clause
// says, and for a value that the file cannot hold.
var ErrContent = errors.New("malformed file content")

// File identifiers (TS 31.102, 4.2; the DFs of class A0 are TS 51.011, 10).
const (
	EFIMSI    uint16 = 0x6F07 // 4.2.2
	EFKeys    uint16 = 0x6F08 // 4.2.3
	EFKeysPS  uint16 = 0x6F09 // 4.2.4
	EFHPPLMN  uint16 = 0x6F31 // 4.2.6
	EFUST     uint16 = 0x6F38 // 4.2.8
	EFPSLOCI  uint16 = 0x6F73 // 4.2.23
	EFACC     uint16 = 0x6F78 // 4.2.15
	EFFPLMN   uint16 = 0x6F7B // 4.2.16
	EFLOCI    uint16 = 0x6F7E // 4.2.17
	EFAD      uint16 = 0x6FAD // 4.2.18
	EFECC     uint16 = 0x6FB7 // 4.2.21
	EFEPSLOCI uint16 = 0x6FE3 // 4.2.91
	EFEPSNSC  uint16 = 0x6FE4 // 4.2.92
	EFARR     uint16 = 0x6F06 // 4.2.55 and TS 102 221, 9.2.7
	DFGSM     uint16 = 0x7F20 // TS 51.011, 10.3
	DFTelecom uint16 = 0x7F10 // TS 51.011, 10.5
)

// Short file identifiers (TS 31.102, annex H).
const (
	SFIECC     byte = 0x01
	SFIAD      byte = 0x03
	SFIUST     byte = 0x04
	SFIACC     byte = 0x06
	SFIIMSI    byte = 0x07
	SFIKeys    byte = 0x08
	SFIKeysPS  byte = 0x09
	SFILOCI    byte = 0x0B
	SFIPSLOCI  byte = 0x0C
	SFIFPLMN   byte = 0x0D
	SFIHPPLMN  byte = 0x12
	SFIARR     byte = 0x17
	SFIEPSNSC  byte = 0x18
	SFIEPSLOCI byte = 0x1E
)

// AIDPrefix is what every USIM's AID begins with: the RID of 3GPP and the
// application code 1002 (TS 31.110; TS 101 220, annex E). A partial selection
// with it finds the USIM.
func AIDPrefix() []byte { return []byte{0xA0, 0x00, 0x00, 0x00, 0x87, 0x10, 0x02} }

const (
	imsiBytes     = 9
	minIMSI       = 6
	maxIMSI       = 15
	imsiType      = 0x01 // identity type IMSI (TS 24.008, 10.5.1.4)
	imsiOdd       = 0x08 // odd number of digits
	imsiDigitSize = 4
)

// IMSI is the content of EF.IMSI: 6 to 15 decimal digits (TS 31.102, 4.2.2;
// TS 23.003, 2.2).
type IMSI string

// Encode encodes the content of EF.IMSI, 9 bytes.
func (i IMSI) Encode() ([]byte, error) {
	if len(i) < minIMSI || len(i) > maxIMSI || !isDigits(string(i)) {
		return nil, fmt.Errorf("%w: an IMSI is %d to %d decimal digits", ErrContent, minIMSI, maxIMSI)
	}
	b := []byte{0, imsiType, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}
	if len(i)%2 == 1 {
		b[1] |= imsiOdd
	}
	b[0] = byte(len(i)/2 + 1)
	for n := range len(i) {
		setNibble(b[1:], n+1, i[n]-'0')
	}
	return b, nil
}

// DecodeIMSI decodes the content of EF.IMSI.
func DecodeIMSI(b []byte) (IMSI, error) {
	if len(b) != imsiBytes {
		return "", fmt.Errorf("%w: EF.IMSI of %d bytes, want %d", ErrContent, len(b), imsiBytes)
	}
	n := int(b[0])
	if n < 1 || n > imsiBytes-1 || b[1]&0x07 != imsiType {
		return "", fmt.Errorf("%w: EF.IMSI begins with %X, is there an IMSI on the card?", ErrContent, b[:2])
	}
	count := 2*n - 2
	if b[1]&imsiOdd != 0 {
		count++
	}
	digits := make([]byte, 0, maxIMSI)
	for i := range 2*(imsiBytes-1) - 1 {
		d := nibble(b[1:], i+1)
		if i < count && d > 9 || i >= count && d != 0x0F {
			return "", fmt.Errorf("%w: EF.IMSI, digit %d of %d is %X", ErrContent, i+1, count, d)
		}
		if i < count {
			digits = append(digits, '0'+d)
		}
	}
	if len(digits) < minIMSI {
		return "", fmt.Errorf("%w: IMSI of %d digits, want %d to %d", ErrContent, len(digits), minIMSI, maxIMSI)
	}
	return IMSI(digits), nil
}

// nibble is half-byte i of b, the lower half of a byte first.
func nibble(b []byte, i int) byte {
	return b[i/2] >> (imsiDigitSize * (i % 2)) & 0x0F
}

func setNibble(b []byte, i int, v byte) {
	shift := imsiDigitSize * (i % 2)
	b[i/2] = b[i/2]&^(0x0F<<shift) | v<<shift
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// PLMN is a network: country and network code (TS 23.003, 2.2). Both empty, it
// is no network, FFFFFF.
type PLMN struct {
	MCC string // 3 digits
	MNC string // 2 or 3 digits
}

// String is the form "262-01", or "none".
func (p PLMN) String() string {
	if p == (PLMN{}) {
		return "none"
	}
	return p.MCC + "-" + p.MNC
}

// Encode encodes the network as in TS 24.008, 10.5.1.3.
func (p PLMN) Encode() ([3]byte, error) {
	b := [3]byte{0xFF, 0xFF, 0xFF}
	if p == (PLMN{}) {
		return b, nil
	}
	if len(p.MCC) != 3 || len(p.MNC) != 2 && len(p.MNC) != 3 || !isDigits(p.MCC+p.MNC) {
		return b, fmt.Errorf("%w: network %q: want 3 digits of MCC and 2 or 3 of MNC", ErrContent, p.String())
	}
	for i, at := range []int{0, 1, 2} {
		setNibble(b[:], at, p.MCC[i]-'0')
	}
	for i, at := range []int{4, 5, 3}[:len(p.MNC)] {
		setNibble(b[:], at, p.MNC[i]-'0')
	}
	return b, nil
}

// DecodePLMN decodes a network as in TS 24.008, 10.5.1.3.
func DecodePLMN(b [3]byte) (PLMN, error) {
	if b == [3]byte{0xFF, 0xFF, 0xFF} {
		return PLMN{}, nil
	}
	order := []int{0, 1, 2, 4, 5, 3}
	if nibble(b[:], 3) == 0x0F {
		order = order[:5]
	}
	digits := make([]byte, 0, len(order))
	for _, at := range order {
		d := nibble(b[:], at)
		if d > 9 {
			return PLMN{}, fmt.Errorf("%w: network %X has a digit %X", ErrContent, b, d)
		}
		digits = append(digits, '0'+d)
	}
	return PLMN{MCC: string(digits[:3]), MNC: string(digits[3:])}, nil
}
