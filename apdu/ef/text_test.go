package ef

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"testing"
)

func TestTexts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ raw, doc string }{
		{"536d6974680002ff", `"Smith@$"`},
		{"1b651b3c41ffffff", `"€[A"`},
		{"80041c0435ffffff", `"Ме"`},
		{"800041ff", `{"text":"A","coding":"80"}`},
		{"8103084199b5ffff", `{"text":"AЙе","coding":"81"}`},
		{"81021b1b65809cff", `{"raw":"81021b1b65809c"}`},
		{"82020400 41 9c", `{"text":"AМ","coding":"82"}`},
		{"820204019c9c", `{"raw":"820204019c9c"}`},
		{"83", `{"raw":"83"}`},
		{"41ff42ff", `{"raw":"41ff42"}`},
		{"1bff", `{"raw":"1b"}`},
		{"80d800ffff", `{"raw":"80d800"}`},
		{"80ffff", `{"text":"","coding":"80"}`},
		{"ffff", `""`},
	} {
		raw := fromHex(t, tt.raw)
		a := DecodeAlpha(raw)
		doc, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		want := generic(t, []byte(tt.doc))
		if m, ok := want.(map[string]any); ok && m["text"] == "" {
			delete(m, "text")
		}
		if got := generic(t, doc); !equalJSON(got, want) {
			t.Errorf("%s: %s, want %s", tt.raw, doc, tt.doc)
		}
		var back Alpha
		if err := json.Unmarshal(doc, &back); err != nil {
			t.Fatal(err)
		}
		c := &coder{writing: true, size: open}
		c.alpha(&back, len(raw))
		if c.err != nil || !bytes.Equal(c.out, raw) {
			t.Errorf("%s: back as %x, %v", tt.raw, c.out, c.err)
		}
	}
}

func equalJSON(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

// TestPacking has the examples of TS 23.038, 6.1.2.1: 7 characters leave 7 bits, 8
// none.
func TestPacking(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"A": "41", "1234567": "31d98c56b3dd00", "12345678": "31d98c56b3dd70", "hellohello": "e8329bfd4697d9ec37",
	} {
		septets, ok := EncodeGSM(text)
		packed := PackGSM(septets)
		if !ok || hex.EncodeToString(packed) != want {
			t.Errorf("%q: %x, want %s", text, packed, want)
		}
		if got, _ := DecodeGSM(UnpackGSM(packed, 8*len(packed)-7*len(septets))); got != text {
			t.Errorf("%s: %q, want %q", want, got, text)
		}
	}
}

// TestAlphabet takes each character of the GSM alphabet there and back.
func TestAlphabet(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for code := range 0x80 {
		for _, septets := range [][]byte{{byte(code)}, {gsmEscape, byte(code)}} {
			text, ok := DecodeGSM(septets)
			if !ok {
				continue
			}
			back, ok := EncodeGSM(text)
			if !ok || !bytes.Equal(back, septets) || seen[text] {
				t.Errorf("%x: %q, back as %x", septets, text, back)
			}
			seen[text] = true
		}
	}
	if len(seen) != 127+10 {
		t.Errorf("%d characters, want 137", len(seen))
	}
}
