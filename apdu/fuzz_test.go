package apdu

import (
	"bytes"
	"testing"
)

// FuzzAPDU runs all decoders of the package, chosen by the first byte: what they
// accept must encode to the same bytes again.
func FuzzAPDU(f *testing.F) {
	for _, s := range []string{
		"00" + "00A40400", "00" + "00B0000009", "00" + "00B00000000000", "00" + "00D6000002A5A5", "00" + "00A4040002A5A500",
		"00" + "00D600000000" + "02A5A5", "00" + "00A4040000000100" + "0000", "01" + "9000", "01" + "0102036C05",
	} {
		f.Add(fromHex(f, s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 {
			return
		}
		b := in[1:]
		if in[0]%2 == 1 {
			if r, err := ParseResponse(b); err == nil && !bytes.Equal(r.Bytes(), b) {
				t.Errorf("response %X became %X", b, r.Bytes())
			}
			return
		}
		c, err := ParseCommand(b)
		if err != nil {
			return
		}
		if back, err := c.Bytes(); err != nil || !bytes.Equal(back, b) {
			t.Errorf("command %X became %X, %v", b, back, err)
		}
	})
}
