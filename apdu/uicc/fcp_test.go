package uicc

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcim/apdu/tlv"
)

// examples is testdata/card_examples.json: captured card data and what it means.
type examples struct {
	Source string
	FCP    []struct {
		Name, FCP string
		Decoded   fcpFacts
	}
	GSM []struct {
		Name, Response string
		Decoded        gsmFacts
	} `json:"gsm_select"`
	EF    []struct{ EF, Raw, Value string }
	PIN   []struct{ PIN, Padded string }
	ICCID []struct {
		ICCID string
		Luhn  bool `json:"luhn_ok"`
	}
}

type fcpFacts struct {
	Type, Structure, FID, AID string
	Shareable                 bool
	LCSI                      string
	ARRFID                    string          `json:"arr_fid"`
	ARRRecord                 byte            `json:"arr_rec"`
	Characteristics           string          `json:"uicc_characteristics"`
	Memory                    int             `json:"available_memory"`
	Commands                  string          `json:"supported_fs_commands"`
	PINStatus                 [][]string      `json:"pin_status_do"`
	FileSize                  int             `json:"file_size"`
	RecordLength              uint16          `json:"record_len"`
	Records                   byte            `json:"num_rec"`
	SFI                       json.RawMessage // number, or null for none
}

type gsmFacts struct {
	FID, Type, Characteristics, Access, Status, Structure string
	Memory                                                uint16
	FileSize                                              uint16 `json:"file_size"`
	DFs                                                   byte   `json:"num_df"`
	EFs                                                   byte   `json:"num_ef"`
	Codes                                                 byte   `json:"num_codes"`
	CHV1, Unblock1, CHV2, Unblock2                        string
	RecordLength                                          byte `json:"record_len"`
}

func readExamples(t testing.TB) examples {
	t.Helper()
	b, err := os.ReadFile("testdata/card_examples.json")
	if err != nil {
		t.Fatal(err)
	}
	var e examples
	if err := json.Unmarshal(b, &e); err != nil {
		t.Fatal(err)
	}
	if e.Source == "" || len(e.FCP) == 0 || len(e.GSM) == 0 || len(e.EF) == 0 || len(e.PIN) == 0 || len(e.ICCID) == 0 {
		t.Fatal("testdata/card_examples.json has no source, or a part is missing")
	}
	return e
}

func TestCapturedFCP(t *testing.T) {
	t.Parallel()
	for _, tt := range readExamples(t).FCP {
		t.Run(tt.Name, func(t *testing.T) {
			t.Parallel()
			raw := fromHex(t, tt.FCP)
			f, err := ParseFCP(raw)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(f.Bytes(), raw) {
				t.Errorf("encodes to %X", f.Bytes())
			}
			checkFCP(t, f, tt.Decoded)
		})
	}
}

func checkFCP(t *testing.T, f FCP, want fcpFacts) {
	t.Helper()
	got := fcpFacts{
		FID: hexFID(f.FID), AID: hex.EncodeToString(f.AID), Shareable: f.Descriptor.Shareable,
		ARRFID: hexFID(f.ARR.FID), ARRRecord: f.ARR.Record, FileSize: f.Size.N,
		RecordLength: f.Descriptor.RecordLength, Records: f.Descriptor.Records, SFI: want.SFI,
	}
	got.Type, got.Structure = "working_ef", map[FileType]string{
		Directory: "no_info", Transparent: "transparent", LinearFixed: "linear_fixed",
	}[f.Descriptor.Type]
	if f.Descriptor.Type == Directory {
		got.Type = "df"
	}
	if f.PINs != nil {
		got.PINStatus = [][]string{{"90", hex.EncodeToString(f.PINs.Bits)}}
		for _, k := range f.PINs.Keys {
			got.PINStatus = append(got.PINStatus, []string{"83", hex.EncodeToString([]byte{k.Ref})})
		}
	}
	if f.LifeCycle.Activated() {
		got.LCSI = "operational_activated"
	}
	if v, ok := tlv.Find(f.Proprietary, TagUICCCharacteristics); ok {
		got.Characteristics = hex.EncodeToString(v.Value)
	}
	if v, ok := tlv.Find(f.Proprietary, TagAvailableMemory); ok {
		n, err := strconv.ParseInt(hex.EncodeToString(v.Value), 16, 0)
		if err != nil {
			t.Fatal(err)
		}
		got.Memory = int(n)
	}
	if v, ok := tlv.Find(f.Proprietary, 0x87); ok {
		got.Commands = hex.EncodeToString(v.Value)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if want.Type == "working_ef" {
		sfi, ok := f.ShortID()
		if s := strconv.Itoa(int(sfi)); ok && s != string(want.SFI) || !ok && string(want.SFI) != "null" {
			t.Errorf("SFI %d, %v; want %s", sfi, ok, want.SFI)
		}
		return
	}
}

func hexFID(fid uint16) string {
	if fid == 0 {
		return ""
	}
	return hex.EncodeToString([]byte{byte(fid >> 8), byte(fid)})
}

func TestCapturedPINStatus(t *testing.T) {
	t.Parallel()
	f, err := ParseFCP(fromHex(t, readExamples(t).FCP[0].FCP))
	if err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[byte]bool{RefPIN1: false, RefADM1: true, 0x0B: true} {
		if enabled, known := f.PINs.Enabled(ref); !known || enabled != want {
			t.Errorf("key %02X: enabled %v, known %v", ref, enabled, known)
		}
	}
	if _, known := f.PINs.Enabled(0x0C); known {
		t.Error("the card knows key 0C")
	}
}

// usimADF is the FCP of an ADF as the software UICC makes it.
func usimADF() FCP {
	return FCP{
		Descriptor:  FileDescriptor{Type: Directory, Shareable: true},
		FID:         0x7FD0,
		AID:         []byte{0xA0, 0, 0, 0, 0x87, 0x10, 0x02},
		Proprietary: []tlv.TLV{tlv.New(TagUICCCharacteristics, []byte{0x71})},
		LifeCycle:   LifeCycleActivated,
		ARR:         ARRReference{FID: FIDEFARR, Record: 1},
		PINs:        NewPINStatus([]byte{RefPIN1, RefADM1}, func(ref byte) bool { return ref == RefPIN1 }),
	}
}

func TestFCPBothWays(t *testing.T) {
	t.Parallel()
	with := func(change func(*FCP)) FCP {
		f := FCP{Descriptor: FileDescriptor{Type: Transparent, Shareable: true}, FID: 0x6F07, LifeCycle: LifeCycleActivated}
		change(&f)
		return f
	}
	rule := AccessRule{Access: AccessRead, Conditions: []Condition{{Kind: Always}}}
	tests := []struct {
		name string
		f    FCP
		want string
	}{
		{"ADF", usimADF(), "62298202782183027FD08407A0000000871002A5038001718A01058B032F0601C609900180830101" + "83010A"},
		{"bare EF", with(func(*FCP) {}), "620B8202412183026F078A0105"},
		{"size", with(func(f *FCP) { f.Size, f.TotalSize = NewSize(9), Size{N: 9, Width: 4} }), "62158202412183026F078A010580020009" + "810400000009"},
		{"large size", with(func(f *FCP) { f.Size = NewSize(0x10000) }), "62108202412183026F078A01058003010000"},
		{"SFI", with(func(f *FCP) { f.SFI = 7 }), "620E8202412183026F078A0105880138"},
		{"no SFI", with(func(f *FCP) { f.SFI = NoSFI }), "620D8202412183026F078A01058800"},
		{"records", with(func(f *FCP) {
			f.Descriptor = FileDescriptor{Type: LinearFixed, RecordLength: 28, Records: 2}
		}), "620E82050221001C0283026F078A0105"},
		{"other data coding, cyclic, internal", with(func(f *FCP) {
			f.Descriptor = FileDescriptor{Type: internalEF | Cyclic, DataCoding: 0x41, RecordLength: 300, Records: 254}
		}), "620E82050E41012CFE83026F078A0105"},
		{"BER-TLV EF", with(func(f *FCP) { f.Descriptor.Type = BERTLV }), "620B8202792183026F078A0105"},
		{"rules by environment", with(func(f *FCP) {
			f.ARR = ARRReference{FID: 0x6F06, BySE: []SERecord{{0, 1}, {1, 2}}}
		}), "62138202412183026F078A01058B066F0600010102"},
		{"compact rules", with(func(f *FCP) { f.Compact = []byte{1, 0} }), "620F8202412183026F078A01058C020100"},
		{"expanded rules", with(func(f *FCP) { f.Rules = []AccessRule{rule} }), "62128202412183026F078A0105AB058001019000"},
		{"empty A5", with(func(f *FCP) { f.Proprietary = []tlv.TLV{} }), "620D8202412183026F07A5008A0105"},
		{"unknown behind", with(func(f *FCP) { f.Unknown = []tlv.TLV{tlv.New(0xC5, []byte{1})} }), "620E8202412183026F078A0105C50101"},
		{"other order, unknown between", with(func(f *FCP) {
			f.Unknown = []tlv.TLV{tlv.New(0xC5, []byte{1}), tlv.New(0xC5)}
			f.Order = []uint32{0xC5, TagLifeCycle, TagFID, TagFileDescriptor, 0xC5}
		}), "6210C501018A010583026F0782024121C500"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := fromHex(t, tt.want)
			if got := tt.f.Bytes(); !bytes.Equal(got, want) {
				t.Errorf("encoded %X, want %X", got, want)
			}
			got, err := ParseFCP(want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.f, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseFCPRefuses(t *testing.T) {
	t.Parallel()
	const ef, fid, life = "82024121", "83026F07", "8A0105"
	template := func(s string) string { return hex.EncodeToString(tlv.Encode(tlv.New(TagFCP, fromHex(t, s)))) }
	for name, s := range map[string]string{
		"no bytes":                     "",
		"FCI of GlobalPlatform":        "6F00",
		"two templates":                "62006200",
		"cut":                          "620B82024121",
		"no TLV inside":                template("82"),
		"no file descriptor":           template(fid + life),
		"no life cycle":                template(ef + fid),
		"descriptor twice":             template(ef + ef + life),
		"descriptor of one byte":       template("820141" + life),
		"reserved descriptor":          template("8202C121" + life),
		"reserved type":                template("82025121" + life),
		"reserved structure":           template("82024321" + life),
		"data coding 00":               template("82024100" + life),
		"transparent with records":     template("8205412100010" + "1" + life),
		"records without number":       template("820242210" + "1" + life),
		"records without length":       template("82024221" + life),
		"FID of one byte":              template(ef + "83016F" + life),
		"FID 0000":                     template(ef + "83020000" + life),
		"empty AID":                    template(ef + "8400" + life),
		"AID of 17 bytes":              template(ef + "8411" + strings.Repeat("A0", 17) + life),
		"A5 is no TLV":                 template(ef + "A50180" + life),
		"life cycle of two bytes":      template(ef + "8A020505"),
		"reference of two bytes":       template(ef + life + "8B026F06"),
		"reference of five bytes":      template(ef + life + "8B056F06000101"),
		"reference to 0000":            template(ef + life + "8B03000001"),
		"empty compact rules":          template(ef + life + "8C00"),
		"expanded rules broken":        template(ef + life + "AB03800101"),
		"empty expanded rules":         template(ef + life + "AB00"),
		"size of one byte":             template(ef + life + "800109"),
		"size of five bytes":           template(ef + life + "80050000000009"),
		"SFI of two bytes":             template(ef + life + "88023838"),
		"SFI 0":                        template(ef + life + "880100"),
		"SFI 31":                       template(ef + life + "8801F8"),
		"SFI with lower bits":          template(ef + life + "880139"),
		"PIN status is no TLV":         template(ef + life + "C60190"),
		"PIN status without 90":        template(ef + life + "C603830101"),
		"PIN status, empty":            template(ef + life + "C600"),
		"PIN status, key of two bytes": template(ef + life + "C60790018083020101"),
		"PIN status, no bit for a key": template(ef + life + "C6059000830101"),
		"PIN status, usage for no key": template(ef + life + "C606900180950108"),
		"PIN status, usage twice":      template(ef + life + "C60C900180950108950108830101"),
		"PIN status, other tag":        template(ef + life + "C606900180840101"),
	} {
		if f, err := ParseFCP(fromHex(t, s)); !errors.Is(err, ErrFCP) {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
}

func TestPINStatus(t *testing.T) {
	t.Parallel()
	refs := []byte{1, 2, 3, 4, 5, 6, 7, 8, 0x81}
	p := NewPINStatus(refs, func(ref byte) bool { return ref == 2 || ref == 0x81 })
	if !bytes.Equal(p.Bits, []byte{0x40, 0x80}) {
		t.Errorf("bits %X", p.Bits)
	}
	for _, ref := range refs {
		enabled, known := p.Enabled(ref)
		if !known || enabled != slices.Contains([]byte{2, 0x81}, ref) {
			t.Errorf("%02X: %v, %v", ref, enabled, known)
		}
	}
	var none *PINStatus
	if _, known := none.Enabled(RefPIN1); known || none.Replaced() {
		t.Error("no status, but it knows a PIN")
	}
	for usage, want := range map[string]bool{"950108": true, "950100": false, "": false} {
		p, err := parsePINStatus(fromHex(t, "9001C0"+"830101"+usage+"830111"))
		if err != nil || p.Replaced() != want || !bytes.Equal(p.value(), fromHex(t, "9001C0830101"+usage+"830111")) {
			t.Errorf("usage %q: %v, %v", usage, p, err)
		}
	}
}

func TestLifeCycleAndType(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		l                                  LifeCycle
		activated, deactivated, terminated bool
	}{
		{0x05, true, false, false}, {0x07, true, false, false}, {0x04, false, true, false}, {0x06, false, true, false},
		{0x0C, false, false, true}, {0x0F, false, false, true}, {0x00, false, false, false}, {0x03, false, false, false},
	} {
		if tt.l.Activated() != tt.activated || tt.l.Deactivated() != tt.deactivated || tt.l.Terminated() != tt.terminated {
			t.Errorf("life cycle %02X", byte(tt.l))
		}
	}
	for ft, want := range map[FileType]string{
		Directory: "directory", Transparent: "transparent EF", LinearFixed: "linear fixed EF", Cyclic: "cyclic EF",
		BERTLV: "BER-TLV EF", internalEF | Transparent: "internal transparent EF", 0: "EF",
	} {
		if ft.String() != want {
			t.Errorf("%02X is %q, want %q", byte(ft), ft, want)
		}
	}
	for _, tt := range []struct {
		f    FCP
		want byte
	}{{FCP{FID: 0x6F07}, 7}, {FCP{FID: 0x6F00}, 0}, {FCP{FID: 0x6F1F}, 0}, {FCP{FID: 0x6F07, SFI: NoSFI}, 0}, {FCP{SFI: 3}, 3}} {
		if sfi, ok := tt.f.ShortID(); sfi != tt.want && ok || ok != (tt.want != 0) {
			t.Errorf("FID %04X, SFI %02X: %d, %v", tt.f.FID, byte(tt.f.SFI), sfi, ok)
		}
	}
}

func TestLifeCycleString(t *testing.T) {
	t.Parallel()
	for l, want := range map[LifeCycle]string{
		LifeCycleCreation: "creation", LifeCycleInitialization: "initialization", LifeCycleDeactivated: "deactivated", 0x06: "deactivated",
		LifeCycleActivated: "activated", 0x07: "activated", LifeCycleTerminated: "terminated", 0x0F: "terminated", LifeCycleUnknown: "0x00", 0x10: "0x10",
	} {
		if got := l.String(); got != want {
			t.Errorf("%02X: %q, want %q", byte(l), got, want)
		}
	}
}
