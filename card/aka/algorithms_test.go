package aka

import (
	"crypto/sha1"
	"crypto/sha3"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"mcim/apdu/secret"
)

// readJSON reads a file of vectors.
func readJSON(t testing.TB, name string, into any) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
}

// equal reports what differs from the hexadecimal digits of want.
func equal(t testing.TB, name, want string, got []byte) {
	t.Helper()
	if g := hex.EncodeToString(got); g != want {
		t.Errorf("%s: %s, want %s", name, g, want)
	}
}

type tuakFile struct {
	Sets []struct {
		Name string
		In   struct {
			K, TOP, RAND, SQN, AMF string
			Iterations             int `json:"keccak_iterations"`
		}
		Out     map[string]string
		Sources []string
	}
	Keccak []struct {
		Name, In, Out string
		Sources       []string
	} `json:"keccak_f1600"`
}

func TestKeccakVectors(t *testing.T) {
	t.Parallel()
	var f tuakFile
	readJSON(t, "tuak.json", &f)
	if len(f.Keccak) != 6 {
		t.Fatalf("%d sets, want 6", len(f.Keccak))
	}
	for _, set := range f.Keccak {
		var a keccakState
		in := unhex(t, set.In)
		for i := range a {
			a[i] = binary.LittleEndian.Uint64(in[8*i:])
		}
		a.permute()
		out := make([]byte, 0, 200)
		for _, lane := range a {
			out = binary.LittleEndian.AppendUint64(out, lane)
		}
		equal(t, set.Name, set.Out, out)
		if len(set.Sources) == 0 {
			t.Errorf("%s has no source", set.Name)
		}
	}
}

func TestTUAKVectors(t *testing.T) {
	t.Parallel()
	var f tuakFile
	readJSON(t, "tuak.json", &f)
	if len(f.Sets) != 6 {
		t.Fatalf("%d sets, want 6", len(f.Sets))
	}
	for _, set := range f.Sets {
		k := secret.New(unhex(t, set.In.K))
		topc, err := TOPc(k, secret.New(unhex(t, set.In.TOP)), set.In.Iterations)
		if err != nil {
			t.Fatal(err)
		}
		size := func(name string) int { return len(set.Out[name]) / 2 }
		u, err := NewTUAK(k, topc, TUAKOptions{
			RES: size("f2_RES"), MAC: size("f1_MAC_A"), CK: size("f3_CK"), IK: size("f4_IK"), Iterations: set.In.Iterations,
		})
		if err != nil {
			t.Fatal(err)
		}
		rand, amf := [16]byte(unhex(t, set.In.RAND)), [2]byte(unhex(t, set.In.AMF))
		sqn := SQNFromBytes([6]byte(unhex(t, set.In.SQN)))
		o := u.F2345(rand)
		for name, got := range map[string][]byte{
			"TOPc": topc.Reveal(), "f1_MAC_A": u.F1(rand, sqn, amf), "f1star_MAC_S": u.F1Star(rand, sqn, amf),
			"f2_RES": o.RES, "f3_CK": o.CK, "f4_IK": o.IK, "f5_AK": o.AK[:], "f5star_AK": o.AKStar[:],
		} {
			equal(t, set.Name+" "+name, set.Out[name], got)
		}
		if len(set.Sources) == 0 {
			t.Errorf("%s has no source", set.Name)
		}
	}
}

// TestTUAKAgainstSHAKE: with one iteration each function of TUAK is SHAKE256 over
// the first 96 bytes, which the standard library has.
func TestTUAKAgainstSHAKE(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		bytes := func(n int, name string) []byte { return rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, name) }
		k, topc := bytes(rapid.SampledFrom([]int{16, 32}).Draw(t, "key"), "K"), bytes(32, "TOPc")
		rand, sqn, amf := [16]byte(bytes(16, "RAND")), [6]byte(bytes(6, "SQN")), [2]byte(bytes(2, "AMF"))
		u, err := NewTUAK(secret.New(k), secret.New(topc), TUAKOptions{})
		if err != nil {
			t.Fatal(err)
		}
		long := byte(len(k)/32) * 0x01
		block := func(instance byte, tail ...[]byte) []byte {
			var in []byte
			for _, part := range append([][]byte{topc, {instance}, []byte("TUAK1.0"), rand[:]}, tail...) {
				for i := range part {
					in = append(in, part[len(part)-1-i])
				}
			}
			for i := range k {
				in = append(in, k[len(k)-1-i])
			}
			return sha3.SumSHAKE256(append(in, make([]byte, 96-len(in))...), 128)
		}
		back := func(b []byte) string {
			out := make([]byte, len(b))
			for i := range b {
				out[len(b)-1-i] = b[i]
			}
			return string(out)
		}
		var zero [8]byte
		out := block(0x48|long, zero[:])
		o := u.F2345(rand)
		if string(o.RES) != back(out[:8]) || string(o.CK) != back(out[32:48]) || string(o.IK) != back(out[64:80]) || string(o.AK[:]) != back(out[96:102]) {
			t.Fatal("f2 to f5 differ from SHAKE256")
		}
		if string(o.AKStar[:]) != back(block(0xC0|long, zero[:])[96:102]) {
			t.Fatal("f5* differs from SHAKE256")
		}
		for f, instance := range map[Function]byte{F1: 0x08, F1Star: 0x88} {
			if got := u.mac(f, rand, SQNFromBytes(sqn), amf); string(got) != back(block(instance|long, amf[:], sqn[:])[:8]) {
				t.Fatalf("function %d differs from SHAKE256", f)
			}
		}
	})
}

func TestTUAKRefuses(t *testing.T) {
	t.Parallel()
	key := func(n int) secret.Bytes { return secret.New(make([]byte, n)) }
	for _, n := range []int{0, 15, 24, 33} {
		if _, err := NewTUAK(key(n), key(32), TUAKOptions{}); !errors.Is(err, ErrKey) {
			t.Errorf("K of %d bytes: %v", n, err)
		}
		if _, err := NewTUAK(key(16), key(n), TUAKOptions{}); !errors.Is(err, ErrKey) {
			t.Errorf("TOPc of %d bytes: %v", n, err)
		}
		if _, err := TOPc(key(16), key(n), 1); !errors.Is(err, ErrKey) {
			t.Errorf("TOP of %d bytes: %v", n, err)
		}
	}
	if _, err := TOPc(key(16), key(32), 256); !errors.Is(err, ErrSizes) {
		t.Errorf("TOPc with 256 iterations: %v", err)
	}
	for _, o := range []TUAKOptions{
		{RES: 5}, {RES: -4}, {MAC: 4}, {MAC: 9}, {CK: 8}, {CK: 24}, {IK: 17}, {Iterations: -1}, {Iterations: 256},
	} {
		if _, err := NewTUAK(key(16), key(32), o); !errors.Is(err, ErrSizes) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	// Lengths that the functions have and AKA has not.
	for _, o := range []TUAKOptions{{RES: 32}, {MAC: 16}, {CK: 32}, {IK: 32}} {
		u, err := NewTUAK(key(16), key(32), o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewUSIM(u, SQNArray{}, nil).Authenticate([16]byte{}, [16]byte{}); !errors.Is(err, ErrSizes) {
			t.Errorf("USIM with %+v: %v", o, err)
		}
		if _, err := NewVector(u, [16]byte{}, 1, [2]byte{}); !errors.Is(err, ErrSizes) {
			t.Errorf("vector with %+v: %v", o, err)
		}
		if _, err := Resync(u, [16]byte{}, [14]byte{}); !errors.Is(err, ErrSizes) {
			t.Errorf("Resync with %+v: %v", o, err)
		}
	}
}

type xorFile struct {
	ThreeG []struct {
		In, Out map[string]string
		Sources []string
	} `json:"xor_3g"`
	TwoG []gsmSet `json:"xor_2g"`
}

type gsmSet struct {
	Version int
	In, Out map[string]string
	Sources []string
}

// gsm compares SRES and Kc with those of the set.
func (s gsmSet) gsm(t testing.TB, name string, g GSM) {
	t.Helper()
	sres, kc, err := g.Triplet([16]byte(unhex(t, s.In["RAND"])))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, name+" SRES", s.Out["SRES"], sres[:])
	equal(t, name+" Kc", s.Out["Kc"], kc[:])
	if len(s.Sources) == 0 {
		t.Errorf("%s has no source", name)
	}
}

func TestXORVectors(t *testing.T) {
	t.Parallel()
	var f xorFile
	readJSON(t, "xor.json", &f)
	if len(f.ThreeG) != 3 || len(f.TwoG) != 2 {
		t.Fatalf("%d and %d sets, want 3 and 2", len(f.ThreeG), len(f.TwoG))
	}
	for i, set := range f.ThreeG {
		x, err := NewXOR(secret.New(unhex(t, set.In["K"])))
		if err != nil {
			t.Fatal(err)
		}
		rand := [16]byte(unhex(t, set.In["RAND"]))
		sqn, amf := SQNFromBytes([6]byte(unhex(t, set.In["SQN"]))), [2]byte(unhex(t, set.In["AMF"]))
		v, err := NewVector(x, rand, sqn, amf)
		if err != nil {
			t.Fatal(err)
		}
		o, mac, err := x.Begin().Start(rand, F1, sqn, amf)
		if err != nil {
			t.Fatal(err)
		}
		sres, kc, err := NewGSM(x).Triplet(rand)
		if err != nil {
			t.Fatal(err)
		}
		for name, got := range map[string][]byte{
			"RES": v.XRES.Bytes(), "CK": v.CK[:], "IK": v.IK[:], "AK": o.AK[:], "XMAC": mac[:], "AUTN": v.AUTN[:],
			"SRES_c2": sres[:], "Kc_c3": kc[:],
		} {
			equal(t, fmt.Sprintf("set %d %s", i, name), set.Out[name], got)
		}
		if len(set.Sources) == 0 {
			t.Errorf("set %d has no source", i)
		}
	}
	for _, set := range f.TwoG {
		x, err := NewXOR2G(secret.New(unhex(t, set.In["Ki"])))
		if err != nil {
			t.Fatal(err)
		}
		set.gsm(t, "2G", x)
	}
}

func TestCOMP128Vectors(t *testing.T) {
	t.Parallel()
	var f struct{ Sets []gsmSet }
	readJSON(t, "comp128.json", &f)
	if len(f.Sets) != 24 {
		t.Fatalf("%d sets, want 24", len(f.Sets))
	}
	for i, set := range f.Sets {
		c, err := NewCOMP128(set.Version, secret.New(unhex(t, set.In["Ki"])))
		if err != nil {
			t.Fatal(err)
		}
		set.gsm(t, fmt.Sprintf("set %d, version %d", i, set.Version), c)
	}
}

// TestCOMP128Table: the first table's second half is the first with neighbours
// swapped, and each value of a table stands in it equally often.
func TestCOMP128Table(t *testing.T) {
	t.Parallel()
	for i, v := range comp128Table9[256:] {
		if v != comp128Table9[i^1] {
			t.Errorf("entry %d is %d", 256+i, v)
		}
	}
	for i, table := range [][]byte{
		comp128Table9[:], comp128Table8[:], comp128Table7[:], comp128Table6[:], comp128Table5[:], comp128Outer[:], comp128Inner[:],
	} {
		var count [256]int
		values := min(len(table)/2, 256)
		if i >= 5 {
			values = 256
		}
		for _, v := range table {
			count[v]++
		}
		for v, n := range count[:values] {
			if n != len(table)/values {
				t.Errorf("table %d has %d times %d", i, n, v)
			}
		}
	}
}

func TestGSMRefuses(t *testing.T) {
	t.Parallel()
	good, bad := secret.New(make([]byte, 16)), secret.New(make([]byte, 15))
	if _, err := NewXOR(bad); !errors.Is(err, ErrKey) {
		t.Errorf("XOR: %v", err)
	}
	if _, err := NewXOR2G(bad); !errors.Is(err, ErrKey) {
		t.Errorf("XOR2G: %v", err)
	}
	if _, err := NewCOMP128(1, bad); !errors.Is(err, ErrKey) {
		t.Errorf("COMP128: %v", err)
	}
	for _, version := range []int{0, 4} {
		if _, err := NewCOMP128(version, good); !errors.Is(err, ErrSizes) {
			t.Errorf("COMP128 version %d: %v", version, err)
		}
	}
	for _, n := range []int{0, 3, 17} {
		if r, err := NewRES(make([]byte, n)); !errors.Is(err, ErrSizes) || r != (RES{}) {
			t.Errorf("RES of %d bytes: %v", n, err)
		}
	}
}

// algorithms are all algorithms of AKA under fresh keys, one per length of RES.
func algorithms(t testing.TB) map[string]Algorithm {
	t.Helper()
	k, c := challenge(t), challenge(t)
	x, err := NewXOR(secret.New(k[:]))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]Algorithm{"milenage": milenage(t, k[:], c[:]), "xor": x}
	for _, keys := range []int{1, 2} {
		for _, res := range []int{4, 8, 16} {
			long := secret.New([]byte(strings.Repeat(string(k[:]), keys)))
			u, err := NewTUAK(long, secret.New(append(c[:], k[:]...)), TUAKOptions{RES: res, Iterations: keys})
			if err != nil {
				t.Fatal(err)
			}
			all[fmt.Sprintf("tuak%d-%d", 128*keys, res)] = u
		}
	}
	return all
}

// TestAnyAlgorithm: both ends agree whatever they run on, in AKA, GBA and
// resynchronisation.
func TestAnyAlgorithm(t *testing.T) {
	t.Parallel()
	for name, a := range algorithms(t) {
		home := NewSubscriber(a, mustSQN(t, 10, 0), [2]byte{0x80, 0}, nil)
		u := NewUSIM(a, NewSQNArray(mustSQN(t, 10, 0)), nil)
		v, err := home.Next(challenge(t))
		if err != nil {
			t.Fatal(err)
		}
		if r, err := u.Authenticate(v.RAND, v.AUTN); err != nil || r != (Result{v.XRES, v.CK, v.IK}) {
			t.Errorf("%s: %v", name, err)
		}
		var sync *SyncError
		if _, err := u.Authenticate(v.RAND, v.AUTN); !errors.As(err, &sync) || !errors.Is(err, ErrSQNUsed) {
			t.Errorf("%s again: %v", name, err)
			continue
		}
		if ms, err := Resync(a, v.RAND, sync.AUTS); err != nil || ms != u.sqn.Highest() {
			t.Errorf("%s: AUTS gives %s, %v", name, ms, err)
		}
		sync.AUTS[13] ^= 1
		if _, err := Resync(a, v.RAND, sync.AUTS); !errors.Is(err, ErrAUTS) {
			t.Errorf("%s: wrong AUTS: %v", name, err)
		}
		v.AUTN[8] ^= 1
		if _, err := u.Authenticate(v.RAND, v.AUTN); !errors.Is(err, ErrMAC) {
			t.Errorf("%s: wrong AUTN: %v", name, err)
		}
		sres, kc, err := NewGSM(a).Triplet(v.RAND)
		if err != nil || sres != v.XRES.SRES() || kc != Kc(v.CK, v.IK) {
			t.Errorf("%s: GSM context: %v", name, err)
		}
	}
}

// TestGBA: a challenge of GBA_U is accepted as such only, a plain one as such
// only, and a synchronisation failure is answered by AUTS in both.
func TestGBA(t *testing.T) {
	t.Parallel()
	for name, a := range algorithms(t) {
		home := NewSubscriber(a, mustSQN(t, 10, 0), [2]byte{0x80, 0}, nil)
		u := NewUSIM(a, NewSQNArray(mustSQN(t, 10, 0)), nil)
		plain, err := home.Next(challenge(t))
		if err != nil {
			t.Fatal(err)
		}
		v := plain.GBA()
		hash := sha1.Sum(plain.IK[:])
		for i := range 8 {
			if v.AUTN[8+i] != plain.AUTN[8+i]^hash[i] || v.AUTN[i] != plain.AUTN[i] {
				t.Fatalf("%s: AUTN* is not as TS 33.220, 5.3.2 says", name)
			}
		}
		if v.GBA() != plain {
			t.Errorf("%s: the mask does not undo itself", name)
		}
		if _, err := u.Authenticate(v.RAND, v.AUTN); !errors.Is(err, ErrMAC) {
			t.Errorf("%s: AUTN* as a plain one: %v", name, err)
		}
		if _, err := u.Bootstrap(plain.RAND, plain.AUTN); !errors.Is(err, ErrMAC) {
			t.Errorf("%s: a plain AUTN as AUTN*: %v", name, err)
		}
		if r, err := u.Bootstrap(v.RAND, v.AUTN); err != nil || r != (Result{v.XRES, v.CK, v.IK}) {
			t.Errorf("%s: %v", name, err)
		}
		var sync *SyncError
		if _, err := u.Bootstrap(v.RAND, v.AUTN); !errors.As(err, &sync) {
			t.Errorf("%s again: %v", name, err)
		} else if err := home.Resync(v.RAND, sync.AUTS); err != nil {
			t.Errorf("%s: AUTS: %v", name, err)
		}
	}
}

// TestNothingPrintsAnyKey: no algorithm shows its key to fmt.
func TestNothingPrintsAnyKey(t *testing.T) {
	t.Parallel()
	k := challenge(t)
	s := secret.New(k[:])
	x, _ := NewXOR(s)
	y, _ := NewXOR2G(s)
	c, _ := NewCOMP128(1, s)
	u, err := NewTUAK(s, secret.New(append(k[:], k[:]...)), TUAKOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s"} {
		for _, v := range []any{x, *x, y, *y, c, *c, u, *u} {
			out := fmt.Sprintf(verb, v)
			for _, form := range []string{string(k[:]), fmt.Sprintf("%x", k), strings.Trim(fmt.Sprintf("%d", k), "[]")} {
				if strings.Contains(out, form) {
					t.Errorf("%s of %T shows the key", verb, v)
				}
			}
		}
	}
}

func BenchmarkTUAK(b *testing.B) {
	k, c := challenge(b), challenge(b)
	u, err := NewTUAK(secret.New(k[:]), secret.New(append(c[:], c[:]...)), TUAKOptions{})
	if err != nil {
		b.Fatal(err)
	}
	card := NewUSIM(u, SQNArray{}, nil)
	v, err := NewVector(u, challenge(b), 1<<INDBits, [2]byte{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		card.sqn = SQNArray{}
		if _, err := card.Authenticate(v.RAND, v.AUTN); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCOMP128(b *testing.B) {
	k, r := challenge(b), challenge(b)
	c, err := NewCOMP128(3, secret.New(k[:]))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := c.Triplet(r); err != nil {
			b.Fatal(err)
		}
	}
}
