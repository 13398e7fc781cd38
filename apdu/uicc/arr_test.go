package uicc

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcim/apdu/tlv"
)

func TestARRRecord(t *testing.T) {
	t.Parallel()
	never, always := Condition{Kind: Never}, Condition{Kind: Always}
	tests := []struct {
		name  string
		rules []AccessRule
		want  string // without FF behind
	}{
		{"not in use", []AccessRule{}, ""},
		{"read always, update ADM1", []AccessRule{
			{Access: AccessRead, Conditions: []Condition{always}},
			{Access: AccessUpdate, Conditions: []Condition{KeyCondition(RefADM1)}},
		}, "8001019000" + "800102A40683010A950108"},
		{"never", []AccessRule{{Access: 0x7F, Conditions: []Condition{never}}}, "80017F9700"},
		{"PIN1 or ADM1", []AccessRule{
			{Access: AccessRead, Conditions: []Condition{AnyKey(RefPIN1, RefADM1)}},
		}, "800101A010A406830101950108A40683010A950108"},
		{"PIN1 and ADM1", []AccessRule{
			{Access: AccessRead, Conditions: []Condition{{Kind: And, List: []Condition{KeyCondition(RefPIN1), KeyCondition(RefADM1)}}}},
		}, "800101AF10A406830101950108A40683010A950108"},
		{"two conditions", []AccessRule{
			{Access: AccessRead, Conditions: []Condition{KeyCondition(RefPIN1), KeyCondition(RefADM1)}},
		}, "800101A406830101950108A40683010A950108"},
		{"command by header", []AccessRule{
			{HeaderTag: 0x84, Header: []byte{0xD4}, Conditions: []Condition{KeyCondition(RefADM1)}},
		}, "8401D4A40683010A950108"},
		{"unknown condition", []AccessRule{
			{Access: AccessRead, Conditions: []Condition{{Kind: Other, Object: tlv.New(0x9E, []byte{0x21})}}},
		}, "8001019E0121"},
		{"key template with more", []AccessRule{
			{Access: AccessRead, Conditions: []Condition{{Kind: Other, Object: tlv.New(0xA4, []byte{0x83, 1, 1})}}},
		}, "800101A403830101"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := fromHex(t, tt.want)
			for _, more := range []int{0, 1, 9} {
				full := append(append([]byte{}, want...), bytes.Repeat([]byte{0xFF}, more)...)
				got, err := EncodeARRRecord(tt.rules, len(full))
				if err != nil || !bytes.Equal(got, full) {
					t.Fatalf("encoded %X, %v; want %X", got, err, full)
				}
				back, err := DecodeARRRecord(full)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.rules, back); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
			if got, err := EncodeARRRecord(tt.rules, len(want)-1); !errors.Is(err, ErrRule) {
				t.Errorf("encoded into a shorter record: %X, %v", got, err)
			}
		})
	}
}

func TestARRRecordRefuses(t *testing.T) {
	t.Parallel()
	deep := tlv.New(tagAlways)
	for range maxConditionDepth + 1 {
		deep = tlv.Nest(tagOr, deep)
	}
	for name, s := range map[string]string{
		"no TLV":                 "80",
		"condition first":        "9000800101",
		"mode without condition": "800101",
		"two modes":              "8001018001029000",
		"mode of two bytes":      "800201029000",
		"header without bytes":   "84009000",
		"always with a value":    "800101900100",
		"never with a value":     "800101970100",
		"empty OR":               "800101A000",
		"empty AND":              "800101AF00",
		"OR is no TLV":           "800101A00190",
		"mode inside OR":         "800101A003800101",
		"bytes behind FF":        "8001019000FF00",
		"filled with 00":         "80010190000000",
		"nested without end":     "800101" + hex.EncodeToString(tlv.Encode(deep)),
	} {
		if got, err := DecodeARRRecord(fromHex(t, s)); !errors.Is(err, ErrRule) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestAllowed(t *testing.T) {
	t.Parallel()
	rules := []AccessRule{
		{Access: AccessRead, Conditions: []Condition{KeyCondition(RefPIN1), KeyCondition(RefADM1)}},
		{Access: AccessUpdate, Conditions: []Condition{{Kind: And, List: []Condition{KeyCondition(RefPIN1), KeyCondition(RefADM1)}}}},
		{Access: AccessActivate, Conditions: []Condition{AnyKey(RefPIN1, RefADM1)}},
		{Access: AccessDeactivate, Conditions: []Condition{{Kind: Always}}},
		{Access: AccessDelete, Conditions: []Condition{{Kind: Never}}},
		{Access: AccessTerminate, Conditions: []Condition{{Kind: Other, Object: tlv.New(0x9E, []byte{1})}, {Kind: Key, Ref: RefPIN1}}},
		{HeaderTag: 0x84, Header: []byte{0xD4}, Conditions: []Condition{{Kind: Always}}},
		{Access: AccessWrite, Conditions: []Condition{{Kind: And}}},
	}
	all := []Access{AccessRead, AccessUpdate, AccessWrite, AccessDeactivate, AccessActivate, AccessTerminate, AccessDelete}
	for _, tt := range []struct {
		verified string
		want     []Access
	}{
		{"", []Access{AccessDeactivate}},
		{"\x01", []Access{AccessRead, AccessActivate, AccessDeactivate}},
		{"\x0A", []Access{AccessRead, AccessActivate, AccessDeactivate}},
		{"\x81", []Access{AccessDeactivate}},
		{"\x01\x0A", []Access{AccessRead, AccessUpdate, AccessActivate, AccessDeactivate}},
	} {
		want := Access(0)
		for _, op := range tt.want {
			want |= op
		}
		for _, op := range all {
			verified := func(ref byte) bool { return strings.IndexByte(tt.verified, ref) >= 0 }
			if Allowed(rules, op, verified) != (want&op != 0) {
				t.Errorf("verified %X, operation %02X: allowed %v", tt.verified, byte(op), want&op == 0)
			}
		}
	}
}
