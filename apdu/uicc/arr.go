package uicc

import (
	"bytes"
	"errors"
	"fmt"

	"mcim/apdu/tlv"
)

// ErrRule is returned for bytes that are no access rules.
var ErrRule = errors.New("malformed access rule")

// Access is a set of operations on a file (TS 102 221, 9.2.2; the bits are those
// of ISO/IEC 7816-4, 5.4.3.2).
type Access byte

// Operations on an EF.
const (
	AccessRead       Access = 0x01 // READ, SEARCH
	AccessUpdate     Access = 0x02 // UPDATE
	AccessWrite      Access = 0x04
	AccessDeactivate Access = 0x08
	AccessActivate   Access = 0x10
	AccessTerminate  Access = 0x20
	AccessDelete     Access = 0x40
)

// Operations on a DF, with the four higher ones of an EF.
const (
	AccessDeleteChild Access = 0x01
	AccessCreateEF    Access = 0x02
	AccessCreateDF    Access = 0x04
)

// Tags of access rules (TS 102 221, 9.2.6; ISO/IEC 7816-4, 5.4.3.2).
const (
	tagAccessMode  uint32 = 0x80
	tagModeHigh    uint32 = 0x8F // 81 to 8F describe a command by its header
	tagAlways      uint32 = 0x90
	tagNever       uint32 = 0x97
	tagOr          uint32 = 0xA0
	tagKeyTemplate uint32 = 0xA4
	tagAnd         uint32 = 0xAF
)

// HeaderINS is the HeaderTag of a rule whose Header is instruction bytes.
const HeaderINS byte = 0x84

// AccessRule is an access mode with the security conditions, any of which it needs: an AM
// data object and the SC data objects behind it (TS 102 221, 9.2.6).
type AccessRule struct {
	Access Access // operations; 0 where Header tells a command
	// HeaderTag, 81 to 8F, says which of CLA, INS, P1 and P2 (bits 4 to 1) are in
	// Header.
	HeaderTag byte
	Header    []byte
	// Conditions: any of them is enough.
	Conditions []Condition
}

// ConditionKind is the kind of a security condition (TS 102 221, 9.2.3).
type ConditionKind byte

// Kinds of conditions.
const (
	// Never: no one.
	Never ConditionKind = iota
	// Always: anyone.
	Always
	// Key: after verification of Ref.
	Key
	// Or: any of List.
	Or
	// And: all of List.
	And
	// Other: a condition that this package does not know, in Object. Take it for
	// Never.
	Other
)

// Condition is a security condition. The zero value is Never.
type Condition struct {
	Kind  ConditionKind
	Ref   byte // key reference, of Key
	Usage byte // usage qualifier, of Key: 08 user authentication by verification
	List  []Condition
	// Object is the data object of Other.
	Object tlv.TLV
}

// KeyCondition asks for verification of the PIN or key ref.
func KeyCondition(ref byte) Condition {
	return Condition{Kind: Key, Ref: ref, Usage: UsageVerify}
}

// AnyKey asks for verification of one of the PINs or keys.
func AnyKey(refs ...byte) Condition {
	c := Condition{Kind: Or}
	for _, ref := range refs {
		c.List = append(c.List, KeyCondition(ref))
	}
	return c
}

// Met reports whether the condition holds, where verified tells which keys are.
func (c Condition) Met(verified func(ref byte) bool) bool {
	switch c.Kind {
	case Always:
		return true
	case Key:
		return c.Usage&UsageVerify != 0 && verified(c.Ref)
	case Or:
		for _, part := range c.List {
			if part.Met(verified) {
				return true
			}
		}
		return false
	case And:
		for _, part := range c.List {
			if !part.Met(verified) {
				return false
			}
		}
		return len(c.List) > 0
	default:
		return false
	}
}

// Allowed reports whether the rules allow an operation, where verified tells
// which keys are. An operation that no rule names is not allowed; one that
// several rules name is allowed by each of them.
func Allowed(rules []AccessRule, op Access, verified func(ref byte) bool) bool {
	for _, r := range rules {
		if r.HeaderTag != 0 || r.Access&op == 0 {
			continue
		}
		if (Condition{Kind: Or, List: r.Conditions}).Met(verified) {
			return true
		}
	}
	return false
}

// AllowedCommand reports whether the rules allow the command with that instruction, which
// has no bit of its own in an access mode byte: INCREASE and RESIZE FILE are named by
// their headers (TS 102 221, 9.2.6).
func AllowedCommand(rules []AccessRule, ins byte, verified func(ref byte) bool) bool {
	for _, r := range rules {
		if r.NamesCommand(ins) && (Condition{Kind: Or, List: r.Conditions}).Met(verified) {
			return true
		}
	}
	return false
}

// NamesCommand reports that the rule is about the command with that instruction, by its
// INS alone.
func (r AccessRule) NamesCommand(ins byte) bool {
	return r.HeaderTag == HeaderINS && bytes.IndexByte(r.Header, ins) >= 0
}

// EncodeARRRecord encodes a record of EF.ARR (TS 102 221, 13.4) of length bytes,
// FF behind the rules. It fails with ErrRule where they do not fit.
func EncodeARRRecord(rules []AccessRule, length int) ([]byte, error) {
	b := appendRules([]byte{}, rules)
	if len(b) > length {
		return nil, fmt.Errorf("%w: %d bytes do not fit a record of %d", ErrRule, len(b), length)
	}
	return pad(b, length), nil
}

// DecodeARRRecord decodes a record of EF.ARR (TS 102 221, 13.4). A record without
// use, all FF, has no rules. It is strict: EncodeARRRecord with the same length
// gives b. The error wraps ErrRule.
func DecodeARRRecord(b []byte) ([]AccessRule, error) {
	list, err := tlv.DecodeFilled(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRule, err)
	}
	return rulesOf(list)
}

// pad fills a record with FF.
func pad(b []byte, length int) []byte {
	return append(b, bytes.Repeat([]byte{0xFF}, length-len(b))...)
}

func appendRules(dst []byte, rules []AccessRule) []byte {
	for _, r := range rules {
		mode := tlv.TLV{Tag: tagAccessMode, Value: []byte{byte(r.Access)}}
		if r.HeaderTag != 0 {
			mode = tlv.TLV{Tag: uint32(r.HeaderTag), Value: r.Header}
		}
		dst = mode.Append(dst)
		for _, c := range r.Conditions {
			dst = c.object().Append(dst)
		}
	}
	return dst
}

// object encodes a condition.
func (c Condition) object() tlv.TLV {
	switch c.Kind {
	case Always:
		return tlv.New(tagAlways)
	case Key:
		return tlv.Nest(tagKeyTemplate, tlv.New(tagKeyReference, []byte{c.Ref}), tlv.New(tagUsage, []byte{c.Usage}))
	case Or, And:
		tag := tagOr
		if c.Kind == And {
			tag = tagAnd
		}
		parts := []tlv.TLV{}
		for _, part := range c.List {
			parts = append(parts, part.object())
		}
		return tlv.Nest(tag, parts...)
	case Other:
		return c.Object
	default:
		return tlv.New(tagNever)
	}
}

func parseRules(b []byte) ([]AccessRule, error) {
	list, err := tlv.Decode(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRule, err)
	}
	return rulesOf(list)
}

func rulesOf(list []tlv.TLV) ([]AccessRule, error) {
	rules := []AccessRule{}
	for len(list) > 0 {
		r, err := parseMode(list[0])
		if err != nil {
			return nil, err
		}
		for list = list[1:]; len(list) > 0 && !isMode(list[0].Tag); list = list[1:] {
			c, err := parseCondition(list[0], 0)
			if err != nil {
				return nil, err
			}
			r.Conditions = append(r.Conditions, c)
		}
		if len(r.Conditions) == 0 {
			return nil, fmt.Errorf("%w: access mode without a condition", ErrRule)
		}
		rules = append(rules, r)
	}
	return rules, nil
}

func isMode(tag uint32) bool { return tag >= tagAccessMode && tag <= tagModeHigh }

func parseMode(t tlv.TLV) (AccessRule, error) {
	switch {
	case t.Tag == tagAccessMode && len(t.Value) == 1:
		return AccessRule{Access: Access(t.Value[0])}, nil
	case t.Tag != tagAccessMode && isMode(t.Tag) && len(t.Value) > 0:
		return AccessRule{HeaderTag: byte(t.Tag), Header: t.Value}, nil
	}
	return AccessRule{}, fmt.Errorf("%w: tag %02X of %d bytes is no access mode", ErrRule, t.Tag, len(t.Value))
}

// maxConditionDepth bounds templates in templates; a record has 254 bytes.
const maxConditionDepth = 8

func parseCondition(t tlv.TLV, depth int) (Condition, error) {
	switch t.Tag {
	case tagAlways, tagNever:
		if len(t.Value) != 0 {
			return Condition{}, fmt.Errorf("%w: condition %02X with a value", ErrRule, t.Tag)
		}
		if t.Tag == tagAlways {
			return Condition{Kind: Always}, nil
		}
		return Condition{Kind: Never}, nil
	case tagKeyTemplate:
		return parseKeyCondition(t), nil
	case tagOr, tagAnd:
		return parseConditions(t, depth)
	}
	if isMode(t.Tag) {
		return Condition{}, fmt.Errorf("%w: access mode %02X in the place of a condition", ErrRule, t.Tag)
	}
	return Condition{Kind: Other, Object: t}, nil
}

// parseKeyCondition decodes a key template; one with more in it than a key and
// its usage is Other.
func parseKeyCondition(t tlv.TLV) Condition {
	v := t.Value
	if len(v) == 6 && v[0] == byte(tagKeyReference) && v[1] == 1 && v[3] == byte(tagUsage) && v[4] == 1 {
		return Condition{Kind: Key, Ref: v[2], Usage: v[5]}
	}
	return Condition{Kind: Other, Object: t}
}

func parseConditions(t tlv.TLV, depth int) (Condition, error) {
	if depth >= maxConditionDepth {
		return Condition{}, fmt.Errorf("%w: conditions nested deeper than %d", ErrRule, maxConditionDepth)
	}
	parts, err := t.Children()
	if err != nil {
		return Condition{}, fmt.Errorf("%w: %w", ErrRule, err)
	}
	if len(parts) == 0 {
		return Condition{}, fmt.Errorf("%w: empty condition %02X", ErrRule, t.Tag)
	}
	c := Condition{Kind: Or}
	if t.Tag == tagAnd {
		c.Kind = And
	}
	for _, p := range parts {
		part, err := parseCondition(p, depth+1)
		if err != nil {
			return Condition{}, err
		}
		c.List = append(c.List, part)
	}
	return c, nil
}
