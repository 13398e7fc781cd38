package usim

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type example struct{ EF, Raw, Value string }

func readExamples(t testing.TB) []example {
	t.Helper()
	b, err := os.ReadFile("testdata/card_examples.json")
	if err != nil {
		t.Fatal(err)
	}
	var e struct {
		Source string
		EF     []example
	}
	if err := json.Unmarshal(b, &e); err != nil {
		t.Fatal(err)
	}
	if e.Source == "" || len(e.EF) == 0 {
		t.Fatal("testdata/card_examples.json has no source, or no files")
	}
	return e.EF
}

// content is what every file of the package is.
type content interface{ Encode() ([]byte, error) }

// describe decodes a file and says it in the words of the examples.
func describe(ef string, raw []byte) (content, string, error) {
	switch ef {
	case "EF.IMSI":
		i, err := DecodeIMSI(raw)
		return i, string(i), err
	case "EF.AD":
		a, err := DecodeAD(raw)
		mode := map[byte]string{ModeNormal: "normal operation", ModeTypeApproval: "type approval"}[a.Mode]
		return a, fmt.Sprintf("%s, MNC length %d", mode, a.MNCLength), err
	case "EF.ACC":
		a, err := DecodeACC(raw)
		var list []string
		for class := range 16 {
			if a.Has(class) {
				list = append(list, fmt.Sprint(class))
			}
		}
		return a, "access classes " + strings.Join(list, ","), err
	case "EF.LOCI":
		l, err := DecodeLOCI(raw)
		status := map[UpdateStatus]string{Updated: "updated", NotUpdated: "not updated"}[l.Status]
		return l, fmt.Sprintf("TMSI %x LAI %s/%x status %s", l.TMSI, l.LAI.PLMN, l.LAI.Code, status), err
	}
	return nil, "", errors.New("no example of " + ef)
}

func TestCapturedFiles(t *testing.T) {
	t.Parallel()
	for _, tt := range readExamples(t) {
		raw := fromHex(t, tt.Raw)
		if strings.HasPrefix(tt.EF, "PLMN") {
			p, err := DecodePLMN([3]byte(raw))
			back, encErr := p.Encode()
			if err != nil || encErr != nil || p.String() != tt.Value || !bytes.Equal(back[:], raw) {
				t.Errorf("%s: %s, %v, %X, %v", tt.Raw, p, err, back, encErr)
			}
			continue
		}
		c, value, err := describe(tt.EF, raw)
		if err != nil || value != tt.Value {
			t.Errorf("%s %s: %q, %v; want %q", tt.EF, tt.Raw, value, err, tt.Value)
			continue
		}
		if back, err := c.Encode(); err != nil || !bytes.Equal(back, raw) {
			t.Errorf("%s: %X, %v; want %s", tt.EF, back, err, tt.Raw)
		}
	}
}

func TestFilesBothWays(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		c      content
		want   string
		decode func([]byte) (content, error)
	}{
		"IMSI of 15":       {IMSI("001010123456789"), "080910101032547698", wrap(DecodeIMSI)},
		"IMSI of 14":       {IMSI("00101012345678"), "0801101010325476F8", wrap(DecodeIMSI)},
		"IMSI of 6":        {IMSI("001011"), "040110" + "10F1FFFFFFFF", wrap(DecodeIMSI)},
		"IMSI of 7":        {IMSI("0010112"), "0409" + "101021" + "FFFFFFFF", wrap(DecodeIMSI)},
		"AD":               {AD{MNCLength: 3}, "00000003", wrap(DecodeAD)},
		"AD, longer":       {AD{Mode: ModeTypeApproval, Info: [2]byte{1, 2}, MNCLength: 2, RFU: []byte{7}}, "8001020207", wrap(DecodeAD)},
		"ACC":              {ACC(1<<15 | 1<<9 | 1), "8201", wrap(DecodeACC)},
		"no ACC":           {ACC(0), "0000", wrap(DecodeACC)},
		"UST":              {NewUST(4, ServiceGSMAccess, ServiceLocalPhoneBook), "01000004", wrap(DecodeUST)},
		"UST, grown":       {NewUST(1, ServiceEPSMobility), "0000000000000000000010", wrap(DecodeUST)},
		"LOCI, default":    {DefaultLOCI(), "FFFFFFFFFFFFFFFFFEFF01", wrap(DecodeLOCI)},
		"PSLOCI, default":  {DefaultPSLOCI(), "FFFFFFFFFFFFFFFFFFFFFFFEFF01", wrap(DecodePSLOCI)},
		"EPSLOCI, default": {DefaultEPSLOCI(), "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFE01", wrap(DecodeEPSLOCI)},
		"LOCI": {LOCI{
			TMSI: [4]byte{1, 2, 3, 4}, LAI: Area{PLMN{"001", "01"}, [2]byte{5, 6}}, RFU: 0xFF, Status: AreaNotAllowed,
		}, "0102030400F1100506FF03", wrap(DecodeLOCI)},
		"PSLOCI": {PSLOCI{
			PTMSI: [4]byte{1, 2, 3, 4}, Signature: [3]byte{5, 6, 7}, RAI: Area{PLMN{"310", "410"}, [2]byte{8, 9}}, RAC: 10, Status: NotAllowed,
		}, "0102030405060713001408090A02", wrap(DecodePSLOCI)},
		"EPSLOCI": {EPSLOCI{
			GUTI: [12]byte{11: 0xAA}, TAI: Area{PLMN{"262", "01"}, [2]byte{8, 9}}, Status: Updated,
		}, "0000000000000000000000AA62F210080900", wrap(DecodeEPSLOCI)},
	} {
		want := fromHex(t, tt.want)
		b, err := tt.c.Encode()
		if err != nil || !bytes.Equal(b, want) {
			t.Errorf("%s: %X, %v; want %s", name, b, err, tt.want)
		}
		got, err := tt.decode(want)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(tt.c, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// wrap gives a decoder the type that all of them share.
func wrap[T content](decode func([]byte) (T, error)) func([]byte) (content, error) {
	return func(b []byte) (content, error) { return decode(b) }
}

func TestEncodeRefuses(t *testing.T) {
	t.Parallel()
	wrong := Area{PLMN: PLMN{"26", "01"}}
	for name, c := range map[string]content{
		"no IMSI":              IMSI(""),
		"IMSI of 5":            IMSI("00101"),
		"IMSI of 16":           IMSI("0010101234567890"),
		"IMSI with a letter":   IMSI("00101012345678A"),
		"AD, MNC of 1":         AD{MNCLength: 1},
		"AD, MNC of 4":         AD{MNCLength: 4},
		"ACC, class 10":        ACC(1 << 10),
		"UST, empty":           UST{},
		"LOCI, bad network":    LOCI{LAI: wrong},
		"PSLOCI, bad network":  PSLOCI{RAI: wrong},
		"EPSLOCI, bad network": EPSLOCI{TAI: wrong},
	} {
		if b, err := c.Encode(); !errors.Is(err, ErrContent) || b != nil {
			t.Errorf("%s: %X, %v", name, b, err)
		}
	}
	for _, p := range []PLMN{{"262", ""}, {"", "01"}, {"262", "0123"}, {"2a2", "01"}, {"262", "0x"}} {
		if b, err := p.Encode(); !errors.Is(err, ErrContent) {
			t.Errorf("%v: %X, %v", p, b, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	imsi, acc, ad, ust := wrap(DecodeIMSI), wrap(DecodeACC), wrap(DecodeAD), wrap(DecodeUST)
	loci, psloci, epsloci := wrap(DecodeLOCI), wrap(DecodePSLOCI), wrap(DecodeEPSLOCI)
	for name, tt := range map[string]struct {
		decode func([]byte) (content, error)
		s      string
	}{
		"IMSI of 8 bytes":          {imsi, "0809101010325476"},
		"IMSI file not written":    {imsi, "FFFFFFFFFFFFFFFFFF"},
		"IMSI length 0":            {imsi, "000910101032547698"},
		"IMSI length 9":            {imsi, "090910101032547698"},
		"TMSI in place of IMSI":    {imsi, "080C10101032547698"},
		"IMSI digit A":             {imsi, "0809A0101032547698"},
		"IMSI digit behind end":    {imsi, "080110101032547698"},
		"IMSI no filling":          {imsi, "040110" + "10F1FFFFFF0F"},
		"IMSI of 5 digits":         {imsi, "0309" + "1010FFFFFFFFFF"},
		"IMSI filler inside":       {imsi, "0809101010F2547698"},
		"ACC of 1 byte":            {acc, "80"},
		"ACC of 3 bytes":           {acc, "800000"},
		"ACC class 10":             {acc, "0400"},
		"AD of 3 bytes":            {ad, "000000"},
		"AD, MNC of 0":             {ad, "00000000"},
		"AD, MNC not written":      {ad, "000000FF"},
		"UST empty":                {ust, ""},
		"LOCI of 10":               {loci, "FFFFFFFFFFFFFFFFFEFF"},
		"LOCI of 12":               {loci, "FFFFFFFFFFFFFFFFFEFF0100"},
		"LOCI, network":            {loci, "FFFFFFFFAAFFFFFFFEFF01"},
		"PSLOCI of 13":             {psloci, "FFFFFFFFFFFFFFFFFFFFFFFEFF"},
		"PSLOCI, network":          {psloci, "FFFFFFFFFFFFFF0AF0FFFFFEFF01"},
		"EPSLOCI of 17":            {epsloci, "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFE"},
		"EPSLOCI, network":         {epsloci, "FFFFFFFFFFFFFFFFFFFFFFFFFFFFF0FFFE01"},
		"EPSLOCI, network, digits": {epsloci, "FFFFFFFFFFFFFFFFFFFFFFFF62F2F0FFFE01"},
	} {
		if c, err := tt.decode(fromHex(t, tt.s)); !errors.Is(err, ErrContent) {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
}

func TestPLMN(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]PLMN{"FFFFFF": {}, "00F110": {"001", "01"}, "130014": {"310", "410"}, "214365": {"123", "564"}} {
		b, err := p.Encode()
		if err != nil || !bytes.Equal(b[:], fromHex(t, want)) {
			t.Errorf("%s: %X, %v; want %s", p, b, err, want)
		}
		if got, err := DecodePLMN(b); err != nil || got != p {
			t.Errorf("%X: %v, %v", b, got, err)
		}
	}
	if got := (PLMN{}).String(); got != "none" {
		t.Errorf("no network is %q", got)
	}
}

func TestServices(t *testing.T) {
	t.Parallel()
	u := NewUST(11, ServiceGSMAccess, ServiceEPSMobility)
	for s := range Service(200) {
		if want := slices.Contains([]Service{ServiceGSMAccess, ServiceEPSMobility}, s); u.Has(s) != want {
			t.Errorf("service %d: %v", s, !want)
		}
	}
	if u.Has(-1) || (ACC(0xFBFF)).Has(16) || (ACC(0xFBFF)).Has(-1) {
		t.Error("a service or class that does not exist")
	}
}

func TestCleared(t *testing.T) {
	t.Parallel()
	keys := DefaultKeys()
	if want := "07" + strings.Repeat("ff", 32); hex.EncodeToString(keys) != want {
		t.Errorf("keys %X", keys)
	}
	if !KeysCleared(keys) || KeysCleared(keys[:32]) || KeysCleared(nil) {
		t.Error("cleared keys are not told from others")
	}
	for i := range keys {
		left := slices.Clone(keys)
		left[i] ^= 1
		if KeysCleared(left) {
			t.Errorf("byte %d is left, and the keys count as cleared", i)
		}
	}
	if !bytes.Equal(Unused(12), bytes.Repeat([]byte{0xFF}, 12)) {
		t.Error("an unused file is not FF")
	}
	if !bytes.HasPrefix(fromHex(t, "A0000000871002FF49FF0589"), AIDPrefix()) {
		t.Error("a known USIM does not begin with AIDPrefix")
	}
}
