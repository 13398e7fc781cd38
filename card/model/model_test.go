package model

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"mcim/apdu/secret"
)

const usimATR = "3b9f96801f878031e073fe211b674a357530350265f8"

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func usim(t testing.TB) *Model {
	t.Helper()
	m, err := ByName("usim")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestFind(t *testing.T) {
	t.Parallel()
	m, err := Find(unhex(t, usimATR))
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "usim" || m.KeyFile != (File{0xAF20, 33, false}) || m.SQNFile != (File{0xAF30, 206, true}) ||
		m.ADM != (ADM{0x0A, 8}) || hex.EncodeToString(m.AID) != "a0000000871002" {
		t.Errorf("model is %+v", m)
	}
	for _, other := range []string{"", "3b00", usimATR[:42], usimATR + "00", usimATR[:42] + "f9"} {
		if _, err := Find(unhex(t, other)); !errors.Is(err, ErrUnknown) {
			t.Errorf("Find(%s): %v, want ErrUnknown", other, err)
		}
	}
}

func TestByName(t *testing.T) {
	t.Parallel()
	if m := usim(t); m.Name != "usim" {
		t.Errorf("name %q", m.Name)
	}
	if _, err := ByName("esim"); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "usim") {
		t.Errorf("error %v, want ErrUnknown with the names there are", err)
	}
}

func TestMask(t *testing.T) {
	t.Parallel()
	p := Pattern{Value: []byte{0x3B, 0x91, 0x00}, Mask: []byte{0xFF, 0xF0, 0x00}}
	for atr, want := range map[string]bool{"3b91aa": true, "3b9fff": true, "3b81aa": false, "3b91": false} {
		if got := p.Match(unhex(t, atr)); got != want {
			t.Errorf("%s: %v, want %v", atr, got, want)
		}
	}
}

const minimal = `name = "x"
title = "a test card"
aid = "a000000087"
[[atr]]
value = "3b00"
mask = "ff0f"
[[atr]]
value = "3b0000"
[adm]
reference = 11
length = 4
[key_file]
fid = "af20"
size = 33
[sqn_file]
fid = "af30"
size = 206
[algorithms]
milenage = 4
`

func TestParse(t *testing.T) {
	t.Parallel()
	m, err := Parse("x.toml", []byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	want := []Pattern{{[]byte{0x3B, 0}, []byte{0xFF, 0x0F}}, {[]byte{0x3B, 0, 0}, []byte{0xFF, 0xFF, 0xFF}}}
	if d := cmp.Diff(want, m.ATRs); d != "" {
		t.Error(d)
	}
	if m.KeyFile.ReadBack || m.ADM != (ADM{11, 4}) {
		t.Errorf("got %+v", m)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		old, new string
		line     int
		reason   string
	}{
		{`name = "x"`, ``, 0, "name is missing"},
		{`name = "x"`, `name = `, 1, ""},
		{`name = "x"`, `nam = "x"`, 1, `unknown key "nam"`},
		{`title = "a test card"`, `title = ""`, 2, "title is missing"},
		{`"a000000087"`, `"a0000000"`, 3, "5 to 16"},
		{`"a000000087"`, `"a00000008"`, 3, "hexadecimal"},
		{`value = "3b00"`, `value = "3b"`, 5, "2 to 33"},
		{`mask = "ff0f"`, `mask = "ff"`, 5, "mask has 1 bytes"},
		{`value = "3b0000"`, `value = ""`, 8, "2 to 33"},
		{`reference = 11`, ``, 9, "reference is missing"},
		{`reference = 11`, `reference = 256`, 10, ""},
		{`length = 4`, `length = 17`, 11, "1 to 16"},
		{`length = 4`, "length = 4\nsecret = 1", 12, "unknown key"},
		{`fid = "af20"`, `fid = "af"`, 13, "want 2"},
		{`size = 33`, `size = 32`, 14, "33 bytes"},
		{`size = 206`, `size = 205`, 17, "206 bytes"},
		{`milenage = 4`, ``, 18, "no algorithm"},
		{`milenage = 4`, `milenage = 16`, 19, "0 to 15"},
		{`milenage = 4`, `comp128 = 1`, 19, "unknown algorithm"},
	} {
		text := strings.Replace(minimal, c.old, c.new, 1)
		m, err := Parse("x.toml", []byte(text))
		var bad *FileError
		if !errors.As(err, &bad) || m != nil {
			t.Errorf("%q: got %v, want a *FileError", c.new, err)
			continue
		}
		if bad.Line != c.line || !strings.Contains(bad.Reason, c.reason) {
			t.Errorf("%q: %v, want line %d and %q", c.new, err, c.line, c.reason)
		}
	}
}

func TestGuessFamily(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		atr, name string
		exact     bool
	}{
		{usimATR, "usim", true},
		{"3b9f96801f878031e073fe211b674a357530350259c4", "sysmoISIM-SJA5", false},
		{"3b9f96801f878031e073fe211b674a4c753034054ba9", "sysmoISIM-SJA2", false},
		{"3b9f96803f87828031e073fe211f574543753130136502", "sysmoEUICC1", true},
		{"3b9f95801fc78031e073f62113674d4516004301008f", "UICC", false},
		{"3b9a940092027593110001020221", "unknown", false},
		{"", "unknown", false},
	} {
		g, err := GuessFamily(unhex(t, c.atr))
		if err != nil || g.Name != c.name || g.Exact != c.exact || g.Reason == "" {
			t.Errorf("%s: %+v %v, want %s %v", c.atr, g, err, c.name, c.exact)
		}
	}
}

type vectors struct {
	Source  string
	KeyFile struct{ File, Algorithm, K, OPc string } `json:"key_file"`
	SQNFile struct {
		FileHead        string `json:"file_head"`
		ZeroBytesBehind int    `json:"zero_bytes_behind"`
		SkipNext        bool   `json:"skip_next"`
		CheckDelta      bool   `json:"check_delta"`
		CheckAge        bool   `json:"check_age"`
		Check           bool
		KeepAMF         bool `json:"keep_amf"`
		ConcealAUTS     bool `json:"conceal_auts"`
		ConcealAUTN     bool `json:"conceal_autn"`
		Delta           uint64
		AgeLimit        uint64 `json:"age_limit"`
	} `json:"sqn_file"`
}

func readVectors(t testing.TB) vectors {
	t.Helper()
	b, err := os.ReadFile("testdata/files.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil || v.Source == "" {
		t.Fatalf("vectors without source, or %v", err)
	}
	return v
}

func TestKeyFileVector(t *testing.T) {
	t.Parallel()
	m, v := usim(t), readVectors(t).KeyFile
	file := unhex(t, v.File)
	k, err := m.DecodeKey(secret.New(file))
	if err != nil {
		t.Fatal(err)
	}
	if k.Algorithm != Algorithm(v.Algorithm) || !bytes.Equal(k.K.Reveal(), unhex(t, v.K)) || !bytes.Equal(k.OPc.Reveal(), unhex(t, v.OPc)) {
		t.Error("decoded key differs from the vector")
	}
	again, err := m.EncodeKey(k)
	if err != nil || !bytes.Equal(again.Reveal(), file) {
		t.Errorf("encoded again differs: %v", err)
	}
}

// TestKeyFileAlgorithms: the file of TUAK is as in pySim's sysmocom_sja2.py, whose own
// vector has lengths that AKA cannot carry.
func TestKeyFileAlgorithms(t *testing.T) {
	t.Parallel()
	m := usim(t)
	k16, k32 := unhex(t, "000102030405060708090a0b0c0d0e0f"), unhex(t, "101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f")
	for _, c := range []struct {
		key  Key
		want string
	}{
		{Key{TUAK, secret.New(k16), secret.New(k32)}, fmt.Sprintf("160101%x%x", k32, k16)},
		{Key{TUAK, secret.New(k32), secret.New(k32)}, fmt.Sprintf("560101%x%x", k32, k32)},
		{Key{XOR, secret.New(k16), secret.Bytes{}}, fmt.Sprintf("1f%x%032x", k16, 0)},
	} {
		b, err := m.EncodeKey(c.key)
		if err != nil || hex.EncodeToString(b.Reveal()) != c.want {
			t.Errorf("%s: another file, %v", c.key.Algorithm, err)
		}
		got, err := m.DecodeKey(b)
		if err != nil || got.Algorithm != c.key.Algorithm || !bytes.Equal(got.K.Reveal(), c.key.K.Reveal()) || !bytes.Equal(got.OPc.Reveal(), c.key.OPc.Reveal()) {
			t.Errorf("%s: read back as another key, %v", c.key.Algorithm, err)
		}
	}
	vector := unhex(t, "160a04101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f000102030405060708090a0b0c0d0e0f")
	if _, err := m.DecodeKey(secret.New(vector)); !errors.Is(err, ErrKeyFile) {
		t.Errorf("MAC of 128 bits: %v, want ErrKeyFile", err)
	}
}

func TestKeyFileRefuses(t *testing.T) {
	t.Parallel()
	m, good := usim(t), unhex(t, readVectors(t).KeyFile.File)
	key := secret.New(good[1:17])
	for name, k := range map[string]Key{
		"no algorithm":      {"", key, key},
		"foreign algorithm": {"tuak", key, key},
		"no K":              {Milenage, secret.Bytes{}, key},
		"short OPc":         {Milenage, key, secret.New(good[1:16])},
	} {
		if _, err := m.EncodeKey(k); !errors.Is(err, ErrKeyFile) {
			t.Errorf("%s: %v, want ErrKeyFile", name, err)
		}
	}
	for name, first := range map[string]byte{"OP stored": 0x04, "xor": 0x1F, "second SRES function": 0x34, "flag 40": 0x54, "flag 80": 0x94} {
		bad := append([]byte{first}, good[1:]...)
		_, err := m.DecodeKey(secret.New(bad))
		if !errors.Is(err, ErrKeyFile) {
			t.Errorf("%s: %v, want ErrKeyFile", name, err)
		}
		if strings.Contains(fmt.Sprint(err), hex.EncodeToString(good[1:5])) {
			t.Errorf("%s: the error shows the key", name)
		}
	}
	for _, n := range []int{0, 1, 32, 34} {
		if _, err := m.DecodeKey(secret.New(append(good, 0)[:n])); !errors.Is(err, ErrKeyFile) {
			t.Errorf("%d bytes: %v, want ErrKeyFile", n, err)
		}
	}
}

func TestSQNFileVector(t *testing.T) {
	t.Parallel()
	m, v := usim(t), readVectors(t).SQNFile
	file := append(unhex(t, v.FileHead), make([]byte, v.ZeroBytesBehind)...)
	got, err := m.DecodeSQN(file)
	if err != nil {
		t.Fatal(err)
	}
	want := SQN{SkipNext: v.SkipNext, CheckDelta: v.CheckDelta, CheckAge: v.CheckAge, Check: v.Check, KeepAMF: v.KeepAMF,
		ConcealAUTS: v.ConcealAUTS, ConcealAUTN: v.ConcealAUTN, Delta: v.Delta, AgeLimit: v.AgeLimit, Entries: Indices}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	again, err := m.EncodeSQN(got)
	if err != nil || !bytes.Equal(again, file) {
		t.Errorf("encoded again: %x %v", again, err)
	}
}

func TestSQNFileRefuses(t *testing.T) {
	t.Parallel()
	m := usim(t)
	good, err := m.EncodeSQN(NewSQN(0))
	if err != nil || len(good) != SQNFileSize {
		t.Fatalf("%d bytes, %v", len(good), err)
	}
	for name, change := range map[string]func(b []byte) []byte{
		"short":        func(b []byte) []byte { return b[:205] },
		"long":         func(b []byte) []byte { return append(b, 0) },
		"IND 6":        func(b []byte) []byte { b[0]++; return b },
		"unknown flag": func(b []byte) []byte { b[1] |= 0x08; return b },
	} {
		if _, err := m.DecodeSQN(change(bytes.Clone(good))); !errors.Is(err, ErrSQNFile) {
			t.Errorf("%s: %v, want ErrSQNFile", name, err)
		}
	}
	for _, n := range []int{-1, 0, 12, 64} {
		q := NewSQN(0)
		q.Entries = n
		if _, err := m.EncodeSQN(q); !errors.Is(err, ErrSQNFile) {
			t.Errorf("%d values of IND: %v, want ErrSQNFile", n, err)
		}
	}
	big := NewSQN(0)
	big.Seen[31] = MaxSQN + 1
	if _, err := m.EncodeSQN(big); !errors.Is(err, ErrSQNFile) {
		t.Errorf("49 bits: %v, want ErrSQNFile", err)
	}
}

func TestNewSQN(t *testing.T) {
	t.Parallel()
	q := NewSQN(0x123456789ABC)
	for i, n := range q.Seen {
		if n>>5 != 0x123456789ABC>>5 || int(n&31) != i {
			t.Errorf("entry %d is %X", i, n)
		}
	}
	if !q.Check || q.SkipNext || q.Delta>>5 != 1<<28 {
		t.Errorf("got %+v", q)
	}
}

func TestSQNFileRoundTrip(t *testing.T) {
	t.Parallel()
	m := usim(t)
	rapid.Check(t, func(t *rapid.T) {
		number, flag := rapid.Uint64Range(0, MaxSQN), rapid.Bool()
		want := SQN{
			SkipNext: flag.Draw(t, "skip"), CheckDelta: flag.Draw(t, "delta"), CheckAge: flag.Draw(t, "age"), Check: flag.Draw(t, "check"),
			KeepAMF: flag.Draw(t, "amf"), ConcealAUTS: flag.Draw(t, "auts"), ConcealAUTN: flag.Draw(t, "autn"),
			Delta: number.Draw(t, "Delta"), AgeLimit: number.Draw(t, "AgeLimit"), Entries: 1 << rapid.IntRange(0, indBits).Draw(t, "bits of IND"),
		}
		for i := range want.Seen {
			want.Seen[i] = number.Draw(t, "seen")
		}
		b, err := m.EncodeSQN(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.DecodeSQN(b)
		if err != nil || got != want {
			t.Fatalf("got %+v %v, want %+v", got, err, want)
		}
	})
}

// FuzzModel feeds every decoder of the package: model files, key files, SQN
// files and ATRs.
func FuzzModel(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte(mineCard))
	v := readVectors(f)
	f.Add(unhex(f, v.KeyFile.File))
	f.Add(append(unhex(f, v.SQNFile.FileHead), make([]byte, v.SQNFile.ZeroBytesBehind)...))
	f.Add(unhex(f, usimATR))
	m := usim(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = ParseCard("fuzz", b)
		if parsed, err := Parse("fuzz", b); err == nil {
			for _, p := range parsed.ATRs {
				if !p.Match(p.Value) {
					t.Error("an ATR does not match its own pattern")
				}
			}
		}
		if k, err := m.DecodeKey(secret.New(b)); err == nil {
			if again, err := m.EncodeKey(k); err != nil || !bytes.Equal(again.Reveal(), b) {
				t.Errorf("key file changed: %v", err)
			}
		}
		if q, err := m.DecodeSQN(b); err == nil {
			if again, err := m.EncodeSQN(q); err != nil || !bytes.Equal(again, b) {
				t.Errorf("SQN file changed: %v", err)
			}
		}
		if _, err := GuessFamily(b); err != nil {
			t.Error(err)
		}
	})
}
