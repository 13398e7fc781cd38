package cat

import (
	"encoding/binary"
	"fmt"
	"unicode/utf16"

	"mcim/apdu/ef"
)

// TextString is a text string (TS 102 223, 8.15).
type TextString struct{ Text }

// DefaultText is the text that an entry begins with (TS 102 223, 8.23).
type DefaultText struct{ Text }

// USSDString is a USSD string (TS 31.111, 8.17).
type USSDString struct{ Text }

// Text is a text behind its data coding scheme (TS 23.038, 4).
type Text struct {
	// Coding is "gsm7", "gsm8", "ucs2" or the scheme as in "0xf4". A text without one is
	// coded in gsm8 where that has all the characters, else in ucs2.
	Coding string `json:"coding,omitempty"`
	Text   string `json:"text"`
	// Raw is the bytes where they are no text.
	Raw ef.Hex `json:"raw,omitempty"`
	// Empty: there is not even a coding scheme, which stands for no text at all.
	Empty bool `json:"empty,omitempty"`
}

// Data coding schemes.
const (
	dcsGSM7     = 0x00 // packed
	dcsGSM8     = 0x04
	dcsUCS2     = 0x08
	dcsUSSDGSM7 = 0x0F
)

var codings = map[byte]string{dcsGSM7: "gsm7", dcsGSM8: "gsm8", dcsUCS2: "ucs2", dcsUSSDGSM7: "gsm7 with language"}

func (v *Text) fields(c *coder) {
	if c.writing {
		v.write(c)
		return
	}
	if len(c.in) == 0 {
		v.Empty = true
		return
	}
	dcs := c.take(1)[0]
	b := c.take(len(c.in))
	name, known := codings[dcs]
	if !known {
		v.Coding, v.Raw = fmt.Sprintf("0x%02x", dcs), ef.Hex(b)
		return
	}
	v.Coding = name
	var ok bool
	if v.Text, ok = decodeText(dcs, b); ok {
		if back, fits := encodeText(dcs, v.Text); fits && string(back) == string(b) {
			return
		}
	}
	v.Text, v.Raw = "", ef.Hex(b)
}

func (v *Text) write(c *coder) {
	if v.Empty {
		if v.Text != "" || v.Coding != "" || len(v.Raw) > 0 {
			c.fail("a text that is empty and has content")
		}
		return
	}
	dcs, known := byte(dcsGSM8), v.Coding == ""
	if _, ok := ef.EncodeGSM(v.Text); known && !ok {
		dcs = dcsUCS2
	}
	for b, name := range codings {
		if name == v.Coding {
			dcs, known = b, true
		}
	}
	if !known {
		if n, err := fmt.Sscanf(v.Coding, "0x%02x", &dcs); err != nil || n != 1 || v.Text != "" {
			c.fail("coding %q of a text: want gsm7, gsm8 or ucs2, or 0x and two digits with raw", v.Coding)
		}
	}
	c.put(dcs)
	if len(v.Raw) > 0 || !known {
		c.put(v.Raw...)
		return
	}
	b, ok := encodeText(dcs, v.Text)
	if !ok {
		c.fail("the text has characters that its coding does not have: use ucs2")
	}
	c.put(b...)
}

// decodeText is what bytes say in a coding.
func decodeText(dcs byte, b []byte) (string, bool) {
	switch dcs {
	case dcsGSM8:
		return ef.DecodeGSM(b)
	case dcsUCS2:
		units := []uint16{}
		for ; len(b) >= 2; b = b[2:] {
			units = append(units, binary.BigEndian.Uint16(b))
		}
		return string(utf16.Decode(units)), len(b) == 0
	}
	septets := ef.UnpackGSM(b, 0)
	if n := len(septets); n > 0 && n%8 == 0 && septets[n-1] == 0 {
		septets = septets[:n-1] // 7 bits to spare, no @
	}
	return ef.DecodeGSM(septets)
}

func encodeText(dcs byte, text string) ([]byte, bool) {
	switch dcs {
	case dcsGSM8:
		return ef.EncodeGSM(text)
	case dcsUCS2:
		b := []byte{}
		for _, u := range utf16.Encode([]rune(text)) {
			b = binary.BigEndian.AppendUint16(b, u)
		}
		return b, true
	}
	septets, ok := ef.EncodeGSM(text)
	return ef.PackGSM(septets), ok
}

// String is the text in quotes.
func (v *Text) String() string {
	switch {
	case v.Empty:
		return "none"
	case len(v.Raw) > 0:
		return fmt.Sprintf("coding %s, %x", v.Coding, []byte(v.Raw))
	}
	return fmt.Sprintf("%q", v.Text)
}
