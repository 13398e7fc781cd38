package emul

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mcim/apdu/secret"
)

// profileFile is the profile as a file.
func profileFile(p Profile) string {
	sqn := p.SQN.Bytes()
	var keys string
	for i, value := range []secret.Bytes{p.OPc, p.TOPc, secret.New(p.SUCI.Key)} {
		if value.Len() > 0 {
			keys += fmt.Sprintf("%s = \"%x\"\n", []string{"opc", "topc", "suci_key"}[i], value.Reveal())
		}
	}
	if p.Algorithm != "" {
		keys += fmt.Sprintf("algorithm = %q\n", p.Algorithm)
	}
	if p.Routing != "" {
		keys += fmt.Sprintf("routing = %q\n", p.Routing)
	}
	for i, value := range []secret.Bytes{p.PIN2, p.PUK2, p.Universal, p.UniversalPUK} {
		if value.Len() > 0 {
			keys += fmt.Sprintf("%s = %q\n", []string{"pin2", "puk2", "universal", "universal_puk"}[i], value.Reveal())
		}
	}
	for i, value := range p.ADMs {
		if value.Len() > 0 {
			keys += fmt.Sprintf("adm%d = \"%x\"\n", i+2, value.Reveal())
		}
	}
	if p.SUCI.Scheme != 0 {
		keys += fmt.Sprintf("suci_scheme = %q\nsuci_key_id = %d\n", schemeNames()[p.SUCI.Scheme], p.SUCI.ID)
	}
	return keys + fmt.Sprintf(`model = "%s"
iccid = "%s"
imsi = "%s"
pin1 = "%s"
puk1 = "%s"
k = "%x"
amf = "%x"
sqn = "%x"
adm1 = "%x"
`, p.Model, p.ICCID, p.IMSI, p.PIN1.Reveal(), p.PUK1.Reveal(), p.K.Reveal(), p.AMF, sqn, p.ADM1.Reveal())
}

func TestReadProfile(t *testing.T) {
	t.Parallel()
	want := testProfile(t)
	path := filepath.Join(t.TempDir(), "profile.toml")
	for _, more := range []string{"", "mnc_length = 3\nalgorithm = \"milenage\"\n"} {
		if err := os.WriteFile(path, []byte(profileFile(want)+more), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := ReadProfile(path)
		if err != nil {
			t.Fatal(err)
		}
		p.Algorithm = "" // which stands for milenage
		if profileFile(p) != profileFile(want) || more != "" && p.MNCLength != 3 {
			t.Error("the profile read is not the one written")
		}
		newCard(t, p)
	}
	if _, err := ReadProfile(path + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestProfileErrors(t *testing.T) {
	t.Parallel()
	good := profileFile(testProfile(t))
	lineOf := func(key string) int {
		for i, l := range strings.Split(good, "\n") {
			if strings.HasPrefix(l, key+" ") {
				return i + 1
			}
		}
		return 0
	}
	planted := "c0ffee00c0ffee00c0ffee00c0ffee"
	for _, c := range []struct{ key, value, reason string }{
		{"model", `"isim"`, "want one of usim, 2g, bootstrap, no-arr, strict"},
		{"iccid", `"8988x"`, "18 to 20 digits"},
		{"imsi", `"12345"`, "6 to 15 digits"},
		{"imsi", `"1234567890123456"`, "6 to 15 digits"},
		{"pin1", `"123"`, "4 to 8 digits"},
		{"pin1", `"c0ffee00"`, "4 to 8 digits"},
		{"puk1", `"1234567"`, "8 digits"},
		{"k", `"` + planted + `"`, "want 16 bytes"},
		{"k", `"` + planted + ` 00"`, "hexadecimal digits"},
		{"k", `"` + planted + `"00`, ""},
		{"k", planted + "00", ""},
		{"k", "12345678", "string in quotes"},
		{"k", `["` + planted + `00"]`, ""},
		{"opc", `"` + planted + `0000"`, "want 16 bytes"},
		{"opc", `"xyz"`, "hexadecimal digits"},
		{"topc", `"` + planted + `00"`, "tuak has topc"},
		{"algorithm", `"comp128"`, `"milenage" "tuak" "xor" "comp128v1" "comp128v2" "comp128v3"`},
		{"auth_limit", "0", "1 to 16777215"},
		{"auth_limit", "16777216", "1 to 16777215"},
		{"auth_limit", `"5"`, "auth_limit"},
		{"channel_key", `"` + planted + `"`, "16 or 32 bytes"},
		{"channel_key", `"xyz"`, "hexadecimal digits"},
		{"channel_key", `""`, "hexadecimal digits"},
		{"channel_limit", "65536", "1 to 65535"},
		{"channel_limit", "5", "no channel_key"},
		{"sqn_delta", "-1", "1 to 8796093022207"},
		{"sqn_age_limit", "8796093022208", "1 to 8796093022207"},
		{"sqn_entries", "33", "1 to 32"},
		{"sqn_entries", "12", "a power of two, 1 to 32"},
		{"routing", `"12345"`, "1 to 4 digits"},
		{"routing", `""`, "1 to 4 digits"},
		{"suci_scheme", `"c"`, "profile_b"},
		{"suci_key_id", "255", "0 to 254"},
		{"suci_key", `"x"`, "hexadecimal digits"},
		{"amf", `"80"`, "4 hexadecimal digits"},
		{"sqn", `"00"`, "12 hexadecimal digits"},
		{"adm1", `"` + planted + `"`, "16 hexadecimal digits"},
		{"adm1", `""`, "16 hexadecimal digits"},
		{"pin2", `"12345x"`, "4 to 8 digits"},
		{"pin2", `""`, "4 to 8 digits"},
		{"puk2", `"12345"`, "8 digits"},
		{"universal", `"123"`, "4 to 8 digits"},
		{"universal_puk", `"12345"`, "8 digits"},
		{"adm2", `"` + planted + `"`, "16 hexadecimal digits"},
		{"adm7", `"` + planted[:16] + `"`, "no such code"},
		{"adm11", `"` + planted[:16] + `"`, "unknown key"},
		{"mnc_length", "4", "2 or 3"},
		{"mnc_length", "0", "2 or 3"},
		{"mnc_length", `"2"`, ""},
		{"extra", `"` + planted + `"`, "unknown key"},
	} {
		line := lineOf(c.key)
		lines := strings.Split(good, "\n")
		if line == 0 {
			lines = append(lines, "")
			line = len(lines) - 1
		}
		lines[line-1] = c.key + " = " + c.value
		_, err := ParseProfile("card.toml", []byte(strings.Join(lines, "\n")))
		var bad *ProfileError
		if !errors.As(err, &bad) || bad.Line != line || !strings.Contains(err.Error(), c.reason) || !strings.Contains(err.Error(), "card.toml") {
			t.Errorf("%s = %s: %v, want line %d", c.key, c.value, err, line)
			continue
		}
		if strings.Contains(err.Error(), "c0ffee") || strings.Contains(err.Error(), "12345") {
			t.Errorf("%s: the error repeats the value: %v", c.key, err)
		}
	}
	for more, want := range map[string]string{
		`algorithm = "tuak"`:        "topc: missing",
		`algorithm = "xor"`:         "opc: is not for the algorithm xor",
		`suci_scheme = "profile_a"`: "suci_key: not a public key",
		`suci_key_id = 1`:           "the null scheme has neither",
		`suci_key = "00"`:           "the null scheme has neither",
	} {
		_, err := ParseProfile("card.toml", []byte(good+more))
		var bad *ProfileError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", more, err, want)
		}
	}
	for _, key := range []string{"model", "iccid", "imsi", "pin1", "puk1", "k", "opc", "amf", "sqn", "adm1"} {
		lines := strings.Split(good, "\n")
		lines[lineOf(key)-1] = ""
		_, err := ParseProfile("card.toml", []byte(strings.Join(lines, "\n")))
		var bad *ProfileError
		if !errors.As(err, &bad) || bad.Field != key || bad.Reason != "missing" {
			t.Errorf("without %s: %v", key, err)
		}
	}
	for _, text := range []string{"= =", "k", "[k]\nx = 1", "\x00", `k = "` + planted} {
		_, err := ParseProfile("card.toml", []byte(text))
		var bad *ProfileError
		if !errors.As(err, &bad) || strings.Contains(err.Error(), planted) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestNewChecks(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Profile){
		"k":          func(p *Profile) { p.K = secret.Bytes{} },
		"adm1":       func(p *Profile) { p.ADM1 = secret.New(make([]byte, 9)) },
		"adm2":       func(p *Profile) { p.ADMs[0] = secret.New(make([]byte, 9)) },
		"pin2":       func(p *Profile) { p.Model, p.PIN2 = "usim-1", p.PIN1 },
		"sqn":        func(p *Profile) { p.SQN = 1 << 48 },
		"mnc_length": func(p *Profile) { p.MNCLength = 1 },
		"model":      func(p *Profile) { p.Model = "" },
	} {
		p := testProfile(t)
		change(&p)
		_, err := New(p)
		var bad *ProfileError
		if !errors.As(err, &bad) || bad.Field != name {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNothingPrintsSecrets: neither profile nor card shows a secret to fmt or
// JSON; a value that is no secret shows that the search works.
func TestNothingPrintsSecrets(t *testing.T) {
	t.Parallel()
	p := testProfile(t)
	c := newCard(t, p)
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
		fmt.Fprintf(&out, verb+verb+verb+verb, p, &p, c, *c)
	}
	j, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(j)
	if !strings.Contains(out.String(), testIMSI) {
		t.Error("the IMSI is not found: the search is worth nothing")
	}
	for name, s := range map[string]secret.Bytes{"K": p.K, "OPc": p.OPc, "ADM1": p.ADM1} {
		for _, form := range formsOf(s.Reveal()) {
			if strings.Contains(out.String(), form) {
				t.Errorf("%s is shown as %q", name, form)
			}
		}
	}
}

func formsOf(b []byte) []string {
	return []string{
		string(b), hex.EncodeToString(b), strings.ToUpper(hex.EncodeToString(b)),
		base64.StdEncoding.EncodeToString(b), strings.Trim(fmt.Sprintf("%v", b), "[]"),
	}
}
