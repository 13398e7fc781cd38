package tlv

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestComprehension(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, in string
		want     Comprehension
	}{
		{"command details", "8103012600", Comprehension{Tag: 0x01, CR: true, Value: []byte{0x01, 0x26, 0x00}}},
		{"without CR", "0200", Comprehension{Tag: 0x02, Value: []byte{}}},
		{"highest one-byte tag", "FE00", Comprehension{Tag: 0x7E, CR: true, Value: []byte{}}},
		{"lowest tag with three bytes only", "7F007F00", Comprehension{Tag: 0x7F, Value: []byte{}}},
		{"three bytes with CR", "7F8123" + "01AA", Comprehension{Tag: 0x123, CR: true, Value: []byte{0xAA}}},
		{"highest tag", "7FFFFF00", Comprehension{Tag: 0x7FFF, CR: true, Value: []byte{}}},
		{"low tag in three bytes", "7F000200", Comprehension{Tag: 0x02, Long: true, Value: []byte{}}},
		{"two bytes of length", "028180" + hex.EncodeToString(filled(128)), Comprehension{Tag: 0x02, Value: filled(128)}},
	}
	for _, tt := range tests {
		b := fromHex(t, tt.in)
		got, err := DecodeComprehension(b)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if diff := cmp.Diff([]Comprehension{tt.want}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if !bytes.Equal(EncodeComprehension(got...), b) {
			t.Errorf("%s encodes to %X", tt.name, EncodeComprehension(got...))
		}
	}
}

func TestDecodeComprehensionRefuses(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]string{
		"tag 00":               "0000",
		"tag 80":               "8000",
		"tag FF":               "FF000100",
		"three-byte tag cut":   "7F00",
		"three-byte tag 0":     "7F000000",
		"no length":            "81",
		"no length, long tag":  "7F0123",
		"value cut":            "810201",
		"length not shortest":  "81810100",
		"length field cut":     "8182",
		"second object broken": "810100" + "82",
	} {
		if got, err := DecodeComprehension(fromHex(t, s)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
