package apdu

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// body is n bytes of data.
func body(n int) []byte { return bytes.Repeat([]byte{0xA5}, n) }

func TestCommandForms(t *testing.T) {
	t.Parallel()
	head := []byte{0x00, 0xA4, 0x04, 0x0C}
	h := Command{CLA: 0x00, INS: 0xA4, P1: 0x04, P2: 0x0C}
	tests := []struct {
		name     string
		data     []byte
		ne       int
		extended bool
		kase     int
		body     []byte
	}{
		{"case 1", nil, 0, false, 1, nil},
		{"case 2 short", nil, 1, false, 2, []byte{0x01}},
		{"case 2 short, most", nil, 256, false, 2, []byte{0x00}},
		{"case 2 extended by length", nil, 257, true, 2, []byte{0x00, 0x01, 0x01}},
		{"case 2 extended on demand", nil, 1, true, 2, []byte{0x00, 0x00, 0x01}},
		{"case 2 extended, most", nil, 65536, true, 2, []byte{0x00, 0x00, 0x00}},
		{"case 3 short", body(2), 0, false, 3, []byte{0x02, 0xA5, 0xA5}},
		{"case 3 short, most", body(255), 0, false, 3, append([]byte{0xFF}, body(255)...)},
		{"case 3 extended by length", body(256), 0, true, 3, append([]byte{0x00, 0x01, 0x00}, body(256)...)},
		{"case 3 extended on demand", body(1), 0, true, 3, []byte{0x00, 0x00, 0x01, 0xA5}},
		{"case 3 extended, most", body(65535), 0, true, 3, append([]byte{0x00, 0xFF, 0xFF}, body(65535)...)},
		{"case 4 short", body(1), 256, false, 4, []byte{0x01, 0xA5, 0x00}},
		{"case 4 extended by data", body(256), 1, true, 4, append(append([]byte{0x00, 0x01, 0x00}, body(256)...), 0x00, 0x01)},
		{"case 4 extended by Ne", body(1), 257, true, 4, []byte{0x00, 0x00, 0x01, 0xA5, 0x01, 0x01}},
		{"case 4 extended, most", body(1), 65536, true, 4, []byte{0x00, 0x00, 0x01, 0xA5, 0x00, 0x00}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := h
			c.Data, c.Ne, c.Extended = tt.data, tt.ne, tt.extended
			want := append(append([]byte{}, head...), tt.body...)
			got, err := c.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("encoded %X, want %X", got, want)
			}
			if c.Case() != tt.kase {
				t.Errorf("case %d, want %d", c.Case(), tt.kase)
			}
			back, err := ParseCommand(want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c, back, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCommandFormByLength(t *testing.T) {
	t.Parallel()
	for _, c := range []Command{{Data: body(256)}, {Ne: 257}, {Data: body(1), Ne: 257}, {Data: body(256), Ne: 1}} {
		b, err := c.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseCommand(b)
		if err != nil {
			t.Fatal(err)
		}
		if !back.Extended {
			t.Errorf("%d bytes and Ne %d: short form", len(c.Data), c.Ne)
		}
	}
	// A case 1 command has no extended form.
	b, err := Command{INS: 0x44, Extended: true}.Bytes()
	if err != nil || len(b) != 4 {
		t.Errorf("case 1 gave %X, %v", b, err)
	}
}

func TestCommandRefused(t *testing.T) {
	t.Parallel()
	cause := errors.New("record 255")
	tests := []struct {
		name string
		c    Command
		want error
	}{
		{"data too long", Command{Data: body(65536)}, ErrMalformed},
		{"Ne too large", Command{Ne: 65537}, ErrMalformed},
		{"Ne negative", Command{Ne: -1}, ErrMalformed},
		{"builder's error", Command{INS: 0xB2, Err: cause}, cause},
	}
	for _, tt := range tests {
		if b, err := tt.c.Bytes(); !errors.Is(err, tt.want) || b != nil {
			t.Errorf("%s: %X, %v", tt.name, b, err)
		}
	}
}

func TestParseCommandRefuses(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]string{
		"empty":                            "",
		"header cut":                       "00A404",
		"data missing":                     "00A4040002A5",
		"bytes behind Le":                  "00A4040001A50000",
		"extended length field cut":        "00A404000000",
		"extended Lc of 0 with Le":         "00A40400000000" + "0000",
		"extended Lc of 0 with data":       "00A40400000000" + "A5",
		"extended data missing":            "00A40400000002" + "A5",
		"extended Le of one byte":          "00A40400000001" + "A5" + "00",
		"bytes behind extended Le":         "00A40400000001" + "A5" + "000000",
		"short Lc of 0 before a lone byte": "00A4040000A5",
	} {
		if c, err := ParseCommand(fromHex(t, s)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

func TestAppendReusesTheBuffer(t *testing.T) {
	t.Parallel()
	buf := make([]byte, 1, 64)
	b, err := Command{INS: 0xB0, Ne: 9}.Append(buf)
	if err != nil || !bytes.Equal(b, fromHex(t, "0000B0000009")) || &b[0] != &buf[0] {
		t.Errorf("%X, %v", b, err)
	}
}
