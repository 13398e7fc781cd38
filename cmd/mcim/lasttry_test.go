package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"mcim/apdu/uicc"
	"mcim/card"
	"mcim/card/device"
	"mcim/card/emul"
)

const (
	wornICCID  = "8988211000000467343"
	otherICCID = "8988211000000467350"
)

// worn is a software card whose PIN1, PUK and ADM1 have one try left each, in files of
// which every run gets its own, and files with codes that are wrong.
type worn struct {
	dir     string
	images  []string // PIN1 on, PIN1 off
	profile string   // with wrong codes
	trace   string   // of a session that presents a wrong PIN
	next    int
}

func newWorn(t *testing.T) *worn {
	t.Helper()
	w := &worn{dir: t.TempDir()}
	for name, text := range map[string]string{"pin": "9999", "puk": "87654321", "hex": "3939393939393939", "text": "99999999", "card.toml": profileTOML(wornICCID),
		"changes.json": `{"files":[{"path":"ADF.USIM/EF.SPN","decoded":{"display":[],"name":"worn"}},{"path":"ADF.USIM/EF.FPLMN","decoded":{"plmns":[]}}]}`} {
		if err := os.WriteFile(w.file(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.profile = w.file("wrong.toml")
	wrong := strings.NewReplacer(`"1234"`, `"9999"`, `"12345678"`, `"87654321"`).Replace(profileTOML(wornICCID)) // and another ADM1
	if err := os.WriteFile(w.profile, []byte(wrong), 0o600); err != nil {
		t.Fatal(err)
	}
	puk := repeat(9, "002c000110"+hexOf("87654321")+hexOf("9999")+"ffffffff")
	adm := repeat(2, "0020000a08"+hexOf("99999999"))
	w.images = []string{
		w.wear(t, "on", append(append(repeat(2, "0020000108"+hexOf("9999")+"ffffffff"), puk...), adm...)),
		w.wear(t, "off", append(append(append([]string{"0026000108" + hexOf("1234") + "ffffffff"},
			repeat(2, "0028000108"+hexOf("9999")+"ffffffff")...), puk...), adm...)),
	}
	w.trace = w.file("session.jsonl")
	if code := run(t.Context(), []string{"card", "apdu", "--card", "emul:usim", "--record", w.trace, "0020000108" + hexOf("9999") + "ffffffff"}, io.Discard, io.Discard); code != exitPass {
		t.Fatalf("exit code %d", code)
	}
	return w
}

func (w *worn) file(name string) string { return filepath.Join(w.dir, name) }

func hexOf(text string) string { return hex.EncodeToString([]byte(text)) }

func repeat(n int, command string) (list []string) {
	for range n {
		list = append(list, command)
	}
	return list
}

// wear makes a card of the profile and sends it commands.
func (w *worn) wear(t *testing.T, name string, commands []string) string {
	t.Helper()
	p, err := emul.ReadProfile(w.file("card.toml"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := emul.Open(w.file(name), &p)
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range commands {
		b, err := hex.DecodeString(command)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Transmit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if left := w.left(t, w.file(name)); left != "1 1 1" {
		t.Fatalf("the worn card %s has tries %s", name, left)
	}
	return w.file(name)
}

// copy is an image for one run.
func (w *worn) copy(t *testing.T, image string) string {
	t.Helper()
	w.next++
	to := w.file(fmt.Sprintf("run%d", w.next))
	for _, end := range []string{"", ".key"} {
		b, err := os.ReadFile(image + end)
		if err == nil {
			err = os.WriteFile(to+end, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// left are the tries of PIN1, its PUK and ADM1.
func (w *worn) left(t *testing.T, image string) string {
	t.Helper()
	c, err := emul.Open(image, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	return triesOf(t, c)
}

func triesOf(t *testing.T, c card.Card) string {
	t.Helper()
	s := card.NewSession(c, card.Options{})
	atr, err := s.Reset(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pins, err := card.NewGuard(s, card.GuardConfig{ATR: bytes.Clone(atr)}).PINs(t.Context(), uicc.RefPIN1, uicc.RefADM1)
	if err != nil || pins[0].Tries == nil || pins[0].PUKTries == nil || pins[1].Tries == nil {
		t.Fatalf("%+v %v", pins, err)
	}
	return fmt.Sprint(*pins[0].Tries, *pins[0].PUKTries, *pins[1].Tries)
}

// given is what the flags and arguments of all commands get, each value in a run of its
// own: the files hold wrong codes. "" leaves a flag out; no value says that it is
// never given.
func (w *worn) given(image, spend string) map[string][]string {
	pin, fresh := hexOf("9999")+"ffffffff", hexOf("1234")+"ffffffff"
	missing := w.file("none")
	return map[string][]string{
		"--card": {"emul:" + image}, "<a>": {"emul:" + image}, "<b>": {"emul:" + image},
		"--key": {"pin1", "adm1"}, "--spend-last-try": {spend}, "--allow": {wornICCID},
		"--pin-file": {w.file("pin")}, "--pin-file-b": {w.file("pin")}, "--new-pin-file": {w.file("pin")}, "--puk-file": {w.file("puk")},
		"--adm-hex-file": {w.file("hex")}, "--adm-text-file": {w.file("text")},
		"--new-adm-hex-file": {w.file("hex")}, "--new-adm-text-file": {w.file("text")},
		"<hex>": {
			"0020000108" + pin, "0020000a08" + hexOf("99999999"), "0024000110" + pin + fresh, "0026000108" + pin, "0028000108" + pin,
			"002c000110" + hexOf("87654321") + fresh, "a020000108" + pin, "a02c000010" + hexOf("87654321") + fresh,
			"0120000108" + pin, "002000010000" + "08" + pin,
		},
		"<changes>": {w.file("changes.json")}, "--resume": {""}, "--undo": {filepath.Join(w.dir, fmt.Sprintf("undo%d", w.next))},
		"<file>": {w.trace}, "--record": {filepath.Join(w.dir, fmt.Sprintf("record%d", w.next))},
		"--allow-host": {"127.0.0.1:7"}, "--envelope": {"d30782020181900101"}, "--for": {"0s"},
		"--lab": {missing}, "--tpm": {""}, "--kind": {}, "--procedure": {},
		"--image": {"", image}, "--fork": {"", image}, "--profile": {"", w.profile}, "--vpcd": {"localhost:1"}, "--count": {""}, "--profiles": {},
		"<dump>": {""}, "--rule": {}, "--tpm-key": {}, "--opc-file": {}, "--ek-roots": {},
		"--context": {""}, "--naf": {""}, "--suci-key": {""},
	}
}

// arguments are the command lines of leaf: one for each choice among the values of its
// flags, and among flags of which one has to do. A flag or argument that given does not
// know fails the test: say there what it gets.
func arguments(t *testing.T, leaf *kong.Node, given map[string][]string) [][]string {
	t.Helper()
	type choice [][]string
	var choices []choice
	xor := map[string]int{}
	for _, f := range leaf.Flags {
		values, known := given["--"+f.Name]
		switch {
		case f.IsBool() && len(f.Xor) == 0:
			continue
		case f.IsBool():
			values = []string{"true"}
		case !known:
			t.Errorf("%s has a new flag --%s: say in this test what it gets", leaf.FullPath(), f.Name)
		}
		var mine choice
		for _, v := range values {
			if v == "" {
				mine = append(mine, nil)
			} else {
				mine = append(mine, []string{"--" + f.Name + "=" + v})
			}
		}
		if len(f.Xor) == 0 {
			if len(mine) > 0 {
				choices = append(choices, mine)
			}
			continue
		}
		at, found := xor[f.Xor[0]]
		if !found {
			at = len(choices)
			xor[f.Xor[0]] = at
			choices = append(choices, nil)
		}
		choices[at] = append(choices[at], mine...)
	}
	for _, p := range leaf.Positional {
		values, known := given["<"+p.Name+">"]
		if !known {
			t.Errorf("%s has a new argument <%s>: say in this test what it gets", leaf.FullPath(), p.Name)
		}
		var mine choice
		for _, v := range values {
			mine = append(mine, []string{v})
		}
		choices = append(choices, mine)
	}
	lines := [][]string{strings.Fields(leaf.FullPath())[1:]}
	for _, c := range choices {
		var longer [][]string
		for _, line := range lines {
			for _, words := range c {
				longer = append(longer, append(line[:len(line):len(line)], words...))
			}
		}
		lines = longer
	}
	return lines
}

// inReader are the commands that take a card in a reader only, with what they need
// besides; TestLastTryInReader runs them.
var inReader = map[string][]string{
	"mcim demo":     {"demo", "--out", "out"},
	"mcim lab init": {"lab", "init", "--lab", "lab"},
}

// TestLastTry walks all commands: none takes the last try of a PIN, PUK or ADM, but with
// --spend-last-try and the ICCID of this card.
func TestLastTry(t *testing.T) {
	t.Parallel()
	w := newWorn(t)
	ended, end := context.WithCancel(t.Context())
	end()
	for _, leaf := range newParser(t).Model.Leaves(false) {
		if _, special := inReader[leaf.FullPath()]; special {
			continue
		}
		ctx := t.Context()
		if leaf.Name == "emulate" { // it goes on until it is ended
			ctx = ended
		}
		try := func(image, spend string) (spent, runs int) {
			for i := range arguments(t, leaf, w.given(image, spend)) {
				own := w.copy(t, image)
				args := arguments(t, leaf, w.given(own, spend))[i]
				code := run(ctx, args, io.Discard, io.Discard)
				if left := w.left(t, own); left != "1 1 1" {
					spent++
					if spend != wornICCID {
						t.Errorf("mcim %s: exit code %d, tries left %s", strings.Join(args, " "), code, left)
					}
				}
				runs++
			}
			return spent, runs
		}
		spends := false
		for _, f := range leaf.Flags {
			spends = spends || f.Name == "spend-last-try"
		}
		spent := 0
		for _, image := range w.images {
			for _, spend := range []string{"", otherICCID} {
				if _, runs := try(image, spend); runs == 0 {
					t.Errorf("%s was not run", leaf.FullPath())
				}
				if !spends {
					break
				}
			}
			if spends {
				n, _ := try(image, wornICCID)
				spent += n
			}
		}
		if spends && spent == 0 {
			t.Errorf("%s: no try was spent on the card that --spend-last-try names, so this test sees nothing", leaf.FullPath())
		}
	}
}

// TestLastTryInReader is TestLastTry for the commands that take a card in a reader: the
// profile has wrong codes.
func TestLastTryInReader(t *testing.T) {
	t.Parallel()
	w := newWorn(t)
	mcim, err := exec.LookPath("mcim")
	if err != nil {
		t.Fatal(err)
	}
	for name, args := range inReader {
		c, err := emul.Open(w.copy(t, w.images[0]), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		played, err := device.PlayPrivate(t.Context(), "", c)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), mcim, append(args, "--card", "pcsc:0", "--tpm", "swtpm:"+w.file(args[0]+"-tpm"), "--allow", wornICCID, "--profile", w.profile)...)
		cmd.Dir = t.TempDir()
		cmd.Env = append(os.Environ(), "PCSCLITE_CSOCK_NAME="+played.Socket)
		out, err := cmd.CombinedOutput()
		played.Close()
		if err == nil || !strings.Contains(string(out), "too few tries left") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		if left := triesOf(t, c); left != "1 1 1" {
			t.Errorf("%s: tries left %s\n%s", name, left, out)
		}
	}
}
