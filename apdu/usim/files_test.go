package usim

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
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
		imsi, err := DecodeIMSI(raw)
		back, encErr := imsi.Encode()
		if err != nil || encErr != nil || string(imsi) != tt.Value || !bytes.Equal(back, raw) {
			t.Errorf("%s %s: %q, %v, %X, %v; want %q", tt.EF, tt.Raw, imsi, err, back, encErr, tt.Value)
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
		"IMSI of 15": {IMSI("001010123456789"), "080910101032547698", wrap(DecodeIMSI)},
		"IMSI of 14": {IMSI("00101012345678"), "0801101010325476F8", wrap(DecodeIMSI)},
		"IMSI of 6":  {IMSI("001011"), "040110" + "10F1FFFFFFFF", wrap(DecodeIMSI)},
		"IMSI of 7":  {IMSI("0010112"), "0409" + "101021" + "FFFFFFFF", wrap(DecodeIMSI)},
		"ACC":        {ACC(1<<15 | 1<<9 | 1), "8201", wrap(DecodeACC)},
		"no ACC":     {ACC(0), "0000", wrap(DecodeACC)},
		"UST":        {NewUST(4, ServiceGSMAccess, ServiceLocalPhoneBook), "01000004", wrap(DecodeUST)},
		"UST, grown": {NewUST(1, ServiceEPSMobility), "0000000000000000000010", wrap(DecodeUST)},
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
	for name, c := range map[string]content{
		"no IMSI":            IMSI(""),
		"IMSI of 5":          IMSI("00101"),
		"IMSI of 16":         IMSI("0010101234567890"),
		"IMSI with a letter": IMSI("00101012345678A"),
		"ACC, class 10":      ACC(1 << 10),
		"UST, empty":         UST{},
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
	imsi, acc, ust := wrap(DecodeIMSI), wrap(DecodeACC), wrap(DecodeUST)
	for name, tt := range map[string]struct {
		decode func([]byte) (content, error)
		s      string
	}{
		"IMSI of 8 bytes":       {imsi, "0809101010325476"},
		"IMSI file not written": {imsi, "FFFFFFFFFFFFFFFFFF"},
		"IMSI length 0":         {imsi, "000910101032547698"},
		"IMSI length 9":         {imsi, "090910101032547698"},
		"TMSI in place of IMSI": {imsi, "080C10101032547698"},
		"IMSI digit A":          {imsi, "0809A0101032547698"},
		"IMSI digit behind end": {imsi, "080110101032547698"},
		"IMSI no filling":       {imsi, "040110" + "10F1FFFFFF0F"},
		"IMSI of 5 digits":      {imsi, "0309" + "1010FFFFFFFFFF"},
		"IMSI filler inside":    {imsi, "0809101010F2547698"},
		"ACC of 1 byte":         {acc, "80"},
		"ACC of 3 bytes":        {acc, "800000"},
		"ACC class 10":          {acc, "0400"},
		"UST empty":             {ust, ""},
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
	if !bytes.Equal(Unused(12), bytes.Repeat([]byte{0xFF}, 12)) {
		t.Error("an unused file is not FF")
	}
	if !bytes.HasPrefix(fromHex(t, "A0000000871002FF49FF0589"), AIDPrefix()) {
		t.Error("a known USIM does not begin with AIDPrefix")
	}
}
