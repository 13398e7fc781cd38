package emul

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/card/aka"
	"mcim/card/model"
)

const (
	testICCID = "8988211000000467343"
	testIMSI  = "001010123456789"
)

// testProfile is a profile with fresh keys; PIN1 is 1234, PUK1 12345678.
func testProfile(t testing.TB) Profile {
	t.Helper()
	random := func(n int) secret.Bytes {
		b := make([]byte, n)
		if _, err := rand.Read(b); err != nil {
			t.Fatal(err)
		}
		return secret.New(b)
	}
	sqn, err := aka.NewSQN(1000, 0)
	if err != nil {
		t.Fatal(err)
	}
	return Profile{
		Model: "usim", ICCID: testICCID, IMSI: testIMSI,
		PIN1: secret.New([]byte("1234")), PUK1: secret.New([]byte("12345678")),
		K: random(16), OPc: random(16), ADM1: random(8), AMF: [2]byte{0x80, 0}, SQN: sqn,
		Codes: Codes{
			PIN2: secret.New([]byte("2345")), PUK2: secret.New([]byte("23456789")),
			Universal: secret.New([]byte("3456")), UniversalPUK: secret.New([]byte("34567890")),
			ADMs: [9]secret.Bytes{secret.New([]byte("AD22AD22"))},
		},
	}
}

func newCard(t testing.TB, p Profile) *Card {
	t.Helper()
	c, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// homeOf is the home operator of the profile, one SEQ ahead of the card.
func homeOf(t testing.TB, p Profile) *aka.Subscriber {
	t.Helper()
	b, err := aka.NewAES(p.K)
	if err != nil {
		t.Fatal(err)
	}
	m, err := aka.NewMilenage(b, p.OPc)
	if err != nil {
		t.Fatal(err)
	}
	return aka.NewSubscriber(m, p.SQN, p.AMF, nil)
}

// nextVector is a vector with a random RAND.
func nextVector(t testing.TB, s *aka.Subscriber) aka.Vector {
	t.Helper()
	var r [16]byte
	if _, err := rand.Read(r[:]); err != nil {
		t.Fatal(err)
	}
	v, err := s.Next(r)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// send is one command and its answer, both in hexadecimal digits.
func send(t testing.TB, c *Card, command string) string {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(command, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Transmit(context.Background(), b)
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return hex.EncodeToString(r)
}

// run sends the commands of a script: lines of "command = answer", where a dot
// in the answer is any digit and "~" any digits. A command RESET is a reset.
func run(t *testing.T, c *Card, lines ...string) {
	t.Helper()
	for i, line := range lines {
		command, want, ok := strings.Cut(line, "=")
		if !ok {
			t.Fatalf("no answer in %q", line)
		}
		if command = strings.TrimSpace(command); command == "RESET" {
			if _, err := c.Reset(context.Background()); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want = strings.ToLower(strings.ReplaceAll(want, " ", ""))
		got := send(t, c, command)
		if !regexp.MustCompile("^" + strings.ReplaceAll(want, "~", ".*") + "$").MatchString(got) {
			t.Errorf("line %d: %s\n got %s\nwant %s", i+1, command, got, want)
		}
	}
}

// Commands that scripts begin with.
const (
	selectUSIM = "00A4040C 07 A0000000871002 = 9000"
	verifyPIN1 = "00200001 08 31323334FFFFFFFF = 9000"
	wrongPIN1  = "00200001 08 30303030FFFFFFFF = "
)

func verifyADM(p Profile) string {
	return fmt.Sprintf("0020000A 08 %x = 9000", p.ADM1.Reveal())
}

func authenticate(v aka.Vector) string {
	return fmt.Sprintf("00880081 22 10 %x 10 %x", v.RAND, v.AUTN)
}

func success(v aka.Vector) string {
	return fmt.Sprintf("db%02x%x10%x10%x08%x9000", len(v.XRES.Bytes()), v.XRES.Bytes(), v.CK, v.IK, aka.Kc(v.CK, v.IK))
}

func iccidHex(t testing.TB) string {
	t.Helper()
	b, err := uicc.EncodeICCID(testICCID)
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b)
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func hexByte(b byte) string { return hex.EncodeToString([]byte{b}) }

func keyOf(p Profile) model.Key {
	return model.Key{Algorithm: model.Milenage, K: p.K, OPc: p.OPc}
}
