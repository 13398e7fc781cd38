package suci

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"mcim/apdu/secret"
	"mcim/apdu/usim"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

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

type vector struct {
	Profile string
	In, Out map[string]string
	Sources []string
}

// scheme and the two forms of the home network's public key.
func (v vector) scheme() (usim.Scheme, []string) {
	if v.Profile == "A" {
		return usim.SchemeA, []string{v.In["hn_public_key"]}
	}
	return usim.SchemeB, []string{v.In["hn_public_key_compressed"], v.In["hn_public_key_uncompressed"]}
}

func readVectors(t testing.TB) []vector {
	t.Helper()
	var f struct{ Sets []vector }
	readJSON(t, "suci_ecies.json", &f)
	if len(f.Sets) != 2 {
		t.Fatalf("%d sets, want 2", len(f.Sets))
	}
	return f.Sets
}

func TestVectors(t *testing.T) {
	t.Parallel()
	for _, v := range readVectors(t) {
		scheme, publics := v.scheme()
		plain, want := unhex(t, v.In["plaintext_msin_bcd"]), v.Out["scheme_output"]
		for _, public := range publics {
			out, err := Encrypt(scheme, unhex(t, public), secret.New(unhex(t, v.In["eph_private_key"])), plain)
			if err != nil || hex.EncodeToString(out) != want {
				t.Errorf("profile %s: %x, %v; want %s", v.Profile, out, err, want)
			}
		}
		back, err := Decrypt(scheme, secret.New(unhex(t, v.In["hn_private_key"])), unhex(t, want))
		if err != nil || !bytes.Equal(back, plain) {
			t.Errorf("profile %s: back to %x, %v", v.Profile, back, err)
		}
		if len(v.Sources) == 0 {
			t.Errorf("profile %s has no source", v.Profile)
		}
		steps(t, v)
	}
}

// steps compares what lies between: shared secret, keys, ciphertext and tag.
func steps(t *testing.T, v vector) {
	t.Helper()
	shared := v.Out["eph_public_key"] + v.Out["eph_public_key_compressed"]
	k, err := deriveKeys(unhex(t, v.Out["shared_key"]), unhex(t, shared))
	if err != nil {
		t.Fatal(err)
	}
	cipherText := k.xor(unhex(t, v.In["plaintext_msin_bcd"]))
	tag := k.tag(cipherText)
	for name, got := range map[string][]byte{"icb": k.icb[:], "mac_key": k.mac[:], "ciphertext": cipherText, "mac_tag": tag[:]} {
		if hex.EncodeToString(got) != v.Out[name] {
			t.Errorf("profile %s, %s: %x, want %s", v.Profile, name, got, v.Out[name])
		}
	}
}

// TestRealCard deconceals what a card on the market answered to GET IDENTITY.
func TestRealCard(t *testing.T) {
	t.Parallel()
	var v struct {
		SUCI    string
		Private string `json:"hn_private_key"`
		Sources []string
	}
	readJSON(t, "real_card.json", &v)
	s, err := usim.DecodeSUCI(unhex(t, v.SUCI))
	if err != nil {
		t.Fatal(err)
	}
	if s.Home != (usim.PLMN{MCC: "999", MNC: "70"}) || s.Routing != "71" || s.Scheme != usim.SchemeB || s.KeyID != 27 {
		t.Errorf("decoded as %v", s)
	}
	home := Home{27: {usim.SchemeB, secret.New(unhex(t, v.Private))}}
	imsi, err := home.Deconceal(s)
	if err != nil || !strings.HasPrefix(string(imsi), "99970") || len(imsi) != 15 || len(v.Sources) == 0 {
		t.Errorf("deconcealed to %s, %v", imsi, err)
	}
}

// network is a home network with a fresh key for each profile, and what a USIM knows.
func network(t testing.TB) (Home, []PublicKey) {
	t.Helper()
	a, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point := b.PublicKey().Bytes()
	compressed := append([]byte{2 + point[64]&1}, point[1:33]...)
	return Home{1: {usim.SchemeA, secret.New(a.Bytes())}, 2: {usim.SchemeB, secret.New(b.Bytes())}}, []PublicKey{
		{}, {usim.SchemeA, 1, a.PublicKey().Bytes()}, {usim.SchemeB, 2, point},
		{usim.SchemeB, 2, compressed},
	}
}

// ephemeral is a private key that both curves take.
func ephemeral(t testing.TB) secret.Bytes {
	t.Helper()
	k, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return secret.New(k.Bytes())
}

func TestBackToIMSI(t *testing.T) {
	t.Parallel()
	home, keys := network(t)
	rapid.Check(t, func(rt *rapid.T) {
		imsi := usim.IMSI(rapid.StringMatching(`[0-9]{7,15}`).Draw(rt, "IMSI"))
		mnc := rapid.IntRange(2, 3).Draw(rt, "MNC")
		routing := rapid.StringMatching(`[0-9]{1,4}`).Draw(rt, "routing")
		for _, key := range keys {
			s, err := Conceal(imsi, mnc, routing, key, ephemeral(t))
			if err != nil {
				rt.Fatal(err)
			}
			answer, err := usim.EncodeIdentity(s)
			if err != nil {
				rt.Fatal(err)
			}
			got, err := usim.ParseIdentity(answer)
			if err != nil {
				rt.Fatal(err)
			}
			text, err := usim.ParseSUCI(got.String())
			if err != nil || text.String() != s.String() || got.Routing != routing || got.KeyID != key.ID {
				rt.Fatalf("%s became %s, %v", s, text, err)
			}
			if back, err := home.Deconceal(text); err != nil || back != imsi {
				rt.Fatalf("scheme %d: %v", key.Scheme, err)
			}
			if clear := strings.Contains(s.String(), string(imsi[3+mnc:])); clear != (key.Scheme == usim.SchemeNull) && len(imsi) > 10 {
				rt.Fatalf("scheme %d: the MSIN is in the SUCI: %v", key.Scheme, clear)
			}
		}
	})
}

// TestTwoDiffer: two SUCIs of one identity have nothing in common behind the key
// identifier.
func TestTwoDiffer(t *testing.T) {
	t.Parallel()
	_, keys := network(t)
	for _, key := range keys[1:] {
		one, err1 := Conceal("262011234567890", 2, "0", key, ephemeral(t))
		two, err2 := Conceal("262011234567890", 2, "0", key, ephemeral(t))
		if err1 != nil || err2 != nil || bytes.Equal(one.Output[1:33], two.Output[1:33]) {
			t.Errorf("scheme %d: %v, %v", key.Scheme, err1, err2)
		}
	}
}

// TestAlteredOutput: no bit of a scheme output can be changed.
func TestAlteredOutput(t *testing.T) {
	t.Parallel()
	for _, v := range readVectors(t) {
		scheme, _ := v.scheme()
		private, good := secret.New(unhex(t, v.In["hn_private_key"])), unhex(t, v.Out["scheme_output"])
		for bit := range 8 * len(good) {
			if v.Profile == "A" && bit == 8*31 {
				continue // X25519 ignores the highest bit of the coordinate
			}
			bad := bytes.Clone(good)
			bad[bit/8] ^= 0x80 >> (bit % 8)
			if _, err := Decrypt(scheme, private, bad); !errors.Is(err, ErrTag) && !errors.Is(err, ErrPoint) {
				t.Errorf("profile %s, bit %d: %v", v.Profile, bit, err)
			}
		}
		for n := range len(good) {
			if _, err := Decrypt(scheme, private, good[:n]); err == nil {
				t.Errorf("profile %s, %d bytes: accepted", v.Profile, n)
			}
		}
		least := len(good) - 5
		if _, err := Decrypt(scheme, private, good[:least]); !errors.Is(err, ErrOutput) {
			t.Errorf("profile %s without ciphertext: %v", v.Profile, err)
		}
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	home, keys := network(t)
	good, eph := usim.IMSI("262011234567890"), ephemeral(t)
	offCurve := append([]byte{2}, bytes.Repeat([]byte{0xFF}, 32)...)
	short, zero := secret.New(make([]byte, 31)), secret.New(make([]byte, 32))
	conceal := func(imsi usim.IMSI, mnc int, routing string, key PublicKey, eph secret.Bytes) error {
		_, err := Conceal(imsi, mnc, routing, key, eph)
		return err
	}
	for name, tt := range map[string]struct{ got, want error }{
		"IMSI too short":          {conceal("26201", 2, "0", keys[1], eph), ErrIdentity},
		"no MSIN":                 {conceal("262011", 3, "0", keys[1], eph), ErrIdentity},
		"letters":                 {conceal("26201123456789a", 2, "0", keys[1], eph), ErrIdentity},
		"MNC of 4":                {conceal(good, 4, "0", keys[1], eph), ErrIdentity},
		"no routing":              {conceal(good, 2, "", keys[1], eph), usim.ErrContent},
		"routing of 5":            {conceal(good, 2, "12345", keys[0], eph), usim.ErrContent},
		"null scheme with a key":  {conceal(good, 2, "0", PublicKey{ID: 1}, eph), usim.ErrContent},
		"reserved key":            {conceal(good, 2, "0", PublicKey{usim.SchemeA, 255, keys[1].Key}, eph), usim.ErrContent},
		"scheme 3":                {conceal(good, 2, "0", PublicKey{Scheme: 3}, eph), ErrScheme},
		"key of another curve":    {conceal(good, 2, "0", PublicKey{usim.SchemeA, 1, keys[3].Key}, eph), ErrPoint},
		"point not on the curve":  {conceal(good, 2, "0", PublicKey{usim.SchemeB, 2, offCurve}, eph), ErrPoint},
		"point of small order":    {conceal(good, 2, "0", PublicKey{usim.SchemeA, 1, make([]byte, 32)}, eph), ErrPoint},
		"no public key":           {conceal(good, 2, "0", PublicKey{Scheme: usim.SchemeB}, eph), ErrPoint},
		"short ephemeral key":     {conceal(good, 2, "0", keys[1], short), ErrPrivate},
		"ephemeral key zero on B": {conceal(good, 2, "0", keys[2], zero), ErrPrivate},
	} {
		if !errors.Is(tt.got, tt.want) {
			t.Errorf("%s: %v, want %v", name, tt.got, tt.want)
		}
	}
	for _, key := range keys[1:] {
		s, err := Conceal(good, 2, "0", key, eph)
		if err != nil {
			t.Fatal(err)
		}
		other, _ := network(t)
		wrongID, wrongScheme := s, s
		wrongID.KeyID = 3
		wrongScheme.KeyID = 3 - key.ID
		cut := s
		cut.Output = s.Output[:20]
		lost := s
		lost.Output = append(bytes.Repeat([]byte{0xFF}, 33), s.Output[33:]...)
		unknown := s
		unknown.Scheme = 12
		for name, tt := range map[string]struct {
			home Home
			s    usim.SUCI
			want []error
		}{
			"another network's key":  {other, s, []error{ErrTag}},
			"unknown key":            {home, wrongID, []error{ErrKey}},
			"key for another scheme": {home, wrongScheme, []error{ErrKey}},
			"cut":                    {home, cut, []error{ErrOutput}},
			"point altered":          {home, lost, []error{ErrPoint, ErrTag}},
			"operator's scheme":      {home, unknown, []error{ErrScheme}},
			"private key cut":        {Home{key.ID: {key.Scheme, short}}, s, []error{ErrPrivate}},
			"NAI":                    {home, usim.SUCI{NAI: "user@realm"}, []error{ErrIdentity}},
			"no MSIN":                {home, usim.SUCI{Home: s.Home, Output: []byte{0xFA}}, []error{ErrIdentity}},
			"too many digits":        {home, usim.SUCI{Home: usim.PLMN{MCC: "262", MNC: "011"}, Output: []byte{1, 2, 3, 4, 5, 6}}, []error{ErrIdentity}},
			"no home network":        {home, usim.SUCI{Output: []byte{0x12}}, []error{ErrIdentity}},
		} {
			imsi, err := tt.home.Deconceal(tt.s)
			refused := false
			for _, want := range tt.want {
				refused = refused || errors.Is(err, want)
			}
			if !refused || imsi != "" {
				t.Errorf("scheme %d, %s: %v, want one of %v", key.Scheme, name, err, tt.want)
			}
		}
	}
	// What was concealed is no MSIN.
	out, err := Encrypt(usim.SchemeA, keys[1].Key, eph, []byte("user name"))
	if err != nil {
		t.Fatal(err)
	}
	s := usim.SUCI{Home: usim.PLMN{MCC: "262", MNC: "01"}, Routing: "0", Scheme: usim.SchemeA, KeyID: 1, Output: out}
	if _, err := home.Deconceal(s); !errors.Is(err, ErrIdentity) || strings.Contains(err.Error(), "user") {
		t.Errorf("a name as MSIN: %v", err)
	}
	if _, err := Decrypt(usim.SchemeNull, zero, out); !errors.Is(err, ErrScheme) {
		t.Errorf("null scheme: %v", err)
	}
}

// TestCounter: the counter block wraps within its last 32 bits.
func TestCounter(t *testing.T) {
	t.Parallel()
	k, err := deriveKeys([]byte("secret"), []byte("shared"))
	if err != nil {
		t.Fatal(err)
	}
	k.icb = [16]byte{0: 1, 11: 7, 12: 0xFF, 13: 0xFF, 14: 0xFF, 15: 0xFF}
	next := [16]byte{0: 1, 11: 7}
	var want [16]byte
	k.block.Encrypt(want[:], next[:])
	if got := k.xor(make([]byte, 40)); !bytes.Equal(got[16:32], want[:]) || len(got) != 40 {
		t.Errorf("second block %x, want %x", got[16:32], want)
	}
}

// FuzzDecrypt: no scheme output makes the home network panic, and none that it did not
// make is accepted.
func FuzzDecrypt(f *testing.F) {
	home, _ := network(f)
	_, others := network(f)
	for _, key := range others[1:] {
		out, err := Encrypt(key.Scheme, key.Key, ephemeral(f), []byte{0x21, 0x43})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(key.Scheme), out)
	}
	f.Fuzz(func(t *testing.T, scheme byte, out []byte) {
		key := home[scheme%3]
		if plain, err := Decrypt(usim.Scheme(scheme%3), key.Key, out); err == nil {
			t.Errorf("scheme %d: accepted as %x", scheme%3, plain)
		}
	})
}

func BenchmarkDeconceal(b *testing.B) {
	home, keys := network(b)
	for _, key := range keys[1:3] {
		s, err := Conceal("262011234567890", 2, "0", key, ephemeral(b))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(map[usim.Scheme]string{usim.SchemeA: "A", usim.SchemeB: "B"}[key.Scheme], func(b *testing.B) {
			for b.Loop() {
				if _, err := home.Deconceal(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
