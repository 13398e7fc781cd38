package securechannel

import (
	"bytes"
	"crypto/aes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestCMAC has the examples of RFC 4493, 4.
func TestCMAC(t *testing.T) {
	t.Parallel()
	block, err := aes.NewCipher(unhex(t, "2b7e151628aed2a6abf7158809cf4f3c"))
	if err != nil {
		t.Fatal(err)
	}
	message := unhex(t, "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710")
	for n, want := range map[int]string{
		0: "bb1d6929e95937287fa37d129b756746", 16: "070a16b46b4d4144f79bdd9dd04a287c",
		40: "dfa66747de9ae63030ca32611497c827", 64: "51f0bebf7e3b9d92fc49741779363cfe",
	} {
		if got := cmac(block, message[:n]); hex.EncodeToString(got[:]) != want {
			t.Errorf("%d bytes: %x, want %s", n, got, want)
		}
	}
}

// pair is both ends of a connection.
func pair(t testing.TB, keys ...secret.Bytes) (terminal, card *Connection) {
	t.Helper()
	var ends []*Connection
	for _, key := range keys {
		m, err := NewMaster(key, uicc.MasterRequest{Terminal: []byte("t"), TerminalApp: []byte("a")}, [16]byte{1})
		if err != nil {
			t.Fatal(err)
		}
		c, err := NewConnection(m, uicc.ConnectionRequest{Algorithms: Algorithms(), Master: m.ID, Nonce: [16]byte{2}},
			uicc.ConnectionAnswer{Algorithms: Algorithms(), Nonce: [16]byte{3}, ID: [16]byte{4}})
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, c)
	}
	return ends[0], ends[1]
}

func key16(b byte) secret.Bytes { return secret.New(bytes.Repeat([]byte{b}, 16)) }

func TestSealAndUnseal(t *testing.T) {
	t.Parallel()
	terminal, card := pair(t, key16(1), key16(1))
	for n := range 40 {
		message := bytes.Repeat([]byte{0x80}, n)
		for _, side := range []Side{Terminal, UICC} {
			from, to := terminal, card
			if side == UICC {
				from, to = card, terminal
			}
			sealed, err := from.Seal(side, message)
			if err != nil {
				t.Fatal(err)
			}
			if len(sealed) > n+overhead {
				t.Errorf("%d bytes became %d", n, len(sealed))
			}
			if got, err := to.Unseal(side, sealed); err != nil || !bytes.Equal(got, message) {
				t.Fatalf("%d bytes of side %d: %x %v", n, side, got, err)
			}
		}
	}
}

func TestUnsealRefuses(t *testing.T) {
	t.Parallel()
	terminal, card := pair(t, key16(1), key16(1))
	seal := func() []byte {
		b, err := terminal.Seal(Terminal, []byte("SELECT"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	first, second, third := seal(), seal(), seal()
	for i := range first {
		changed := bytes.Clone(first)
		changed[i] ^= 1
		if _, err := card.Unseal(Terminal, changed); !errors.Is(err, ErrTampered) {
			t.Errorf("byte %d changed: %v, want ErrTampered", i, err)
		}
		if _, err := card.Unseal(Terminal, first[:i]); !errors.Is(err, ErrTampered) {
			t.Errorf("cut to %d bytes: %v, want ErrTampered", i, err)
		}
	}
	if _, err := card.Unseal(UICC, first); !errors.Is(err, ErrTampered) {
		t.Errorf("reflected: %v, want ErrTampered", err)
	}
	if _, err := card.Unseal(Terminal, second); !errors.Is(err, ErrReplayed) {
		t.Errorf("the second first: %v, want ErrReplayed", err)
	}
	for _, b := range [][]byte{first, second} {
		if _, err := card.Unseal(Terminal, b); err != nil {
			t.Error("after the refusals:", err)
		}
	}
	if _, err := card.Unseal(Terminal, second); !errors.Is(err, ErrReplayed) {
		t.Errorf("again: %v, want ErrReplayed", err)
	}
	if _, err := card.Unseal(Terminal, third); err != nil {
		t.Error("the third:", err)
	}
	_, stranger := pair(t, key16(1), key16(2))
	if _, err := stranger.Unseal(Terminal, first); !errors.Is(err, ErrTampered) {
		t.Errorf("another key: %v, want ErrTampered", err)
	}
}

func TestCounterEnds(t *testing.T) {
	t.Parallel()
	terminal, card := pair(t, key16(1), key16(1))
	terminal.keys[Terminal].count, card.keys[Terminal].count = MaxMessages-1, MaxMessages-1
	last, err := terminal.Seal(Terminal, []byte{1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := card.Unseal(Terminal, last); err != nil {
		t.Error(err)
	}
	if _, err := card.Unseal(Terminal, last); !errors.Is(err, ErrReplayed) {
		t.Errorf("behind the last: %v, want ErrReplayed", err)
	}
	if _, err := terminal.Seal(Terminal, []byte{1}); !errors.Is(err, ErrExpired) {
		t.Errorf("behind the last: %v, want ErrExpired", err)
	}
}

// TestKeysDiffer holds every input of the derivation to matter.
func TestKeysDiffer(t *testing.T) {
	t.Parallel()
	request := uicc.MasterRequest{Terminal: []byte("t"), TerminalApp: []byte("a")}
	other := uicc.MasterRequest{Terminal: []byte("u"), TerminalApp: []byte("a")}
	connect := uicc.ConnectionRequest{Nonce: [16]byte{2}}
	answer := uicc.ConnectionAnswer{Nonce: [16]byte{3}}
	seen := map[[16]byte]int{}
	for i, in := range []struct {
		key     secret.Bytes
		request uicc.MasterRequest
		id      [16]byte
		connect uicc.ConnectionRequest
		answer  uicc.ConnectionAnswer
	}{
		{key16(1), request, [16]byte{1}, connect, answer},
		{secret.New(bytes.Repeat([]byte{1}, 32)), request, [16]byte{1}, connect, answer},
		{key16(2), request, [16]byte{1}, connect, answer},
		{key16(1), other, [16]byte{1}, connect, answer},
		{key16(1), request, [16]byte{2}, connect, answer},
		{key16(1), request, [16]byte{1}, uicc.ConnectionRequest{Nonce: [16]byte{9}}, answer},
		{key16(1), request, [16]byte{1}, connect, uicc.ConnectionAnswer{Nonce: [16]byte{9}}},
	} {
		m, err := NewMaster(in.key, in.request, in.id)
		if err != nil {
			t.Fatal(err)
		}
		c, err := NewConnection(m, in.connect, in.answer)
		if err != nil {
			t.Fatal(err)
		}
		for _, mac := range [][16]byte{c.CardMAC(), c.StartMAC(1), c.StartMAC(2), c.EndMAC()} {
			if before, known := seen[mac]; known {
				t.Errorf("case %d has a MAC of case %d", i, before)
			}
			seen[mac] = i
		}
	}
	for _, n := range []int{0, 15, 17, 24, 33} {
		if _, err := NewMaster(secret.New(make([]byte, n)), request, [16]byte{}); !errors.Is(err, ErrKeyLength) {
			t.Errorf("key of %d bytes: %v, want ErrKeyLength", n, err)
		}
	}
}

func TestKeysDoNotPrint(t *testing.T) {
	t.Parallel()
	m, err := NewMaster(key16(0xAB), uicc.MasterRequest{Terminal: []byte("t"), TerminalApp: []byte("a")}, [16]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{m, Channel{key: key16(0xAB), master: m}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%x"} {
			out := strings.ToLower(fmt.Sprintf(verb, v))
			for _, hidden := range []string{strings.Repeat("ab", 16), strings.Repeat("0xab, ", 15), hex.EncodeToString(m.key.Reveal())} {
				if strings.Contains(out, hidden) {
					t.Errorf("%s of %T shows a key", verb, v)
				}
			}
		}
	}
}

// FuzzUnseal unseals anything: no message but the sealed one passes.
func FuzzUnseal(f *testing.F) {
	terminal, card := pair(f, key16(1), key16(1))
	good, err := terminal.Seal(Terminal, []byte("SELECT"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		card.keys[Terminal].count = 0
		if message, err := card.Unseal(Terminal, b); err == nil && (!bytes.Equal(b, good) || string(message) != "SELECT") {
			t.Errorf("%x passed", b)
		}
	})
}
