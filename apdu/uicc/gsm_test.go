package uicc

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCapturedGSMResponses(t *testing.T) {
	t.Parallel()
	for _, tt := range readExamples(t).GSM {
		t.Run(tt.Name, func(t *testing.T) {
			t.Parallel()
			raw := fromHex(t, tt.Response)
			g, err := ParseGSMResponse(raw)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(g.Bytes(), raw) {
				t.Errorf("encodes to %X", g.Bytes())
			}
			if diff := cmp.Diff(tt.Decoded, gsmFactsOf(g)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func gsmFactsOf(g GSMResponse) gsmFacts {
	one := func(b byte) string { return hex.EncodeToString([]byte{b}) }
	f := gsmFacts{FID: hexFID(g.FID), Type: map[GSMType]string{GSMMF: "MF", GSMDF: "DF", GSMEF: "EF"}[g.Type]}
	if d := g.DF; d != nil {
		f.Memory, f.Characteristics, f.DFs, f.EFs, f.Codes = g.Size, one(d.Characteristics), d.DFs, d.EFs, d.Codes
		f.CHV1, f.Unblock1, f.CHV2, f.Unblock2 = one(byte(d.CHV1)), one(byte(d.Unblock1)), one(byte(d.CHV2)), one(byte(d.Unblock2))
	}
	if e := g.EF; e != nil {
		f.FileSize, f.Access, f.Status, f.RecordLength = g.Size, hex.EncodeToString(e.Access[:]), one(e.Status), e.RecordLength
		f.Structure = map[GSMStructure]string{GSMTransparent: "transparent", GSMLinearFixed: "linear_fixed", GSMCyclic: "cyclic"}[e.Structure]
	}
	return f
}

func TestGSMPINStatus(t *testing.T) {
	t.Parallel()
	g, err := ParseGSMResponse(fromHex(t, "000000003f000100000000000981020c0400838a838a"))
	if err != nil {
		t.Fatal(err)
	}
	d := g.DF
	if !d.CHV1Disabled() || !d.CHV1.Initialized() || d.CHV1.Tries() != 3 || d.Unblock1.Tries() != 10 || d.CHV2 != NewCHVStatus(3) {
		t.Errorf("%+v", d)
	}
	g, err = ParseGSMResponse(fromHex(t, "000000003f000100000000000901020c0400800a000a"))
	if err != nil {
		t.Fatal(err)
	}
	d = g.DF
	if d.CHV1Disabled() || !d.CHV1.Initialized() || d.CHV1.Tries() != 0 || d.CHV2.Initialized() {
		t.Errorf("%+v", d)
	}
}

func TestGSMResponseBothWays(t *testing.T) {
	t.Parallel()
	for name, g := range map[string]GSMResponse{
		"directory": {FID: 0x7F20, Type: GSMDF, DF: &GSMDirectory{CHV1: NewCHVStatus(3), Rest: []byte{0, 1}}},
		"file":      {FID: 0x6F07, Type: GSMEF, Size: 9, EF: &GSMFile{Status: 1, HasRecord: true, Rest: []byte{}}},
		"short":     {FID: 0x6F07, Type: GSMEF, Size: 9, EF: &GSMFile{Status: 1}},
	} {
		got, err := ParseGSMResponse(g.Bytes())
		if err != nil {
			t.Fatal(name, err)
		}
		if diff := cmp.Diff(g, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestParseGSMResponseRefuses(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]string{
		"empty":                  "",
		"cut":                    "0000000a2fe204000cffff01",
		"length byte too large":  "0000000a2fe204000cffff01030000",
		"length byte too small":  "0000000a2fe204000cffff01010000",
		"FCP":                    "62178202412183026f078a01058b036f060a80020009880138",
		"directory without CHVs": "000000003f000100000000000581020c0400",
		"file type 3":            "0000000a2fe203000cffff01020000",
	} {
		if g, err := ParseGSMResponse(fromHex(t, s)); !errors.Is(err, ErrGSMResponse) {
			t.Errorf("%s: %+v, %v", name, g, err)
		}
	}
}

func TestGSMResponseAsFCP(t *testing.T) {
	t.Parallel()
	ef := GSMResponse{Size: 40, FID: 0x6F3C, Type: GSMEF, EF: &GSMFile{Access: [3]byte{0x25}, Structure: GSMCyclic, RecordLength: 10}}
	f := ef.FCP()
	if f.Descriptor != (FileDescriptor{Type: Cyclic, RecordLength: 10, Records: 4}) || !f.LifeCycle.Deactivated() || f.Size.N != 40 {
		t.Errorf("%+v", f)
	}
	for _, c := range []struct {
		half byte
		want Condition
	}{
		{0x0, Condition{Kind: Always}}, {0x1, KeyCondition(RefPIN1)}, {0x2, KeyCondition(RefPIN2)}, {0x3, Condition{}},
		{0x4, KeyCondition(RefADM1)}, {0x8, KeyCondition(RefADM1 + 4)}, {0x9, Condition{}}, {0xF, Condition{}},
	} {
		if got := gsmCondition(c.half); got.Kind != c.want.Kind || got.Ref != c.want.Ref {
			t.Errorf("%X: %+v, want %+v", c.half, got, c.want)
		}
	}
	df := GSMResponse{FID: FIDMF, Type: GSMMF, DF: &GSMDirectory{Characteristics: gsmCHV1Off, CHV2: NewCHVStatus(3)}}.FCP()
	one, known := df.PINs.Enabled(RefPIN1)
	two, _ := df.PINs.Enabled(RefPIN2)
	if one || !known || !two || df.Descriptor.Type != Directory {
		t.Errorf("%+v", df)
	}
}
