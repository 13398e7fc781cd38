package ef

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcim/apdu/usim"
)

// vector is the content of files, as bytes and as a document.
type vector struct {
	Files  []string
	Raw    string
	Value  json.RawMessage
	Source string
}

func readVectors(t testing.TB) []vector {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []vector
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	for _, v := range list {
		if v.Source == "" || len(v.Files) == 0 {
			t.Fatalf("vector %s has no source, or no files", v.Raw)
		}
	}
	return list
}

func byPath(t testing.TB, path string) File {
	t.Helper()
	f, ok := ByPath(path)
	if !ok {
		t.Fatalf("no file %s", path)
	}
	return f
}

func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// generic is a document without the order of its fields.
func generic(t testing.TB, doc []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(doc, &v); err != nil {
		t.Fatalf("%s: %v", doc, err)
	}
	return v
}

func TestVectors(t *testing.T) {
	t.Parallel()
	for _, tt := range readVectors(t) {
		for _, path := range tt.Files {
			f, raw := byPath(t, path), fromHex(t, tt.Raw)
			v, err := f.DecodeClear(raw)
			doc, jsonErr := json.Marshal(v)
			if err != nil || jsonErr != nil {
				t.Errorf("%s %s: %v, %v", path, tt.Raw, err, jsonErr)
				continue
			}
			if diff := cmp.Diff(generic(t, tt.Value), generic(t, doc)); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s", path, tt.Raw, diff)
			}
			parsed, err := f.Parse(tt.Value)
			if err != nil {
				t.Errorf("%s %s: %v", path, tt.Value, err)
			}
			for _, from := range []any{v, parsed, tt.Value, generic(t, tt.Value)} {
				if b, err := f.Encode(from, len(raw)); err != nil || !bytes.Equal(b, raw) {
					t.Errorf("%s from %T: %x, %v; want %s", path, from, b, err, tt.Raw)
				}
			}
		}
	}
}

// TestEveryFileHasAVector wants one that is in use for each file of the table.
func TestEveryFileHasAVector(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, tt := range readVectors(t) {
		for _, path := range tt.Files {
			seen[path] = seen[path] || string(tt.Value) != "null"
		}
	}
	for _, f := range Files() {
		if !seen[f.Path()] {
			t.Errorf("%s has no vector", f.Path())
		}
	}
}

// named counts fields that say more than bytes.
func named(t reflect.Type) int {
	n := 0
	for i := range t.NumField() {
		if f := t.Field(i).Type; f != reflect.TypeFor[Hex]() && f != reflect.TypeFor[Key]() {
			n++
		}
	}
	return n
}

func TestTable(t *testing.T) {
	t.Parallel()
	clause := regexp.MustCompile(`^TS (31\.102|31\.103|51\.011|102 221), \d+(\.\d+)+a?$`)
	snake := regexp.MustCompile(`^[a-z0-9_]+(,omitempty)?$`)
	paths, fids, sfis := map[string]bool{}, map[string]bool{}, map[string]bool{}
	count := map[string]bool{} // files of the USIM, the ISIM and the MF with named fields
	for _, f := range Files() {
		at := func(id any) string { return fmt.Sprint(f.Dir, id) }
		if paths[f.Path()] || fids[at(f.FID)] || f.SFI != 0 && sfis[at(f.SFI)] || f.SFI > 0x1E {
			t.Errorf("%s, %04X, SFI %02X is in the table twice, or has no right SFI", f.Path(), f.FID, f.SFI)
		}
		paths[f.Path()], fids[at(f.FID)], sfis[at(f.SFI)] = true, true, true
		if !clause.MatchString(f.Clause) || !strings.HasPrefix(f.Name, "EF.") || f.Structure == "" || len(f.Dir.FIDs()) == 0 {
			t.Errorf("%+v is not complete", f)
		}
		if found, ok := Find(f.Dir, f.FID); !ok || found.Path() != f.Path() {
			t.Errorf("Find gives %s for %s", found.Path(), f.Path())
		}
		value := reflect.TypeOf(f.new()).Elem()
		for i := range value.NumField() {
			if tag := value.Field(i).Tag.Get("json"); !snake.MatchString(tag) {
				t.Errorf("%s: field %s has the tag %q", f.Path(), value.Field(i).Name, tag)
			}
		}
		if f.Dir != DirGSM && f.Dir != DirTelecom && (named(value) > 0 || value.NumField() > 1) {
			count[f.Path()] = true
		}
	}
	t.Logf("%d files, %d of them of TS 102 221, 31.102 and 31.103 with named fields", len(paths), len(count))
	if len(count) < 60 {
		t.Errorf("%d files with named fields, want 60 or more", len(count))
	}
	if _, ok := Find(DirUSIM, 0x6FFF); ok {
		t.Error("a file that is not in the table was found")
	}
	if _, ok := ByPath("ADF.USIM/EF.NONE"); ok {
		t.Error("a path that is not in the table was found")
	}
}

func TestRefusedContent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ path, raw, why string }{
		{"MF/EF.ICCID", "98881201000040031a", "too short"},
		{"MF/EF.ICCID", "988812010000400310a0", "bad BCD"},
		{"MF/EF.DIR", "61044f02a0", "bad length"},
		{"MF/EF.DIR", "61064f01a05001ff", "no UTF-8"},
		{"MF/EF.PL", "6e0a", "no letter"},
		{"MF/EF.PL", "656e6f", "half a language"},
		{"MF/EF.ARR", "800101", "no condition"},
		{"MF/EF.UMPC", "3cff", "too short"},
		{"ADF.USIM/EF.IMSI", "08298260820000208f", "bad end"},
		{"ADF.USIM/EF.ACC", "0400", "class 10"},
		{"ADF.USIM/EF.ACC", "00", "too short"},
		{"ADF.USIM/EF.AD", "00000004", "MNC of 4 digits"},
		{"ADF.USIM/EF.AD", "000000", "too short"},
		{"ADF.USIM/EF.EST", strings.Repeat("00", 32) + "01", "service 257"},
		{"ADF.USIM/EF.IPS", "4f4b01", "too short"},
		{"ADF.USIM/EF.IPS", "ff4b0101", "no UTF-8"},
		{"ADF.USIM/EF.IPD", "8002f153", "digit behind the end"},
		{"ADF.USIM/EF.DCK", "2143658721436587", "too short"},
		{"ADF.USIM/EF.FPLMN", "62f21000", "a byte too many"},
		{"ADF.USIM/EF.PLMNwAcT", "62f21040", "half an entry"},
		{"ADF.USIM/EF.PLMNwAcT", "62f210400062", "a byte too many"},
		{"ADF.USIM/EF.EHPLMNPI", "0200", "a byte too many"},
		{"ADF.USIM/EF.SPDI", "a304800337f8", "bad length"},
		{"ADF.USIM/EF.SPDI", "a304800237f8", "half a network"},
		{"ADF.USIM/EF.SPDI", "830537f80037f8", "wrong tag"},
		{"ADF.USIM/EF.PNN", "43020282", "extension bit 0"},
		{"ADF.USIM/EF.PNN", "43028a9b", "spare bits that do not fit"},
		{"ADF.USIM/EF.PNN", "4502809b", "no full name"},
		{"ADF.USIM/EF.OPL", "62f2100000fffe", "too short"},
		{"ADF.USIM/EF.LOCI", "47d1264a62f21037211e", "too short"},
		{"ADF.USIM/EF.LOCI", "47d1264a62f21037211e0000", "a byte too many"},
		{"ADF.USIM/EF.PSLOCI", "ffffffffffffff62f2100000ff", "too short"},
		{"ADF.USIM/EF.EPSLOCI", "ffffffffffffffffffffffffffffff0000", "too short"},
		{"ADF.USIM/DF.5GS/EF.5GS3GPPLOCI", "ffffffffffffffffffffffffffffffffffff01", "too short"},
		{"ADF.USIM/EF.START-HFN", "f00000f000", "too short"},
		{"ADF.USIM/EF.NASCONFIG", "80020101", "a parameter of 2 bytes"},
		{"ADF.USIM/EF.NASCONFIG", "8101018001018101", "cut"},
		{"ADF.USIM/EF.Keys", "07ff01", "too short"},
		{"ADF.USIM/EF.EPSNSC", "a00382010a", "count of 1 byte"},
		{"ADF.USIM/EF.EPSNSC", "a106800107810101", "wrong tag"},
		{"ADF.USIM/EF.EPSNSC", "a0068101018001078601", "cut"},
		{"ADF.USIM/DF.5GS/EF.5GAUTHKEYS", "81010180010182", "cut"},
		{"ADF.USIM/DF.5GS/EF.5GAUTHKEYS", "810101800101", "out of order"},
		{"ADF.USIM/EF.FDN", "0891947172199181f3ffffff", "too short for a number"},
		{"ADF.USIM/EF.FDN", "0891f47172199181f3ffffffffff", "digit behind the end"},
		{"ADF.USIM/EF.EXT2", "0203214365ffffffffffff02", "too short"},
		{"ADF.USIM/EF.EXT2", "02032f4365ffffffffffffff02", "digit behind the end"},
		{"ADF.USIM/EF.BDN", "038121430000ff01", "too short"},
		{"ADF.USIM/EF.ECC", "19f1ff", "too short"},
		{"ADF.USIM/EF.ECC", "1ff1ff01", "digit behind the end"},
		{"ADF.USIM/EF.MBI", "010203", "too short"},
		{"ADF.USIM/EF.MWIS", "010203040506070809", "too long"},
		{"ADF.USIM/EF.CFIS", "0100", "too short"},
		{"ADF.USIM/EF.ACM", "0001", "too short"},
		{"ADF.USIM/EF.FDNURI", "800161810280", "bad length"},
		{"ADF.USIM/EF.FDNURI", "8001ff", "no UTF-8"},
		{"ADF.USIM/EF.SMSP", "e1ffffffffffffffffffffffff0891945197109099f9ffffff0000", "too short"},
		{"ADF.USIM/EF.SMS", "010491ff", "bad length"},
		{"ADF.USIM/EF.SMS", "01039121ff00", "longer than its digits"},
		{"ADF.USIM/EF.CBMI", "003200", "half an identifier"},
		{"ADF.USIM/EF.CBMIR", "1100", "half a range"},
		{"ADF.USIM/EF.ACL", "01dd0100", "empty label"},
		{"ADF.USIM/EF.ACL", "01dd03036162", "bad length of a label"},
		{"ADF.USIM/EF.ACL", "01dd020161dd0402612e62", "a dot in a label"},
		{"ADF.USIM/EF.ACL", "01de020161", "wrong tag"},
		{"ADF.USIM/EF.GBABP", "100011", "bad length"},
		{"ADF.USIM/EF.GBANL", "800401020304", "no room for the protocol"},
		{"ADF.USIM/EF.MSK", "62f2100200000001", "fewer keys than it says"},
		{"ADF.USIM/EF.MUK", "a003820180", "bad text"},
		{"ADF.USIM/DF.5GS/EF.SUCI_Calc_Info", "a003010100", "half a scheme"},
		{"ADF.USIM/DF.5GS/EF.SUCI_Calc_Info", "a0020101a10380010a", "no key behind its number"},
		{"ADF.USIM/DF.5GS/EF.SUCI_Calc_Info", "a10380010a", "no schemes"},
		{"ADF.USIM/DF.5GS/EF.SUPI_NAI", "8301618001ff", "wrong tag"},
		{"ADF.USIM/DF.5GS/EF.Routing_Indicator", "2ff3ffff", "digit behind the end"},
		{"ADF.USIM/DF.5GS/EF.TN3GPPSNN", "810161", "wrong tag"},
		{"ADF.USIM/DF.5GS/EF.DRI", "01fc0105", "too short"},
		{"ADF.USIM/DF.PHONEBOOK/EF.PBR", "a804c0024f3aa903ca014f", "half an identifier"},
		{"ADF.USIM/DF.PHONEBOOK/EF.PBR", "a805df01024f3a", "a long tag"},
		{"ADF.USIM/DF.PHONEBOOK/EF.PBR", "a905c0034f3a02a800", "out of order"},
		{"ADF.USIM/DF.PHONEBOOK/EF.PSC", "000001", "too short"},
		{"ADF.USIM/DF.PHONEBOOK/EF.CC", "010203", "too long"},
		{"ADF.USIM/DF.PHONEBOOK/EF.PUID", "01", "too short"},
		{"ADF.USIM/EF.PUCT", "4555520c13", "minus 0"},
		{"ADF.USIM/EF.ICI", "03812143ffffffffffffffffffff6211422113650000003c01ffff", "too short"},
		{"ADF.USIM/EF.OCI", "03812143ffffffffffffffffffff62114221136500000005ffff", "too short"},
		{"ADF.USIM/EF.3GPPPSDATAOFF", "1210", "too short"},
		{"DF.GSM/EF.ECC", "11f2", "too short"},
		{"DF.GSM/EF.ECC", "1ff1ff", "digit behind the end"},
		{"ADF.ISIM/EF.IMPI", "8101618001", "wrong tag"},
		{"ADF.ISIM/EF.P-CSCF", "800401c0a80c", "short address"},
		{"ADF.ISIM/EF.P-CSCF", "800603c0a80c2201", "unknown type"},
		{"ADF.USIM/EF.ePDGSelection", "800700f11000010000", "half an entry"},
		{"ADF.USIM/EF.IMSI", "", "empty"},
	} {
		v, err := byPath(t, tt.path).Decode(fromHex(t, tt.raw))
		if !errors.Is(err, ErrContent) || v != nil {
			t.Errorf("%s %s, %s: %+v, %v", tt.path, tt.raw, tt.why, v, err)
		}
	}
}

func TestRefusedDocuments(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		path, doc string
		size      int
	}{
		{"ADF.USIM/EF.IMSI", `{"imsi":"001"}`, 9},
		{"ADF.USIM/EF.IMSI", `{"imsi":"001010123456789"}`, 8},
		{"ADF.USIM/EF.IMSI", `{"imsi":"001010123456789"}`, 10},
		{"ADF.USIM/EF.IMSI", `{"imsi":"001010123456789"}`, 0},
		{"ADF.USIM/EF.IMSI", `{"imsi":"001010123456789","imei":""}`, 9},
		{"ADF.USIM/EF.IMSI", `{"imsi":1}`, 9},
		{"ADF.USIM/EF.ACC", `{"classes":[10]}`, 2},
		{"ADF.USIM/EF.ACC", `{"classes":[16]}`, 2},
		{"ADF.USIM/EF.UST", `{"services":["9"]}`, 1},
		{"ADF.USIM/EF.UST", `{"services":["0"]}`, 1},
		{"ADF.USIM/EF.UST", `{"services":[1]}`, 1},
		{"ADF.USIM/EF.UST", `{"services":["gsm_access"]}`, 17},
		{"ADF.USIM/EF.UST", `{"services":["28 gsm_access"]}`, 17},
		{"ADF.ISIM/EF.IST", `{"services":["27 gsm_access"]}`, 17},
		{"ADF.USIM/EF.EST", `{"enabled":["dialling"]}`, 1},
		{"ADF.USIM/EF.AD", `{"mode":"odd","facilities":[],"mnc_length":2}`, 4},
		{"ADF.USIM/EF.AD", `{"mode":"normal","facilities":["bit_16"],"mnc_length":2}`, 4},
		{"ADF.USIM/EF.AD", `{"mode":"normal","facilities":["odd"],"mnc_length":2}`, 4},
		{"ADF.USIM/EF.AD", `{"mode":"normal","facilities":[],"mnc_length":256}`, 4},
		{"ADF.USIM/EF.SPN", `{"display":[],"name":"a name of seventeen"}`, 17},
		{"ADF.USIM/EF.SPN", `{"display":[],"name":{"text":"a","coding":"83"}}`, 17},
		{"ADF.USIM/EF.SPN", `{"display":[],"name":{"text":"a","raw":"41"}}`, 17},
		{"ADF.USIM/EF.SPN", `{"display":[],"name":{"text":"Мa漢","coding":"81"}}`, 17},
		{"ADF.USIM/EF.SPN", `{"display":[],"name":{"text":"\u9000","coding":"81"}}`, 17},
		{"ADF.USIM/EF.FPLMN", `{"plmns":["262-01","262-02"]}`, 3},
		{"ADF.USIM/EF.FPLMN", `{"plmns":["26201"]}`, 3},
		{"ADF.USIM/EF.FPLMN", `{"plmns":["26D-01"]}`, 3},
		{"ADF.USIM/EF.FPLMN", `{"plmns":["0xff"]}`, 3},
		{"ADF.USIM/EF.OPL", `{"plmn":"26E-01","area_low":"0000","area_high":"fffe","pnn_record":1}`, 8},
		{"ADF.USIM/EF.OPL", `{"plmn":"262-01","area_low":"00","area_high":"fffe","pnn_record":1}`, 8},
		{"ADF.USIM/EF.OPL", `{"plmn":"262-01","area_low":"0","area_high":"fffe","pnn_record":1}`, 8},
		{"ADF.USIM/EF.PNN", `{"full":{"text":"漢","coding":"gsm7"}}`, 20},
		{"ADF.USIM/EF.PNN", `{"full":{"text":"a","coding":"0x02"}}`, 20},
		{"ADF.USIM/EF.PNN", `{"full":{"text":"","coding":"0x08"}}`, 20},
		{"ADF.USIM/EF.PNN", `{"full":{"text":"a","coding":"gsm7","raw":"00"}}`, 20},
		{"ADF.USIM/EF.PNN", `{"full":{"text":"a","coding":"gsm7"},"other":[{"tag":"","value":""}]}`, 20},
		{"ADF.USIM/EF.FDN", `{"name":"abc","number":{"type":"unknown","plan":"isdn","digits":"1"},"capability_record":255,"extension_record":255}`, 16},
		{"ADF.USIM/EF.FDN", `{"name":"","number":{"type":"unknown","plan":"isdn","digits":"123456789012345678901"},"capability_record":255,"extension_record":255}`, 14},
		{"ADF.USIM/EF.FDN", `{"name":"","number":{"type":"unknown","plan":"isdn","digits":"+49"},"capability_record":255,"extension_record":255}`, 14},
		{"ADF.USIM/EF.FDN", `{"name":"","number":{"type":"0x08","plan":"isdn","digits":"4"},"capability_record":255,"extension_record":255}`, 14},
		{"ADF.USIM/EF.FDN", `{"name":"","number":{"type":"0x91","digits":"4"},"capability_record":255,"extension_record":255}`, 14},
		{"ADF.USIM/EF.FDN", `{"name":"","capability_record":255,"extension_record":255}`, 13},
		{"ADF.USIM/EF.EXT2", `{"kind":"free","digits":{"length":1,"digits":"1"},"data":"ffffffffffffffffffffff","next_record":255}`, 13},
		{"ADF.USIM/EF.EXT2", `{"kind":"additional_data","data":"ffffffffffffffffffffff","next_record":255}`, 13},
		{"ADF.USIM/EF.Keys", `{"ksi":7,"ck":"[redacted]","ik":"[redacted]"}`, 33},
		{"ADF.USIM/EF.Keys", `{"ksi":7,"ck":"00","ik":"00"}`, 33},
		{"ADF.USIM/EF.EPSNSC", `{"algorithms":{"ciphering":16,"integrity":0}}`, 54},
		{"ADF.USIM/EF.MSK", `{"key_domain":"62f210","keys":[` + strings.Repeat(`{"msk_id":"00000000"},`, 255) + `{"msk_id":"00000000"}]}`, 3000},
		{"ADF.USIM/EF.SPN", `{"display":[],"name":{"text":"` + strings.Repeat("М", 256) + `","coding":"82"}}`, 300},
		{"ADF.USIM/EF.ACMmax", `{"units":16777216}`, 3},
		{"ADF.USIM/EF.ACL", `{"count":1,"apns":["a..b"]}`, 20},
		{"ADF.USIM/EF.GBABP", `{"rand":"` + strings.Repeat("00", 255) + `","b_tid":"","key_lifetime":""}`, 300},
		{"ADF.USIM/EF.GBANL", `{"naf_id":{"fqdn":"a","ua_protocol":"00"}}`, 20},
		{"ADF.USIM/EF.IPS", `{"status":"OKO","device_record":1,"rfu":255}`, 5},
		{"ADF.ISIM/EF.P-CSCF", `{"p_cscf":{"type":"ipv4","address":"::1"}}`, 30},
		{"ADF.ISIM/EF.P-CSCF", `{"p_cscf":{"type":"ipv6","address":"fe80::1%eth0"}}`, 30},
		{"ADF.ISIM/EF.P-CSCF", `{"p_cscf":{"type":"ipv6","address":"a.test"}}`, 30},
		{"ADF.ISIM/EF.P-CSCF", `{"p_cscf":{"type":"0x03","address":"a.test"}}`, 30},
		{"MF/EF.PL", `{"languages":["eng"]}`, 4},
		{"MF/EF.PL", `{"languages":["e\n"]}`, 4},
		{"MF/EF.ICCID", `{"iccid":"89"}`, 10},
		{"MF/EF.DIR", `{"aid":"","label":"x"}`, 10},
		{"MF/EF.ARR", `{"rules":[{"operations":["read"],"conditions":[]}]}`, 20},
		{"MF/EF.ARR", `{"rules":[{"operations":["read"],"conditions":[{}]}]}`, 20},
		{"MF/EF.ARR", `{"rules":[{"operations":["read"],"conditions":[{"who":"me"}]}]}`, 20},
		{"MF/EF.ARR", `{"rules":[{"operations":["read"],"conditions":[{"who":"always","usage":8}]}]}`, 20},
		{"MF/EF.ARR", `{"rules":[{"operations":["read"],"conditions":[{"any":[]}]}]}`, 20},
		{"MF/EF.ARR", `{"rules":[{"operations":["jump"],"conditions":[{"who":"always"}]}]}`, 20},
		{"MF/EF.ARR", `{"rules":[{"command":{"tag":"5f01","value":"d4"},"conditions":[{"who":"always"}]}]}`, 20},
	} {
		b, err := byPath(t, tt.path).Encode(json.RawMessage(tt.doc), tt.size)
		if !errors.Is(err, ErrContent) || b != nil {
			t.Errorf("%s %s in %d bytes: %x, %v", tt.path, tt.doc, tt.size, b, err)
		}
	}
}

// TestPadding encodes into a larger file than the value needs.
func TestPadding(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ path, doc, want string }{
		{"ADF.USIM/EF.FPLMN", `{"plmns":["262-01"]}`, "62f210ffffffffffff"},
		{"ADF.USIM/EF.FPLMN", `{"plmns":[]}`, "ffffffffffffff"},
		{"ADF.USIM/EF.PLMNwAcT", `{"entries":[{"plmn":"262-01","access":["ng_ran"]}]}`, "62f2100800ffffff0000"},
		{"ADF.USIM/EF.UST", `{"services":["2"]}`, "020000"},
		{"ADF.USIM/EF.UST", `{"services":["27 gsm_access","26"]}`, "00000006"},
		{"ADF.USIM/EF.SPN", `{"display":[],"name":"x"}`, "0078ffff"},
		{"ADF.USIM/EF.SPN", "null", "ffffffff"},
		{"ADF.ISIM/EF.IMPI", `{"impi":"a"}`, "800161ffff"},
		{"ADF.USIM/DF.5GS/EF.Routing_Indicator", `{"routing_indicator":"17"}`, "71ffffff"},
	} {
		got, err := byPath(t, tt.path).Encode(json.RawMessage(tt.doc), len(tt.want)/2)
		if err != nil || hex.EncodeToString(got) != tt.want {
			t.Errorf("%s %s: %x, %v; want %s", tt.path, tt.doc, got, err, tt.want)
		}
	}
	f := byPath(t, "ADF.USIM/EF.SPN")
	if b, err := f.Encode(nil, 3); err != nil || hex.EncodeToString(b) != "ffffff" {
		t.Errorf("nil: %x, %v", b, err)
	}
	if b, err := f.Encode((*ProviderName)(nil), 3); err != nil || hex.EncodeToString(b) != "ffffff" {
		t.Errorf("nil of the type: %x, %v", b, err)
	}
	if b, err := f.Encode(func() {}, 3); !errors.Is(err, ErrContent) {
		t.Errorf("a function: %x, %v", b, err)
	}
	for _, doc := range []string{"", "[]", `{"name":"a"} {}`, `{"name":"a"}}`, `{"name":"a"`, `"a"`} {
		if v, err := f.Parse([]byte(doc)); !errors.Is(err, ErrContent) || v != nil {
			t.Errorf("%s: %v, %v", doc, v, err)
		}
	}
	if v, err := f.Parse([]byte(" null ")); v != nil || err != nil {
		t.Errorf("null: %v, %v", v, err)
	}
}

// TestKeysAreRedacted looks for the bytes of all vectors of secret files in what
// is printed of them.
func TestKeysAreRedacted(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, tt := range readVectors(t) {
		f := byPath(t, tt.Files[0])
		if !f.Secret || string(tt.Value) == "null" {
			continue
		}
		raw := fromHex(t, tt.Raw)
		v, err := f.Decode(raw)
		doc, jsonErr := json.Marshal(v)
		if err != nil || jsonErr != nil {
			t.Fatal(err, jsonErr)
		}
		if !strings.Contains(string(doc), `"[redacted]"`) {
			t.Errorf("%s %s has no key", f.Name, doc)
		}
		clear, err := f.DecodeClear(raw)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range regexp.MustCompile(`"([0-9a-f]{8,})"`).FindAllStringSubmatch(string(tt.Value), -1) {
			seen++
			for _, text := range []string{
				string(doc), fmt.Sprintf("%v %+v %#v %x", v, v, v, v), fmt.Sprintf("%v %+v %#v %s", clear, clear, clear, clear),
			} {
				if strings.Contains(strings.ToLower(text), key[1]) {
					t.Errorf("%s: %s in %s", f.Name, key[1], text)
				}
			}
		}
		if b, err := f.Encode(v, len(raw)); err != nil || !bytes.Equal(b, raw) {
			t.Errorf("%s with redacted keys: %v", f.Name, err)
		}
		_, err = f.Decode(append([]byte{0x21, 0x43}, raw...)[:len(raw)-1])
		if err == nil || strings.Contains(fmt.Sprint(err), "2143") {
			t.Errorf("%s, moved: %v", f.Name, err)
		}
	}
	if seen < 10 {
		t.Errorf("only %d keys seen", seen)
	}
	if k := NewKey([]byte{0xAB}); k.Len() != 1 || fmt.Sprint(k) != "[redacted]" {
		t.Errorf("NewKey: %d bytes, prints %v", k.Len(), k)
	}
}

// TestDefaults reads what package usim writes into the files of a subscription that
// has not been used.
func TestDefaults(t *testing.T) {
	t.Parallel()
	area := Area{PLMN: "none", Code: Hex{0xFF, 0xFE}}
	for _, tt := range []struct {
		path string
		raw  []byte
		want any
	}{
		{"ADF.USIM/EF.LOCI", usim.DefaultLOCI(), &LOCI{TMSI: filling(4), LAI: area, RFU: 0xFF, Status: "not_updated"}},
		{"ADF.USIM/EF.PSLOCI", usim.DefaultPSLOCI(), &PSLOCI{PTMSI: filling(4), Signature: filling(3), RAI: area, RAC: 0xFF, Status: "not_updated"}},
		{"ADF.USIM/EF.EPSLOCI", usim.DefaultEPSLOCI(), &EPSLOCI{TAI: area, Status: "not_updated"}},
		{"ADF.USIM/EF.FPLMN", usim.Unused(12), &Networks{PLMNs: []PLMN{}}},
		{"ADF.USIM/EF.EPSNSC", usim.Unused(54), nil},
		{"ADF.USIM/DF.5GS/EF.5GS3GPPLOCI", usim.Default5GSLOCI(), &LOCI5GS{TAI: Area{PLMN: "none", Code: Hex{0xFF, 0xFF, 0xFE}}, Status: "not_updated"}},
	} {
		v, err := byPath(t, tt.path).Decode(tt.raw)
		if err != nil || !reflect.DeepEqual(v, tt.want) {
			t.Errorf("%s %x: %+v, %v", tt.path, tt.raw, v, err)
		}
	}
	keys, err := As[Keys](DirUSIM, usim.EFKeys, usim.DefaultKeys())
	if err != nil || keys.KSI != 7 || !filled(keys.CK.Reveal()) || !filled(keys.IK.Reveal()) {
		t.Errorf("EF.Keys: %+v, %v", keys, err)
	}
}

// TestAs: a content of another type, of no file of the table, or not in use is refused.
func TestAs(t *testing.T) {
	t.Parallel()
	_, other := As[LOCI](DirUSIM, usim.EFKeys, usim.DefaultKeys())
	_, unknown := As[LOCI](DirUSIM, 0x6FFF, usim.DefaultLOCI())
	_, unused := As[AdministrativeData](DirUSIM, usim.EFAD, usim.Unused(4))
	_, short := As[AdministrativeData](DirUSIM, usim.EFAD, []byte{0})
	for i, err := range []error{other, unknown, unused, short} {
		if !errors.Is(err, ErrContent) {
			t.Errorf("%d: %v, want ErrContent", i, err)
		}
	}
}

func TestValidity(t *testing.T) {
	t.Parallel()
	for period, want := range map[uint8]int{0: 5, 143: 720, 144: 750, 167: 1440, 168: 2880, 196: 43200, 197: 50400, 255: 635040} {
		if got := (&SMSParameters{Validity: period}).ValidityMinutes(); got != want {
			t.Errorf("%d: %d minutes, want %d", period, got, want)
		}
	}
}

func TestServiceLookup(t *testing.T) {
	t.Parallel()
	s := &Services{Services: []USIMService{2, 27}}
	if !s.Has(27) || s.Has(28) {
		t.Error("27 is available, 28 is not")
	}
	i := &ISIMServices{Services: []ISIMService{1}}
	if !i.Has(1) || i.Has(2) {
		t.Error("1 is available, 2 is not")
	}
	if n := len(usimServices()); n != 146 {
		t.Errorf("%d services of the USIM have a place, want 146", n)
	}
	for n, want := range map[USIMService]string{
		1: "1 local_phone_book", 26: "26", 27: "27 gsm_access", 38: "38 gsm_security_context", 68: "68 gba",
		85: "85 eps_mobility_information", 102: "102 usat_application_pairing", 122: "122 5gs_mobility_information",
		124: "124 subscription_privacy", 146: "146 snpn_network_identifier", 147: "147",
	} {
		if text, err := n.MarshalText(); err != nil || string(text) != want {
			t.Errorf("%s, %v; want %s", text, err, want)
		}
	}
}
