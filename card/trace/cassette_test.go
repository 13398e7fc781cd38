package trace

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mcim/card"
)

// recordOf runs commands on a scripted card with a tap, and gives the file.
func recordOf(t testing.TB, o Options, hashes bool, script ...string) string {
	t.Helper()
	var out bytes.Buffer
	w := NewWriter(&out, nil)
	if hashes {
		w = NewCassette(&out, nil, [16]byte{1, 2, 3})
		w.hasher.rounds = 2 // fast
	}
	var answers []string
	for i := 1; i < len(script); i += 2 {
		if script[i-1] != "RESET" {
			answers = append(answers, "", script[i])
		}
	}
	if o.Now == nil {
		o.Now = clock()
	}
	tapped := Tap(&lines{t: t, script: answers}, o, w)
	for i := 0; i < len(script); i += 2 {
		if script[i] == "RESET" {
			if _, err := tapped.Reset(t.Context()); err != nil {
				t.Fatal(err)
			}
			continue
		}
		_, _ = tapped.Transmit(t.Context(), unhex(t, script[i]))
	}
	if w.Err() != nil {
		t.Fatal(w.Err())
	}
	return out.String()
}

func read(t testing.TB, file string) *Recording {
	t.Helper()
	r, err := Read(strings.NewReader(file))
	if err != nil {
		t.Fatalf("%v in\n%s", err, file)
	}
	return r
}

// session1 is a session with a PIN, a key file, and an AKA.
var session1 = []string{
	"RESET", "", "00a40004026f07", "9000", "00b0000002", "01029000", "00200001 08 31323334ffffffff", "9000",
	"00a4000402af20", "9000", "00b0000002", "a1a29000", "00f2000000", "",
}

func TestCassetteAnswersAsRecorded(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{false, true} {
		o := Options{Sensitive: []uint16{0xAF20}, KeepTestKeys: keep}
		rec := read(t, recordOf(t, o, true, session1...))
		c := rec.Cassette()
		if atr, err := c.Reset(t.Context()); err != nil || hex.EncodeToString(atr) != "3b00" {
			t.Errorf("ATR %x, %v", atr, err)
		}
		for i := 2; i < len(session1); i += 2 {
			want := session1[i+1]
			if want == "a1a29000" && !keep {
				want = "00009000"
			}
			answer, err := c.Transmit(t.Context(), unhex(t, session1[i]))
			if hex.EncodeToString(answer) != want || (err != nil) != (want == "") {
				t.Errorf("%s: %x, %v, want %s", session1[i], answer, err, want)
			}
			if want == "" && !errors.Is(err, card.ErrTimeout) {
				t.Errorf("%v, want the recorded timeout", err)
			}
		}
		if c.Left() != 0 {
			t.Errorf("%d lines are left", c.Left())
		}
		if done, err := rec.Replay(t.Context(), rec.Cassette(), false); err != nil || done.Resets != 1 || done.Commands != 4 || done.Withheld != 2 {
			t.Errorf("against itself: %+v, %v", done, err)
		}
	}
}

func TestCassetteRefusesTheFirstDifference(t *testing.T) {
	t.Parallel()
	file := recordOf(t, Options{}, true, "00a40004026f07", "9000", "00200001 08 31323334ffffffff", "9000", "RESET", "")
	sel, pin := "00a40004026f07", "0020000108 31323334ffffffff"
	for name, c := range map[string]struct {
		file     string
		commands []string
		line     int
		offset   int
		text     string
	}{
		"byte":              {file, []string{"00a40004022fe2"}, 2, 5, "byte 5 is 2F, recorded is 6F"},
		"shorter":           {file, []string{"00a40004026f"}, 2, 6, "it ends before byte 6, which is 07 in the recording"},
		"longer":            {file, []string{"00a40004026f0700"}, 2, 7, "byte 7 is 00, where the recorded one has ended"},
		"another PIN":       {file, []string{sel, "0020000108 39393939ffffffff"}, 3, 5, "another secret than the recorded one in bytes 5 to 12"},
		"another reference": {file, []string{sel, "0020000a08 39393939ffffffff"}, 3, 3, "byte 3 is 0A"},
		"shorter PIN":       {file, []string{sel, "0020000104 31323334"}, 3, 4, "byte 4 is 04"},
		"command for reset": {file, []string{sel, pin, sel}, 4, 0, "recorded is RESET"},
		"reset for command": {file, []string{"RESET"}, 2, 0, "recorded is SELECT 6F07"},
		"end":               {file, []string{sel, pin, "RESET", sel}, 5, 0, "the recording has ended"},
		"no hash":           {recordOf(t, Options{}, false, "00200001 08 31323334ffffffff", "9000"), []string{pin}, 2, 5, "keeps no hash"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cassette := read(t, c.file).Cassette()
			var err error
			for i, command := range c.commands {
				if err != nil {
					t.Fatalf("command %d: %v", i, err)
				}
				if command == "RESET" {
					_, err = cassette.Reset(t.Context())
				} else {
					_, err = cassette.Transmit(t.Context(), unhex(t, command))
				}
			}
			var d *DifferenceError
			if !errors.As(err, &d) || d.Line != c.line || d.Offset != c.offset || !strings.Contains(d.Error(), c.text) {
				t.Fatalf("%v, want line %d, offset %d, %q", err, c.line, c.offset, c.text)
			}
			if !errors.Is(err, card.ErrRemoved) || errors.Is(err, ErrNoHash) != (name == "no hash") {
				t.Errorf("%v is not what a card does", err)
			}
			if strings.Contains(err.Error(), "31323334") || strings.Contains(err.Error(), "39393939") {
				t.Errorf("%v has a secret", err)
			}
			if _, again := cassette.Reset(t.Context()); !errors.Is(again, err) {
				t.Errorf("then %v", again)
			}
		})
	}
}

// What no card sees is compared with nothing.
func TestCassetteBeforeTheCard(t *testing.T) {
	t.Parallel()
	c := read(t, recordOf(t, Options{}, false, "00a40004026f07", "9000")).Cassette()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Transmit(over, unhex(t, "00b0000000")); !errors.Is(err, card.ErrTimeout) {
		t.Error(err)
	}
	if _, err := c.Reset(over); !errors.Is(err, card.ErrTimeout) {
		t.Error(err)
	}
	if _, err := c.Transmit(t.Context(), []byte{0, 0xA4}); !errors.Is(err, card.ErrCommand) {
		t.Error(err)
	}
	if _, err := c.Transmit(t.Context(), unhex(t, "00a40004026f07")); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Transmit(t.Context(), unhex(t, "00a40004026f07")); !errors.Is(err, card.ErrRemoved) {
		t.Error(err)
	}
}

func TestReplay(t *testing.T) {
	t.Parallel()
	plain := []string{"RESET", "", "00a40004026f07", "9000", "00b0000002", "01029000"}
	rec := read(t, recordOf(t, Options{}, false, plain...))
	for name, c := range map[string]struct {
		script []string
		text   string
	}{
		"same":         {[]string{"", "9000", "", "01029000"}, ""},
		"other byte":   {[]string{"", "9000", "", "01039000"}, "line 4, answer to READ BINARY: byte 1 is 03, recorded is 02"},
		"short answer": {[]string{"", "9000", "", "6982"}, "line 4, answer to READ BINARY: byte 0 is 69, recorded is 01"},
		"no answer":    {[]string{"", ""}, "line 3, SELECT 6F07: card did not answer in time"},
	} {
		done, err := rec.Replay(t.Context(), &lines{t: t, script: c.script}, true)
		if c.text == "" && (err != nil || done != Replayed{Commands: 2, Resets: 1}) || c.text != "" && (err == nil || err.Error() != c.text) {
			t.Errorf("%s: %+v, %v, want %q", name, done, err, c.text)
		}
	}
	spends := read(t, recordOf(t, Options{}, false, append(plain, "00d6000001aa", "9000")...))
	if _, err := spends.Replay(t.Context(), &lines{t: t}, true); !errors.Is(err, ErrSpends) || !strings.Contains(err.Error(), "line 5, UPDATE BINARY") {
		t.Errorf("a write to a card in a reader: %v", err)
	}
	if _, err := spends.Replay(t.Context(), &lines{t: t, script: []string{"", "9000", "", "01029000", "", "9000"}}, false); err != nil {
		t.Errorf("a write to another: %v", err)
	}
	var d *DifferenceError
	if _, err := rec.Replay(t.Context(), spends.Cassette(), false); !errors.As(err, &d) || !strings.Contains(err.Error(), "the card goes on with UPDATE BINARY") {
		t.Errorf("a longer recording: %v", err)
	}
	if _, err := spends.Replay(t.Context(), rec.Cassette(), false); !errors.As(err, &d) || !strings.Contains(err.Error(), "the recording has ended") {
		t.Errorf("a shorter recording: %v", err)
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	good := recordOf(t, Options{Sensitive: []uint16{0xAF20}}, true, session1...)
	read(t, good)
	change := func(old, by string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in\n%s", old, good)
		}
		return strings.Replace(good, old, by, 1)
	}
	for name, c := range map[string]struct {
		file  string
		cause error
		line  int
	}{
		"empty":              {"", ErrForeign, 1},
		"text":               {"hello\nworld\n", ErrForeign, 1},
		"other JSON":         {"{\"a\":1}\n", ErrForeign, 1},
		"no line end":        {"{\"kind\":\"trace\",\"version\":1}", ErrForeign, 1},
		"trace of before":    {good[strings.Index(good, "\n")+1:], ErrForeign, 1},
		"other version":      {change(`"version":1`, `"version":2`), ErrVersion, 1},
		"too many rounds":    {change(`"rounds":2`, `"rounds":99999999`), ErrDamaged, 1},
		"salt":               {change(`"salt":"01`, `"salt":"0`), ErrDamaged, 1},
		"no salt":            {change(`"rounds":2`, `"rounds":0`), ErrDamaged, 1},
		"cut":                {good[:len(good)-5], ErrDamaged, 8},
		"wrong JSON":         {change(`{"kind":"reset",`, `{"kind":"reset,`), ErrDamaged, 2},
		"unknown field":      {change(`"n":2,`, `"n":2,"m":2,`), ErrDamaged, 3},
		"unknown kind":       {change(`{"kind":"reset"`, `{"kind":"start"`), ErrDamaged, 2},
		"line missing":       {change(`"n":2,`, `"n":3,`), ErrDamaged, 3},
		"command":            {change(`"command":"00a4`, `"command":"00a`), ErrDamaged, 3},
		"status":             {change(`"sw":"9000"`, `"sw":"9001"`), ErrDamaged, 3},
		"neither of two":     {change(`"atr":"3b00",`, ``), ErrDamaged, 2},
		"cause":              {change(`"cause":"timeout"`, `"cause":"mood"`), ErrDamaged, 8},
		"range outside":      {change(`"to":13`, `"to":14`), ErrDamaged, 5},
		"range not 00":       {change(`"from":5`, `"from":4`), ErrDamaged, 5},
		"hash":               {change(`"hash":"`, `"hash":"x`), ErrDamaged, 5},
		"two objects a line": {change("\n", "{}\n"), ErrForeign, 1},
		"endless line":       {good + strings.Repeat("x", maxLine+1), ErrForeign, 9},
	} {
		_, err := Read(strings.NewReader(c.file))
		var file *FileError
		if !errors.As(err, &file) || !errors.Is(err, c.cause) || file.Line != c.line {
			t.Errorf("%s: %v, want %v in line %d", name, err, c.cause, c.line)
		}
	}
	path := filepath.Join(t.TempDir(), "x.jsonl")
	if _, err := OpenCassette(path); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCassette(path); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenCassette(path); err != nil {
		t.Error(err)
	}
}

// A recording has no secret in it, but for the keys that were asked for.
func TestHashesAreSalted(t *testing.T) {
	t.Parallel()
	command := "00200001 08 31323334ffffffff"
	a := recordOf(t, Options{}, true, command, "9000")
	var other bytes.Buffer
	w := NewCassette(&other, nil, [16]byte{9})
	w.hasher.rounds = 2
	if _, err := Tap(&lines{t: t, script: []string{"", "9000"}}, Options{}, w).Transmit(t.Context(), unhex(t, command)); err != nil {
		t.Fatal(err)
	}
	ra, rb := read(t, a), read(t, other.String())
	if len(ra.Lines[0].Hashes[0]) != hashLen || bytes.Equal(ra.Lines[0].Hashes[0], rb.Lines[0].Hashes[0]) {
		t.Errorf("hashes %x and %x", ra.Lines[0].Hashes, rb.Lines[0].Hashes)
	}
	if strings.Contains(a, "31323334ffffffff") {
		t.Error("the PIN is in the file")
	}
	if n := NewCassette(&other, nil, [16]byte{}).hasher.rounds; n < 100_000 {
		t.Errorf("%d rounds", n)
	}
	if _, err := ra.Replay(t.Context(), rb.Cassette(), false); err != nil {
		t.Errorf("two recordings of one session: %v", err)
	}
}

func TestKeyFiles(t *testing.T) {
	t.Parallel()
	r := newRules(KeyFiles())
	for _, fid := range []uint16{0x6F08, 0x6F09, 0xAF20, 0xAF30} {
		if !strings.Contains(hexList(r.sensitive), hex.EncodeToString([]byte{byte(fid >> 8), byte(fid)})) {
			t.Errorf("%04X is not among %s", fid, hexList(r.sensitive))
		}
	}
	if !r.sensitiveSFI(0x18) { // EF.EPSNSC, 6FE4
		t.Error("a key file with an SFI of its own is read in the clear")
	}
}

func hexList(fids []uint16) string {
	var s []string
	for _, f := range fids {
		s = append(s, hex.EncodeToString([]byte{byte(f >> 8), byte(f)}))
	}
	return strings.Join(s, " ")
}

// FuzzRead holds Read to: no panic, and what it takes makes a card that replays.
func FuzzRead(f *testing.F) {
	f.Add([]byte(recordOf(f, Options{Sensitive: []uint16{0xAF20}}, true, session1...)))
	f.Add([]byte("{\"kind\":\"trace\",\"version\":1}\n{\"kind\":\"tpm\",\"n\":1,\"name\":\"x\"}\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		rec, err := Read(bytes.NewReader(file))
		if err != nil {
			var wrong *FileError
			if !errors.As(err, &wrong) {
				t.Fatal(err)
			}
			return
		}
		if _, err := rec.Replay(context.Background(), rec.Cassette(), false); err != nil {
			t.Fatalf("against itself: %v", err)
		}
	})
}
