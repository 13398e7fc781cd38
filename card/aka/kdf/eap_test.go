package kdf

import (
	"crypto/sha1"
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

type eapSet struct {
	Case int
	In   struct {
		Identity, RAND, AUTN, CK, IK string
		Network                      string `json:"network_name"`
	}
	Out map[string]string
}

type eapFile struct {
	Prime []eapSet                        `json:"eap_aka_prime"`
	SIM   struct{ Out map[string]string } `json:"eap_sim_prf"`
}

func readEAP(t *testing.T) (f eapFile) {
	t.Helper()
	b, err := os.ReadFile("testdata/eap.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func bytes16(t *testing.T, text string) [16]byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != 16 {
		t.Fatalf("%q: %v", text, err)
	}
	return [16]byte(b)
}

func differ(t *testing.T, want map[string]string, got map[string]secret.Bytes) {
	t.Helper()
	for name, b := range got {
		if have := hex.EncodeToString(b.Reveal()); have != want[name] || have == "" {
			t.Errorf("%s: %s, want %s", name, have, want[name])
		}
	}
}

// TestEAPAKAPrime: the four sets of RFC 9048, annex D.
func TestEAPAKAPrime(t *testing.T) {
	t.Parallel()
	sets := readEAP(t).Prime
	if len(sets) != 4 {
		t.Fatalf("%d sets, want 4", len(sets))
	}
	for _, s := range sets {
		autn := bytes16(t, s.In.AUTN)
		ck, ik, err := Prime(bytes16(t, s.In.CK), bytes16(t, s.In.IK), s.In.Network, [6]byte(autn[:6]))
		if err != nil {
			t.Fatal(err)
		}
		k, err := EAPAKAPrime(s.In.Identity, ck, ik)
		if err != nil {
			t.Fatal(err)
		}
		differ(t, s.Out, map[string]secret.Bytes{
			"CK_prime": secret.New(ck[:]), "IK_prime": secret.New(ik[:]), "K_encr": k.Encr, "K_aut": k.Aut, "K_re": k.Re, "MSK": k.MSK, "EMSK": k.EMSK,
		})
	}
}

// TestEAPPRF: the generator of EAP-AKA gives the keys of EAP-SIM's example (RFC 4186, A.5),
// and its MK is the SHA-1 that RFC 4187, 7 asks for.
func TestEAPPRF(t *testing.T) {
	t.Parallel()
	out := readEAP(t).SIM.Out
	mk, err := hex.DecodeString(out["MK"])
	if err != nil {
		t.Fatal(err)
	}
	k := eapKeys([sha1.Size]byte(mk))
	differ(t, out, map[string]secret.Bytes{"MK": k.MK, "K_encr": k.Encr, "K_aut": k.Aut, "MSK": k.MSK, "EMSK": k.EMSK})
	ck, ik := [16]byte{1}, [16]byte{2}
	got, err := EAPAKA("0001010000000001@wlan.example", ck, ik)
	if err != nil {
		t.Fatal(err)
	}
	want := eapKeys(sha1.Sum([]byte("0001010000000001@wlan.example" + string(ik[:]) + string(ck[:]))))
	if !got.Equal(want) {
		t.Error("MK is not SHA-1 of identity, IK, CK")
	}
	if other, _ := EAPAKA("0001010000000002@wlan.example", ck, ik); other.Equal(got) {
		t.Error("another identity has the same keys")
	}
	if (EAPKeys{}).Equal(got) {
		t.Error("no keys are the same as some")
	}
	if text := fmt.Sprintf("%v %+v %#v", got, got, got); strings.Contains(text, hex.EncodeToString(got.Encr.Reveal())) || !strings.Contains(text, "redacted") {
		t.Errorf("keys are printed: %s", text)
	}
}

// TestCompress: with the padding of SHA-1 the function is SHA-1.
func TestCompress(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		message := rapid.SliceOfN(rapid.Byte(), 0, 55).Draw(t, "message")
		var block [sha1.BlockSize]byte
		block[copy(block[:], message)] = 0x80
		block[62], block[63] = byte(len(message)>>5), byte(len(message)<<3)
		if got, want := compress(block), sha1.Sum(message); got != want {
			t.Fatalf("%x, want %x", got, want)
		}
	})
}

func TestEAPInput(t *testing.T) {
	t.Parallel()
	for _, identity := range []string{"", strings.Repeat("a", 254)} {
		if _, err := EAPAKA(identity, [16]byte{}, [16]byte{}); !errors.Is(err, ErrInput) {
			t.Errorf("identity of %d bytes: %v", len(identity), err)
		}
		if _, err := EAPAKAPrime(identity, [16]byte{}, [16]byte{}); !errors.Is(err, ErrInput) {
			t.Errorf("identity of %d bytes: %v", len(identity), err)
		}
	}
	for _, network := range []string{"", strings.Repeat("a", 1<<16)} {
		if _, _, err := Prime([16]byte{}, [16]byte{}, network, [6]byte{}); !errors.Is(err, ErrInput) {
			t.Errorf("network of %d bytes: %v", len(network), err)
		}
	}
}

func TestSameNetwork(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"FOO:BAR", "FOO:BAR", true}, {"FOO", "FOO:BAR", true}, {"", "FOO:BAR", true}, {"WLAN", "WLAN", true},
		{"FOO:BAZ", "FOO:BAR", false}, {"FO", "FOO:BAR", false}, {"wlan", "WLAN", false},
		{"5G:mnc001.mcc001.3gppnetwork.org", "5G:mnc002.mcc001.3gppnetwork.org", false},
	} {
		if SameNetwork(tt.a, tt.b) != tt.want || SameNetwork(tt.b, tt.a) != tt.want {
			t.Errorf("%q and %q: want %v", tt.a, tt.b, tt.want)
		}
	}
}

// FuzzSameNetwork: a name fits itself and whatever begins with its fields, whichever of
// the two is the own one.
func FuzzSameNetwork(f *testing.F) {
	f.Add("WLAN", "HRPD")
	f.Add("5G:mnc001.mcc001.3gppnetwork.org", "5G")
	f.Fuzz(func(t *testing.T, a, b string) {
		if SameNetwork(a, b) != SameNetwork(b, a) {
			t.Errorf("%q and %q: not the same both ways", a, b)
		}
		if !SameNetwork(a, a) || !SameNetwork(a, a+":"+b) {
			t.Errorf("%q does not fit itself and %q", a, b)
		}
	})
}
