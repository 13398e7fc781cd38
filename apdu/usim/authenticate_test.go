package usim

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcim/apdu/uicc"
)

func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// random fills a value made at run time; keys of tests have no fixed value.
func random(t testing.TB, b []byte) {
	t.Helper()
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
}

func TestAuthenticateCommand(t *testing.T) {
	t.Parallel()
	a := Authenticate{Context: Context3G}
	random(t, a.RAND[:])
	random(t, a.AUTN[:])
	r, n := hex.EncodeToString(a.RAND[:]), hex.EncodeToString(a.AUTN[:])
	gsm := Authenticate{RAND: a.RAND, Context: ContextGSM}
	for _, tt := range []struct {
		a    Authenticate
		want string
	}{
		{a, "0088008122" + "10" + r + "10" + n + "00"},
		{Authenticate{RAND: a.RAND, AUTN: a.AUTN}, "0088008122" + "10" + r + "10" + n + "00"},
		{gsm, "0088008011" + "10" + r + "00"},
	} {
		c := tt.a.Command()
		b, err := c.Bytes()
		if err != nil || !bytes.Equal(b, fromHex(t, tt.want)) {
			t.Errorf("%X, %v; want %s", b, err, tt.want)
		}
		back, err := DecodeAuthenticate(c.P2, c.Data)
		want := tt.a
		want.Context = c.P2
		if err != nil || back != want {
			t.Errorf("decoded %v, %v", back, err)
		}
	}
	if b, err := (Authenticate{Context: 0x82}).Command().Bytes(); !errors.Is(err, uicc.ErrField) {
		t.Errorf("context 82: %X, %v", b, err)
	}
}

func TestDecodeAuthenticateRefuses(t *testing.T) {
	t.Parallel()
	v := "10" + strings.Repeat("00", 16)
	for name, tt := range map[string]struct {
		p2 byte
		s  string
	}{
		"no data":        {Context3G, ""},
		"RAND cut":       {Context3G, v[:20]},
		"no AUTN":        {Context3G, v},
		"AUTN of 14":     {Context3G, v + "0E" + strings.Repeat("00", 14)},
		"RAND of 15":     {Context3G, "0F" + strings.Repeat("00", 15) + v},
		"bytes behind":   {Context3G, v + v + "00"},
		"AUTN in GSM":    {ContextGSM, v + v},
		"RAND of 0, GSM": {ContextGSM, "00"},
		"context 82":     {0x82, v + v},
	} {
		if a, err := DecodeAuthenticate(tt.p2, fromHex(t, tt.s)); !errors.Is(err, uicc.ErrField) {
			t.Errorf("%s: %v, %v", name, a, err)
		}
	}
}

func TestAuthenticateResponse(t *testing.T) {
	t.Parallel()
	var keys [40]byte
	random(t, keys[:])
	ck, ik, kc := [16]byte(keys[:16]), [16]byte(keys[16:32]), [8]byte(keys[32:])
	auts := [14]byte(keys[3:])
	part := func(b []byte) string { return hex.EncodeToString(append([]byte{byte(len(b))}, b...)) }
	for name, tt := range map[string]struct {
		r    AuthenticateResponse
		want string
	}{
		"success":           {AuthenticateResponse{RES: keys[5:13], CK: ck, IK: ik}, "DB" + part(keys[5:13]) + part(ck[:]) + part(ik[:])},
		"shortest RES":      {AuthenticateResponse{RES: keys[:4], CK: ck, IK: ik}, "DB" + part(keys[:4]) + part(ck[:]) + part(ik[:])},
		"longest RES, Kc":   {AuthenticateResponse{RES: keys[:16], CK: ck, IK: ik, Kc: &kc}, "DB" + part(keys[:16]) + part(ck[:]) + part(ik[:]) + part(kc[:])},
		"sync failure":      {AuthenticateResponse{AUTS: &auts}, "DC" + part(auts[:])},
		"sync failure wins": {AuthenticateResponse{AUTS: &auts, RES: keys[:8]}, "DC" + part(auts[:])},
	} {
		want := fromHex(t, tt.want)
		if !bytes.Equal(tt.r.Encode(), want) {
			t.Errorf("%s: other bytes", name)
		}
		got, err := ParseAuthenticate(want)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if tt.r.AUTS != nil {
			tt.r.RES = nil
		}
		if !cmp.Equal(tt.r, got) {
			t.Errorf("%s: decoded to something else", name)
		}
	}
}

func TestParseAuthenticateRefuses(t *testing.T) {
	t.Parallel()
	v := func(n int) string { return hex.EncodeToString(append([]byte{byte(n)}, make([]byte, n)...)) }
	for name, s := range map[string]string{
		"no data":               "",
		"tag alone":             "DB",
		"other tag":             "DA" + v(8) + v(16) + v(16),
		"success without IK":    "DB" + v(8) + v(16),
		"five values":           "DB" + v(8) + v(16) + v(16) + v(8) + v(8),
		"RES of 3":              "DB" + v(3) + v(16) + v(16),
		"RES of 17":             "DB" + v(17) + v(16) + v(16),
		"CK of 15":              "DB" + v(8) + v(15) + v(16),
		"IK of 17":              "DB" + v(8) + v(16) + v(17),
		"Kc of 7":               "DB" + v(8) + v(16) + v(16) + v(7),
		"IK cut":                "DB" + v(8) + v(16) + "10" + v(8),
		"byte behind":           "DB" + v(8) + v(16) + v(16) + "05",
		"AUTS of 13":            "DC" + v(13),
		"AUTS of 16":            "DC" + v(16),
		"AUTS and more":         "DC" + v(14) + v(1),
		"sync failure, no AUTS": "DC",
	} {
		if _, err := ParseAuthenticate(fromHex(t, s)); !errors.Is(err, ErrAuthenticate) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
