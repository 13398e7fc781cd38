package uicc

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcim/apdu/tlv"
)

func TestCapturedFiles(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, tt := range readExamples(t).EF {
		raw := fromHex(t, tt.Raw)
		seen[tt.EF] = true
		switch tt.EF {
		case "EF.ICCID":
			got, err := DecodeICCID(raw)
			if err != nil || got != tt.Value {
				t.Errorf("%q, %v; want %q", got, err, tt.Value)
			}
			if b, err := EncodeICCID(tt.Value); err != nil || !bytes.Equal(b, raw) {
				t.Errorf("%X, %v; want %X", b, err, raw)
			}
		case "EF.DIR record":
			d, err := DecodeDirRecord(raw)
			if err != nil {
				t.Fatal(err)
			}
			if got := "AID " + hex.EncodeToString(d.AID) + " label " + d.Label; !strings.HasPrefix(got, tt.Value[:20]) || d.Label != "ISim1" || len(d.AID) != 16 {
				t.Errorf("%q, want %q", got, tt.Value)
			}
			if b, err := d.Encode(len(raw)); err != nil || !bytes.Equal(b, raw) {
				t.Errorf("%X, %v; want %X", b, err, raw)
			}
		}
	}
	if len(seen) != 2 {
		t.Errorf("examples of %v only", seen)
	}
}

func TestPublishedPINsAndICCIDs(t *testing.T) {
	t.Parallel()
	e := readExamples(t)
	for _, tt := range e.PIN {
		got, err := PadPIN(tt.PIN)
		if err != nil || !bytes.Equal(got.Reveal(), fromHex(t, tt.Padded)) {
			t.Errorf("%s: %X, %v; want %s", tt.PIN, got.Reveal(), err, tt.Padded)
		}
	}
	for _, tt := range e.ICCID {
		if LuhnOK(tt.ICCID) != tt.Luhn {
			t.Errorf("%s: Luhn is not %v", tt.ICCID, tt.Luhn)
		}
		wrong := tt.ICCID[:len(tt.ICCID)-1] + string('0'+(tt.ICCID[len(tt.ICCID)-1]-'0'+1)%10)
		if LuhnOK(wrong) {
			t.Errorf("%s passes with a wrong check digit", wrong)
		}
	}
	if LuhnOK("") || LuhnOK("89x") {
		t.Error("no number passes")
	}
}

func TestICCID(t *testing.T) {
	t.Parallel()
	for digits, want := range map[string]string{
		"894453101500110136":   "984435015100111063FF",
		"8944531015001101367":  "984435015100111063F7",
		"89445310150011013678": "98443501510011106387",
	} {
		b, err := EncodeICCID(digits)
		if err != nil || !bytes.Equal(b, fromHex(t, want)) {
			t.Errorf("%s: %X, %v; want %s", digits, b, err, want)
		}
		if got, err := DecodeICCID(b); err != nil || got != digits {
			t.Errorf("%X: %q, %v", b, got, err)
		}
	}
	for _, digits := range []string{"", "89445310150011013", "894453101500110136789", "8944531015001101A67"} {
		if b, err := EncodeICCID(digits); !errors.Is(err, ErrICCID) {
			t.Errorf("%q: %X, %v", digits, b, err)
		}
	}
	for name, s := range map[string]string{
		"empty file":             "FFFFFFFFFFFFFFFFFFFF",
		"9 bytes":                "984435015100111063",
		"11 bytes":               "98443501510011106387FF",
		"digit A":                "A84435015100111063F7",
		"digit behind F":         "98443501510011106F87",
		"digit behind the end":   "9844350151001110638F",
		"17 digits":              "98443501510011 10F3FF",
		"zero digits, no filler": "9844350151001110FFF0",
	} {
		if got, err := DecodeICCID(fromHex(t, strings.ReplaceAll(s, " ", ""))); !errors.Is(err, ErrICCID) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestDirRecord(t *testing.T) {
	t.Parallel()
	aid := []byte{0xA0, 0, 0, 0, 0x87, 0x10, 0x02}
	for name, tt := range map[string]struct {
		d    DirRecord
		want string
	}{
		"AID":               {DirRecord{AID: aid}, "61094F07A0000000871002"},
		"AID, label":        {DirRecord{AID: aid, Label: "USIM"}, "610F4F07A0000000871002" + "50045553494D"},
		"more":              {DirRecord{AID: aid, Label: "U", Other: []tlv.TLV{tlv.New(0x73, []byte{1})}}, "610F4F07A0000000871002" + "500155" + "730101"},
		"label not second":  {DirRecord{AID: aid, Other: []tlv.TLV{tlv.New(0x73), tlv.New(0x50, []byte{'U'})}}, "610E4F07A0000000871002" + "7300" + "500155"},
		"label there twice": {DirRecord{AID: aid, Label: "U", Other: []tlv.TLV{tlv.New(0x50, []byte{'V'})}}, "610F4F07A0000000871002" + "500155" + "500156"},
		"label empty":       {DirRecord{AID: aid, Other: []tlv.TLV{tlv.New(0x50)}}, "610B4F07A0000000871002" + "5000"},
	} {
		want := fromHex(t, tt.want)
		for _, more := range []int{0, 7} {
			full := append(append([]byte{}, want...), bytes.Repeat([]byte{0xFF}, more)...)
			b, err := tt.d.Encode(len(full))
			if err != nil || !bytes.Equal(b, full) {
				t.Errorf("%s: %X, %v; want %X", name, b, err, full)
			}
			got, err := DecodeDirRecord(full)
			if err != nil {
				t.Fatal(name, err)
			}
			if diff := cmp.Diff(tt.d, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
		if b, err := tt.d.Encode(len(want) - 1); !errors.Is(err, ErrDirRecord) {
			t.Errorf("%s: encoded into a shorter record: %X, %v", name, b, err)
		}
	}
	for _, aid := range [][]byte{nil, make([]byte, 17)} {
		if b, err := (DirRecord{AID: aid}).Encode(38); !errors.Is(err, ErrDirRecord) {
			t.Errorf("AID of %d bytes: %X, %v", len(aid), b, err)
		}
	}
}

func TestDirRecordRefuses(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]string{
		"no TLV":         "61",
		"other template": "62034F01A0",
		"two templates":  "61034F01A061034F01A0",
		"empty template": "6100",
		"label first":    "6106500155" + "4F01A0",
		"empty AID":      "61024F00",
		"AID too long":   "61134F11" + strings.Repeat("A0", 17),
		"inside cut":     "61024F01",
		"00 behind":      "61034F01A000",
	} {
		if got, err := DecodeDirRecord(fromHex(t, s)); !errors.Is(err, ErrDirRecord) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for _, b := range [][]byte{{}, {0xFF}, bytes.Repeat([]byte{0xFF}, 38)} {
		if got, err := DecodeDirRecord(b); !errors.Is(err, ErrEmptyRecord) {
			t.Errorf("empty record of %d bytes: %+v, %v", len(b), got, err)
		}
	}
}
