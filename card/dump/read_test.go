package dump

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"mcim/apdu"
	"mcim/apdu/secret"
	"mcim/apdu/tlv"
	"mcim/apdu/uicc"
	"mcim/card"
	"mcim/card/cardtest"
	"mcim/card/device"
	"mcim/card/emul"
	"mcim/card/pcsc"
)

var update = flag.Bool("update", false, "write the golden files anew")

// labDir is the folder of the private pcscd: a process has one socket for good.
var labDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "dump")
	if err != nil {
		log.Fatal(err)
	}
	labDir = dir
	if err := pcsc.UseSocket(filepath.Join(dir, "pcscd.comm")); err != nil {
		log.Fatal(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// behindPCSCD puts a card into a reader and opens it there.
func behindPCSCD(t testing.TB, c card.Card) card.Card {
	t.Helper()
	played, err := device.PlayPrivate(t.Context(), labDir, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(played.Close)
	behind, err := pcsc.Open(t.Context(), "0", pcsc.Options{Wait: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = behind.Close() })
	return behind
}

// newCard is a software UICC with a PIN1 of 1234 and an identity that is always
// the same.
func newCard(t testing.TB) (*emul.Card, emul.Profile) {
	t.Helper()
	p, err := emul.RandomProfile("usim")
	if err != nil {
		t.Fatal(err)
	}
	p.ICCID, p.IMSI, p.PIN1 = "8999901000000000013", "001010000000001", secret.New([]byte("1234"))
	c, err := emul.New(p)
	if err != nil {
		t.Fatal(err)
	}
	return c, p
}

func pin(t testing.TB, digits string) Options {
	t.Helper()
	b, err := uicc.PadPIN(digits)
	if err != nil {
		t.Fatal(err)
	}
	return Options{PIN1: b}
}

// tap keeps what goes over the link, and may change an answer.
type tap struct {
	card.Card
	commands, answers []string
	change            func(command, answer []byte) []byte
}

func (c *tap) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	answer, err := c.Card.Transmit(ctx, command)
	if err == nil && c.change != nil {
		answer = c.change(command, answer)
	}
	c.commands, c.answers = append(c.commands, hex.EncodeToString(command)), append(c.answers, hex.EncodeToString(answer))
	return answer, err
}

func read(t testing.TB, c card.Card, o Options) Document {
	t.Helper()
	d, err := Read(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func find(t testing.TB, d Document, path string) File {
	t.Helper()
	i := slices.IndexFunc(d.Files, func(f File) bool { return f.Path == path })
	if i < 0 {
		t.Fatalf("no %s in %d files", path, len(d.Files))
	}
	return d.Files[i]
}

// same compares documents but for the time they took.
func same() cmp.Option {
	return cmp.Options{cmpopts.IgnoreFields(Document{}, "Seconds"), cmpopts.IgnoreUnexported(File{})}
}

// counts are the commands by name.
func counts(t testing.TB, commands []string) string {
	t.Helper()
	n := map[string]int{}
	for _, line := range commands {
		b, err := hex.DecodeString(line)
		if err != nil {
			t.Fatal(err)
		}
		c, err := apdu.ParseCommand(b)
		if err != nil {
			t.Fatal(err)
		}
		n[card.CommandName(c)]++
	}
	s := fmt.Sprintf("%d APDUs:", len(commands))
	for _, name := range slices.Sorted(maps.Keys(n)) {
		s += fmt.Sprintf(" %d %s,", n[name], name)
	}
	return strings.TrimSuffix(s, ",") + "\n"
}

// TestRead pins what a dump of the software UICC costs, and what is in it:
// without PIN1, with it, and behind pcscd.
func TestRead(t *testing.T) {
	c, p := newCard(t)
	without, with := &tap{Card: c}, &tap{Card: c}
	closed, opened := read(t, without, Options{}), read(t, with, pin(t, "1234"))
	o := pin(t, "1234")
	o.Session.T0 = true
	byT0 := &tap{Card: c}
	if d := cmp.Diff(opened, read(t, byT0, o), same(), cmpopts.IgnoreFields(Document{}, "APDUs")); d != "" {
		t.Errorf("over T=0: %s", d)
	}
	// From here on the card is the reader's.
	far := &tap{Card: behindPCSCD(t, c)}
	if d := cmp.Diff(opened, read(t, far, pin(t, "1234")), same()); d != "" {
		t.Errorf("behind pcscd: %s", d)
	}

	got := "without PIN1: " + counts(t, without.commands) + "with PIN1: " + counts(t, with.commands) + "behind pcscd: " + counts(t, far.commands) +
		"over T=0: " + counts(t, byT0.commands)
	const golden = "testdata/usim.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || got != string(want) {
		t.Errorf("%v\n%swant\n%sgo test ./card/dump -update writes it anew", err, got, want)
	}
	for name, l := range map[string]*tap{"without": without, "with": with} {
		frugal(t, name, l)
	}
	if closed.APDUs != len(without.commands) || opened.APDUs != len(with.commands) || opened.Seconds <= 0 {
		t.Errorf("%d and %d APDUs, %v s", closed.APDUs, opened.APDUs, opened.Seconds)
	}
	wantFile(t, closed, "MF/EF.ICCID", `{"iccid":"8999901000000000013"}`, "")
	wantFile(t, closed, "ADF.USIM/EF.IMSI", "", "not read: it needs PIN1 (01), not verified")
	wantFile(t, opened, "ADF.USIM/EF.IMSI", `{"imsi":"001010000000001"}`, "")
	wantFile(t, opened, "DF.GSM/EF.IMSI", `{"imsi":"001010000000001"}`, "")
	if opened.ICCID != "8999901000000000013" || opened.ATR == "" {
		t.Errorf("ICCID %s, ATR %s", opened.ICCID, opened.ATR)
	}
	noSecrets(t, opened, p)
}

// frugal: no command is sent twice but for READ RECORD and BINARY, whose file is
// another one; none but SELECT is refused, and no SELECT goes without its data.
func frugal(t *testing.T, name string, l *tap) {
	t.Helper()
	selected, seen := "", map[string]bool{}
	for i, command := range l.commands {
		sw := l.answers[i][len(l.answers[i])-4:]
		switch command[2:4] {
		case "a4":
			if strings.HasPrefix(command, "00a404") || strings.HasSuffix(command, "7f1000") || strings.HasSuffix(command, "7f2000") {
				selected = command // a directory
			}
			if sw != "9000" && sw != "6a82" || sw == "9000" && len(l.answers[i]) == 4 {
				t.Errorf("%s: %s is answered with %s", name, command, l.answers[i])
			}
			command = selected + command
		case "20":
			continue
		default:
			if sw != "9000" {
				t.Errorf("%s: %s is answered with %s", name, command, sw)
			}
			command = fmt.Sprint(i, command)
			if strings.HasPrefix(l.commands[i-1], command) {
				t.Errorf("%s: %s is there twice", name, command)
			}
		}
		if seen[command] {
			t.Errorf("%s: %s is there twice", name, command)
		}
		seen[command] = true
	}
}

// wantFile checks what is decoded of a file, and its error.
func wantFile(t *testing.T, d Document, path, decoded, err string) {
	t.Helper()
	if f := find(t, d, path); string(f.Decoded) != decoded || f.Error != err {
		t.Errorf("%s: %s, %q, want %s, %q", path, f.Decoded, f.Error, decoded, err)
	}
}

// noSecrets: the keys of the card are nowhere, and those that a phone writes are
// said to be Redacted.
func noSecrets(t *testing.T, d Document, p emul.Profile) {
	t.Helper()
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]secret.Bytes{"K": p.K, "OPc": p.OPc, "ADM1": p.ADM1} {
		if bytes.Contains(bytes.ToLower(b), []byte(hex.EncodeToString(s.Reveal()))) {
			t.Errorf("%s is in the document", name)
		}
	}
	if f := find(t, d, "ADF.USIM/EF.Keys"); f.Raw != Redacted || !bytes.Contains(f.Decoded, []byte(Redacted)) {
		t.Errorf("EF.Keys: %q, %s", f.Raw, f.Decoded)
	}
	if f := find(t, d, "ADF.USIM/EF.EPSNSC"); len(f.Records) != 1 || f.Records[0] != Redacted {
		t.Errorf("EF.EPSNSC: %q", f.Records)
	}
	for _, path := range []string{"ADF.USIM/EF.AF20", "ADF.USIM/EF.AF30"} {
		if f := find(t, d, path); f.Raw != "" || f.FCP == nil || f.Error != "not read: it holds keys or sequence numbers of the subscription" {
			t.Errorf("%s: %+v", path, f)
		}
	}
}

// TestReadTwice: a second dump is equal but for the time; the card is as before.
func TestReadTwice(t *testing.T) {
	t.Parallel()
	c, _ := newCard(t)
	first := read(t, c, pin(t, "1234"))
	second := read(t, c, pin(t, "1234"))
	if d := cmp.Diff(first, second, same()); d != "" {
		t.Error(d)
	}
	if d := Compare(first, second); !d.Equal || len(d.NotCompared) > 0 {
		t.Errorf("%+v", d)
	}
	if got := tries(t, c); got != 3 {
		t.Errorf("%d tries", got)
	}
}

func tries(t *testing.T, c card.Card) int {
	t.Helper()
	s := card.NewSession(c, card.Options{})
	atr, err := s.Reset(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n, err := card.NewGuard(s, card.GuardConfig{ATR: bytes.Clone(atr)}).Tries(t.Context(), uicc.RefPIN1)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestReadWrongPIN: a wrong PIN spends one try and gives no document; the last
// one is not spent.
func TestReadWrongPIN(t *testing.T) {
	t.Parallel()
	c, _ := newCard(t)
	for _, want := range []int{2, 1} {
		d, err := Read(t.Context(), c, pin(t, "9999"))
		var wrong *card.PINError
		if !errors.As(err, &wrong) || wrong.Tries != want || d.Files != nil {
			t.Errorf("%v, %+v", err, d)
		}
	}
	if _, err := Read(t.Context(), c, pin(t, "1234")); !errors.Is(err, card.ErrTriesLow) {
		t.Errorf("with one try left: %v", err)
	}
	if got := tries(t, c); got != 1 {
		t.Errorf("%d tries", got)
	}
	if d := read(t, c, Options{}); len(d.Files) == 0 {
		t.Error("nothing without the PIN")
	}
}

// TestReadFaults: a card that falls silent once, wherever it is, is read whole;
// one that is pulled out gives an error.
func TestReadFaults(t *testing.T) {
	t.Parallel()
	c, _ := newCard(t)
	whole := read(t, c, pin(t, "1234"))
	for at := 3; at < whole.APDUs; at++ { // behind SELECT of the MF and VERIFY
		d, err := Read(t.Context(), cardtest.NewFaulty(c, cardtest.Fault{At: at, Kind: cardtest.Mute}), pin(t, "1234"))
		if err != nil {
			t.Fatalf("command %d: %v", at, err)
		}
		if x := Compare(whole, d); !x.Equal {
			t.Errorf("command %d: %+v", at, x.Differences)
		}
		if d, err = Read(t.Context(), cardtest.NewFaulty(c, cardtest.Fault{At: at, Kind: cardtest.Removed}), pin(t, "1234")); !errors.Is(err, card.ErrRemoved) || d.Files != nil {
			t.Errorf("pulled out at %d: %v, %d files", at, err, len(d.Files))
		}
	}
	if _, err := Read(t.Context(), cardtest.NewFaulty(c, cardtest.Fault{At: 20, Kind: cardtest.Lost, Always: true}), Options{}); !errors.Is(err, card.ErrTimeout) {
		t.Errorf("silent for good: %v", err)
	}
	if got := tries(t, c); got != 3 {
		t.Errorf("%d tries", got)
	}
}

// changedFCP changes the parameters that a card gives of one file.
func changedFCP(fid uint16, change func(*uicc.FCP)) func(command, answer []byte) []byte {
	return func(command, answer []byte) []byte {
		f, err := uicc.ParseFCP(answer[:max(0, len(answer)-2)])
		if command[1] != uicc.INSSelect || err != nil || f.FID != fid {
			return answer
		}
		change(&f)
		return append(f.Bytes(), 0x90, 0x00)
	}
}

// TestReadOddFiles: what a card says of a file decides whether and how it is
// read.
func TestReadOddFiles(t *testing.T) {
	t.Parallel()
	const spn = 0x6F46
	deactivated := tlv.TLV{Tag: tagSpecialInfo, Value: []byte{readableWhenDeactivated}}
	for _, tt := range []struct {
		name   string
		fid    uint16
		change func(*uicc.FCP)
		path   string
		err    string // "" where it is to be read
	}{
		{"as it is", spn, func(*uicc.FCP) {}, "ADF.USIM/EF.SPN", ""},
		{"deactivated", spn, func(f *uicc.FCP) { f.LifeCycle = uicc.LifeCycleDeactivated }, "ADF.USIM/EF.SPN",
			"not read: the file is deactivated; ACTIVATE FILE opens it again"},
		{"readable while deactivated", spn, func(f *uicc.FCP) {
			f.LifeCycle, f.Proprietary = uicc.LifeCycleDeactivated, []tlv.TLV{deactivated}
		}, "ADF.USIM/EF.SPN", ""},
		{"terminated", spn, func(f *uicc.FCP) { f.LifeCycle = uicc.LifeCycleTerminated }, "ADF.USIM/EF.SPN",
			"not read: the file is terminated, for good"},
		{"BER-TLV", spn, func(f *uicc.FCP) { f.Descriptor.Type = uicc.BERTLV }, "ADF.USIM/EF.SPN",
			"not read: RETRIEVE DATA of A0000000871002FF49FF0589/6F46: 6981: command does not fit the structure of the file"},
		{"expanded rule", spn, func(f *uicc.FCP) {
			f.ARR, f.Rules = uicc.ARRReference{}, []uicc.AccessRule{{Access: uicc.AccessRead, Conditions: []uicc.Condition{uicc.AnyKey(0x0A, 0x81)}}}
		}, "ADF.USIM/EF.SPN", "not read: it needs ADM1 or PIN2 (81), not verified"},
		{"for nobody", spn, func(f *uicc.FCP) {
			f.ARR, f.Rules = uicc.ARRReference{}, []uicc.AccessRule{{Access: uicc.AccessRead, Conditions: []uicc.Condition{{}}}}
		}, "ADF.USIM/EF.SPN", "not read: its access rule lets nobody read it"},
		{"no rule for reading", spn, func(f *uicc.FCP) {
			f.ARR, f.Rules = uicc.ARRReference{}, []uicc.AccessRule{{Access: uicc.AccessUpdate, Conditions: []uicc.Condition{{}}}}
		}, "ADF.USIM/EF.SPN", "not read: its access rule names no right that could be had"},
		{"rule of the security environment", spn, func(f *uicc.FCP) {
			f.ARR = uicc.ARRReference{FID: f.ARR.FID, BySE: []uicc.SERecord{{SE: 1, Record: 7}}}
		}, "ADF.USIM/EF.SPN", "not read: it needs ADM1, not verified"},
		{"rule of the MF", spn, func(f *uicc.FCP) { f.ARR = uicc.ARRReference{FID: uicc.FIDEFARR, Record: 7} }, "ADF.USIM/EF.SPN",
			"not read: it needs ADM1, not verified"},
		{"unknown EF.ARR", spn, func(f *uicc.FCP) { f.ARR = uicc.ARRReference{FID: 0x6F99, Record: 1} }, "ADF.USIM/EF.SPN", ""},
		{"no such record of EF.ARR", spn, func(f *uicc.FCP) { f.ARR.Record = 99 }, "ADF.USIM/EF.SPN", ""},
		{"compact form", spn, func(f *uicc.FCP) { f.ARR, f.Compact = uicc.ARRReference{}, []byte{0x01, 0x00} }, "ADF.USIM/EF.SPN", ""},
		{"unknown rule, refused", 0x6F07, func(f *uicc.FCP) { f.ARR = uicc.ARRReference{} }, "ADF.USIM/EF.IMSI",
			"not read: a right is missing, and the card does not say which: READ BINARY: 6982: security status not satisfied: verify the PIN or key that the access rule asks for"},
		{"larger than READ BINARY reaches", spn, func(f *uicc.FCP) { f.Size = uicc.NewSize(100) }, "ADF.USIM/EF.SPN",
			"not read: READ BINARY: 6B00: offset or reference outside the file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, _ := newCard(t)
			l := &tap{Card: c, change: changedFCP(tt.fid, tt.change)}
			d := read(t, l, Options{})
			f := find(t, d, tt.path)
			if f.Error != tt.err || (f.Raw == "") != (tt.err != "") || f.FCP == nil {
				t.Errorf("%q, raw %q", f.Error, f.Raw)
			}
			if strings.HasPrefix(tt.err, "not read") && !strings.Contains(tt.err, "READ") && !strings.Contains(tt.err, "RETRIEVE") {
				frugal(t, tt.name, l)
			}
			find(t, d, "ADF.USIM/EF.ECC") // the rest is there
		})
	}
}

// otherCard is a card that no model knows.
type otherCard struct{ *tap }

func (c otherCard) Reset(ctx context.Context) ([]byte, error) {
	_, err := c.tap.Reset(ctx)
	return []byte{0x3B, 0x00}, err
}

// onlyGSM answers class A0 alone.
func onlyGSM(command, answer []byte) []byte {
	if command[0] != classGSM {
		return []byte{0x6E, 0x00}
	}
	return answer
}

// TestReadClassA0: a SIM is read by its own class, its access conditions known.
func TestReadClassA0(t *testing.T) {
	t.Parallel()
	c, _ := newCard(t)
	l := &tap{Card: c, change: onlyGSM}
	closed := read(t, otherCard{l}, Options{})
	if f := find(t, closed, "MF"); f.FCP == nil || len(f.FCP.PINs) != 2 || !f.FCP.PINs[0].Enabled {
		t.Errorf("%+v", f)
	}
	wantFile(t, closed, "MF/EF.ICCID", `{"iccid":"8999901000000000013"}`, "")
	wantFile(t, closed, "DF.GSM/EF.IMSI", "", "not read: it needs PIN1 (01), not verified")
	for i, command := range l.commands[1:] {
		if sw := l.answers[i+1][len(l.answers[i+1])-4:]; sw != "9000" && sw[:2] != "9f" && sw != "9404" {
			t.Errorf("%s is answered with %s", command, sw)
		}
	}
	opened := read(t, otherCard{l}, pin(t, "1234"))
	wantFile(t, opened, "DF.GSM/EF.IMSI", `{"imsi":"001010000000001"}`, "")
	if opened.ICCID != closed.ICCID || slices.ContainsFunc(opened.Files, func(f File) bool { return strings.HasPrefix(f.Path, "ADF.") }) {
		t.Errorf("ICCID %s, an application in %d files", opened.ICCID, len(opened.Files))
	}
}

// TestReadNothing: a card without an MF is no card to read.
func TestReadNothing(t *testing.T) {
	t.Parallel()
	c, _ := newCard(t)
	d, err := Read(t.Context(), &tap{Card: c, change: func(_, _ []byte) []byte { return []byte{0x6D, 0x00} }}, Options{})
	if !errors.Is(err, ErrNoFiles) || !errors.Is(err, apdu.ErrUnsupported) || d.Files != nil {
		t.Errorf("%v, %+v", err, d)
	}
}

// TestReadOddCards: cards that do not tell all, or something else, are read as far
// as that goes.
func TestReadOddCards(t *testing.T) {
	t.Parallel()
	const imsi = "ADF.USIM/EF.IMSI"
	refuse := func(fid uint16) func(command, answer []byte) []byte {
		return func(command, answer []byte) []byte {
			if command[1] == uicc.INSSelect && bytes.HasSuffix(command, []byte{byte(fid >> 8), byte(fid), 0}) {
				return []byte{0x6A, 0x82}
			}
			return answer
		}
	}
	for _, tt := range []struct {
		name      string
		change    func(command, answer []byte) []byte
		o         Options
		path, err string
	}{
		{"no EF.DIR", refuse(uicc.FIDEFDIR), Options{}, imsi, "not read: it needs PIN1 (01), not verified"},
		{"no EF.ARR", refuse(uicc.FIDEFARR), Options{}, imsi, "not read: it needs PIN1 (01), not verified"},
		{"malformed FCP", func(command, answer []byte) []byte {
			if strings.HasPrefix(hex.EncodeToString(command), "00a40004026f07") {
				return []byte{0x62, 0x01, 0x90, 0x00}
			}
			return answer
		}, Options{}, imsi, "not read: what the card says of it is not understood"},
		{"PIN1 disabled", changedFCP(uicc.FIDMF, func(f *uicc.FCP) {
			f.PINs = uicc.NewPINStatus([]byte{uicc.RefPIN1}, func(byte) bool { return false })
		}), pin(t, "9999"), imsi, "not read: it needs PIN1 (01), not verified"}, // the application says that it is enabled
		{"SELECT refused", func(command, answer []byte) []byte {
			if strings.HasPrefix(hex.EncodeToString(command), "00a40004026f07") {
				return []byte{0x69, 0x85}
			}
			return answer
		}, Options{}, imsi, "SELECT: 6985: conditions of use not satisfied"},
		{"application refused", func(command, answer []byte) []byte {
			if strings.HasPrefix(hex.EncodeToString(command), "00a404") {
				return []byte{0x69, 0x99}
			}
			return answer
		}, Options{}, "ADF.USIM", "SELECT: 6999: refused by the card"},
		{"mute at one file", nil, Options{}, imsi, "SELECT: muted: card did not answer in time"},
		{"another application", func(command, answer []byte) []byte {
			if strings.HasPrefix(hex.EncodeToString(command), "00b201") && len(answer) == 40 && answer[0] == 0x61 {
				answer[8]++ // the RID in EF.DIR
			}
			return answer
		}, Options{}, "ADF.a0000000881002ff49ff0589", "no files of this application are known, so it was not selected"},
		{"a second USIM", func(command, answer []byte) []byte {
			if strings.HasPrefix(hex.EncodeToString(command), "00b20204") && len(answer) == 40 && answer[0] == 0x61 {
				copy(answer[12:38], bytes.Repeat([]byte{0xFF}, 26))
				copy(answer, []byte{0x61, 0x0A, 0x4F, 0x08, 0xA0, 0x00, 0x00, 0x00, 0x87, 0x10, 0x02, 0xFF})
			}
			return answer
		}, Options{}, "ADF.USIM.2/EF.IMSI", "not read: it needs PIN1 (01), not verified"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, _ := newCard(t)
			var under card.Card = c
			if tt.change == nil {
				under = muteAt{c}
			}
			d := read(t, &tap{Card: under, change: tt.change}, tt.o)
			if f := find(t, d, tt.path); f.Error != tt.err {
				t.Errorf("%q, want %q", f.Error, tt.err)
			}
			find(t, d, "DF.GSM/EF.IMSI") // the rest is there
			if got := tries(t, c); got != 3 {
				t.Errorf("%d tries", got)
			}
		})
	}
}

// muteAt is silent whenever EF.IMSI of the USIM is asked for.
type muteAt struct{ card.Card }

func (c muteAt) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	answer, err := c.Card.Transmit(ctx, command)
	if bytes.Contains(answer, []byte{0x83, 0x02, 0x6F, 0x07}) && bytes.Contains(answer, []byte{0x8B, 0x03, 0x6F, 0x06}) &&
		bytes.Contains(answer, []byte{0x80, 0x02, 0x00, 0x09}) { // EF.IST has the same identifier, and another size
		return nil, fmt.Errorf("muted: %w", card.ErrTimeout)
	}
	return answer, err
}

// TestPINs: which PIN is verified, and which condition is met without.
func TestPINs(t *testing.T) {
	t.Parallel()
	status := func(on bool, refs ...byte) *uicc.PINStatus {
		return uicc.NewPINStatus(refs, func(byte) bool { return on })
	}
	replaced := &uicc.PINStatus{Bits: []byte{0x40}, Keys: []uicc.KeyReference{
		{Ref: 0x01, Usage: 0, HasUsage: true}, {Ref: uicc.RefUniversalPIN, Usage: 0x08, HasUsage: true},
	}}
	if got := pinOf(replaced); got != uicc.RefUniversalPIN {
		t.Errorf("in place of PIN1: %02X", got)
	}
	if got := []byte{pinOf(status(true, 0x0A, 0x03)), pinOf(status(true, 0x0A))}; !bytes.Equal(got, []byte{0x03, 0x01}) {
		t.Errorf("%X", got)
	}
	for _, tt := range []struct {
		name     string
		mf, adf  *uicc.PINStatus
		verified byte
		ref      byte
		want     bool
	}{
		{"verified", status(true, 1), nil, 1, 1, true},
		{"not verified", status(true, 1), nil, 0, 1, false},
		{"another one is", status(true, 1, 0x81), nil, 1, 0x81, false},
		{"disabled", status(false, 1), nil, 0, 1, true},
		{"the application knows better", status(false, 1), status(true, 1), 0, 1, false},
		{"nothing told of a PIN", nil, nil, 0, 1, true},
		{"nothing told of an ADM code", nil, nil, 0, 0x8A, false},
		{"not named", status(true, 1), nil, 0, 0x81, false},
		{"replaced, not verified", replaced, nil, 0, 1, false},
		{"replaced, verified", replaced, nil, uicc.RefUniversalPIN, 1, true},
	} {
		r := &reader{path: []*place{{pins: tt.mf}, {pins: tt.adf}}, ref: tt.verified, verified: []code{{ref: tt.verified}}}
		if got := r.open(tt.ref); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// TestReadTwiceInDIR: an application that EF.DIR names twice is read once.
func TestReadTwiceInDIR(t *testing.T) {
	t.Parallel()
	c, _ := newCard(t)
	var first []byte
	d := read(t, &tap{Card: c, change: func(command, answer []byte) []byte {
		switch {
		case command[1] != uicc.INSReadRecord || len(answer) != 40:
		case command[2] == 1:
			first = bytes.Clone(answer)
		case first != nil:
			return first
		}
		return answer
	}}, Options{})
	if f := find(t, d, "MF/EF.DIR"); len(f.Records) != 2 || f.Records[0] != f.Records[1] {
		t.Errorf("%q", f.Records)
	}
	if slices.ContainsFunc(d.Files, func(f File) bool { return strings.HasPrefix(f.Path, "ADF.USIM.2") }) {
		t.Error("read twice")
	}
}

// TestUSIMIsModern: the card "usim", asked over its APDUs, has more than 100 EFs of
// which more than 60 are personalised, each of them understood, and the access rule of
// each is found.
func TestUSIMIsModern(t *testing.T) {
	t.Parallel()
	c, _ := newCard(t)
	d := read(t, c, pin(t, "1234"))
	efs, personal := map[string]bool{}, map[string]bool{}
	for _, f := range d.Files {
		if f.Structure == structureDirectory {
			continue
		}
		efs[f.Path] = true
		if f.Rights == nil {
			t.Errorf("%s: no access rule is found", f.Path)
		}
		if strings.HasPrefix(f.Error, "not read: ") {
			continue
		}
		if f.Error != "" {
			t.Errorf("%s: %s", f.Path, f.Error)
		}
		content := strings.ToLower(f.Raw + strings.Join(f.Records, ""))
		// What old terminals read is the same again.
		if strings.Trim(content, "f") != "" && !strings.HasPrefix(f.Path, "DF.") && content != Redacted {
			personal[f.Path] = true
		}
	}
	t.Logf("%d EFs, %d of them personalised", len(efs), len(personal))
	if len(efs) < 100 || len(personal) < 60 {
		t.Errorf("%d EFs, %d personalised, want 100 and 60", len(efs), len(personal))
	}
	for _, want := range []string{"ADF.USIM/EF.IPS", "ADF.USIM/EF.IPD", "ADF.USIM/DF.PHONEBOOK/EF.PBR", "ADF.ISIM/EF.IMPI", "DF.GSM/EF.ARR"} {
		if !efs[want] {
			t.Errorf("no %s", want)
		}
	}
}
