package usim

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"mcim/apdu"
	"mcim/apdu/tlv"
	"mcim/apdu/uicc"
)

// context is how a context decodes its command and its answer, and encodes both again.
type context struct {
	command func(t *testing.T, c apdu.Command) apdu.Command
	answer  func(b []byte) ([]byte, error)
}

// answer makes an inverse out of a decoder and the encoder of its result.
func answer[R interface{ Encode() []byte }](parse func([]byte) (R, error)) func([]byte) ([]byte, error) {
	return func(b []byte) ([]byte, error) {
		r, err := parse(b)
		if err != nil {
			return nil, err
		}
		return r.Encode(), nil
	}
}

func identityAnswer(b []byte) ([]byte, error) {
	s, err := ParseIdentity(b)
	if err != nil {
		return nil, err
	}
	return EncodeIdentity(s)
}

func noAnswer(b []byte) ([]byte, error) { return b, nil }

func contexts() map[string]context {
	aka := func(t *testing.T, c apdu.Command) apdu.Command {
		a, err := DecodeAuthenticate(c.P2, c.Data)
		if err != nil {
			t.Fatal(err)
		}
		return a.Command()
	}
	gba := func(t *testing.T, c apdu.Command) apdu.Command {
		b, d, err := DecodeGBA(c.Data)
		if err != nil || (b == nil) == (d == nil) {
			t.Fatalf("%v, %v, %v", b, d, err)
		}
		if b != nil {
			return b.Command()
		}
		return d.Command()
	}
	local := func(t *testing.T, c apdu.Command) apdu.Command {
		d, k, err := DecodeLocalKey(c.Data)
		if err != nil || (d == nil) == (k == nil) {
			t.Fatalf("%v, %v, %v", d, k, err)
		}
		if d != nil {
			return d.Command()
		}
		return k.Command()
	}
	identity := func(t *testing.T, c apdu.Command) apdu.Command {
		g, err := DecodeGetIdentity(c.P2)
		if err != nil {
			t.Fatal(err)
		}
		return g.Command()
	}
	return map[string]context{
		"3G":                          {aka, answer(ParseAuthenticate)},
		"3G, synchronisation failure": {aka, answer(ParseAuthenticate)},
		"GSM":                         {aka, answer(ParseAuthenticateGSM)},
		"IMS":                         {aka, answer(ParseAuthenticateIMS)},
		"GBA bootstrapping":           {gba, answer(ParseGBABootstrap)},
		"GBA bootstrapping, synchronisation failure": {gba, answer(ParseGBABootstrap)},
		"GBA NAF derivation":                         {gba, answer(ParseGBADerive)},
		"local key derivation":                       {local, answer(ParseLocalKey)},
		"local key check":                            {local, noAnswer},
		"GET IDENTITY":                               {identity, identityAnswer},
		"GET IDENTITY, null scheme":                  {identity, identityAnswer},
		"GET IDENTITY for WLAN offload":              {identity, identityAnswer},
	}
}

// TestContextVectors: each command and answer decodes and encodes back.
func TestContextVectors(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/authenticate.json")
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Sets []struct {
			Name, Clause, Command, Answer string
			Sources                       []string
		}
	}
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	all := contexts()
	if len(f.Sets) != len(all) {
		t.Errorf("%d sets, want %d", len(f.Sets), len(all))
	}
	for _, v := range f.Sets {
		c, ok := all[v.Name]
		if !ok || v.Clause == "" || len(v.Sources) == 0 {
			t.Errorf("%s: unknown, or without a clause or a source", v.Name)
			continue
		}
		command, err := apdu.ParseCommand(fromHex(t, v.Command))
		if err != nil {
			t.Fatal(err)
		}
		back, err := c.command(t, command).Bytes()
		if err != nil || hex.EncodeToString(back) != v.Command {
			t.Errorf("%s: command %x, %v; want %s", v.Name, back, err, v.Command)
		}
		got, err := c.answer(fromHex(t, v.Answer))
		if err != nil || hex.EncodeToString(got) != v.Answer {
			t.Errorf("%s: answer %x, %v; want %s", v.Name, got, err, v.Answer)
		}
	}
	if b, err := LocalKeyFetch().Bytes(); err != nil || hex.EncodeToString(b) != "0089a08600" {
		t.Errorf("fetch: %x, %v", b, err)
	}
}

// TestSUCIFields: what the vectors of GET IDENTITY say, in both forms.
func TestSUCIFields(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ value, text string }{
		{"0100f110f0ff000000000010", "suci-0-001-01-0-0-0-00000001"},
		{"01622210214302fe21f3", "suci-0-262-012-1234-2-254-21f3"},
		{"0199f90717ff021b02", "suci-0-999-70-71-2-27-02"},
		{"0100f110f0ff0c05ab", "suci-0-001-01-0-c-5-ab"},
		{"0100f110f0ff0000f1", "suci-0-001-01-0-0-0-1"},
	} {
		s, err := DecodeSUCI(fromHex(t, tt.value))
		if err != nil || s.String() != tt.text {
			t.Errorf("%s: %s, %v; want %s", tt.value, s, err, tt.text)
			continue
		}
		back, err := ParseSUCI(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if b, err := back.Encode(); err != nil || hex.EncodeToString(b) != tt.value {
			t.Errorf("%s: %x, %v", tt.text, b, err)
		}
	}
	if s, err := DecodeSUCI([]byte("\x11user@realm")); err != nil || s.String() != "user@realm" || s.NAI != "user@realm" {
		t.Errorf("NAI: %v, %v", s, err)
	}
}

func TestSUCIRefuses(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		"empty":             "",
		"NAI without text":  "11",
		"NAI not UTF-8":     "11ff",
		"SUPI format 2":     "2100f110f0ff000000000010",
		"IMSI in the clear": "0900f110f0ff000000000010",
		"no scheme output":  "0100f110f0ff0000",
		"no home network":   "01fffffff0ff000000000010",
		"letters in MCC":    "01a0f110f0ff000000000010",
		"no routing":        "0100f110ffff000000000010",
		"gap in routing":    "0100f110f1f1000000000010",
		"letter in routing": "0100f110a1ff000000000010",
		"spare bits set":    "0100f110f0ff110100",
		"null with a key":   "0100f110f0ff000100000010",
		"reserved key":      "0100f110f0ff01ff00000010",
		"null, no digits":   "0100f110f0ff0000ff",
		"null, letter":      "0100f110f0ff00001a",
		"null, gap":         "0100f110f0ff00001f21",
		"null, a byte of F": "0100f110f0ff000021ff",
		"null, 11 digits":   "0100f110f0ff00002143658709f1",
	} {
		if s, err := DecodeSUCI(fromHex(t, value)); !errors.Is(err, ErrContent) {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	for _, text := range []string{
		"", "suci", "imsi-0-001-01-0-0-0-1", "suci-1-001-01-0-0-0-1", "suci-0-001-01-0-0-0", "suci-0-001-01-0-0-0-1-2",
		"suci-0-001-01-0-g-0-1", "suci-0-001-01-0-10-0-1", "suci-0-001-01-0-1-256-ab", "suci-0-001-01-0-1-255-ab", "suci-0-001-01-0-1-01-ab",
		"suci-0-001-01-0-1-1-AB", "suci-0-001-01-0-1-1-a", "suci-0-001-01-0-1-1-", "suci-0-001-01-0-1-1-zz", "suci-0-001-01-0-0-1-1",
		"suci-0-001-01-12345-1-1-ab", "suci-0-001-01--1-1-ab", "suci-0-01-01-0-1-1-ab", "suci-0-001-1-0-1-1-ab", "suci-0---0-1-1-ab",
		"suci-0-001-01-0-0-0-12345678901", "suci-0-001-01-0-0-0-1a", "suci-0-001-01-0-+1-1-ab",
	} {
		if s, err := ParseSUCI(text); !errors.Is(err, ErrContent) {
			t.Errorf("%q: %v, %v", text, s, err)
		}
	}
	good := SUCI{Home: PLMN{"001", "01"}, Routing: "0", Scheme: SchemeA, KeyID: 1, Output: []byte{1}}
	if _, err := good.Encode(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*SUCI){
		"NAI beside an IMSI": func(s *SUCI) { s.NAI = "user" },
		"NAI not UTF-8":      func(s *SUCI) { *s = SUCI{NAI: "\xFF"} },
		"no PLMN":            func(s *SUCI) { s.Home = PLMN{} },
		"bad PLMN":           func(s *SUCI) { s.Home.MCC = "1" },
		"scheme 16":          func(s *SUCI) { s.Scheme = 16 },
		"routing letters":    func(s *SUCI) { s.Routing = "1a" },
		"no output":          func(s *SUCI) { s.Output = nil },
	} {
		s := good
		change(&s)
		if b, err := s.Encode(); !errors.Is(err, ErrContent) {
			t.Errorf("%s: %x, %v", name, b, err)
		}
		if b, err := EncodeIdentity(s); !errors.Is(err, ErrContent) {
			t.Errorf("%s: %x, %v", name, b, err)
		}
	}
	for _, msin := range []string{"", "12345678901", "12a"} {
		if b, err := PackMSIN(msin); !errors.Is(err, ErrContent) {
			t.Errorf("MSIN %q: %x, %v", msin, b, err)
		}
	}
}

func TestIdentityRefuses(t *testing.T) {
	t.Parallel()
	value := "0100f110f0ff000000000010"
	for name, tt := range map[string]struct {
		data string
		want error
	}{
		"empty":        {"", ErrContent},
		"cut":          {"a10d" + value, tlv.ErrMalformed},
		"long length":  {"a1810c" + value, tlv.ErrMalformed},
		"another tag":  {"a00c" + value, ErrContent},
		"two":          {"a10c" + value + "a10c" + value, ErrContent},
		"wrong inside": {"a10101", ErrContent},
	} {
		if s, err := ParseIdentity(fromHex(t, tt.data)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, %v; want %v", name, s, err, tt.want)
		}
	}
	for _, p2 := range []byte{0x00, 0x80, 0x03, 0x7F, 0xFF} {
		if g, err := DecodeGetIdentity(p2); !errors.Is(err, uicc.ErrField) {
			t.Errorf("P2 %02X: %v, %v", p2, g, err)
		}
	}
	if b, err := (GetIdentity{Context: 3}).Command().Bytes(); !errors.Is(err, uicc.ErrField) {
		t.Errorf("context 3: %X, %v", b, err)
	}
	if b, err := (GetIdentity{}).Command().Bytes(); err != nil || hex.EncodeToString(b) != "8078000100" {
		t.Errorf("default: %X, %v", b, err)
	}
}

func TestGSMAndIMSRefuse(t *testing.T) {
	t.Parallel()
	v := func(n int) string { return hex.EncodeToString(append([]byte{byte(n)}, make([]byte, n)...)) }
	for name, s := range map[string]string{
		"empty": "", "SRES alone": v(4), "SRES of 5": v(5) + v(8), "Kc of 7": v(4) + v(7), "three values": v(4) + v(8) + v(1),
		"Kc cut": v(4) + "0800", "tag before": "DB" + v(4) + v(8),
	} {
		if _, err := ParseAuthenticateGSM(fromHex(t, s)); !errors.Is(err, ErrAuthenticate) {
			t.Errorf("GSM, %s: %v", name, err)
		}
	}
	for name, s := range map[string]string{
		"Kc": "DB" + v(8) + v(16) + v(16) + v(8), "cut": "DB" + v(8) + v(16), "empty": "",
	} {
		if r, err := ParseAuthenticateIMS(fromHex(t, s)); !errors.Is(err, ErrAuthenticate) || r.RES != nil {
			t.Errorf("IMS, %s: %v", name, err)
		}
	}
}

func TestGBARefuses(t *testing.T) {
	t.Parallel()
	v := func(n int) string {
		return hex.EncodeToString(append([]byte{byte(n)}, bytes.Repeat([]byte{'a'}, n)...))
	}
	for name, s := range map[string]string{
		"empty": "", "tag alone": "DD", "another tag": "DF" + v(16) + v(16), "RAND of 15": "DD" + v(15) + v(16), "AUTN of 14": "DD" + v(16) + v(14),
		"no AUTN": "DD" + v(16), "three values": "DD" + v(16) + v(16) + v(1), "cut": "DD" + v(16) + "10" + "00",
		"no NAF_ID": "DE" + "00" + v(1), "no IMPI": "DE" + v(1) + "00", "IMPI not UTF-8": "DE" + v(1) + "01ff", "NAF alone": "DE" + v(9),
	} {
		if b, d, err := DecodeGBA(fromHex(t, s)); !errors.Is(err, uicc.ErrField) || b != nil || d != nil {
			t.Errorf("command, %s: %v", name, err)
		}
	}
	long := bytes.Repeat([]byte{'a'}, 252)
	for name, g := range map[string]GBADerive{
		"empty": {}, "no IMPI": {NAFID: long[:1]}, "no NAF_ID": {IMPI: "a"}, "too long": {NAFID: long, IMPI: "a"}, "not UTF-8": {NAFID: long[:1], IMPI: "\xFF"},
	} {
		if b, err := g.Command().Bytes(); !errors.Is(err, uicc.ErrField) {
			t.Errorf("command, %s: %X, %v", name, b, err)
		}
	}
	if _, err := (GBADerive{NAFID: long[:251], IMPI: "a"}).Command().Bytes(); err != nil {
		t.Errorf("the longest: %v", err)
	}
	for name, s := range map[string]string{
		"empty": "", "tag alone": "DB", "RES of 3": "DB" + v(3), "RES of 17": "DB" + v(17), "AUTS of 13": "DC" + v(13), "another tag": "DA" + v(8),
		"cut": "DB08aa", "bytes behind": "DB" + v(8) + "00",
	} {
		if _, err := ParseGBABootstrap(fromHex(t, s)); !errors.Is(err, ErrGBA) {
			t.Errorf("bootstrapping, %s: %v", name, err)
		}
	}
	for name, s := range map[string]string{"empty": "", "of 31": "DB" + v(31), "AUTS": "DC" + v(14), "sync failure": "DC" + v(32), "cut": "DB20aa"} {
		if _, err := ParseGBADerive(fromHex(t, s)); !errors.Is(err, ErrGBA) {
			t.Errorf("derivation, %s: %v", name, err)
		}
	}
}

func TestLocalKeyRefuses(t *testing.T) {
	t.Parallel()
	good := LocalKeyDerive{NAFID: []byte("naf"), TerminalID: []byte{1}, TerminalApplication: []byte("platform"), UICCApplication: []byte("platform"), CounterLimit: []byte{9}}
	whole := good.Command()
	if whole.Err != nil {
		t.Fatal(whole.Err)
	}
	list, err := localKeyValues(whole.Data)
	if err != nil {
		t.Fatal(err)
	}
	nest := func(v ...tlv.TLV) []byte { return tlv.Encode(tlv.Nest(tagLocalKey, v...)) }
	swapped := append([]tlv.TLV{list[0], list[2], list[1]}, list[3:]...)
	short := append(append([]tlv.TLV{}, list[:5]...), tlv.New(tagRANDx, make([]byte, 15)), list[6], list[7])
	mode := tlv.New(tagLocalMode, []byte{modeCheck})
	for name, data := range map[string][]byte{
		"empty": {}, "cut": whole.Data[:20], "another template": append([]byte{0x53}, whole.Data[1:]...), "no object": nest(), "no mode": nest(list[1:]...),
		"mode of 2 bytes": nest(tlv.New(tagLocalMode, []byte{1, 1})), "mode 3": nest(tlv.New(tagLocalMode, []byte{3})), "swapped": nest(swapped...),
		"RANDx of 15": nest(short...), "no MAC": nest(list[:7]...), "one more": nest(append(list[:8:8], list[7])...), "two templates": append(nest(mode), nest(mode)...),
		"check without a key": nest(mode), "check with an empty key": nest(mode, tlv.New(tagKeyIdentifier)), "check of two": nest(mode, list[1], list[2]),
		"check of a NAF_ID": nest(mode, list[1]), "empty value": nest(list[0], tlv.New(tagNAFID), list[2], list[3], list[4], list[5], list[6], list[7]),
	} {
		if d, k, err := DecodeLocalKey(data); !errors.Is(err, uicc.ErrField) || d != nil || k != nil {
			t.Errorf("command, %s: %v", name, err)
		}
	}
	long := good
	long.NAFID = make([]byte, 200)
	empty := good
	empty.CounterLimit = nil
	for name, c := range map[string]apdu.Command{
		"too long": long.Command(), "empty value": empty.Command(), "no key identifier": LocalKeyCheck{}.Command(),
		"key identifier too long": LocalKeyCheck{make([]byte, 250)}.Command(),
	} {
		if b, err := c.Bytes(); !errors.Is(err, uicc.ErrField) {
			t.Errorf("command, %s: %X, %v", name, b, err)
		}
	}
	for name, s := range map[string]string{
		"empty": "", "another template": "5312" + "8910" + strings.Repeat("00", 16), "no MAC": "7300", "MAC of 15": "7311" + "890F" + strings.Repeat("00", 15),
		"another tag": "7312" + "8810" + strings.Repeat("00", 16), "cut": "7312890F",
	} {
		if _, err := ParseLocalKey(fromHex(t, s)); !errors.Is(err, ErrLocalKey) {
			t.Errorf("answer, %s: %v", name, err)
		}
	}
}
