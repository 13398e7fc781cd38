package tlv

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// filled is n bytes of value.
func filled(n int) []byte { return bytes.Repeat([]byte{0x5A}, n) }

func TestDecode(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		head string // in front of a value of n bytes
		n    int
		tag  uint32
	}{
		{"empty", "9000", 0, 0x90},
		{"one byte of length", "627F", 127, 0x62},
		{"two bytes of length", "628180", 128, 0x62},
		{"two bytes of length, most", "6281FF", 255, 0x62},
		{"three bytes of length", "62820100", 256, 0x62},
		{"three bytes of length, most", "6282FFFF", 65535, 0x62},
		{"four bytes of length", "6283010000", 65536, 0x62},
		{"two-byte tag", "7F2101", 1, 0x7F21},
		{"two-byte tag, lowest", "5F1F01", 1, 0x5F1F},
		{"two-byte tag with FF in front", "FF2101", 1, 0xFF21},
		{"three-byte tag", "BF812E01", 1, 0xBF812E},
		{"three-byte tag, highest", "FFFF7F01", 1, 0xFFFF7F},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := append(fromHex(t, tt.head), filled(tt.n)...)
			list, err := Decode(b)
			if err != nil {
				t.Fatal(err)
			}
			want := []TLV{{Tag: tt.tag, Value: filled(tt.n)}}
			if tt.n == 0 {
				want[0].Value = []byte{}
			}
			if diff := cmp.Diff(want, list); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !bytes.Equal(Encode(list...), b) {
				t.Error("encodes to other bytes")
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]string{
		"tag alone":                            "62",
		"value cut":                            "620201",
		"tag 00":                               "0000",
		"padding behind":                       "900000",
		"FF behind":                            "9000FF",
		"FF FF behind":                         "9000FFFF",
		"two-byte tag cut":                     "7F",
		"two-byte tag for a low number":        "5F1E00",
		"tag with leading zero digits":         "5F80010000",
		"three-byte tag cut":                   "BF81",
		"four-byte tag":                        "BF81820100",
		"length 80, indefinite":                "62800000",
		"length of four bytes":                 "628400000000",
		"length field cut":                     "6282",
		"length field cut in the middle":       "628201",
		"short length in two bytes":            "628101AA",
		"length in three bytes, two would do":  "628200FF" + hex.EncodeToString(filled(255)),
		"length in four bytes, three would do": "628300FFFF" + hex.EncodeToString(filled(65535)),
	} {
		if list, err := Decode(fromHex(t, s)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, %v", name, list, err)
		}
	}
	if list, err := Decode(nil); err != nil || len(list) != 0 {
		t.Errorf("no bytes: %v, %v", list, err)
	}
}

func TestDecodeLenient(t *testing.T) {
	t.Parallel()
	nine := TLV{Tag: 0x90, Value: []byte{}}
	tests := []struct {
		name, in string
		want     []TLV
	}{
		{"only padding", "0000FFFF", []TLV{}},
		{"no bytes", "", []TLV{}},
		{"before, between, behind", "00FFFF9000" + "0000" + "9000" + "FFFFFF", []TLV{nine, nine}},
		{"FF21 is a tag", "FF" + "9000" + "FF2100", []TLV{nine, {Tag: 0xFF21, Value: []byte{}}}},
		{"a run of FF before a tag", "FFFF" + "2100", []TLV{{Tag: 0x21, Value: []byte{}}}},
		{"length not shortest", "80820001AA", []TLV{{Tag: 0x80, Value: []byte{0xAA}, LengthBytes: 3}}},
		{"tag not shortest", "5F1E01AA", []TLV{{Tag: 0x5F1E, Value: []byte{0xAA}}}},
	}
	for _, tt := range tests {
		got, err := DecodeLenient(fromHex(t, tt.in))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	for name, s := range map[string]string{"value cut": "009002AA", "tag cut": "90007F", "FF before a cut tag": "FF21"} {
		if got, err := DecodeLenient(fromHex(t, s)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	got, err := DecodeLenient(fromHex(t, "FF80820001AAFF"))
	if err == nil && !bytes.Equal(Encode(got...), fromHex(t, "80820001AA")) {
		t.Errorf("not lossless: %X", Encode(got...))
	}
}

func TestDecodeFilled(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]int{"": 0, "FF": 0, "FFFFFF": 0, "9000": 1, "9000FFFF": 1, "FF210080020102FF": 2} {
		list, err := DecodeFilled(fromHex(t, in))
		if err != nil || len(list) != want {
			t.Errorf("%q: %v, %v", in, list, err)
		}
	}
	for _, in := range []string{"900000", "9000FF00", "9002FF", "FF90FF", "9000808182", "90810100FF", "FFFF9000"} {
		if list, err := DecodeFilled(fromHex(t, in)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v, %v", in, list, err)
		}
	}
}

func TestBuild(t *testing.T) {
	t.Parallel()
	label := New(0x50, []byte("US"), []byte("IM"))
	outer := Nest(0x61, New(0x4F, []byte{1, 2}), label)
	b := outer.Append([]byte{7})
	if want := fromHex(t, "07610A4F02010250045553494D"); !bytes.Equal(b, want) {
		t.Fatalf("%X, want %X", b, want)
	}
	children, err := outer.Children()
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := Find(children, 0x50); !ok || !cmp.Equal(got, label) {
		t.Errorf("found %v, %v", got, ok)
	}
	if got, ok := Find(children, 0x51); ok {
		t.Errorf("found %v", got)
	}
	if !outer.Constructed() || label.Constructed() || !New(0xBF812E).Constructed() {
		t.Error("constructed or not is wrong")
	}
	if got, err := label.Children(); !errors.Is(err, ErrMalformed) {
		t.Errorf("children of a primitive: %v, %v", got, err)
	}
}

func TestValueTooLongIsRefused(t *testing.T) {
	t.Parallel()
	b := TLV{Tag: 0x80, Value: make([]byte, maxLength+1)}.Append(nil)
	if _, err := Decode(b); !errors.Is(err, ErrMalformed) {
		t.Errorf("decoded: %v", err)
	}
	b = TLV{Tag: 0x80, Value: make([]byte, maxLength)}.Append(nil)
	if _, err := Decode(b); err != nil {
		t.Errorf("the longest value: %v", err)
	}
}
