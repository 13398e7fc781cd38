package ef

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
)

// gsmBasic is the GSM 7 bit default alphabet (TS 23.038, 6.2.1), with U+001B at
// the escape, which stands for no character.
const gsmBasic = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?" +
	"¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"

// gsmEscape begins a character of the extension table.
const gsmEscape = 0x1B

// gsmExtension is the extension table (TS 23.038, 6.2.1.1): pairs of the code
// behind the escape and the character.
const gsmExtension = "\x0a\f\x14^\x28{\x29}\x2f\\\x3c[\x3d~\x3e]\x40|\x65€"

// DecodeGSM gives the text of septets of the GSM default alphabet, one a byte
// (TS 23.038, 6.2.1); false where one has no character.
func DecodeGSM(septets []byte) (string, bool) {
	basic, extension := []rune(gsmBasic), []rune(gsmExtension)
	var text strings.Builder
	for i := 0; i < len(septets); i++ {
		b := septets[i]
		switch {
		case b >= 0x80:
			return "", false
		case b != gsmEscape:
			text.WriteRune(basic[b])
			continue
		}
		i++
		at := 0
		for ; at < len(extension) && (i == len(septets) || extension[at] != rune(septets[i])); at += 2 {
		}
		if at == len(extension) {
			return "", false
		}
		text.WriteRune(extension[at+1])
	}
	return text.String(), true
}

// EncodeGSM gives the septets of a text, one a byte; false where the alphabet lacks
// a character.
func EncodeGSM(text string) ([]byte, bool) {
	basic, extension := []rune(gsmBasic), []rune(gsmExtension)
	septets := []byte{}
	for _, r := range text {
		if i := slices.Index(basic, r); i >= 0 && i != gsmEscape {
			septets = append(septets, byte(i))
			continue
		}
		at := 1
		for ; at < len(extension) && extension[at] != r; at += 2 {
		}
		if at >= len(extension) {
			return nil, false
		}
		septets = append(septets, gsmEscape, byte(extension[at-1]))
	}
	return septets, true
}

// Codings of UCS2 text on a card, its first byte (TS 102 221, annex A).
const (
	ucs2Plain = 0x80
	ucs2Half  = 0x81 // a base of 8 bits
	ucs2Base  = 0x82 // a base of 16 bits
)

// Alpha is a text such as a name beside a number: in the GSM default alphabet,
// unpacked, or in UCS2 (TS 102 221, annex A). In a document it is a string where
// the text alone gives the bytes: the GSM alphabet if it has all the characters,
// else UCS2 with 80 in front.
type Alpha struct {
	Text string `json:"text,omitempty"`
	// Coding is "80", "81" or "82" where another coding than that is used.
	Coding string `json:"coding,omitempty"`
	// Raw is the bytes where they are not a text in any of these codings.
	Raw Hex `json:"raw,omitempty"`
}

// MarshalJSON gives a string where the text says all.
func (a Alpha) MarshalJSON() ([]byte, error) {
	if a.Coding == "" && len(a.Raw) == 0 {
		return json.Marshal(a.Text)
	}
	type plain Alpha
	return json.Marshal(plain(a))
}

// UnmarshalJSON reads both forms.
func (a *Alpha) UnmarshalJSON(doc []byte) error {
	*a = Alpha{}
	if len(doc) > 0 && doc[0] == '"' {
		return json.Unmarshal(doc, &a.Text)
	}
	type plain Alpha
	d := json.NewDecoder(bytes.NewReader(doc))
	d.DisallowUnknownFields()
	return d.Decode((*plain)(a))
}

// alpha is a text in a field of n bytes, FF behind it.
func (c *coder) alpha(p *Alpha, n int) {
	if n < 0 {
		c.fail("no room for the text")
		return
	}
	if c.writing {
		b, err := p.Bytes()
		c.adopt(err)
		if len(b) > n {
			c.fail("a text of %d bytes, the field has %d", len(b), n)
		}
		c.put(b...)
		c.put(filling(n - len(b))...)
		return
	}
	*p = DecodeAlpha(c.take(n))
}

// alphaField is a text up to the end of a data object.
func alphaField(c *coder, p *Alpha) {
	if c.writing {
		b, err := p.Bytes()
		c.adopt(err)
		c.put(b...)
		return
	}
	c.alpha(p, len(c.in))
}

// DecodeAlpha decodes a text; FF behind it is filling. What is no text becomes Raw.
func DecodeAlpha(b []byte) Alpha {
	for _, a := range []Alpha{
		{}, {Coding: "80"}, {Coding: "81"}, {Coding: "82"},
	} {
		a.Text = alphaText(b)
		if back, err := a.Bytes(); err == nil && bytes.HasPrefix(b, back) && filled(b[len(back):]) {
			return a
		}
	}
	return Alpha{Raw: bytes.Clone(used(b))}
}

// Bytes encodes the text, without filling; ErrContent where its coding cannot.
func (a Alpha) Bytes() ([]byte, error) {
	if len(a.Raw) > 0 {
		if a.Text != "" || a.Coding != "" {
			return nil, fmt.Errorf("%w: a text is either text or raw", ErrContent)
		}
		return a.Raw, nil
	}
	units := utf16.Encode([]rune(a.Text))
	switch a.Coding {
	case "":
		if b, ok := EncodeGSM(a.Text); ok {
			return b, nil
		}
		return encodePlain(units), nil
	case "80":
		return encodePlain(units), nil
	case "81":
		return encodeBased(ucs2Half, units)
	case "82":
		return encodeBased(ucs2Base, units)
	}
	return nil, fmt.Errorf("%w: coding %q of a text: want 80, 81 or 82, or none", ErrContent, a.Coding)
}

func encodePlain(units []uint16) []byte {
	b := []byte{ucs2Plain}
	for _, u := range units {
		b = binary.BigEndian.AppendUint16(b, u)
	}
	return b
}

// encodeBased encodes characters of the GSM alphabet as themselves and others as
// their distance, up to 127, from a base, which is that of the half page of the
// first of them.
func encodeBased(coding byte, units []uint16) ([]byte, error) {
	base, found := uint16(0), false
	b := []byte{}
	for _, u := range units {
		if s, ok := EncodeGSM(string(rune(u))); ok {
			b = append(b, s...)
			continue
		}
		if !found {
			base, found = u&^0x7F, true
		}
		if u < base || u-base > 0x7F {
			return nil, fmt.Errorf("%w: the text needs coding 80, its characters are far apart", ErrContent)
		}
		b = append(b, 0x80|byte(u-base))
	}
	if len(b) > 0xFF {
		return nil, fmt.Errorf("%w: text of %d characters, want 255 at most", ErrContent, len(b))
	}
	if coding == ucs2Half && base >= 0x8000 {
		return nil, fmt.Errorf("%w: the text needs coding 80 or 82, its characters are past U+7FFF", ErrContent)
	}
	head := []byte{coding, byte(len(b)), byte(base >> 7)}
	if coding == ucs2Base {
		head = binary.BigEndian.AppendUint16(head[:2], base)
	}
	return append(head, b...), nil
}

// alphaText gives the text of a field as well as it is to be understood.
func alphaText(b []byte) string {
	switch {
	case len(b) > 0 && b[0] == ucs2Plain:
		return plainText(b[1:])
	case len(b) >= 3 && b[0] == ucs2Half:
		return basedText(b[3:], int(b[1]), uint16(b[2])<<7)
	case len(b) >= 4 && b[0] == ucs2Base:
		return basedText(b[4:], int(b[1]), binary.BigEndian.Uint16(b[2:]))
	}
	text, _ := DecodeGSM(used(b))
	return text
}

func plainText(b []byte) string {
	units := []uint16{}
	for ; len(b) >= 2 && (b[0] != 0xFF || b[1] != 0xFF); b = b[2:] {
		units = append(units, binary.BigEndian.Uint16(b))
	}
	return string(utf16.Decode(units))
}

// basedText is the text of n characters: of the GSM alphabet, or at a distance
// from base.
func basedText(b []byte, n int, base uint16) string {
	text := []rune{}
	for i := 0; i < min(n, len(b)); i++ {
		if b[i] >= 0x80 {
			text = append(text, rune(base+uint16(b[i]&0x7F)))
			continue
		}
		end := i + 1
		if b[i] == gsmEscape {
			end = min(end+1, len(b))
		}
		s, _ := DecodeGSM(b[i:end])
		text = append(text, []rune(s)...)
		i = end - 1
	}
	return string(text)
}

// NetworkName is a name of a network (TS 24.008, 10.5.3.5a), in the GSM default
// alphabet, packed, or in UCS2.
type NetworkName struct {
	Text string `json:"text"`
	// Coding is "gsm7", "ucs2" or the code of another one.
	Coding string `json:"coding"`
	// AddCountry asks to show the initials of the country before the name.
	AddCountry bool `json:"add_country,omitempty"`
	// Raw is the bytes behind the first one where the text does not give them.
	Raw Hex `json:"raw,omitempty"`
}

// Codings of a network name, bits 5 to 7.
var nameCodings = names{0: "gsm7", 1: "ucs2"}

// networkName is the contents of a name from octet 3 on, up to the end of a data
// object.
func networkName(c *coder, n *NetworkName) {
	if c.writing {
		first, b := n.encode(c)
		c.put(first)
		c.put(b...)
		return
	}
	var first uint8
	c.u8(&first)
	b := c.take(len(c.in))
	if first&0x80 == 0 {
		c.fail("network name with extension bit 0")
	}
	n.Coding = nameCodings.name(first >> 4 & 0x07)
	n.AddCountry = first&0x08 != 0
	spare := int(first & 0x07)
	if n.Coding == "ucs2" {
		n.Text = plainText(b)
	} else if septets := UnpackGSM(b, spare); n.Coding == "gsm7" {
		n.Text, _ = DecodeGSM(septets)
	}
	if again, back := n.encode(&coder{}); again != first || !bytes.Equal(back, b) {
		n.Text, n.Raw = "", bytes.Clone(b)
		if spare != 0 {
			c.fail("network name that is no text, with %d spare bits", spare)
		}
	}
}

func (n NetworkName) encode(c *coder) (first byte, b []byte) {
	coding := c.code(n.Coding, nameCodings)
	if coding > 7 {
		c.fail("coding %q of a network name has more than 3 bits", n.Coding)
	}
	first = 0x80 | coding<<4
	if n.AddCountry {
		first |= 0x08
	}
	switch {
	case len(n.Raw) > 0 && n.Text == "":
		return first, n.Raw
	case len(n.Raw) > 0:
		c.fail("a network name is either text or raw")
	case coding == 1:
		return first, encodePlain(utf16.Encode([]rune(n.Text)))[1:]
	case coding != 0 && n.Text != "":
		c.fail("coding %q of a network name: want gsm7 or ucs2", n.Coding)
	}
	septets, ok := EncodeGSM(n.Text)
	if !ok {
		c.fail("the network name has characters that gsm7 does not have: use ucs2")
	}
	b = PackGSM(septets)
	return first | byte(8*len(b)-7*len(septets)), b
}

// PackGSM puts septets into bytes, the lowest bit first (TS 23.038, 6.1.2.1).
func PackGSM(septets []byte) []byte {
	b := make([]byte, (7*len(septets)+7)/8)
	for i, s := range septets {
		for bit := range 7 {
			at := 7*i + bit
			b[at/8] |= s >> bit & 1 << (at % 8)
		}
	}
	return b
}

// UnpackGSM takes septets out of bytes of which spare bits are not used.
func UnpackGSM(b []byte, spare int) []byte {
	septets := make([]byte, max(8*len(b)-spare, 0)/7)
	for i := range septets {
		for bit := range 7 {
			at := 7*i + bit
			septets[i] |= b[at/8] >> (at % 8) & 1 << bit
		}
	}
	return septets
}
