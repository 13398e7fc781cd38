package trace

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/aka"
	"mcim/card/cardtest"
	"mcim/card/emul"
	"mcim/card/model"
)

// clock gives the times of a test: a second later at each call.
func clock() func() time.Time {
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	return func() time.Time {
		now = now.Add(time.Second)
		return now
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// recorder is a sink that keeps exchanges.
type recorder []Exchange

func (r *recorder) WriteAPDU(e Exchange) error {
	*r = append(*r, e)
	return nil
}

func TestRules(t *testing.T) {
	t.Parallel()
	const res, ck, ik, kc = "a1a2a3a4a5a6a7a8", "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf", "e0e1e2e3e4e5e6e7e8e9eaebecedeeef", "f0f1f2f3f4f5f6f7"
	const zeros = "00000000000000000000000000000000"
	auth := "00 88 00 81 22 10" + zeros + "10" + zeros
	for name, c := range map[string]struct {
		script, want []string // command and response in turn
	}{
		"VERIFY": {
			[]string{"00200001 08 31323334ffffffff", "9000", "0020000a 00", "63c3", "0020 0001", "63c3"},
			[]string{"00200001 08 0000000000000000", "9000", "0020000a 00", "63c3", "0020 0001", "63c3"},
		},
		"VERIFY in class A0 and on channels": {
			[]string{"a0200001 08 31323334ffffffff", "9804", "03200001 08 31323334ffffffff", "63c2", "4f200081 08 31323334ffffffff", "9000"},
			[]string{"a0200001 08 0000000000000000", "9804", "03200001 08 0000000000000000", "63c2", "4f200081 08 0000000000000000", "9000"},
		},
		"other PIN commands": {
			[]string{"00240001 10 31323334ffffffff35363738ffffffff", "9000", "00260001 08 31323334ffffffff", "9000", "00280001 08 31323334ffffffff", "9000",
				"002c0001 10 3132333435363738 31323334ffffffff", "9000"},
			[]string{"00240001 10" + zeros, "9000", "00260001 08 0000000000000000", "9000", "00280001 08 0000000000000000", "9000", "002c0001 10" + zeros, "9000"},
		},
		"VERIFY with lengths that do not fit": {
			[]string{"00200001 07 31323334ffffffff", "6700", "00200001 09 31323334", "6700", "00200001000008 31323334ffffffff", "6700"},
			[]string{"00200001 07 0000000000000000", "6700", "00200001 09 00000000", "6700", "00200001000008 0000000000000000", "6700"},
		},
		"key file": {
			[]string{"00a40004 02 af20", "9000", "00d60000 04 14010203", "9000", "00b00000 04", "14010203 9000", "00b00000 00", "6c04"},
			[]string{"00a40004 02 af20", "9000", "00d60000 04 00000000", "9000", "00b00000 04", "00000000 9000", "00b00000 00", "6c04"},
		},
		"key file by path, records, 61xx": {
			[]string{"00a40804 04 7fffaf20", "6120", "00dc0104 04 14010203", "9000", "00b20104 04", "6104", "00c00000 04", "14010203 9000"},
			[]string{"00a40804 04 7fffaf20", "6120", "00dc0104 04 00000000", "9000", "00b20104 04", "6104", "00c00000 04", "00000000 9000"},
		},
		"other file": {
			[]string{"00a40004 02 6f07", "9000", "00d60000 02 0102", "9000", "00b00000 02", "0102 9000", "00b20104 02", "6102", "00c00000 02", "0102 9000"},
			nil,
		},
		"selection that fails leaves the key file": {
			[]string{"00a40004 02 af20", "9000", "00a40004 02 6f07", "6a82", "00d60000 02 0102", "9000"},
			[]string{"00a40004 02 af20", "9000", "00a40004 02 6f07", "6a82", "00d60000 02 0000", "9000"},
		},
		"selection without an answer": {
			[]string{"00a40004 02 6f07", "9000", "00a40004 02 af20", "", "00d60000 02 0102", "9000", "00a40004 02 6f07", "", "00d60000 02 0102", "9000"},
			[]string{"00a40004 02 6f07", "9000", "00a40004 02 af20", "", "00d60000 02 0000", "9000", "00a40004 02 6f07", "", "00d60000 02 0000", "9000"},
		},
		"channels have files of their own": {
			[]string{"00a40004 02 af20", "9000", "01a40004 02 6f07", "9000", "01d60000 02 0102", "9000", "00d60000 02 0102", "9000", "41d60000 02 0102", "6881"},
			[]string{"00a40004 02 af20", "9000", "01a40004 02 6f07", "9000", "01d60000 02 0102", "9000", "00d60000 02 0000", "9000", "41d60000 02 0000", "6881"},
		},
		"a channel begins anew": {
			[]string{"01a40004 02 6f07", "9000", "00700000 01", "01 9000", "01d60000 02 0102", "9000"},
			[]string{"01a40004 02 6f07", "9000", "00700000 01", "01 9000", "01d60000 02 0000", "9000"},
		},
		"no file, application, parent, malformed SELECT": {
			[]string{"00d60000 02 0102", "9000", "00a40004 02 6f07", "9000", "00a40404 05 a000000087", "9000", "00d60000 02 0102", "9000",
				"00a40004 02 6f07", "9000", "00a40304", "9000", "00d60000 02 0102", "9000", "00a40004 02 6f07", "9000", "00a40004 05 6f07", "9000", "00d60000 02 0102", "9000"},
			[]string{"00d60000 02 0000", "9000", "00a40004 02 6f07", "9000", "00a40404 05 a000000087", "9000", "00d60000 02 0000", "9000",
				"00a40004 02 6f07", "9000", "00a40304", "9000", "00d60000 02 0000", "9000", "00a40004 02 6f07", "9000", "00a40004 05 6f07", "9000", "00d60000 02 0000", "9000"},
		},
		"SFI": { // AF30 has 10, AF20 none
			[]string{"00d69000 02 0102", "9000", "00d60000 02 0102", "9000", "00d68200 02 0102", "9000", "00d60000 02 0102", "9000", "00b20184 02", "0102 9000",
				"00b20114 02", "0102 9000", "00dc0104 02 0102", "9000"},
			[]string{"00d69000 02 0000", "9000", "00d60000 02 0000", "9000", "00d68200 02 0102", "9000", "00d60000 02 0102", "9000", "00b20184 02", "0000 9000",
				"00b20114 02", "0102 9000", "00dc0104 02 0102", "9000"},
		},
		"commands that name files in other ways": {
			[]string{"00a40004 02 6f07", "9000", "00d7af20 04 54005301", "9000", "00cb8080 02 5c01", "0102 9000", "00320000 03 000001", "6106", "00c00000 06", "000002000001 9000"},
			[]string{"00a40004 02 6f07", "9000", "00d7af20 04 00000000", "9000", "00cb8080 02 0000", "0000 9000", "00320000 03 000000", "6106", "00c00000 06", "000000000000 9000"},
		},
		"AUTHENTICATE": {
			[]string{auth + "00", "db08" + res + "10" + ck + "10" + ik + "9000", auth + "00", "db08" + res + "10" + ck + "10" + ik + "08" + kc + "9000"},
			[]string{auth + "00", "db08" + zeros[:16] + "10" + zeros + "10" + zeros + "9000", auth + "00", "db08" + zeros[:16] + "10" + zeros + "10" + zeros + "08" + zeros[:16] + "9000"},
		},
		"AUTHENTICATE by GET RESPONSE": {
			[]string{auth, "612b", "00c00000 2b", "db08" + res + "10" + ck + "10" + ik + "9000", "01c00000 02", "0102 9000", "00a40004 02 6f07", "9000", "00c00000 02", "0102 9000"},
			[]string{auth, "612b", "00c00000 2b", "db08" + zeros[:16] + "10" + zeros + "10" + zeros + "9000", "01c00000 02", "0000 9000", "00a40004 02 6f07", "9000", "00c00000 02", "0102 9000"},
		},
		"AUTHENTICATE in pieces": {
			[]string{auth, "6120", "00c00000 12", "db08" + res + "10" + ck[:14] + "6110", "00c00000 10", "dc0e" + ck[:28] + "9000"},
			[]string{auth, "6120", "00c00000 12", zeros + "0000" + "6110", "00c00000 10", zeros + "9000"},
		},
		"AUTHENTICATE with AUTS, failing, in the GSM context": {
			[]string{auth + "00", "dc0e" + ck[:28] + "9000", auth, "9862", "00880080 11 10" + zeros + "00", "04a1a2a3a408" + kc + "9000", "a0880000 10" + zeros, "9f0c",
				"a0c00000 0c", "a1a2a3a4" + kc + "9000"},
			[]string{auth + "00", "dc0e" + ck[:28] + "9000", auth, "9862", "00880080 11 10" + zeros + "00", zeros[:28] + "9000", "a0880000 10" + zeros, "9f0c",
				"a0c00000 0c", zeros[:24] + "9000"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := c.want
			if want == nil {
				want = c.script
			}
			var got recorder
			tapped := Tap(&lines{t: t, script: c.script}, Options{Sensitive: []uint16{0xAF20, 0xAF30}}, &got)
			for i := 0; i < len(c.script); i += 2 {
				response, _ := tapped.Transmit(t.Context(), unhex(t, c.script[i]))
				if !bytes.Equal(response, unhex(t, c.script[i+1])) {
					t.Errorf("the response itself was changed: %x", response)
				}
				e := got[i/2]
				if !bytes.Equal(e.Command, unhex(t, want[i])) || !bytes.Equal(e.Response, unhex(t, want[i+1])) {
					t.Errorf("%s > %s is written as\n%x > %x, want\n%s > %s", c.script[i], c.script[i+1], e.Command, e.Response, want[i], want[i+1])
				}
			}
		})
	}
}

// lines is a card that answers by a script; an empty answer is none.
type lines struct {
	t      testing.TB
	script []string
}

func (l *lines) Transmit(context.Context, []byte) ([]byte, error) {
	answer := unhex(l.t, l.script[1])
	l.script = l.script[2:]
	if len(answer) == 0 {
		return nil, card.ErrTimeout
	}
	return answer, nil
}

func (l *lines) Reset(context.Context) ([]byte, error) { return []byte{0x3B, 0}, nil }
func (l *lines) Close() error                          { return nil }

func TestResetForgetsTheFile(t *testing.T) {
	t.Parallel()
	var got recorder
	tapped := Tap(&lines{t, []string{"", "9000", "", "9000"}}, Options{Sensitive: []uint16{0xAF20}}, &got)
	for _, c := range []string{"00a40004026f07", "00d6000002aabb"} {
		if _, err := tapped.Transmit(t.Context(), unhex(t, c)); err != nil {
			t.Fatal(err)
		}
		if _, err := tapped.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if hex.EncodeToString(got[1].Command) != "00d60000020000" {
		t.Errorf("got %x", got[1].Command)
	}
}

func TestNothingSensitiveIsPlain(t *testing.T) {
	t.Parallel()
	var got recorder
	tapped := Tap(&lines{t, []string{"", "aabb9000"}}, Options{}, &got)
	if _, err := tapped.Transmit(t.Context(), unhex(t, "00b0000002")); err != nil || !bytes.Equal(got[0].Response, unhex(t, "aabb9000")) {
		t.Errorf("%x, %v", got[0].Response, err)
	}
}

func TestRedactor(t *testing.T) {
	t.Parallel()
	var r Redactor
	r.Add(secret.New([]byte{1, 1}), secret.New([]byte{2, 3, 4}), secret.New([]byte{4, 5}), secret.Bytes{})
	for in, want := range map[string][]Range{
		"":             nil,
		"00":           nil,
		"0101":         {{0, 2}},
		"010101":       {{0, 3}}, // overlapping
		"000203040500": {{1, 5}}, // one after the other
		"010100010102": {{0, 2}, {3, 5}},
		"0203":         nil,
	} {
		if d := cmp.Diff(want, r.Ranges(unhex(t, in))); d != "" {
			t.Errorf("%s: %s", in, d)
		}
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	procedure := "P8c"
	w := NewWriter(&out, func() (string, string) { return procedure, "write <IMSI>" })
	script := []string{"", "9000", "", "63c2", "", "", "", "0102 9000", "", "6a82"}
	tapped := Tap(&lines{t, script}, Options{Now: clock()}, w)
	for _, c := range []string{"00a40004 02 6f07", "00200001 08 31323334ffffffff", "00f20000 00", "00d10000", "00200001 01"} {
		_, _ = tapped.Transmit(t.Context(), unhex(t, c))
	}
	procedure = ""
	if err := w.WriteTPM(TPMExchange{Time: clock()(), Name: "TPM2_NV_Increment", RequestBytes: 31, ResponseBytes: 10, RC: 0x922, Duration: 1500 * time.Microsecond}); err != nil {
		t.Fatal(err)
	}
	const want = `{"kind":"trace","version":1}
{"kind":"apdu","n":1,"time":"2026-05-04T03:02:02Z","procedure":"P8c","step":"write <IMSI>","name":"SELECT 6F07","command":"00a40004026f07","response":"9000","sw":"9000","meaning":"success","us":1000000}
{"kind":"apdu","n":2,"time":"2026-05-04T03:02:04Z","procedure":"P8c","step":"write <IMSI>","name":"VERIFY PIN","command":"00200001080000000000000000","response":"63c2","sw":"63C2","meaning":"verification failed, 2 tries left","us":1000000,"redacted":[{"in":"command","from":5,"to":13}]}
{"kind":"apdu","n":3,"time":"2026-05-04T03:02:06Z","procedure":"P8c","step":"write <IMSI>","name":"STATUS","command":"00f2000000","error":"card did not answer in time","cause":"timeout","us":1000000}
{"kind":"apdu","n":4,"time":"2026-05-04T03:02:08Z","procedure":"P8c","step":"write <IMSI>","name":"command D1","command":"00d10000","response":"01029000","sw":"9000","meaning":"success","us":1000000}
{"kind":"apdu","n":5,"time":"2026-05-04T03:02:10Z","procedure":"P8c","step":"write <IMSI>","name":"VERIFY PIN","command":"0020000101","response":"6a82","sw":"6A82","meaning":"file not found","us":1000000}
{"kind":"tpm","n":6,"time":"2026-05-04T03:02:02Z","step":"write <IMSI>","name":"TPM2_NV_Increment","request_bytes":31,"response_bytes":10,"rc":"00000922","us":1500}
`
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Error(d)
	}
	if w.Err() != nil {
		t.Error(w.Err())
	}
}

// full fails after some bytes.
type full struct{ room int }

func (f *full) Write(b []byte) (int, error) {
	if f.room -= len(b); f.room < 0 {
		return 0, errors.New("no space left on device")
	}
	return len(b), nil
}

// A trace that cannot be written is the trace's fault, not the card's.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	w := NewWriter(&full{room: 330}, nil)
	p, err := NewPcap(&full{room: 100})
	if err != nil {
		t.Fatal(err)
	}
	tapped := Tap(&lines{t, []string{"", "9000", "", "9000", "", "9000"}}, Options{}, w, p)
	for range 3 {
		if _, err := tapped.Transmit(t.Context(), unhex(t, "00a40004 02 6f07")); err != nil {
			t.Error(err)
		}
	}
	if w.Err() == nil || !strings.Contains(w.Err().Error(), "incomplete from line 2") || p.Err() == nil || !strings.Contains(p.Err().Error(), "packet 2") {
		t.Errorf("got %v and %v", w.Err(), p.Err())
	}
	if err := w.WriteTPM(TPMExchange{}); err == nil {
		t.Error("writes on after an error")
	}
	if _, err := NewPcap(&full{}); err == nil {
		t.Error("no room for the header, and no error")
	}
}

// packets reads a capture file as Wireshark does, and gives the SIM messages.
func packets(t *testing.T, file []byte) (messages [][]byte) {
	t.Helper()
	if len(file) < 24 || binary.LittleEndian.Uint32(file) != 0xA1B23C4D || binary.LittleEndian.Uint32(file[20:]) != 101 {
		t.Fatalf("file header %x", file[:min(len(file), 24)])
	}
	for rest := file[24:]; len(rest) > 0; {
		n := int(binary.LittleEndian.Uint32(rest[8:]))
		if binary.LittleEndian.Uint32(rest[12:]) != uint32(n) || len(rest) < 16+n {
			t.Fatalf("packet of %d bytes, %d follow", n, len(rest)-16)
		}
		ip := rest[16 : 16+n]
		rest = rest[16+n:]
		if ip[0] != 0x45 || int(binary.BigEndian.Uint16(ip[2:])) != n || ip[9] != 17 || sum(ip[:20]) != 0xFFFF {
			t.Errorf("IP header %x", ip[:20])
		}
		u := ip[20:]
		pseudo := append(bytes.Clone(ip[12:20]), 0, 17, u[4], u[5])
		if binary.BigEndian.Uint16(u[2:]) != 4729 || int(binary.BigEndian.Uint16(u[4:])) != len(u) || sum(append(pseudo, u...)) != 0xFFFF {
			t.Errorf("UDP header %x", u[:8])
		}
		if want := []byte{2, 4, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}; !bytes.Equal(u[8:24], want) {
			t.Errorf("GSMTAP header %x", u[8:24])
		}
		messages = append(messages, u[24:])
	}
	return messages
}

// sum is the sum of a message with its checksum in it, which is FFFF if that is
// right; other code than that of the writer.
func sum(b []byte) uint16 {
	total := 0
	for i, v := range b {
		total += int(v) << (8 * (1 - i%2))
	}
	for total > 0xFFFF {
		total = total&0xFFFF + total/0x10000
	}
	return uint16(total)
}

func TestPcap(t *testing.T) {
	t.Parallel()
	var file bytes.Buffer
	p, err := NewPcap(&file)
	if err != nil {
		t.Fatal(err)
	}
	long := bytes.Repeat([]byte{0xA5}, 65000)
	exchanges := []Exchange{
		{Time: clock()(), Command: unhex(t, "00a40004023f00"), Response: unhex(t, "9000")},
		{Command: unhex(t, "00b0000001"), Response: unhex(t, "ff9000")}, // odd length
		{Command: unhex(t, "00b0000001")},
		{Command: long, Response: long},
	}
	for _, e := range exchanges {
		if err := p.WriteAPDU(e); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"00a40004023f009000", "00b0000001ff9000", "00b0000001", hex.EncodeToString(append(long, long...)[:maxPayload])}
	for i, m := range packets(t, file.Bytes()) {
		if hex.EncodeToString(m) != want[i] {
			t.Errorf("packet %d has %d bytes, want %d", i, len(m), len(want[i])/2)
		}
	}
	if got := binary.LittleEndian.Uint32(file.Bytes()[24:]); got != uint32(clock()().Unix()) {
		t.Errorf("time %d", got)
	}
}

// life runs what mcim does with a card: PIN, a change of subscription with its
// key file, AKA with the old and the new key. It gives all secrets of it.
func life(t *testing.T, tap func(card.Card) card.Card) []secret.Bytes {
	t.Helper()
	profile, err := emul.RandomProfile("usim")
	if err != nil {
		t.Fatal(err)
	}
	profile.PIN1 = profile.PUK1 // eight digits: four are in any trace by chance
	uicc1, err := emul.New(profile)
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.ByName("usim")
	if err != nil {
		t.Fatal(err)
	}
	c := tap(uicc1)
	ctx := t.Context()
	atr, err := c.Reset(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s := card.NewSession(c, card.Options{T0: true})
	guard := card.NewGuard(s, card.GuardConfig{ATR: atr, Allow: []string{profile.ICCID}})
	pin, err := uicc.PadPIN(string(profile.PIN1.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Select(ctx, card.InApp(m.AID)); err != nil {
		t.Fatal(err)
	}
	if err := guard.Verify(ctx, uicc.RefPIN1, pin); err != nil {
		t.Fatal(err)
	}
	k, opc := random(t), random(t)
	secrets := []secret.Bytes{pin, profile.PIN1, profile.ADM1, profile.K, profile.OPc, k, opc}
	secrets = append(secrets, session(t, guard, m, profile.K, profile.OPc, profile.SQN+32)...)
	if err := guard.Verify(ctx, m.ADM.Reference, profile.ADM1); err != nil {
		t.Fatal(err)
	}
	if err := guard.UpdateKey(ctx, model.Key{Algorithm: model.Milenage, K: k, OPc: opc}); err != nil {
		t.Fatal(err)
	}
	if err := guard.UpdateSQN(ctx, model.NewSQN(0)); err != nil {
		t.Fatal(err)
	}
	return append(secrets, session(t, guard, m, k, opc, 32)...)
}

func random(t *testing.T) secret.Bytes {
	t.Helper()
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return secret.New(b)
}

// session does an AKA and gives its keys.
func session(t *testing.T, guard *card.Guard, m *model.Model, k, opc secret.Bytes, sqn aka.SQN) []secret.Bytes {
	t.Helper()
	block, err := aka.NewAES(k)
	if err != nil {
		t.Fatal(err)
	}
	home, err := aka.NewMilenage(block, opc)
	if err != nil {
		t.Fatal(err)
	}
	v, err := aka.NewVector(home, [16]byte(random(t).Reveal()), sqn, [2]byte{0x80, 0})
	if err != nil {
		t.Fatal(err)
	}
	r, err := guard.Authenticate(t.Context(), m.AID, usim.Authenticate{RAND: v.RAND, AUTN: v.AUTN})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := usim.ParseAuthenticate(r.Data)
	if err != nil || answer.AUTS != nil {
		t.Fatalf("%v, %v", r.SW, err)
	}
	return []secret.Bytes{secret.New(answer.RES), secret.New(answer.CK[:]), secret.New(answer.IK[:])}
}

// leaks finds the secrets in an artefact, in every form that a leak has.
func leaks(artefact []byte, secrets []secret.Bytes) (found int) {
	for _, s := range secrets {
		raw := s.Reveal()
		for _, form := range []string{string(raw), hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)),
			base64.StdEncoding.EncodeToString(raw), strings.Trim(fmt.Sprintf("%d", raw), "[]")} {
			if bytes.Contains(artefact, []byte(form)) {
				found++
				break
			}
		}
	}
	return found
}

func TestNoSecretInAnyOutput(t *testing.T) {
	t.Parallel()
	var out, capture bytes.Buffer
	p, err := NewPcap(&capture)
	if err != nil {
		t.Fatal(err)
	}
	var counted *cardtest.Faulty
	secrets := life(t, func(c card.Card) card.Card {
		counted = cardtest.NewFaulty(c)
		return Tap(counted, Options{Sensitive: []uint16{0xAF20, 0xAF30}}, NewWriter(&out, nil), p)
	})
	if l := leaks(out.Bytes(), secrets) + leaks(capture.Bytes(), secrets); l != 0 {
		t.Errorf("%d leaks in\n%s", l, out.String())
	}
	messages := packets(t, capture.Bytes())
	var lines int
	for d := json.NewDecoder(&out); d.More(); lines++ {
		var l struct{ Kind, Name, Command, Response string }
		if err := d.Decode(&l); err != nil {
			t.Fatal(err)
		}
		if l.Kind == "reset" || l.Kind == "trace" {
			lines--
			continue
		}
		if l.Kind != "apdu" || l.Command+l.Response != hex.EncodeToString(messages[lines]) {
			t.Errorf("line %d and packet %d differ: %+v", lines+1, lines+1, l)
		}
	}
	if n := counted.Sent(); lines < 20 || lines != len(messages) || lines != n {
		t.Errorf("%d lines, %d packets, %d commands", lines, len(messages), n)
	}
}

// The search finds what is not taken out, so that it means something when it
// finds nothing; and the Redactor alone takes out what it was told.
func TestPlantedSecretIsFound(t *testing.T) {
	t.Parallel()
	var all, redactedOut bytes.Buffer
	var r Redactor
	known := random(t)
	r.Add(known)
	for out, o := range map[*bytes.Buffer]Options{&all: {}, &redactedOut: {Redactor: &r}} {
		c := Tap(&lines{t, []string{"", "9000", "", hex.EncodeToString(known.Reveal()) + "9000"}}, o, NewWriter(out, nil))
		for _, command := range []string{"00da0000 10" + hex.EncodeToString(known.Reveal()), "00ca0000 10"} {
			if _, err := c.Transmit(t.Context(), unhex(t, command)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if leaks(all.Bytes(), []secret.Bytes{known}) != 1 {
		t.Error("the planted secret is not found")
	}
	if leaks(redactedOut.Bytes(), []secret.Bytes{known}) != 0 || strings.Count(redactedOut.String(), `"redacted"`) != 2 {
		t.Errorf("got %s", redactedOut.String())
	}
	var plainKey bytes.Buffer
	secrets := life(t, func(c card.Card) card.Card { return Tap(c, Options{}, NewWriter(&plainKey, nil)) })
	if leaks(plainKey.Bytes(), secrets) != 2 { // K and OPc in a key file that nobody named
		t.Errorf("%d leaks, want 2", leaks(plainKey.Bytes(), secrets))
	}
}

// Where tshark is installed it has the last word on the capture.
func TestTshark(t *testing.T) {
	t.Parallel()
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Log("tshark is not installed: TestPcap alone judges the capture")
		return
	}
	var capture bytes.Buffer
	p, err := NewPcap(&capture)
	if err != nil {
		t.Fatal(err)
	}
	life(t, func(c card.Card) card.Card { return Tap(c, Options{Sensitive: []uint16{0xAF20, 0xAF30}}, p) })
	file := filepath.Join(t.TempDir(), "x.pcap")
	if err := os.WriteFile(file, capture.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	// With the checks of both checksums on.
	out, err := exec.Command(tshark, "-r", file, "-V", "-O", "ip,udp,gsm_sim", "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{"GSM SIM 11.11", "SELECT", "READ BINARY", "UPDATE BINARY", "VERIFY", "GET RESPONSE", "Status Word: 9000", "[Checksum Status: Good]", "[Header checksum status: Good]"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("tshark does not say %q", want)
		}
	}
	for _, bad := range []string{"Bad", "incorrect", "Unreassembled"} {
		if bytes.Contains(out, []byte(bad)) {
			t.Errorf("tshark says %q", bad)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}

// The suite that every card passes holds for a tapped one too.
func TestTappedCardIsACard(t *testing.T) {
	t.Parallel()
	profile, err := emul.RandomProfile("usim")
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.ByName("usim")
	if err != nil {
		t.Fatal(err)
	}
	pin, err := uicc.PadPIN(string(profile.PIN1.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	cardtest.TestCard(t, func(t testing.TB) card.Card {
		c, err := emul.New(profile)
		if err != nil {
			t.Fatal(err)
		}
		return Tap(c, Options{}, &recorder{})
	}, cardtest.Facts{ICCID: profile.ICCID, App: m.AID, Protected: card.InApp(m.AID, usim.EFIMSI), PIN1: pin, SpendTry: true})
}

// FuzzRules holds the tap to: no panic, no change of a length, no change but to
// 00 in the ranges that it names.
func FuzzRules(f *testing.F) {
	f.Add([]byte{0, 0x20, 0, 1, 1, 0x31}, []byte{0x90, 0}, []byte{0, 0xA4, 0, 4, 2, 0xAF, 0x20}, []byte{0x61, 0x20})
	f.Add([]byte{0, 0x88, 0, 0x81, 0}, []byte{0xDB, 1, 2, 0x90, 0}, []byte{0, 0xC0, 0, 0, 4}, []byte{0xDC})
	f.Fuzz(func(t *testing.T, command1, response1, command2, response2 []byte) {
		r := newRules([]uint16{0xAF20, 0xAF30})
		for _, x := range [][2][]byte{{command1, response1}, {command2, response2}} {
			inCommand, inResponse := r.apply(x[0], x[1])
			for i, ranges := range [][]Range{merge(inCommand), merge(inResponse)} {
				clean := redacted(x[i], ranges)
				if len(clean) != len(x[i]) {
					t.Fatalf("%x became %x", x[i], clean)
				}
			}
		}
		_ = NewWriter(&bytes.Buffer{}, nil).WriteAPDU(Exchange{Command: command1, Response: response1})
	})
}
