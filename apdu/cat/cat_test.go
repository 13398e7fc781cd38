package cat

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcim/apdu"
	"mcim/apdu/ef"
)

// vector is an entry of testdata/messages.json.
type vector struct {
	Name  string   `json:"name"`
	Kind  string   `json:"kind"` // proactive, response or envelope
	Hex   string   `json:"hex"`
	Title string   `json:"title"`
	Words []string `json:"words"`
}

func vectors(t testing.TB) []vector {
	t.Helper()
	b, err := os.ReadFile("testdata/messages.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Source   string   `json:"source"`
		Messages []vector `json:"messages"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	if file.Source == "" || len(file.Messages) == 0 {
		t.Fatal("the vectors name no source, or there are none")
	}
	return file.Messages
}

func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// message is what the three kinds have in common.
type message interface {
	Bytes() ([]byte, error)
	Words() []string
}

func decode(kind string, b []byte) (message, string, error) {
	switch kind {
	case "proactive":
		m, err := DecodeProactive(b)
		return m, m.Name(), err
	case "response":
		m, err := DecodeResponse(b)
		return m, m.Details().Name(), err
	default:
		m, err := DecodeEnvelope(b)
		return m, m.Name(), err
	}
}

func TestMessages(t *testing.T) {
	t.Parallel()
	for _, v := range vectors(t) {
		b := fromHex(t, v.Hex)
		m, title, err := decode(v.Kind, b)
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		if title != v.Title {
			t.Errorf("%s: %q, want %q", v.Name, title, v.Title)
		}
		if diff := cmp.Diff(v.Words, m.Words()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", v.Name, diff)
		}
		if back, err := m.Bytes(); err != nil || !bytes.Equal(back, b) {
			t.Errorf("%s: back as %x %v", v.Name, back, err)
		}
	}
}

// TestDocuments takes the data objects of all vectors through JSON.
func TestDocuments(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, v := range vectors(t) {
		b := fromHex(t, v.Hex)
		if v.Kind != "response" {
			_, rest, _ := bytes.Cut(b, b[:1])
			if b = rest[1:]; rest[0] == 0x81 {
				b = rest[2:]
			}
		}
		objects, err := DecodeObjects(b)
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		doc, err := json.Marshal(objects)
		if err != nil {
			t.Fatal(err)
		}
		var back Objects
		if err := json.Unmarshal(doc, &back); err != nil {
			t.Fatalf("%s: %s: %v", v.Name, doc, err)
		}
		if again, err := back.Bytes(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: %s became %x %v, want %x", v.Name, doc, again, err, b)
		}
		for _, p := range objects {
			seen[nameOf(p.Object)] = true
		}
	}
	if len(seen) < 40 {
		t.Errorf("the vectors have only %d kinds of data object", len(seen))
	}
}

func TestDocumentsRefused(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`{"buffer_size": {"bytes": 70000}}`:                    "buffer_size",
		`{"buffer_size": {"octets": 1}}`:                       "octets",
		`{"no_such": {}}`:                                      "no data object of that name",
		`{"optional": true}`:                                   "no data object",
		`{"imei": {"digits": "1"}, "language": {"code":"en"}}`: "more than one",
		`[1]`: "want a data object",
		`{"bearer_description": {"type": "carrier pigeon"}}`:                "one of: Bluetooth, CSD",
		`{"file_list": {"files": ["3F00/6F7"]}}`:                            "path",
		`{"raw": {"tag": "zz", "value": ""}}`:                               "tag",
		`{"other_address": {"ip": "localhost"}}`:                            "other_address",
		`{"command_details": {"number": 1, "type": "0x4", "qualifier": 0}}`: "0x and two digits",
	} {
		var p Part
		if err := json.Unmarshal([]byte(doc), &p); !errors.Is(err, ErrValue) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want ErrValue with %q", doc, err, want)
		}
	}
}

func TestValuesRefused(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Object{
		"timer":        &TimerValue{Hours: 100},
		"digits":       &Address{Number: "12x"},
		"IMEI":         &IMEI{"123"},
		"IMEISV":       &IMEISV{"12345678901234a"},
		"network":      &Location{PLMN: "1-1"},
		"channel":      &ChannelStatus{Channel: 8},
		"gsm7":         &TextString{Text{Coding: "gsm7", Text: "Привет"}},
		"coding":       &TextString{Text{Coding: "morse", Text: "x"}},
		"empty":        &TextString{Text{Empty: true, Text: "x"}},
		"alpha":        &AlphaIdentifier{ef.Alpha{Text: "x", Coding: "9"}},
		"access name":  &AccessName{"a..b"},
		"no tag":       &Raw{},
		"tag too high": &Raw{ID: 0x8000},
	} {
		if b, err := List(o).Bytes(); !errors.Is(err, ErrValue) {
			t.Errorf("%s: %x %v, want ErrValue", name, b, err)
		}
	}
}

// TestUnfitting has values that do not fit the fields: they stay bytes.
func TestUnfitting(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"810101", "a503991a00", "920102", "9205023f006f07", "9204013f0000", "be052001020304", "be03570102", "c703056161",
		"94081132547698103254", "9402123f", "860331f021", "b80181", "93021300", "f20413001380", "84050101010101",
	} {
		b := fromHex(t, s)
		objects, err := DecodeObjects(b)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		if _, raw := objects[0].Object.(*Raw); !raw {
			t.Errorf("%s became %v", s, objects.Words())
		}
		if back, err := objects.Bytes(); err != nil || !bytes.Equal(back, b) {
			t.Errorf("%s: back as %x %v", s, back, err)
		}
	}
}

func TestMessagesRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ kind, hex string }{
		"nothing":              {"proactive", ""},
		"another tag":          {"proactive", "d109810301210082028102"},
		"cut":                  {"proactive", "d00a810301210082028102"},
		"bytes behind":         {"proactive", "d00981030121008202810200"},
		"no device identities": {"proactive", "d0058103012100"},
		"no details":           {"proactive", "d00882028182" + "82028182"},
		"another order":        {"proactive", "d009" + "8103012100" + "84020101"},
		"empty envelope":       {"envelope", ""},
		"no envelope":          {"envelope", "d000"},
		"envelope cut":         {"envelope", "d305"},
		"result missing":       {"response", "8103012100"},
		"details missing":      {"response", "830100"},
		"response cut":         {"response", "81030121"},
	} {
		if m, _, err := decode(tt.kind, fromHex(t, tt.hex)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v %v, want ErrMalformed", name, m, err)
		}
	}
}

func TestTextCoding(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text Text
		want string
	}{
		{Text{Text: "Hi"}, "044869"},
		{Text{Text: "Да"}, "0804140430"},
		{Text{Coding: "gsm7", Text: "1234567"}, "0031d98c56b3dd00"},
		{Text{Coding: "gsm7", Text: "12345678"}, "0031d98c56b3dd70"},
		{Text{Coding: "0xf4", Raw: ef.Hex{1}}, "f401"},
		{Text{Empty: true}, ""},
	} {
		b, err := valueOf(&TextString{tt.text})
		if err != nil || hex.EncodeToString(b) != tt.want {
			t.Errorf("%+v: %x %v, want %s", tt.text, b, err, tt.want)
		}
		back, ok := decodeObject(0x0D, b).(*TextString)
		if !ok || back.String() != (&tt.text).String() {
			t.Errorf("%s: %v", tt.want, back)
		}
	}
}

func TestProfile(t *testing.T) {
	t.Parallel()
	p, err := NewProfile(7, "profile download", "REFRESH", "TCP client, remote")
	if err != nil || hex.EncodeToString(p) != "010080000000000000000000"+"e000000001" {
		t.Fatalf("%x %v", p, err)
	}
	if !p.Has("REFRESH") || p.Has("OPEN CHANNEL") || p.Has("REFRESH (steering of roaming)") || p.Has("") || p.Channels() != 7 {
		t.Errorf("%v", p.Words())
	}
	if diff := cmp.Diff([]string{"profile download", "REFRESH", "TCP client, remote", "7 channels"}, p.Words()); diff != "" {
		t.Error(diff)
	}
	if got := (Profile{0: 1, 40: 0x80}).Words(); !slices.Equal(got, []string{"profile download", "byte 41: 80"}) {
		t.Error(got)
	}
	for _, bad := range []struct {
		n    int
		name string
	}{{8, "REFRESH"}, {-1, "REFRESH"}, {0, "TELEPATHY"}, {0, ""}} {
		if _, err := NewProfile(bad.n, bad.name); !errors.Is(err, ErrValue) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	seen := map[string]bool{}
	for _, bits := range facilities {
		for _, name := range bits {
			if name != "" && seen[name] {
				t.Errorf("%s is there twice", name)
			}
			seen[name] = true
		}
	}
}

func TestCommands(t *testing.T) {
	t.Parallel()
	details := CommandDetails{1, TypeDisplayText, 0}
	for name, tt := range map[string]struct {
		c    apdu.Command
		want string
	}{
		"profile":  {TerminalProfile{Profile{1}}.Command(), "801000000101"},
		"fetch":    {Fetch{15}.Command(), "801200000f"},
		"fetch256": {Fetch{256}.Command(), "8012000000"},
		"response": {NewResponse(details, Result{General: ResultBeyond}).Command(), "801400000c" + "8103012100" + "02028281" + "830130"},
		"envelope": {MenuSelection(2, true).Command(), "80c200000b" + "d309" + "82020181" + "900102" + "9500" + "00"},
	} {
		if b, err := tt.c.Bytes(); err != nil || hex.EncodeToString(b) != tt.want {
			t.Errorf("%s: %x %v, want %s", name, b, err, tt.want)
		}
	}
	for name, c := range map[string]apdu.Command{
		"no profile":      TerminalProfile{}.Command(),
		"profile":         TerminalProfile{make(Profile, 256)}.Command(),
		"fetch nothing":   Fetch{}.Command(),
		"fetch more":      Fetch{257}.Command(),
		"response of 300": NewResponse(details, Result{}, &ChannelData{make(ef.Hex, 280)}).Command(),
		"value":           NewResponse(details, Result{}, &IMEI{}).Command(),
		"no envelope":     Envelope{Kind: 0x11, Objects: List(&ItemID{1})}.Command(),
	} {
		if b, err := c.Bytes(); !errors.Is(err, ErrValue) {
			t.Errorf("%s: %x %v, want ErrValue", name, b, err)
		}
	}
}

func TestEnvelopes(t *testing.T) {
	t.Parallel()
	up := ChannelStatus{Channel: 1, State: LinkUp}
	for _, tt := range []struct {
		e    Envelope
		want string
	}{
		{DataAvailable(up, 300), "d60e" + "990109" + "82028281" + "b8028100" + "b701ff"},
		{ChannelStatusEvent(up), "d60b" + "99010a" + "82028281" + "b8028100"},
		{TimerExpiration(1, TimerValue{1, 2, 3}), "d70c" + "82028281" + "a40101" + "a503102030"},
		{SMSPP(Address{0x91, "123456"}, []byte{0, 1, 2, 3}), "d110" + "82028381" + "860491214365" + "8b0400010203"},
		{LocationStatusEvent(2, nil), "d60a" + "990103" + "82028281" + "9b0102"},
		{LocationStatusEvent(0, &Location{"001-01", 1, 2, nil}), "d613" + "990103" + "82028281" + "9b0100" + "930700f11000010002"},
		{CallControl(Address{0x91, "12"}, Location{"310-100", 1, 2, nil}), "d411" + "82028281" + "86029121" + "930713000100010002"},
	} {
		if b, err := tt.e.Bytes(); err != nil || hex.EncodeToString(b) != tt.want {
			t.Errorf("%s: %x %v, want %s", tt.e.Name(), b, err, tt.want)
		}
	}
}

func TestOpenChannel(t *testing.T) {
	t.Parallel()
	p := NewProactive(CommandDetails{1, TypeOpenChannel, 1}, DeviceTerminal, &Bearer{Type: BearerDefault}, &BufferSize{1024},
		&TransportLevel{TCPRemote, 8080}, &OtherAddress{netip.MustParseAddr("192.0.2.1")})
	b, err := p.Bytes()
	want := "d01c" + "8103014001" + "82028182" + "b50103" + "b9020400" + "bc03021f90" + "be0521c0000201"
	if err != nil || hex.EncodeToString(b) != want {
		t.Fatalf("%x %v, want %s", b, err, want)
	}
	back, err := DecodeProactive(b)
	if err != nil {
		t.Fatal(err)
	}
	if a, ok := Find[OtherAddress](back.Objects); !ok || a.IP != netip.MustParseAddr("192.0.2.1") {
		t.Error(a, ok)
	}
	if _, ok := Find[AccessName](back.Objects); ok {
		t.Error("an access name that is not there")
	}
	if items := All[BufferSize](back.Objects); len(items) != 1 || items[0].Bytes != 1024 {
		t.Error(items)
	}
	if back.Devices() != (DeviceIdentities{DeviceUICC, DeviceTerminal}) {
		t.Error(back.Devices())
	}
}

// FuzzToolkit runs all decoders of the package, chosen by the first byte: what they accept
// must encode to the same bytes again, and its documents, too.
func FuzzToolkit(f *testing.F) {
	kinds := []string{"proactive", "response", "envelope"}
	for _, v := range vectors(f) {
		f.Add(append([]byte{byte(slices.Index(kinds, v.Kind))}, fromHex(f, v.Hex)...))
	}
	f.Add([]byte{3, 0xFF, 0x00, 0x80})
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 {
			return
		}
		b := in[1:]
		if in[0]%4 == 3 {
			Profile(b).Words()
			return
		}
		m, _, err := decode(kinds[in[0]%4], b)
		if err != nil {
			return
		}
		m.Words()
		if back, err := m.Bytes(); err != nil || !bytes.Equal(back, b) {
			t.Errorf("%x became %x, %v", b, back, err)
		}
		doc, err := json.Marshal(m)
		if err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		var objects struct{ Objects Objects }
		if err := json.Unmarshal(doc, &objects); err != nil {
			t.Fatalf("%x: %s: %v", b, doc, err)
		}
		if again, err := objects.Objects.Bytes(); err != nil || !bytes.HasSuffix(b, again) {
			t.Errorf("%x: document %s became %x, %v", b, doc, again, err)
		}
	})
}
