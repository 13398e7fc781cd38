package ef

import (
	"bytes"
	"errors"
	"unicode/utf8"

	"mcim/apdu/tlv"
	"mcim/apdu/uicc"
)

// ICCID is EF.ICCID (TS 102 221, 13.2).
type ICCID struct {
	ICCID string `json:"iccid"` // 18 to 20 digits
}

func (v *ICCID) fields(c *coder) { whole(c, &v.ICCID, uicc.DecodeICCID, uicc.EncodeICCID) }

// Application is a record of EF.DIR (TS 102 221, 13.1).
type Application struct {
	AID   Hex      `json:"aid"`
	Label string   `json:"label,omitempty"`
	Other []Object `json:"other,omitempty"`
}

func (v *Application) fields(c *coder) {
	var r uicc.DirRecord
	if c.writing {
		r = uicc.DirRecord{AID: v.AID, Label: v.Label}
		for _, t := range v.Other {
			r.Other = append(r.Other, tlv.New(uint32(t.Tag), t.Value))
		}
	}
	whole(c, &r, uicc.DecodeDirRecord, func(r uicc.DirRecord) ([]byte, error) { return r.Encode(c.size) })
	if c.writing {
		return
	}
	if !utf8.ValidString(r.Label) {
		c.fail("the label is not UTF-8")
	}
	v.AID, v.Label = r.AID, r.Label
	for _, t := range r.Other {
		v.Other = append(v.Other, Object{Tag: Tag(t.Tag), Value: bytes.Clone(t.Value)})
	}
}

// Languages is EF.PL (TS 102 221, 13.3) and EF.LI (TS 31.102, 4.2.1): languages in
// the order of preference, each two letters of ISO 639, or "" for an entry without
// use before another one.
type Languages struct {
	Languages []string `json:"languages"`
}

func (v *Languages) fields(c *coder) {
	entries(c, &v.Languages, filling(2), func(c *coder, s *string) {
		b := Hex(filling(2))
		if c.writing && *s != "" {
			b = Hex(*s)
		}
		c.hex(&b, 2)
		if filled(b) {
			return
		}
		for _, letter := range b {
			if letter <= ' ' || letter > '~' {
				c.fail("a language is two letters as in ISO 639")
			}
		}
		if !c.writing {
			*s = string(b)
		}
	})
}

// PowerConsumption is EF.UMPC (TS 102 221, 13.6).
type PowerConsumption struct {
	MaxCurrent uint8 `json:"max_current_ma"`
	// Timeout is the time that the operator defines, in seconds.
	Timeout uint8    `json:"operator_timeout_s"`
	Info    []string `json:"info"`
	RFU     Hex      `json:"rfu,omitempty"`
}

func (v *PowerConsumption) fields(c *coder) {
	c.u8(&v.MaxCurrent)
	c.u8(&v.Timeout)
	c.flags(&v.Info, 1, "increased_idle_current", "uicc_suspension")
	c.rest(&v.RFU)
}

// AccessRules is a record of EF.ARR (TS 102 221, 13.4; TS 31.102, 4.2.55; TS
// 31.103, 4.2.6).
type AccessRules struct {
	Rules []AccessRule `json:"rules"`
}

// AccessRule tells who may do what: any of the conditions is enough.
type AccessRule struct {
	// Operations are those on an EF; for a DF, read stands for deleting a child,
	// update for creating an EF, write for creating a DF.
	Operations []string `json:"operations,omitempty"`
	// Command is a command's header instead of operations.
	Command    *Object     `json:"command,omitempty"`
	Conditions []Condition `json:"conditions"`
}

// Condition is a security condition (TS 102 221, 9.2.3): one of its fields.
type Condition struct {
	// Who is "always", "never", "pin1", "universal_pin", "pin2", "adm1" and so on,
	// or the reference of another key, "0x91".
	Who string `json:"who,omitempty"`
	// Usage is the usage qualifier of a key where it is not 08, to be verified.
	Usage *uint8      `json:"usage,omitempty"`
	Any   []Condition `json:"any,omitempty"`
	All   []Condition `json:"all,omitempty"`
	Other *Object     `json:"other,omitempty"`
}

// keyNames are the references of TS 102 221, 9.5.1, table 9.3.
var keyNames = names{
	0x01: "pin1", 0x02: "pin1_app2", 0x03: "pin1_app3", 0x04: "pin1_app4", 0x05: "pin1_app5", 0x06: "pin1_app6",
	0x07: "pin1_app7", 0x08: "pin1_app8", 0x0A: "adm1", 0x0B: "adm2", 0x0C: "adm3", 0x0D: "adm4", 0x0E: "adm5",
	0x11: "universal_pin", 0x81: "pin2", 0x82: "pin2_app2", 0x83: "pin2_app3", 0x84: "pin2_app4", 0x85: "pin2_app5",
	0x86: "pin2_app6", 0x87: "pin2_app7", 0x88: "pin2_app8", 0x8A: "adm6", 0x8B: "adm7", 0x8C: "adm8",
	0x8D: "adm9", 0x8E: "adm10",
}

var operations = []string{"read", "update", "write", "deactivate", "activate", "terminate", "delete"}

const usageVerify = 0x08

func (v *AccessRules) fields(c *coder) {
	var rules []uicc.AccessRule
	if c.writing {
		for _, r := range v.Rules {
			rules = append(rules, r.uicc(c))
		}
	}
	whole(c, &rules, uicc.DecodeARRRecord, func(r []uicc.AccessRule) ([]byte, error) {
		if c.err != nil {
			return nil, c.err
		}
		return uicc.EncodeARRRecord(r, c.size)
	})
	if c.writing {
		return
	}
	v.Rules = []AccessRule{}
	for _, r := range rules {
		rule := AccessRule{Conditions: conditions(r.Conditions)}
		if r.HeaderTag != 0 {
			rule.Command = &Object{Tag: Tag(r.HeaderTag), Value: r.Header}
		} else {
			rule.Operations = bitNames(uint32(r.Access), 1, operations)
		}
		v.Rules = append(v.Rules, rule)
	}
}

func (r AccessRule) uicc(c *coder) uicc.AccessRule {
	rule := uicc.AccessRule{Conditions: uiccConditions(c, r.Conditions)}
	switch {
	case r.Command != nil && (r.Operations != nil || r.Command.Tag > 0xFF):
		c.fail("an access rule has operations, or a command with a tag of one byte")
	case r.Command != nil:
		rule.HeaderTag, rule.Header = byte(r.Command.Tag), r.Command.Value
	default:
		rule.Access = uicc.Access(c.mask(r.Operations, 1, operations))
	}
	return rule
}

func conditions(list []uicc.Condition) []Condition {
	all := []Condition{}
	for _, u := range list {
		all = append(all, condition(u))
	}
	return all
}

func condition(u uicc.Condition) Condition {
	switch u.Kind {
	case uicc.Always:
		return Condition{Who: "always"}
	case uicc.Key:
		k := Condition{Who: keyNames.name(u.Ref)}
		if u.Usage != usageVerify {
			k.Usage = &u.Usage
		}
		return k
	case uicc.Or:
		return Condition{Any: conditions(u.List)}
	case uicc.And:
		return Condition{All: conditions(u.List)}
	case uicc.Other:
		return Condition{Other: &Object{Tag: Tag(u.Object.Tag), Value: bytes.Clone(u.Object.Value)}}
	default:
		return Condition{Who: "never"}
	}
}

func uiccConditions(c *coder, list []Condition) []uicc.Condition {
	all := []uicc.Condition{}
	for _, k := range list {
		u, err := k.uicc(c)
		c.adopt(err)
		all = append(all, u)
	}
	return all
}

var errCondition = errors.New("a condition is one of who, any, all and other; usage goes with a key")

func (k Condition) uicc(c *coder) (uicc.Condition, error) {
	said := 0
	for _, is := range []bool{k.Who != "", k.Any != nil, k.All != nil, k.Other != nil} {
		if is {
			said++
		}
	}
	plain := k.Who == "" || k.Who == "always" || k.Who == "never"
	switch {
	case said != 1 || k.Usage != nil && plain:
		c.fail("%w", errCondition)
		return uicc.Condition{}, c.err
	case k.Who == "always":
		return uicc.Condition{Kind: uicc.Always}, nil
	case k.Who == "never":
		return uicc.Condition{}, nil
	case k.Any != nil:
		return uicc.Condition{Kind: uicc.Or, List: uiccConditions(c, k.Any)}, nil
	case k.All != nil:
		return uicc.Condition{Kind: uicc.And, List: uiccConditions(c, k.All)}, nil
	case k.Other != nil:
		return uicc.Condition{Kind: uicc.Other, Object: tlv.New(uint32(k.Other.Tag), k.Other.Value)}, nil
	}
	u := uicc.KeyCondition(c.code(k.Who, keyNames))
	if k.Usage != nil {
		u.Usage = *k.Usage
	}
	return u, nil
}

func mfFiles() []File {
	rules := func() content { return &AccessRules{} }
	languages := func() content { return &Languages{} }
	return []File{
		{Name: "EF.DIR", Dir: DirMF, FID: uicc.FIDEFDIR, SFI: uicc.SFIEFDIR, Structure: LinearFixed,
			Clause: "TS 102 221, 13.1", new: func() content { return &Application{} }},
		{Name: "EF.ICCID", Dir: DirMF, FID: uicc.FIDEFICCID, SFI: uicc.SFIEFICCID, Structure: Transparent,
			Clause: "TS 102 221, 13.2", new: func() content { return &ICCID{} }},
		{Name: "EF.PL", Dir: DirMF, FID: uicc.FIDEFPL, SFI: 0x05, Structure: Transparent,
			Clause: "TS 102 221, 13.3", ones: true, new: languages},
		{Name: "EF.ARR", Dir: DirMF, FID: uicc.FIDEFARR, SFI: uicc.SFIEFARR, Structure: LinearFixed,
			Clause: "TS 102 221, 13.4", new: rules},
		{Name: "EF.UMPC", Dir: DirMF, FID: 0x2F08, SFI: 0x08, Structure: Transparent,
			Clause: "TS 102 221, 13.6", new: func() content { return &PowerConsumption{} }},
		{Name: "EF.LI", Dir: DirUSIM, FID: 0x6F05, SFI: 0x02, Structure: Transparent,
			Clause: "TS 31.102, 4.2.1", ones: true, new: languages},
		{Name: "EF.ARR", Dir: DirUSIM, FID: 0x6F06, SFI: 0x17, Structure: LinearFixed,
			Clause: "TS 31.102, 4.2.55", new: rules},
		{Name: "EF.ARR", Dir: DirISIM, FID: 0x6F06, SFI: 0x06, Structure: LinearFixed,
			Clause: "TS 31.103, 4.2.6", new: rules},
		{Name: "EF.ARR", Dir: DirGSM, FID: 0x6F06, Structure: LinearFixed,
			Clause: "TS 102 221, 9.2.7", new: rules},
		{Name: "EF.ARR", Dir: DirTelecom, FID: 0x6F06, Structure: LinearFixed,
			Clause: "TS 102 221, 9.2.7", new: rules},
	}
}
