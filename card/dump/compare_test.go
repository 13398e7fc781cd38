package dump

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcim/apdu/secret"
)

// parsed is a document of one file.
func parsed(t *testing.T, file string) Document {
	t.Helper()
	d, err := Parse([]byte(`{"atr":"3b00","files":[` + file + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestCompare names what differs, and only that.
func TestCompare(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, a, b string
		want       []Difference
	}{
		{"equal", `{"path":"x","raw":"01"}`, `{"path":"x","raw":"01"}`, nil},
		{"a named field", `{"path":"x","raw":"01","decoded":{"n":1,"m":[{"k":"a"}]}}`, `{"path":"x","raw":"02","decoded":{"n":1,"m":[{"k":"b"}]}}`,
			[]Difference{{"x", "m[0].k", "a", "b"}}},
		{"put to use", `{"path":"x","raw":"ff","decoded":null}`, `{"path":"x","raw":"02","decoded":{"n":2}}`,
			[]Difference{{"x", "n", nil, 2.0}}},
		{"bytes", `{"path":"x","raw":"01"}`, `{"path":"x","raw":"02"}`, []Difference{{"x", "raw", "01", "02"}}},
		{"bytes that no field tells", `{"path":"x","raw":"01","decoded":{"n":1}}`, `{"path":"x","raw":"02","decoded":{"n":1}}`,
			[]Difference{{"x", "raw", "01", "02"}}},
		{"records", `{"path":"x","records":["01","05","07"],"decoded":[{"n":1},null,null]}`, `{"path":"x","records":["02","06"],"decoded":[{"n":2},null]}`,
			[]Difference{{"x", "record 1.n", 1.0, 2.0}, {"x", "record 2", "05", "06"}, {"x", "record 3", "07", nil}}},
		{"parameters", `{"path":"x","fcp":{"raw":"01","size":9}}`, `{"path":"x","fcp":{"raw":"02","size":8}}`, []Difference{{"x", "fcp.size", 9.0, 8.0}}},
		{"parameters in another order", `{"path":"x","fcp":{"raw":"01","size":9}}`, `{"path":"x","fcp":{"raw":"02","size":9}}`,
			[]Difference{{"x", "fcp.raw", "01", "02"}}},
		{"right and error", `{"path":"x","rights":{"read":"always"},"raw":"01"}`, `{"path":"x","rights":{"read":"ADM1"},"error":"no"}`,
			[]Difference{{"x", "error", nil, "no"}, {"x", "right.read", "always", "ADM1"}, {"x", "raw", "01", nil}}},
		{"files", `{"path":"x"},{"path":"y"}`, `{"path":"y"},{"path":"z"}`, []Difference{{"x", "file", "there", nil}, {"z", "file", nil, "there"}}},
	} {
		got := Compare(parsed(t, tt.a), parsed(t, tt.b))
		if d := cmp.Diff(tt.want, got.Differences, cmp.Transformer("", func(l []Difference) []Difference { return append([]Difference{}, l...) })); d != "" || got.Equal != (tt.want == nil) {
			t.Errorf("%s: %s", tt.name, d)
		}
	}
	a, b := parsed(t, `{"path":"x"}`), parsed(t, `{"path":"x"}`)
	b.ATR, b.Seconds, b.APDUs = "3b01", 1, 2
	if got := Compare(a, b); len(got.Differences) != 1 || got.Differences[0] != (Difference{"", "atr", "3b00", "3b01"}) {
		t.Errorf("%+v", got)
	}
}

// TestCompareKeys: that keys differ is told where both are known; their values
// are not.
func TestCompareKeys(t *testing.T) {
	t.Parallel()
	a, b := parsed(t, `{"path":"x","raw":"[redacted]"}`), parsed(t, `{"path":"x","raw":"[redacted]"}`)
	if got := Compare(a, b); !got.Equal || len(got.NotCompared) != 1 || got.NotCompared[0] != "x" {
		t.Errorf("%+v", got)
	}
	a.Files[0].content, b.Files[0].content = []secret.Bytes{secret.New([]byte{1})}, []secret.Bytes{secret.New([]byte{1})}
	if got := Compare(a, b); !got.Equal || len(got.NotCompared) != 0 {
		t.Errorf("%+v", got)
	}
	b.Files[0].content = []secret.Bytes{secret.New([]byte{2})}
	if got := Compare(a, b); len(got.Differences) != 1 || got.Differences[0] != (Difference{"x", "keys", Redacted, Redacted}) {
		t.Errorf("%+v", got)
	}
}

// TestParse: a document comes back as it was written, and what is none is refused.
func TestParse(t *testing.T) {
	t.Parallel()
	c, _ := newCard(t)
	d := read(t, c, pin(t, "1234"))
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	back, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if got := Compare(d, back); !got.Equal || len(got.NotCompared) == 0 {
		t.Errorf("%+v", got)
	}
	if x := cmp.Diff(d, back, same()); x != "" {
		t.Error(x)
	}
	for _, doc := range []string{
		``, `[]`, `{}`, `{"atr":"3b00"}`, `{"files":[]}`, `{"atr":"3b00","files":[{}]}`, `{"atr":"3b00","files":[]} x`,
		`{"atr":"3b00","files":[{"path":"x"},{"path":"x"}]}`, `{"atr":"3b00","files":[{"path":1}]}`, `{"error":"gone","exit":3}`,
	} {
		if _, err := Parse([]byte(doc)); !errors.Is(err, ErrDocument) {
			t.Errorf("%s: %v", doc, err)
		}
	}
}

// FuzzParse: whatever is a document compares as equal to itself.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"atr":"3b00","files":[{"path":"x","raw":"01","decoded":{"n":[1,null,"a"]},"fcp":{"raw":"62","unknown":[{"tag":"90","value":"01"}]}}]}`))
	f.Add([]byte(`{"atr":"3b00","files":[{"path":"x","records":["01",""],"decoded":[{"n":1},null]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Parse(b)
		if err != nil {
			return
		}
		if c := Compare(d, d); !c.Equal {
			t.Errorf("%+v", c)
		}
	})
}
