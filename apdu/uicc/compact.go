package uicc

import (
	"fmt"
	"math/bits"
)

// Security condition bytes of the compact format (ISO/IEC 7816-4, 5.4.3.1; TS 102 221,
// 9.2.5).
const (
	compactAlways   byte = 0x00
	compactNever    byte = 0xFF
	compactAll      byte = 0x80 // all of the conditions, not any
	compactUser     byte = 0x10 // user authentication, which is PIN1
	compactOthers   byte = 0x60 // external authentication, secure messaging
	compactEnviron  byte = 0x0F // security environment
	compactPropriet byte = 0x80 // of the access mode byte: bits 7 to 4 are proprietary
)

// DecodeCompact decodes data object 8C: an access mode byte, and a security condition
// byte for each operation in it, the highest bit first (TS 102 221, 9.2.5). A condition
// other than always, never and user authentication, which is PIN1 in the security
// environments 0 and 1, is Other: take it for Never. The error wraps ErrRule.
func DecodeCompact(b []byte) ([]AccessRule, error) {
	if len(b) < 2 || b[0]&compactPropriet != 0 || len(b) != 1+bits.OnesCount8(b[0]) {
		return nil, fmt.Errorf("%w: compact format of %d bytes, want an access mode byte and a condition for each bit of it", ErrRule, len(b))
	}
	var rules []AccessRule
	next := 1
	for op := byte(0x40); op != 0; op >>= 1 {
		if b[0]&op != 0 {
			rules = append(rules, AccessRule{Access: Access(op), Conditions: []Condition{compactCondition(b[next])}})
			next++
		}
	}
	return rules, nil
}

func compactCondition(sc byte) Condition {
	one := sc&compactAll == 0 || sc&compactOthers == 0
	switch {
	case sc == compactAlways:
		return Condition{Kind: Always}
	case sc == compactNever:
		return Condition{Kind: Never}
	case sc&compactUser != 0 && sc&compactEnviron <= 1 && one:
		return KeyCondition(RefPIN1)
	}
	return Condition{Kind: Other}
}

// EncodeCompact encodes rules in the compact format, where they can be: for each
// operation at most one rule with one condition, always, never or PIN1. The error wraps
// ErrRule.
func EncodeCompact(rules []AccessRule) ([]byte, error) {
	conditions := map[Access]byte{}
	var mode byte
	for _, r := range rules {
		if r.HeaderTag != 0 || r.Access&Access(compactPropriet) != 0 || len(r.Conditions) != 1 || mode&byte(r.Access) != 0 {
			return nil, fmt.Errorf("%w: a rule that the compact format has no form for", ErrRule)
		}
		sc, c := compactNever, r.Conditions[0]
		switch {
		case c.Kind == Always:
			sc = compactAlways
		case c.Kind == Key && c.Ref == RefPIN1:
			sc = compactUser | 1
		case c.Kind != Never:
			return nil, fmt.Errorf("%w: a condition that the compact format has no form for", ErrRule)
		}
		mode |= byte(r.Access)
		for op := Access(0x40); op != 0; op >>= 1 {
			if r.Access&op != 0 {
				conditions[op] = sc
			}
		}
	}
	b := []byte{mode}
	for op := Access(0x40); op != 0; op >>= 1 {
		if mode&byte(op) != 0 {
			b = append(b, conditions[op])
		}
	}
	return b, nil
}

// EffectiveRules are the access rules that the FCP has itself, in either form; nil where
// they are in an EF.ARR, or not to be decoded.
func (f FCP) EffectiveRules() []AccessRule {
	if f.Rules != nil || f.Compact == nil {
		return f.Rules
	}
	rules, err := DecodeCompact(f.Compact)
	if err != nil {
		return nil
	}
	return rules
}
