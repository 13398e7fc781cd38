package uicc

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcim/apdu"
	"mcim/apdu/tlv"
)

// TestFileCommands are the bytes of TS 102 221, 11.1.7 and 11.1.8, and TS 102 222, 6.
func TestFileCommands(t *testing.T) {
	t.Parallel()
	fcp := FCP{
		Descriptor: FileDescriptor{Type: LinearFixed, Shareable: true, RecordLength: 4, Records: 2}, FID: 0x6F01,
		LifeCycle: LifeCycleActivated, ARR: ARRReference{FID: 0x2F06, Record: 3}, Size: NewSize(8), SFI: NoSFI,
	}
	for name, c := range map[string]struct {
		command apdu.Command
		want    string
	}{
		"search":          {SearchRecord{SFI: 1, Record: 2, Pattern: []byte{0xAA}}.Command(), "00A2020C01AA00"},
		"search backward": {SearchRecord{From: BackwardFrom, Pattern: []byte{0xAA}}.Command(), "00A2000501AA00"},
		"search enhanced": {SearchRecord{From: ForwardFromNext, Offset: 3, Pattern: []byte{0xAA}}.Command(), "00A20006030603AA00"},
		"search after":    {SearchRecord{Offset: 'x', After: true, Pattern: []byte{0xAA}}.Command(), "00A20006030C78AA00"},
		"increase":        {Increase{SFI: 2, Value: []byte{1}}.Command(), "80328200010100"},
		"increase GSM":    {Increase{Value: []byte{0, 0, 1}}.GSM(), "A03200000300000100"},
		"create":          {CreateFile{FCP: fcp}.Command(), "00E000001A6218820442210004" + "83026F01" + "8A0105" + "8B032F0603" + "80020008" + "8800"},
		"resize":          {ResizeFile{FID: 0x6F01, Size: 12}.Command(), "80D400000A620883026F018002000C"},
		"resize, filled": {
			ResizeFile{FID: 0x6F01, Size: 12, Proprietary: []tlv.TLV{tlv.New(0xC1, []byte{0})}}.Command(),
			"80D400000F620D83026F018002000CA503C10100",
		},
		"delete":         {DeleteFile{FID: 0x6F01}.Command(), "00E40000026F01"},
		"activate":       {ActivateFile{}.Command(), "00440000"},
		"deactivate":     {DeactivateFile{FID: 0x6F01}.Command(), "00040000026F01"},
		"terminate EF":   {TerminateEF{}.Command(), "00E80000"},
		"terminate DF":   {TerminateDF{FID: 0x5F01}.Command(), "00E60000025F01"},
		"terminate card": {TerminateCard{}.Command(), "00FE0000"},
	} {
		b, err := c.command.Bytes()
		if err != nil || !bytes.Equal(b, fromHex(t, c.want)) {
			t.Errorf("%s: %X %v, want %s", name, b, err, c.want)
		}
	}
	for name, c := range map[string]apdu.Command{
		"search for nothing": SearchRecord{}.Command(), "SFI": SearchRecord{SFI: 31, Pattern: []byte{1}}.Command(),
		"direction": SearchRecord{From: 8, Pattern: []byte{1}}.Command(), "record": SearchRecord{Record: 255, Pattern: []byte{1}}.Command(),
		"long pattern": SearchRecord{After: true, Pattern: make([]byte, 254)}.Command(),
		"nothing more": Increase{}.Command(), "too much": Increase{Value: make([]byte, 128)}.Command(),
		"increase SFI": Increase{SFI: 31, Value: []byte{1}}.Command(), "GSM value": Increase{Value: []byte{1}}.GSM(),
		"no identifier": CreateFile{}.Command(), "no size": CreateFile{FCP{FID: 1, Descriptor: FileDescriptor{Type: Transparent}}}.Command(),
		"long FCP":      CreateFile{FCP{FID: 1, Descriptor: FileDescriptor{Type: Directory}, Compact: make([]byte, 250)}}.Command(),
		"resize naught": ResizeFile{FID: 1}.Command(), "resize what": ResizeFile{Size: 1}.Command(), "delete what": DeleteFile{}.Command(),
	} {
		if _, err := c.Bytes(); !errors.Is(err, ErrField) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseSearchRecord(t *testing.T) {
	t.Parallel()
	for _, s := range []SearchRecord{
		{SFI: 1, Record: 2, From: ForwardFrom, Pattern: []byte{1}}, {From: BackwardFromPrevious, Offset: 1, Pattern: []byte{1, 2}},
		{From: ForwardFrom, Offset: 9, After: true, Pattern: []byte{1}},
	} {
		got, err := ParseSearchRecord(s.Command())
		if d := cmp.Diff(s, got); err != nil || d != "" {
			t.Error(err, d)
		}
	}
	for name, c := range map[string]apdu.Command{
		"mode": {P2: 7, Data: []byte{1}}, "no pattern": {P2: 4}, "indication": {P2: 6, Data: []byte{0x14, 0, 1}}, "short": {P2: 6, Data: []byte{4}},
		"direction": {P2: 6, Data: []byte{3, 0, 1}}, "SFI": {P2: 0xFC, Data: []byte{1}},
	} {
		if _, err := ParseSearchRecord(c); !errors.Is(err, ErrField) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCompact(t *testing.T) {
	t.Parallel()
	is := func(refs ...byte) func(byte) bool { return func(ref byte) bool { return slices.Contains(refs, ref) } }
	rules, err := DecodeCompact(fromHex(t, "13FF1100"))
	if err != nil {
		t.Fatal(err)
	}
	if Allowed(rules, AccessActivate, is(RefPIN1)) || Allowed(rules, AccessUpdate, is()) || !Allowed(rules, AccessUpdate, is(RefPIN1)) ||
		!Allowed(rules, AccessRead, is()) || Allowed(rules, AccessDelete, is(RefPIN1)) {
		t.Errorf("%+v", rules)
	}
	if b, err := EncodeCompact(rules); err != nil || !bytes.Equal(b, fromHex(t, "13FF1100")) {
		t.Errorf("%X %v", b, err)
	}
	other, err := DecodeCompact(fromHex(t, "0720B012")) // external authentication, both, another environment
	for _, op := range []Access{AccessRead, AccessUpdate, AccessWrite} {
		if err != nil || Allowed(other, op, is(RefPIN1, RefADM1)) {
			t.Errorf("%02X is allowed by a condition that is not known: %v", byte(op), err)
		}
	}
	for _, bad := range []string{"", "01", "810000", "0300", "010000"} {
		if _, err := DecodeCompact(fromHex(t, bad)); !errors.Is(err, ErrRule) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	for name, r := range map[string][]AccessRule{
		"ADM": {{Access: 1, Conditions: []Condition{KeyCondition(RefADM1)}}}, "two": {{Access: 1, Conditions: make([]Condition, 2)}},
		"command": {{HeaderTag: HeaderINS, Conditions: make([]Condition, 1)}}, "twice": {{Access: 1, Conditions: make([]Condition, 1)}, {Access: 1, Conditions: make([]Condition, 1)}},
	} {
		if _, err := EncodeCompact(r); !errors.Is(err, ErrRule) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if f := (FCP{Compact: fromHex(t, "0100")}); !Allowed(f.EffectiveRules(), AccessRead, is()) || (FCP{Compact: []byte{1}}).EffectiveRules() != nil {
		t.Error("the rules of an FCP are not those of its compact format")
	}
}

// FuzzFiles runs the decoders of what administers and searches: no panic, and what they
// accept is encoded to what decodes alike.
func FuzzFiles(f *testing.F) {
	for _, s := range []string{"620883026F018002000C", "620D83026F018002000CA503C10100", "13FF1100", "06780C02AA"} {
		f.Add(fromHex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ParseResizeFile(b); err == nil && r.Size <= maxSize {
			again, err := ParseResizeFile(r.Command().Data)
			if d := cmp.Diff(r, again); err != nil || d != "" {
				t.Error(err, d)
			}
		}
		if rules, err := DecodeCompact(b); err == nil {
			back, err := EncodeCompact(rules)
			if again, errAgain := DecodeCompact(back); err == nil && (errAgain != nil || cmp.Diff(rules, again) != "") {
				t.Errorf("%X became %X: %v", b, back, errAgain)
			}
		}
		if len(b) < 2 {
			return
		}
		if s, err := ParseSearchRecord(apdu.Command{P1: b[0], P2: b[1], Data: b[2:]}); err == nil && s.Command().Err == nil {
			s.Find(b)
			again, err := ParseSearchRecord(s.Command())
			if d := cmp.Diff(s, again); err != nil || d != "" {
				t.Error(err, d)
			}
		}
	})
}
