package kdf

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"pgregory.net/rapid"

	"mcim/apdu/secret"
	"mcim/apdu/usim"
	"mcim/card/aka"
)

type set struct {
	Name    string
	In      map[string]string
	Sources []string
}

type frozen struct {
	set
	Out map[string]string
}

type vectorFile struct {
	Public []struct {
		set
		Out string
	}
	GBA   frozen
	Local frozen `json:"local_key"`
}

func readVectors(t *testing.T) (f vectorFile) {
	t.Helper()
	b, err := os.ReadFile("testdata/kdf.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func (s set) hex(t *testing.T, name string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s.In[name])
	if err != nil || len(b) == 0 {
		t.Fatalf("%s: %s: %v", s.Name, name, err)
	}
	return b
}

func (s set) keys(t *testing.T) (ck, ik [16]byte) {
	t.Helper()
	return [16]byte(s.hex(t, "CK")), [16]byte(s.hex(t, "IK"))
}

func (s set) check(t *testing.T, name, want string, got []byte, err error) {
	t.Helper()
	if err != nil || hex.EncodeToString(got) != want {
		t.Errorf("%s: %x, %v; want %s", name, got, err, want)
	}
	if len(s.Sources) == 0 {
		t.Errorf("%s has no source", name)
	}
}

// hmacByHand is HMAC-SHA-256 of RFC 2104 from its definition, for keys of up to one
// block.
func hmacByHand(key, message []byte) []byte {
	inner, outer := bytes.Repeat([]byte{0x36}, 64), bytes.Repeat([]byte{0x5C}, 64)
	for i, k := range key {
		inner[i] ^= k
		outer[i] ^= k
	}
	h := sha256.Sum256(append(inner, message...))
	h = sha256.Sum256(append(outer, h[:]...))
	return h[:]
}

// kdfByHand is TS 33.220, B.2 a second time.
func kdfByHand(key []byte, fc byte, params ...string) []byte {
	var s bytes.Buffer
	s.WriteByte(fc)
	for _, p := range params {
		s.WriteString(p)
		s.WriteByte(byte(len(p) / 256))
		s.WriteByte(byte(len(p) % 256))
	}
	return hmacByHand(key, s.Bytes())
}

func TestPublicVectors(t *testing.T) {
	t.Parallel()
	f := readVectors(t)
	if len(f.Public) != 4 {
		t.Fatalf("%d sets, want 4", len(f.Public))
	}
	for _, v := range f.Public {
		network := v.In["network"]
		var out []byte
		var err error
		switch v.Name {
		case "K_ASME":
			ck, ik := v.keys(t)
			var k [KeySize]byte
			k, err = KASME(ck, ik, [3]byte(v.hex(t, "PLMN")), [6]byte(v.hex(t, "SQN_xor_AK")))
			out = k[:]
		case "K_AUSF":
			ck, ik := v.keys(t)
			var k [KeySize]byte
			k, err = KAUSF(ck, ik, network, [6]byte(v.hex(t, "SQN_xor_AK")))
			out = k[:]
		case "RES*":
			ck, ik := v.keys(t)
			var k [16]byte
			k, err = RESStar(ck, ik, network, [16]byte(v.hex(t, "RAND")), v.hex(t, "RES"))
			out = k[:]
		case "K_SEAF":
			var k [KeySize]byte
			k, err = KSEAF([KeySize]byte(v.hex(t, "K_AUSF")), network)
			out = k[:]
		default:
			t.Errorf("no function for %s", v.Name)
		}
		v.check(t, v.Name, v.Out, out, err)
	}
}

func TestFrozenGBA(t *testing.T) {
	t.Parallel()
	v := readVectors(t).GBA
	ck, ik := v.keys(t)
	b := Bootstrap{[16]byte(v.hex(t, "RAND")), ck, ik}
	naf := NAFID(v.In["FQDN"], [5]byte(v.hex(t, "Ua")))
	external, err := b.ExternalKey(v.In["IMPI"], naf)
	v.check(t, "Ks_ext_NAF", v.Out["Ks_ext_NAF"], external[:], err)
	internal, err := b.InternalKey(v.In["IMPI"], naf)
	v.check(t, "Ks_int_NAF", v.Out["Ks_int_NAF"], internal[:], err)
}

func TestFrozenLocalKey(t *testing.T) {
	t.Parallel()
	v := readVectors(t).Local
	l := LocalKey{
		BTID: []byte(v.In["B_TID"]), TerminalID: v.hex(t, "Terminal_ID"), ICCID: v.hex(t, "ICCID"),
		TerminalApplication: []byte(v.In["terminal_application"]), UICCApplication: []byte(v.In["UICC_application"]),
		RANDx: [16]byte(v.hex(t, "RANDx")), CounterLimit: v.hex(t, "counter_limit"),
	}
	if string(l.TerminalApplication) != PlatformApplication {
		t.Errorf("the vector is for %s", l.TerminalApplication)
	}
	k, err := l.Derive([KeySize]byte(v.hex(t, "Ks_NAF")))
	v.check(t, "Ks_local", v.Out["Ks_local"], k[:], err)
	request, response := l.RequestMAC(k), ResponseMAC(k)
	v.check(t, "request MAC", v.Out["request_MAC"], request[:], nil)
	v.check(t, "response MAC", v.Out["response_MAC"], response[:], nil)
	if err := errors.Join(l.CheckRequest(k, request[:]), CheckResponse(k, response[:])); err != nil {
		t.Error(err)
	}
	other := l
	other.CounterLimit = []byte{1}
	for name, err := range map[string]error{
		"other limit":      other.CheckRequest(k, request[:]),
		"response for it":  l.CheckRequest(k, response[:]),
		"short":            l.CheckRequest(k, request[:15]),
		"none":             CheckResponse(k, nil),
		"request for it":   CheckResponse(k, request[:]),
		"another key":      CheckResponse([KeySize]byte{}, response[:]),
		"another key, too": l.CheckRequest([KeySize]byte{}, request[:]),
	} {
		if !errors.Is(err, ErrMAC) {
			t.Errorf("%s: %v, want %v", name, err, ErrMAC)
		}
	}
}

// TestByHand compares every derivation with the second implementation on random
// inputs.
func TestByHand(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := 0
		draw := func(from, to int) []byte {
			n++
			return rapid.SliceOfN(rapid.Byte(), from, to).Draw(t, string(rune('a'+n)))
		}
		ck, ik, r, x := [16]byte(draw(16, 16)), [16]byte(draw(16, 16)), [16]byte(draw(16, 16)), [16]byte(draw(16, 16))
		ks := append(append([]byte{}, ck[:]...), ik[:]...)
		sqn, plmn, naf, res := [6]byte(draw(6, 6)), [3]byte(draw(3, 3)), draw(0, 300), draw(4, 16)
		impi := rapid.String().Draw(t, "IMPI")
		key := [KeySize]byte(draw(32, 32))
		l := LocalKey{draw(0, 40), draw(0, 20), draw(0, 10), draw(0, 9), draw(0, 16), x, draw(0, 4)}
		local := []string{
			string(l.BTID), string(l.TerminalID), string(l.ICCID), string(l.TerminalApplication), string(l.UICCApplication),
			string(x[:]), string(l.CounterLimit),
		}
		b := Bootstrap{r, ck, ik}
		same := func(name string, want []byte, got []byte, err error) {
			if err != nil || !bytes.Equal(want, got) {
				t.Fatalf("%s: %x, %v; by hand %x", name, got, err, want)
			}
		}
		k, err := KASME(ck, ik, plmn, sqn)
		same("K_ASME", kdfByHand(ks, 0x10, string(plmn[:]), string(sqn[:])), k[:], err)
		k, err = KAUSF(ck, ik, impi, sqn)
		same("K_AUSF", kdfByHand(ks, 0x6A, impi, string(sqn[:])), k[:], err)
		star, err := RESStar(ck, ik, impi, r, res)
		same("RES*", kdfByHand(ks, 0x6B, impi, string(r[:]), string(res))[16:], star[:], err)
		k, err = KSEAF(key, impi)
		same("K_SEAF", kdfByHand(key[:], 0x6C, impi), k[:], err)
		k, err = b.ExternalKey(impi, naf)
		same("Ks_ext_NAF", kdfByHand(ks, 0x01, "gba-me", string(r[:]), impi, string(naf)), k[:], err)
		k, err = b.InternalKey(impi, naf)
		same("Ks_int_NAF", kdfByHand(ks, 0x01, "gba-u", string(r[:]), impi, string(naf)), k[:], err)
		k, err = l.Derive(key)
		same("Ks_local", kdfByHand(key[:], 0x01, local...), k[:], err)
		request, response := l.RequestMAC(key), ResponseMAC(key)
		var all []byte
		for _, p := range local {
			all = append(all, p...)
		}
		same("request MAC", hmacByHand(key[:], all)[:16], request[:], nil)
		same("response MAC", hmacByHand(key[:], []byte("verification"))[:16], response[:], nil)
	})
}

// TestBothEnds: the USIM and the authentication centre come to the same keys in all
// contexts, for each algorithm; and to other ones for another network.
func TestBothEnds(t *testing.T) {
	t.Parallel()
	random := func(n int) []byte {
		b := make([]byte, n)
		if _, err := rand.Read(b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	k, c := secret.New(random(16)), random(32)
	block, err := aka.NewAES(k)
	if err != nil {
		t.Fatal(err)
	}
	m, err := aka.NewMilenage(block, secret.New(c[:16]))
	if err != nil {
		t.Fatal(err)
	}
	tuak, err := aka.NewTUAK(k, secret.New(c), aka.TUAKOptions{RES: 16})
	if err != nil {
		t.Fatal(err)
	}
	x, err := aka.NewXOR(k)
	if err != nil {
		t.Fatal(err)
	}
	network, err := ServingNetwork("262", "01")
	if err != nil {
		t.Fatal(err)
	}
	plmn, err := usim.PLMN{MCC: "262", MNC: "01"}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range []aka.Algorithm{m, tuak, x} {
		home := aka.NewSubscriber(a, 0, [2]byte{0x80, 0}, nil)
		card := aka.NewUSIM(a, aka.NewSQNArray(0), nil)
		v, err := home.Next([16]byte(random(16)))
		if err != nil {
			t.Fatal(err)
		}
		r, err := card.Authenticate(v.RAND, v.AUTN)
		if err != nil {
			t.Fatal(err)
		}
		if contexts(t, network, plmn, v, r) != contexts(t, network, plmn, v, aka.Result{RES: v.XRES, CK: v.CK, IK: v.IK}) {
			t.Errorf("algorithm %d: the ends differ", i)
		}
		if contexts(t, network+"x", plmn, v, r) == contexts(t, network, plmn, v, r) {
			t.Errorf("algorithm %d: the serving network is not in the keys", i)
		}
		bootstrapped(t, home, card, [16]byte(random(16)))
	}
}

// bootstrapped runs GBA_U and a local key establishment: UICC and bootstrapping server
// come to the same keys, terminal and UICC to the same local key.
func bootstrapped(t *testing.T, home *aka.Subscriber, card *aka.USIM, r [16]byte) {
	t.Helper()
	v, err := home.Next(r)
	if err != nil {
		t.Fatal(err)
	}
	sent := v.GBA()
	got, err := card.Bootstrap(sent.RAND, sent.AUTN)
	if err != nil {
		t.Fatal(err)
	}
	uicc, server := Bootstrap{sent.RAND, got.CK, got.IK}, Bootstrap{v.RAND, v.CK, v.IK}
	naf := NAFID("naf.example.org", [5]byte{1, 0, 0, 0, 2})
	var keys [2][2][KeySize]byte
	for i, b := range []Bootstrap{uicc, server} {
		external, err1 := b.ExternalKey("user@example.org", naf)
		internal, err2 := b.InternalKey("user@example.org", naf)
		if err1 != nil || err2 != nil || external == internal {
			t.Fatal(err1, err2)
		}
		keys[i] = [2][KeySize]byte{external, internal}
	}
	if keys[0] != keys[1] {
		t.Error("UICC and bootstrapping server differ")
	}
	l := LocalKey{BTID: []byte("b"), TerminalID: []byte("t"), CounterLimit: []byte{1}}
	atTerminal, err1 := l.Derive(keys[1][1])
	inUICC, err2 := l.Derive(keys[0][1])
	request, response := l.RequestMAC(atTerminal), ResponseMAC(inUICC)
	if err := errors.Join(err1, err2, l.CheckRequest(inUICC, request[:]), CheckResponse(atTerminal, response[:])); err != nil {
		t.Error(err)
	}
}

// contexts are the keys of EPS and 5G that one end comes to.
func contexts(t *testing.T, network string, plmn [3]byte, v aka.Vector, r aka.Result) (keys [3][KeySize]byte) {
	t.Helper()
	sqnAK := [6]byte(v.AUTN[:])
	eps, err := KASME(r.CK, r.IK, plmn, sqnAK)
	if err != nil {
		t.Fatal(err)
	}
	ausf, err := KAUSF(r.CK, r.IK, network, sqnAK)
	if err != nil {
		t.Fatal(err)
	}
	seaf, err := KSEAF(ausf, network)
	if err != nil {
		t.Fatal(err)
	}
	star, err := RESStar(r.CK, r.IK, network, v.RAND, r.RES.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	copy(eps[16:], star[:])
	return [3][KeySize]byte{eps, ausf, seaf}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	long := make([]byte, 65536)
	var k [KeySize]byte
	var b Bootstrap
	for name, f := range map[string]func() error{
		"KDF":         func() error { _, err := KDF(nil, 0, nil, long); return err },
		"K_AUSF":      func() error { _, err := KAUSF(b.CK, b.IK, string(long), [6]byte{}); return err },
		"K_SEAF":      func() error { _, err := KSEAF(k, string(long)); return err },
		"RES*":        func() error { _, err := RESStar(b.CK, b.IK, string(long), b.RAND, long[:8]); return err },
		"RES of 3":    func() error { _, err := RESStar(b.CK, b.IK, "", b.RAND, long[:3]); return err },
		"RES of 17":   func() error { _, err := RESStar(b.CK, b.IK, "", b.RAND, long[:17]); return err },
		"Ks_ext_NAF":  func() error { _, err := b.ExternalKey(string(long), nil); return err },
		"Ks_int_NAF":  func() error { _, err := b.InternalKey("", long); return err },
		"Ks_local":    func() error { _, err := LocalKey{BTID: long}.Derive(k); return err },
		"MNC of 1":    func() error { _, err := ServingNetwork("262", "1"); return err },
		"MNC of 4":    func() error { _, err := ServingNetwork("262", "1234"); return err },
		"MCC of 2":    func() error { _, err := ServingNetwork("26", "01"); return err },
		"MCC letters": func() error { _, err := ServingNetwork("26a", "01"); return err },
	} {
		if err := f(); !errors.Is(err, ErrInput) {
			t.Errorf("%s: %v, want %v", name, err, ErrInput)
		}
	}
	if _, err := KDF(nil, 0, long[1:]); err != nil {
		t.Errorf("a parameter of 65535 bytes: %v", err)
	}
	for mnc, want := range map[string]string{"01": "5G:mnc001.mcc262.3gppnetwork.org", "070": "5G:mnc070.mcc262.3gppnetwork.org"} {
		if n, err := ServingNetwork("262", mnc); err != nil || n != want {
			t.Errorf("%s: %s, %v", mnc, n, err)
		}
	}
}
