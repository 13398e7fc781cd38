package emul

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"testing"

	"mcim/apdu/secret"
	"mcim/apdu/usim"
	"mcim/card/aka/suci"
)

const getIdentity = "80780001 00"

// identityOf is the SUCI that the card gives.
func identityOf(t *testing.T, c *Card) usim.SUCI {
	t.Helper()
	n := unhex(t, send(t, c, getIdentity)) // 6Cxx
	if len(n) != 2 || n[0] != 0x6C {
		t.Fatalf("GET IDENTITY: %x", n)
	}
	s, err := usim.ParseIdentity(answerOf(t, c, "80780001 "+hexByte(n[1])))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSUCI: the home network finds the IMSI in what the card conceals, and a seed
// makes the same SUCI again.
func TestSUCI(t *testing.T) {
	t.Parallel()
	for s, curve := range map[usim.Scheme]ecdh.Curve{usim.SchemeNull: nil, usim.SchemeA: ecdh.X25519(), usim.SchemeB: ecdh.P256()} {
		p, home := testProfile(t), suci.Home{}
		p.Routing = "0042"
		if curve != nil {
			k, err := curve.GenerateKey(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			p.SUCI = suci.PublicKey{Scheme: s, ID: 27, Key: k.PublicKey().Bytes()}
			home[27] = suci.PrivateKey{Scheme: s, Key: secret.New(k.Bytes())}
		}
		c := newCard(t, p)
		run(t, c, getIdentity+" = 6985", selectUSIM, getIdentity+" = 6982", verifyPIN1)
		first, second := identityOf(t, c), identityOf(t, c)
		imsi, err := home.Deconceal(first)
		if err != nil || string(imsi) != p.IMSI || first.Routing != "0042" || first.Scheme != s {
			t.Errorf("scheme %d: %v", s, err)
		}
		if bytes.Equal(first.Output, second.Output) != (curve == nil) {
			t.Errorf("scheme %d: two SUCIs are equal, or those of the null scheme are not", s)
		}
		c.Rand = bytes.NewReader(bytes.Repeat([]byte{7}, 4*ephemeralBytes))
		first = identityOf(t, c)
		if again := identityOf(t, c); !bytes.Equal(first.Output, again.Output) {
			t.Errorf("scheme %d: one seed makes two SUCIs", s)
		}
	}
}

func TestGetIdentityRefuses(t *testing.T) {
	t.Parallel()
	p := testProfile(t)
	c := newCard(t, p)
	run(t, c, selectUSIM, verifyPIN1,
		"80780101 00 = 6A86",
		"80780003 00 = 6A86",
		"80780002 00 = 6A81", // for offload to a WLAN
		"80780001 01 00 = 6700",
		"00A4040C 07 A0000000871004 = 9000",
		getIdentity+" = 6985", // the ISIM has none
		selectUSIM, verifyADM(p),
		"00A4080C 06 7FFF5FC04F07 = 9000",
		"00D60000 02 FFFF = 9000",
		getIdentity+" = 6985", // a file that says nothing
		"00A4080C 04 7FFF6F38 = 9000",
		"00D6000F 01 00 = 9000", // services 121 to 128
		getIdentity+" = 6A81",
	)
}
