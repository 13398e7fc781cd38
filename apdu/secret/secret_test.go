package secret

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// holder has the secret in every position in which fmt treats it differently.
type holder struct {
	Public  Bytes
	private Bytes
	Ptr     *Bytes
	List    []Bytes
	Map     map[string]Bytes
}

func TestNothingPrintsTheSecret(t *testing.T) {
	raw := []byte{0x4b, 0x31, 0x7a, 0x55, 0x9c, 0xe0, 0x12, 0xfe}
	s := New(raw)
	h := holder{s, s, &s, []Bytes{s}, map[string]Bytes{"k": s}}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&out, verb+" "+verb+" "+verb+"\n", s, h, &h)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "s", s, "h", h)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "s", s, "h", h)
	j, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(j)
	if !strings.Contains(string(j), redacted) {
		t.Errorf("JSON does not say that something was redacted: %s", j)
	}
	for _, form := range []string{string(raw), hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)),
		strings.Trim(fmt.Sprintf("%d", raw), "[]")} {
		if strings.Contains(out.String(), form) {
			t.Errorf("found %q in:\n%s", form, out.String())
		}
	}
	if _, err := s.MarshalCBOR(); err == nil {
		t.Error("CBOR encoded a secret")
	}
}

func TestRevealAndCopy(t *testing.T) {
	raw := []byte{1, 2, 3}
	s := New(raw)
	raw[0] = 9
	if !bytes.Equal(s.Reveal(), []byte{1, 2, 3}) || s.Len() != 3 {
		t.Errorf("got %v, want an own copy of 1 2 3", s.Reveal())
	}
	if (Bytes{}).Len() != 0 {
		t.Error("zero value is not empty")
	}
}
