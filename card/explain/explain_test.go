package explain

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcim/card"
	"mcim/card/trace"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// words is an explanation on one line.
func words(x Explanation) string {
	s := x.Command
	for _, w := range x.Sent {
		s += " | " + w
	}
	s += " > " + x.Status
	for _, w := range x.Answer {
		s += " | " + w
	}
	return s
}

func TestExplain(t *testing.T) {
	t.Parallel()
	const res = "a1a2a3a4a5a6a7a8"
	const zeros = "00000000000000000000000000000000"
	for name, c := range map[string][]string{ // command, response, words
		"files follow the selection": {
			"00a40004022fe2", "62178202412183022fe28a01058b032f06018002000a8801109000",
			"SELECT MF/EF.ICCID (2FE2), with FCP > 9000: success | transparent EF 2FE2, 10 bytes, SFI 2, activated | access rules in record 1 of EF.ARR (2F06)",
			"00b000000a", "989909715854856323f19000",
			`READ BINARY of MF/EF.ICCID (2FE2): 10 bytes from 0 > 9000: success | 989909715854856323f1 | {"iccid":"8999901785455836321"}`,
			"00a4040407a0000000871002", "6130",
			"SELECT application A0000000871002 (USIM), with FCP > 6130: 48 bytes of response wait for GET RESPONSE",
			"00b0870009", "0809101010325476989000",
			`READ BINARY of ADF.USIM/EF.IMSI (6F07) by SFI 7: 9 bytes from 0 > 9000: success | 080910101032547698 | {"imsi":"001010123456789"}`,
			"00b0000002", "08099000",
			"READ BINARY of ADF.USIM/EF.IMSI (6F07): 2 bytes from 0 > 9000: success | 0809 | not as in TS 31.102, 4.2.2: EF.IMSI: ",
			"00b0000101", "099000", "READ BINARY of ADF.USIM/EF.IMSI (6F07): 1 bytes from 1 > 9000: success | 09",
			"00a40004026ffe", "6a82", "SELECT EF 6FFE, with FCP > 6A82: file not found",
			"00d6000001ff", "6982",
			"UPDATE BINARY of ADF.USIM/EF.IMSI (6F07): 1 bytes from 0 | not in use: all FF > 6982: security status not satisfied: verify the PIN or key that the access rule asks for",
			"00a40804047f106f3a", "9000", "SELECT DF.TELECOM/EF.ADN (6F3A), with FCP > 9000: success",
			"00b2010400", "6c20", "READ RECORD of DF.TELECOM/EF.ADN (6F3A): record 1, as many bytes as there are > 6C20: wrong Le, right one is 32",
			"00b2000220", "6a83", "READ RECORD of DF.TELECOM/EF.ADN (6F3A): the next record, 32 bytes > 6A83: record not found",
		},
		"GET RESPONSE is what was asked for before": {
			"00a40004022fe2", "6119", "SELECT MF/EF.ICCID (2FE2), with FCP > 6119: 25 bytes of response wait for GET RESPONSE",
			"00c0000019", "62178202412183022fe28a01058b032f06018002000a8801109000",
			"GET RESPONSE: 25 bytes > 9000: success | transparent EF 2FE2, 10 bytes, SFI 2, activated | access rules in record 1 of EF.ARR (2F06)",
		},
		"PINs": {
			"00200001", "63c3", "VERIFY PIN of PIN1 of application 1 (01): how many tries are left > 63C3: 3 tries left",
			"0020000a083132333435363738", "63c1", "VERIFY PIN of ADM1 (0A) | 8 secret bytes, not kept > 63C1: verification failed, 1 try left",
			"0028008b08ffffffffffffffff", "9000", "ENABLE PIN of ADM7 (8B) | 8 secret bytes, not kept > 9000: success",
		},
		"directories": {
			"00a40004023f00", "62208202782183023f00a5038001718a01058b032f0602c6099001c083010183010a9000",
			"SELECT MF (3F00), with FCP > 9000: success | directory 3F00, activated | access rules in record 2 of EF.ARR (2F06) | PINs: PIN1 of application 1 (01) enabled, ADM1 (0A) enabled",
			"00a4000c027f20", "9000", "SELECT DF.GSM (7F20), without answer > 9000: success",
			"00a4000c026f20", "9000", "SELECT DF.GSM/EF.Kc (6F20), without answer > 9000: success",
			"00b0000009", "0102030405060708009000", "READ BINARY of DF.GSM/EF.Kc (6F20): 9 bytes from 0 > 9000: success | 9 secret bytes, not kept",
			"00a4030c", "9000", "SELECT the parent directory, without answer > 9000: success",
		},
		"AUTHENTICATE": {
			"0088008122 10" + zeros + "10" + zeros, "db08" + res + "10" + zeros + "10" + zeros + "9000",
			"AUTHENTICATE in the context 3G | RAND " + zeros + " | AUTN " + zeros + " > 9000: success | 40 secret bytes, not kept",
			"0088008122 10" + zeros + "10" + zeros, "dc0e0102030405060708090a0b0c0d0e9000",
			"AUTHENTICATE in the context 3G | RAND " + zeros + " | AUTN " + zeros + " > 9000: success | SQN out of range, AUTS 0102030405060708090a0b0c0d0e",
		},
		"others": {
			"0070000001", "019000", "MANAGE CHANNEL: open a channel > 9000: success | channel 1 is open",
			"01a4000c023f00", "9000", "SELECT MF (3F00), without answer, on channel 1 > 9000: success",
			"00708001", "9000", "MANAGE CHANNEL: close channel 1 > 9000: success",
			"80f2000100", "8407a00000008710029000", "STATUS: the AID of the current application > 9000: success | tag 84: a0000000871002",
			"80f2000c", "9000", "STATUS: is the card there > 9000: success",
			"80aa000003a90100", "9000", "command AA, P1 00, P2 00 | tag A9: 00 > 9000: success",
			"0084000004", "a1b2c3d49000", "command 84, P1 00, P2 00 > 9000: success | a1b2c3d4",
			"00a4", "", "no command: 00A4 > no answer: card did not answer in time",
			"a0a40000023f00", "9f17", "SELECT MF (3F00) > 9F17: success, 23 bytes of response wait for GET RESPONSE (class A0)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var r Reader
			sink := &last{}
			to := &script{t: t}
			tapped := trace.Tap(to, trace.Options{Sensitive: trace.KeyFiles()}, sink)
			for i := 0; i < len(c); i += 3 {
				to.answer = c[i+1]
				_, _ = tapped.Transmit(t.Context(), unhex(t, c[i]))
				got := words(r.Explain(sink.e))
				if begun := strings.HasSuffix(c[i+2], ": ") && strings.HasPrefix(got, c[i+2]); c[i+2] != got && !begun {
					t.Error(cmp.Diff(c[i+2], got))
				}
			}
		})
	}
}

// TestReset: after a reset the MF is current again.
func TestReset(t *testing.T) {
	t.Parallel()
	var r Reader
	exchange := func(command string) trace.Exchange {
		return trace.Exchange{Command: unhex(t, command), Response: unhex(t, "9000")}
	}
	r.Explain(exchange("00a4040c07a0000000871002"))
	if got := r.Explain(exchange("00a4000c026f07")).Command; !strings.Contains(got, "EF.IMSI") {
		t.Error(got)
	}
	r.Reset()
	if got := r.Explain(exchange("00a4000c026f07")).Command; strings.Contains(got, "EF.IMSI") {
		t.Errorf("%s in the MF", got)
	}
	if got := words(ATR(unhex(t, "3b00"), nil)); got != "RESET > answer to reset | 3b00 | protocols T=0; historical bytes " {
		t.Error(got)
	}
	if got := words(ATR(nil, errors.New("mute"))); got != "RESET > no answer: mute" {
		t.Error(got)
	}
	if got := words(ATR([]byte{1}, nil)); !strings.Contains(got, "damaged ATR") {
		t.Error(got)
	}
}

// last keeps the last exchange.
type last struct{ e trace.Exchange }

func (l *last) WriteAPDU(e trace.Exchange) error {
	l.e = e
	return nil
}

// script is a card that gives one answer.
type script struct {
	card.Card
	t      *testing.T
	answer string
}

// FuzzExplain holds the reader to: no panic on whatever a card and a program say.
func FuzzExplain(f *testing.F) {
	f.Add([]byte{0, 0xA4, 0, 4, 2, 0x3F, 0}, []byte{0x90, 0}, []byte{0, 0xB0, 0, 0, 2}, []byte{1, 2, 0x90, 0})
	f.Add([]byte{0, 0xA4, 8, 4, 4, 0x7F, 0xFF, 0x6F, 7}, []byte{0x61, 2}, []byte{0, 0xC0, 0, 0, 2}, []byte{0x62, 0, 0x90, 0})
	f.Fuzz(func(t *testing.T, command1, response1, command2, response2 []byte) {
		var r Reader
		for _, e := range []trace.Exchange{{Command: command1, Response: response1}, {Command: command2, Response: response2}} {
			if x := r.Explain(e); x.Command == "" || x.Status == "" {
				t.Errorf("%x: %+v", e.Command, x)
			}
		}
	})
}

func (s *script) Transmit(context.Context, []byte) ([]byte, error) {
	if s.answer == "" {
		return nil, card.ErrTimeout
	}
	return unhex(s.t, s.answer), nil
}
