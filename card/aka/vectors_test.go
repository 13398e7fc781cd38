package aka

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcim/apdu/secret"
)

type vectorFile struct {
	Sets []struct {
		Set     int
		In, Out map[string]string
		Derived struct {
			AUTN   string
			SRES   string `json:"SRES_c2"`
			Kc     string `json:"Kc_c3"`
			Resync map[string]string
		}
		Sources []string
	}
	Extra []struct {
		Name    string
		In      map[string]string
		Out     map[string]any
		Sources []string
	}
}

func readVectors(t testing.TB) vectorFile {
	t.Helper()
	b, err := os.ReadFile("testdata/milenage.json")
	if err != nil {
		t.Fatal(err)
	}
	var f vectorFile
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func milenage(t testing.TB, k, opc []byte) *Milenage {
	t.Helper()
	b, err := NewAES(secret.New(k))
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewMilenage(b, secret.New(opc))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func mustRES(t testing.TB, b []byte) RES {
	t.Helper()
	r, err := NewRES(b)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// counting counts the Encrypt calls and their blocks.
type counting struct {
	Block
	calls []int
}

func (c *counting) Encrypt(dst, src []byte) error {
	c.calls = append(c.calls, len(src)/BlockSize)
	return c.Block.Encrypt(dst, src)
}

func TestVectors(t *testing.T) {
	t.Parallel()
	f := readVectors(t)
	if len(f.Sets) != 20 {
		t.Fatalf("%d sets, want 20", len(f.Sets))
	}
	for _, set := range f.Sets {
		if len(set.Sources) == 0 {
			t.Errorf("set %d has no source", set.Set)
		}
		k, rand := unhex(t, set.In["K"]), [16]byte(unhex(t, set.In["RAND"]))
		opc, err := OPc(secret.New(k), secret.New(unhex(t, set.In["OP"])))
		if err != nil {
			t.Fatal(err)
		}
		m := milenage(t, k, opc.Reveal())
		sqn := SQNFromBytes([6]byte(unhex(t, set.In["SQN"])))
		amf := [2]byte(unhex(t, set.In["AMF"]))
		macA, macS, err := m.F1(rand, sqn, amf)
		if err != nil {
			t.Fatal(err)
		}
		o, err := m.F2345(rand)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{
			"OPc": hex.EncodeToString(opc.Reveal()), "MAC_A": hex.EncodeToString(macA[:]), "MAC_S": hex.EncodeToString(macS[:]),
			"RES": hex.EncodeToString(o.RES.Bytes()), "CK": hex.EncodeToString(o.CK[:]), "IK": hex.EncodeToString(o.IK[:]),
			"AK": hex.EncodeToString(o.AK[:]), "AK_star": hex.EncodeToString(o.AKStar[:]),
		}
		if d := cmp.Diff(set.Out, got); d != "" {
			t.Errorf("set %d (-want +got):\n%s", set.Set, d)
		}
		sres, kc, err := NewGSM(m).Triplet(rand)
		if err != nil {
			t.Fatal(err)
		}
		if g := hex.EncodeToString(sres[:]); g != set.Derived.SRES {
			t.Errorf("set %d: SRES %s, want %s", set.Set, g, set.Derived.SRES)
		}
		if g := hex.EncodeToString(kc[:]); g != set.Derived.Kc {
			t.Errorf("set %d: Kc %s, want %s", set.Set, g, set.Derived.Kc)
		}
		v, err := NewVector(m, rand, sqn, amf)
		if err != nil {
			t.Fatal(err)
		}
		if g := hex.EncodeToString(v.AUTN[:]); g != set.Derived.AUTN {
			t.Errorf("set %d: AUTN %s, want %s", set.Set, g, set.Derived.AUTN)
		}
		if d := cmp.Diff(Vector{rand, v.AUTN, o.RES, o.CK, o.IK}, v, cmp.AllowUnexported(RES{})); d != "" {
			t.Errorf("set %d: vector (-want +got):\n%s", set.Set, d)
		}
	}
}

// TestVectorsOnUSIM runs each set through a USIM: the result, then the AUTS of
// the vectors from one whose highest SQN is their SQN_MS.
func TestVectorsOnUSIM(t *testing.T) {
	t.Parallel()
	for _, set := range readVectors(t).Sets {
		k, rand := unhex(t, set.In["K"]), [16]byte(unhex(t, set.In["RAND"]))
		m := milenage(t, k, unhex(t, set.Out["OPc"]))
		c := &counting{Block: m.Block}
		m.Block = c
		sqn := SQNFromBytes([6]byte(unhex(t, set.In["SQN"])))
		u := NewUSIM(m, SQNArray{}, nil)
		autn := [16]byte(unhex(t, set.Derived.AUTN))
		got, err := u.Authenticate(rand, autn)
		if err != nil {
			t.Fatal(err)
		}
		want := Result{mustRES(t, unhex(t, set.Out["RES"])), [16]byte(unhex(t, set.Out["CK"])), [16]byte(unhex(t, set.Out["IK"]))}
		if d := cmp.Diff(want, got, cmp.AllowUnexported(RES{})); d != "" {
			t.Errorf("set %d (-want +got):\n%s", set.Set, d)
		}
		if h := u.sqn.Highest(); h != sqn {
			t.Errorf("set %d: SQN_MS %s, want %s", set.Set, h, sqn)
		}
		ms := SQNFromBytes([6]byte(unhex(t, set.Derived.Resync["SQN_MS"])))
		var seen SQNArray
		seen.Last[ms.IND()] = ms
		old, err := NewVector(m, rand, ms, [2]byte(unhex(t, set.In["AMF"])))
		if err != nil {
			t.Fatal(err)
		}
		first := c.calls[:3]
		c.calls = nil
		var e *SyncError
		if _, err := NewUSIM(m, seen, nil).Authenticate(rand, old.AUTN); !errors.As(err, &e) {
			t.Fatalf("set %d: error %v, want *SyncError", set.Set, err)
		}
		if g := hex.EncodeToString(e.AUTS[:]); g != set.Derived.Resync["AUTS"] {
			t.Errorf("set %d: AUTS %s, want %s", set.Set, g, set.Derived.Resync["AUTS"])
		}
		for _, calls := range [][]int{first, c.calls} {
			if d := cmp.Diff([]int{1, 5, 1}, calls); d != "" {
				t.Errorf("set %d: blocks of the Encrypt calls (-want +got):\n%s", set.Set, d)
			}
		}
		back, err := Resync(m, rand, [14]byte(unhex(t, set.Derived.Resync["AUTS"])))
		if err != nil || back != ms {
			t.Errorf("set %d: Resync %s %v, want %s", set.Set, back, err, ms)
		}
	}
}

func TestExtraVectors(t *testing.T) {
	t.Parallel()
	for _, x := range readVectors(t).Extra {
		k, rand := unhex(t, x.In["K"]), [16]byte(unhex(t, x.In["RAND"]))
		opc := unhex(t, x.In["OPc"])
		if op, ok := x.In["OP"]; ok {
			o, err := OPc(secret.New(k), secret.New(unhex(t, op)))
			if err != nil {
				t.Fatal(err)
			}
			opc = o.Reveal()
		}
		m := milenage(t, k, opc)
		if auts, ok := x.In["AUTS"]; ok {
			sqn, err := Resync(m, rand, [14]byte(unhex(t, auts)))
			if err != nil || sqn.String() != x.Out["SQN_MS"] {
				t.Errorf("%s: %s %v", x.Name, sqn, err)
			}
			continue
		}
		v, err := NewVector(m, rand, SQNFromBytes([6]byte(unhex(t, x.In["SQN"]))), [2]byte(unhex(t, x.In["AMF"])))
		if err != nil {
			t.Fatal(err)
		}
		for name, got := range map[string][]byte{"AUTN": v.AUTN[:], "RES": v.XRES.Bytes(), "CK": v.CK[:], "IK": v.IK[:]} {
			if want := x.Out[name].(string); !strings.EqualFold(want, hex.EncodeToString(got)) {
				t.Errorf("%s: %s %x, want %s", x.Name, name, got, want)
			}
		}
	}
}
