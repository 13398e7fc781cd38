package tlv

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzTLV runs all decoders of the package, chosen by the first byte: what the
// strict ones accept must encode to the same bytes again, what the lenient one
// accepts to bytes that it decodes to the same.
func FuzzTLV(f *testing.F) {
	for _, s := range []string{
		"00622c8202782183023f00a50c80017183040003a7388701018a01058b032f0601c60c90016083010183010a83010b",
		"00bf812e01aa", "0180820001aaffff", "01ff2100ff", "028103012600820281827f812301aa", "0361064f0401020304ffff",
	} {
		f.Add(fromHex(f, s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 {
			return
		}
		b := in[1:]
		switch in[0] % 4 {
		case 0:
			if list, err := Decode(b); err == nil && !bytes.Equal(Encode(list...), b) {
				t.Errorf("%X became %X", b, Encode(list...))
			}
		case 1:
			fuzzLenient(t, b)
		case 2:
			if list, err := DecodeComprehension(b); err == nil && !bytes.Equal(EncodeComprehension(list...), b) {
				t.Errorf("%X became %X", b, EncodeComprehension(list...))
			}
		case 3:
			list, err := DecodeFilled(b)
			if err != nil {
				return
			}
			head := Encode(list...)
			if !bytes.HasPrefix(b, head) || leadingFF(b[len(head):]) != len(b)-len(head) {
				t.Errorf("%X became %X and filling", b, head)
			}
		}
	})
}

func fuzzLenient(t *testing.T, b []byte) {
	list, err := DecodeLenient(b)
	if err != nil {
		return
	}
	again, err := DecodeLenient(Encode(list...))
	if err != nil {
		t.Fatalf("%X became %X: %v", b, Encode(list...), err)
	}
	if diff := cmp.Diff(list, again); diff != "" {
		t.Errorf("%X (-first +second):\n%s", b, diff)
	}
}
