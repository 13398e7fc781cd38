package ef

import "strings"

// dialDigits are the half-bytes of a number: digits, "*", "#", "p" for a pause
// before tones, "?" for any digit, "e" for an extension of the code (TS 31.102,
// 4.4.2.3, table 4.4). F ends the number.
const dialDigits = "0123456789*#p?e"

// endDigit ends a number.
const endDigit = 0x0F

// digits is a number in n bytes, two digits a byte, the first in the lower half,
// F behind the last.
func (c *coder) digits(p *string, n int) {
	if c.writing {
		c.putDigits(*p, n)
		return
	}
	var text strings.Builder
	ended := false
	for i, b := range c.take(n) {
		for half, d := range []byte{b & 0x0F, b >> 4} {
			switch {
			case d == endDigit:
				ended = true
			case ended:
				c.fail("digit %d stands behind the end of the number", 2*i+half+1)
			default:
				text.WriteByte(dialDigits[d])
			}
		}
	}
	*p = text.String()
}

func (c *coder) putDigits(s string, n int) {
	if len(s) > 2*n {
		c.fail("a number of %d digits, want %d at most", len(s), 2*n)
		return
	}
	b := filling(n)
	for i := range len(s) {
		d := strings.IndexByte(dialDigits, s[i])
		if d < 0 {
			c.fail("digit %d of a number is none of %s", i+1, dialDigits)
			return
		}
		shift := 4 * (i % 2)
		b[i/2] = b[i/2]&^(0x0F<<shift) | byte(d)<<shift
	}
	c.put(b...)
}

// numberBytes is the length of the digits of a number in a record.
const numberBytes = 10

// Number is a number that can be dialled, or an address of the SMS.
type Number struct {
	// Type is the type of number (TS 24.008, 10.5.4.7), or the whole byte of type
	// and plan where its highest bit is 0; there is no Plan then.
	Type   string `json:"type"`
	Plan   string `json:"plan,omitempty"` // numbering plan
	Digits string `json:"digits"`
	// Length is the byte of length where it is not that of the digits.
	Length *uint8 `json:"length,omitempty"`
}

var (
	numberTypes = names{
		0: "unknown", 1: "international", 2: "national", 3: "network_specific", 4: "dedicated_short_code",
		5: "alphanumeric", 6: "abbreviated", 7: "reserved",
	}
	numberPlans = names{
		0: "unknown", 1: "isdn", 3: "data", 4: "telex", 8: "national", 9: "private", 10: "ermes", 15: "reserved",
	}
)

// lengthOf is how a number tells its length.
type lengthOf func(digits int) uint8

// inBytes counts bytes with the one of type and plan (TS 31.102, 4.4.2.3; TS
// 24.011, 8.2.5.1).
func inBytes(digits int) uint8 { return uint8(1 + (digits+1)/2) }

// inDigits counts digits (TS 23.040, 9.1.2.5).
func inDigits(digits int) uint8 { return uint8(digits) }

// number is a length, type and plan, and a number in 10 bytes. All FF, there is no
// number, and *p is nil.
func (c *coder) number(p **Number, length lengthOf) {
	if c.writing {
		if *p == nil {
			c.put(filling(2 + numberBytes)...)
			return
		}
		(*p).fields(c, length, numberBytes)
		return
	}
	b := c.take(2 + numberBytes)
	if c.err != nil || filled(b) {
		return
	}
	*p = &Number{}
	c.inside(b, func(c *coder) { (*p).fields(c, length, numberBytes) })
}

func (n *Number) fields(c *coder, length lengthOf, digits int) {
	var told uint8
	if c.writing {
		told = length(len(n.Digits))
		if n.Length != nil {
			told = *n.Length
		}
	}
	c.u8(&told)
	n.typeAndPlan(c)
	c.digits(&n.Digits, digits)
	if !c.writing && told != length(len(n.Digits)) {
		n.Length = &told
	}
}

func (n *Number) typeAndPlan(c *coder) {
	var b uint8
	if c.writing {
		if n.Plan == "" {
			if b = c.code(n.Type, nil); b&0x80 != 0 {
				c.fail("a number of type %q has to have a plan", n.Type)
			}
		} else {
			kind, plan := c.code(n.Type, numberTypes), c.code(n.Plan, numberPlans)
			if kind > 0x07 || plan > 0x0F {
				c.fail("type %q and plan %q of a number do not fit a byte", n.Type, n.Plan)
			}
			b = 0x80 | kind<<4 | plan
		}
	}
	c.u8(&b)
	if c.writing {
		return
	}
	if b&0x80 == 0 {
		n.Type = names(nil).name(b)
		return
	}
	n.Type, n.Plan = numberTypes.name(b>>4&0x07), numberPlans.name(b&0x0F)
}

// DialRecord is a record of EF.FDN (TS 31.102, 4.2.24; coding 4.4.2.3), EF.MSISDN
// (4.2.26), EF.SDN (4.2.29) and EF.MBDN (4.2.60): a name and a number.
type DialRecord struct {
	Name   Alpha   `json:"name"`
	Number *Number `json:"number,omitempty"`
	// Capability is the record of EF.CCP, Extension that of the file with the rest
	// of the number; 255 is none.
	Capability uint8 `json:"capability_record"`
	Extension  uint8 `json:"extension_record"`
}

const dialTail = 14 // bytes behind the name

func (v *DialRecord) fields(c *coder) {
	c.alpha(&v.Name, c.left()-dialTail)
	c.number(&v.Number, inBytes)
	c.u8(&v.Capability)
	c.u8(&v.Extension)
}

// Barred is a record of EF.BDN (TS 31.102, 4.2.44): a DialRecord with the record
// of EF.CMI that says how numbers are compared.
type Barred struct {
	Name       Alpha   `json:"name"`
	Number     *Number `json:"number,omitempty"`
	Capability uint8   `json:"capability_record"`
	Extension  uint8   `json:"extension_record"`
	Comparison uint8   `json:"comparison_record"`
}

func (v *Barred) fields(c *coder) {
	c.alpha(&v.Name, c.left()-dialTail-1)
	c.number(&v.Number, inBytes)
	c.u8(&v.Capability)
	c.u8(&v.Extension)
	c.u8(&v.Comparison)
}

// Extension is a record of EF.EXT2 to EF.EXT7 (TS 31.102, 4.2.30 and others;
// coding 4.4.2.4): more digits of a number, or a called party subaddress.
type Extension struct {
	Kind string `json:"kind"`
	// Digits are more digits of the number, of kind additional_data.
	Digits *ExtraDigits `json:"digits,omitempty"`
	// Data is the 11 bytes of any other kind.
	Data Hex   `json:"data,omitempty"`
	Next uint8 `json:"next_record"` // 255: none
}

// ExtraDigits are digits of a number that go on in an extension record.
type ExtraDigits struct {
	Length uint8  `json:"length"` // bytes of digits, up to 10
	Digits string `json:"digits"`
}

var extensionKinds = names{0: "free", 1: "subaddress", 2: "additional_data"}

const extensionBytes = 11

func (v *Extension) fields(c *coder) {
	c.enum(&v.Kind, extensionKinds)
	switch {
	case v.Kind != "additional_data":
		if c.writing && v.Digits != nil {
			c.fail("digits in an extension of kind %q, want additional_data", v.Kind)
		}
		c.hex(&v.Data, extensionBytes)
	case c.writing && (v.Digits == nil || v.Data != nil):
		c.fail("an extension of kind additional_data has digits and no data")
	default:
		if !c.writing {
			v.Digits = &ExtraDigits{}
		}
		c.u8(&v.Digits.Length)
		c.digits(&v.Digits.Digits, extensionBytes-1)
	}
	c.u8(&v.Next)
}

func dialFiles() []File {
	dial := func() content { return &DialRecord{} }
	ext := func() content { return &Extension{} }
	return []File{
		{Name: "EF.FDN", Dir: DirUSIM, FID: 0x6F3B, Structure: LinearFixed, Clause: "TS 31.102, 4.2.24", new: dial},
		{Name: "EF.MSISDN", Dir: DirUSIM, FID: 0x6F40, Structure: LinearFixed, Clause: "TS 31.102, 4.2.26", new: dial},
		{Name: "EF.SDN", Dir: DirUSIM, FID: 0x6F49, Structure: LinearFixed, Clause: "TS 31.102, 4.2.29", new: dial},
		{Name: "EF.EXT2", Dir: DirUSIM, FID: 0x6F4B, Structure: LinearFixed, Clause: "TS 31.102, 4.2.30", new: ext},
		{Name: "EF.EXT3", Dir: DirUSIM, FID: 0x6F4C, Structure: LinearFixed, Clause: "TS 31.102, 4.2.31", new: ext},
		{Name: "EF.EXT5", Dir: DirUSIM, FID: 0x6F4E, Structure: LinearFixed, Clause: "TS 31.102, 4.2.37", new: ext},
		{Name: "EF.BDN", Dir: DirUSIM, FID: 0x6F4D, Structure: LinearFixed, Clause: "TS 31.102, 4.2.44", new: func() content { return &Barred{} }},
		{Name: "EF.EXT4", Dir: DirUSIM, FID: 0x6F55, Structure: LinearFixed, Clause: "TS 31.102, 4.2.45", new: ext},
		{Name: "EF.MBDN", Dir: DirUSIM, FID: 0x6FC7, Structure: LinearFixed, Clause: "TS 31.102, 4.2.60", new: dial},
		{Name: "EF.EXT6", Dir: DirUSIM, FID: 0x6FC8, Structure: LinearFixed, Clause: "TS 31.102, 4.2.61", new: ext},
		{Name: "EF.EXT7", Dir: DirUSIM, FID: 0x6FCC, Structure: LinearFixed, Clause: "TS 31.102, 4.2.65", new: ext},
		{Name: "EF.FDN", Dir: DirTelecom, FID: 0x6F3B, Structure: LinearFixed, Clause: "TS 51.011, 10.5.2", new: dial},
		{Name: "EF.MSISDN", Dir: DirTelecom, FID: 0x6F40, Structure: LinearFixed, Clause: "TS 51.011, 10.5.5", new: dial},
		{Name: "EF.SDN", Dir: DirTelecom, FID: 0x6F49, Structure: LinearFixed, Clause: "TS 51.011, 10.5.9", new: dial},
		{Name: "EF.EXT1", Dir: DirTelecom, FID: 0x6F4A, Structure: LinearFixed, Clause: "TS 51.011, 10.5.10", new: ext},
	}
}
