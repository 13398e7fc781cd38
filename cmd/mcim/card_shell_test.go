package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mcim/card"
	"mcim/card/emul"
	"mcim/card/explain"
)

// conversation is mcim card shell in a terminal.
type conversation struct {
	t      *testing.T
	dir    string
	cmd    *exec.Cmd
	master *os.File

	mu    sync.Mutex
	shown bytes.Buffer
	seen  int // of shown, by see
	more  chan struct{}
}

// newTerminal gives the two ends of a terminal of 100 columns.
func newTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 100})
	}
	if err != nil {
		t.Fatal(err)
	}
	if slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "ptmx"), slave
}

// converse starts a shell whose history lies in dir.
func converse(t *testing.T, dir string, args ...string) *conversation {
	t.Helper()
	mcim, err := exec.LookPath("mcim")
	if err != nil {
		t.Fatal(err)
	}
	master, slave := newTerminal(t)
	c := &conversation{t: t, dir: dir, master: master, more: make(chan struct{}, 1)}
	c.cmd = exec.CommandContext(t.Context(), mcim, append([]string{"card", "shell"}, args...)...)
	c.cmd.Dir = dir
	c.cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(dir, "state"), "TERM=xterm")
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = slave, slave, slave
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = slave.Close()
	go c.listen()
	t.Cleanup(func() { _ = master.Close() })
	c.see("> ")
	return c
}

// listen keeps what the terminal shows.
func (c *conversation) listen() {
	defer close(c.more)
	for {
		b := make([]byte, 4096)
		n, err := c.master.Read(b)
		c.mu.Lock()
		c.shown.Write(b[:n])
		c.mu.Unlock()
		if err != nil {
			return
		}
		select {
		case c.more <- struct{}{}:
		default:
		}
	}
}

// see waits until the terminal shows the text, behind what was seen before, and gives
// what it shows up to its end.
func (c *conversation) see(text string) string {
	c.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		c.mu.Lock()
		shown := c.shown.String()[c.seen:]
		at := strings.Index(shown, text)
		if at >= 0 {
			c.seen += at + len(text)
			c.mu.Unlock()
			return shown[:at+len(text)]
		}
		c.mu.Unlock()
		select {
		case _, open := <-c.more:
			if !open {
				c.t.Fatalf("the shell ended, and did not show %q but %q", text, shown)
			}
		case <-deadline:
			c.t.Fatalf("the terminal does not show %q but %q", text, shown)
		}
	}
}

func (c *conversation) enter(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.master, text); err != nil {
		c.t.Fatal(err)
	}
}

// end ends the shell by the key and checks that it ended well.
func (c *conversation) end(key string) {
	c.t.Helper()
	c.enter(key)
	if err := c.cmd.Wait(); err != nil {
		c.t.Errorf("the shell ended: %v", err)
	}
}

func (c *conversation) history() string {
	c.t.Helper()
	b, err := os.ReadFile(filepath.Join(c.dir, "state", "mcim-history"))
	if err != nil {
		c.t.Fatal(err)
	}
	return string(b)
}

// shellCard is an image of a card with PIN1 1234.
func shellCard(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "card.toml")
	if err := os.WriteFile(path, []byte(profileTOML(wornICCID)), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := emul.ReadProfile(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := emul.Open(filepath.Join(dir, "card.img"), &p)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "card.img")
}

// TestShellTerminal types as people do.
func TestShellTerminal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := converse(t, dir, "--card", "emul:"+shellCard(t, dir))

	// Tab: a command, a file in the current directory, a path, a flag, a key, the choices.
	c.enter("sel\tEF.IC\t\r")
	c.see("select EF.ICCID")
	c.see("transparent EF 2FE2")
	c.see("> ")
	c.enter("select adf.usim/ef.ims\t\r")
	c.see("ADF.USIM/EF.IMSI")
	c.see("transparent EF 6F07")
	c.see("> ")
	c.enter("verify pin\t")
	c.see("pin1  pin2")
	c.enter("1 --te\t\x15\r")
	c.see("--text")
	c.see("> ")

	// An error does not end it.
	c.enter("read\r")
	c.see("6982")
	c.see("> ")

	// The code is not shown, and the right one opens the file.
	c.enter("verify pin1\r")
	c.see("pin1: ")
	c.enter("1234\r")
	if shown := c.see("pin1 is verified"); strings.Contains(shown, "1234") {
		t.Errorf("the code is on the screen: %q", shown)
	}
	c.see("> ")
	c.enter("read\r")
	c.see("001010123456789")
	c.see("> ")

	// Ctrl-C takes a line back, and the question for a code.
	c.enter("quit\x03")
	c.see("> ")
	c.enter("verify pin1\r")
	c.see("pin1: ")
	c.enter("99\x03")
	c.see("no code was given, and nothing was sent")
	c.see("> ")

	// A raw APDU, and one with a PIN in it; a code at the wrong place.
	c.enter("00A40804022FE2\r")
	c.see("MF/EF.ICCID (2FE2)")
	c.see("> ")
	c.enter("002000010831323334FFFFFFFF --allow " + wornICCID + "\r")
	c.see("VERIFY")
	c.see("9000: success")
	c.see("> ")
	c.enter("1234\r")
	c.see("hint")
	c.see("> ")

	// The arrow up brings the last line back that is no APDU with a PIN.
	c.enter("pwd\r")
	c.see("MF/EF.ICCID")
	c.see("> ")
	c.enter("\x1b[A\r")
	c.see("MF/EF.ICCID")
	c.see("> ")
	c.enter("info\r")
	c.see("nothing is selected or verified any more")
	c.see("> ")
	c.end("\x04")

	kept := c.history()
	for _, line := range []string{"select EF.ICCID", "read", "verify pin1", "00A40804022FE2", "pwd\npwd", "info"} {
		if !strings.Contains(kept, line+"\n") {
			t.Errorf("%q is not in the history %q", line, kept)
		}
	}
	for _, code := range []string{"1234", "31323334", "\n1234"} {
		if strings.Contains(strings.ReplaceAll(kept, "00A40804022FE2", ""), code) {
			t.Errorf("a code is in the history: %q", kept)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "state", "mcim-history")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}

	again := converse(t, dir, "--card", "emul:usim")
	again.enter("\x1b[A\x1b[A\r") // the line before the last
	again.see("pwd")
	again.see("MF")
	again.see("> ")
	again.end("quit\r")
}

// TestShellInterrupted: Ctrl-C ends a command, and the shell goes on.
func TestShellInterrupted(t *testing.T) {
	t.Parallel()
	c := converse(t, t.TempDir(), "--card", "emul:usim")
	c.enter("verify pin1\r")
	c.see("pin1: ")
	c.end("\x04\x04") // the question, and the shell
	s := &keys{ctx: t.Context(), typed: make(chan []byte, 2)}
	ended := false
	s.running(func() { ended = true })
	s.take([]byte("a\x03b"))
	if got := string(<-s.typed); got != "ab" || !ended {
		t.Errorf("%q, %v", got, ended)
	}
	s.asks(true)
	s.take([]byte("\x03"))
	if got := string(<-s.typed); got != string(emptyLine) {
		t.Errorf("%q to a question", got)
	}
	s.asks(false)
	s.running(nil)
	s.take([]byte("a\x03b"))
	if got := string(<-s.typed); got != "a"+string(emptyLine)+"b" {
		t.Errorf("%q", got)
	}
}

// TestConfidential: no APDU with a code or key is kept, however it is written.
func TestConfidential(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{
		"00A40004022FE2":                              false,
		"apdu 00A40004022FE2 00B000000A":              false,
		"0020000100":                                  false,
		"verify pin1":                                 false,
		"002000010831323334FFFFFFFF":                  true,
		"apdu 00A40004022FE2 '00 20 00 01 08 3132'":   true,
		"00:20:00:01:08:31:32:33:34:FF:FF:FF:FF":      true,
		"00 20 00 01 08 31 32 33 34":                  true,
		"002000010831323334FFFFFFF":                   true, // a digit is missing
		"00D600001000112233445566778899AABBCCDDEEFF":  true,
		"--json 00880081110000":                       true,
		"pin change --key pin1 --pin-file 00200001aa": true, // rather one too many
	} {
		if got := confidential(line); got != want {
			t.Errorf("%s: %v", line, got)
		}
	}
}

// TestShellChoices: what may stand where.
func TestShellChoices(t *testing.T) {
	t.Parallel()
	s := &shell{command: &cardShellCmd{Card: "emul:usim"}, reader: &explain.Reader{}}
	for _, tt := range []struct{ before, word, want string }{
		{"", "pw", "pwd"},
		{"", "she", ""},
		{"", "PIN", "pin"},
		{"pin", "v", "verify"},
		{"pin verify", "--pin", "--pin-file"},
		{"pin verify --key", "adm1", "adm1 adm10"},
		{"pin verify --key pin1", "--all", "--allow"},
		{"verify", "uni", "universal"},
		{"select", "ef.icc", "EF.ICCID"},
		{"select", "EF.ims", "EF.IMSI EF.IMSDCI"},
		{"select", "adf.usim/ef.ims", "ADF.USIM/EF.IMSI"},
		{"select", "DF.T", "DF.TELECOM"},
		{"help", "sel", "select"},
		{"nonsense", "x", ""},
		{"read", "1", ""},
	} {
		if got := strings.Join(s.choices(strings.Fields(tt.before), tt.word), " "); got != tt.want {
			t.Errorf("%s %s: %q, want %q", tt.before, tt.word, got, tt.want)
		}
	}
	if all := s.choices([]string{"select"}, ""); !slices.Contains(all, "EF.DIR") || slices.Contains(all, "EF.IMSI") || !slices.Contains(all, "ADF.USIM") {
		t.Errorf("in the MF: %q", all)
	}
}

// TestSplit: words of a line of the shell.
func TestSplit(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"":                              "[]",
		"  # nothing":                   "[]",
		"read 2 # the second":           "[read 2]",
		"info --card 'pcsc:ACS ACR39U'": "[info --card pcsc:ACS ACR39U]",
		`x "a'b"c ''`:                   `[x a'bc ]`,
		"a#b":                           "[a#b]",
	} {
		if words, err := split(line); err != nil || fmt.Sprint(words) != want {
			t.Errorf("%q: %q, %v", line, words, err)
		}
	}
	if _, err := split("a 'b"); err == nil {
		t.Error("an open quote")
	}
}

// TestLastTryInShell walks the commands of a line, as TestLastTry does all others: each in
// a shell that may write the card, on an image of its own.
func TestLastTryInShell(t *testing.T) {
	t.Parallel()
	w := newWorn(t)
	mcim, err := exec.LookPath("mcim")
	if err != nil {
		t.Fatal(err)
	}
	g, err := (&shell{command: &cardShellCmd{Card: "emul:usim"}}).grammar(console{out: io.Discard, talk: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	for _, spend := range []string{otherICCID, wornICCID} {
		for _, leaf := range g.Model.Leaves(false) {
			if newParserHas(t, leaf.FullPath()) && leaf.Name != "apdu" {
				continue // as outside, which TestLastTry walks
			}
			image := w.copy(t, w.images[0])
			given := w.given(image, spend)
			given["<where>"], given["<record>"], given["<command>"] = []string{"EF.ICCID"}, []string{"1"}, []string{"read"}
			given["<key>"], given["--code-file"] = given["--key"], []string{w.file("pin"), w.file("hex"), w.file("text")}
			var script strings.Builder
			for _, words := range arguments(t, leaf, given) {
				fmt.Fprintln(&script, strings.Join(words, " "))
			}
			if script.Len() == 0 {
				t.Errorf("%s was not run", leaf.FullPath())
			}
			cmd := exec.CommandContext(t.Context(), mcim, "card", "shell", "--card", "emul:"+image, "--allow", wornICCID, "--keep-going")
			cmd.Stdin = strings.NewReader(script.String())
			out, _ := cmd.CombinedOutput()
			spent := w.left(t, image) != "1 1 1"
			if spent != (spend == wornICCID && leaf.Name == "verify") {
				t.Errorf("%s with --spend-last-try %s: tries left %s\n%s%s", leaf.FullPath(), spend, w.left(t, image), script.String(), out)
			}
		}
	}
}

// newParserHas tells that a command of the shell is one of mcim card.
func newParserHas(t *testing.T, path string) bool {
	t.Helper()
	for _, leaf := range newParser(t).Model.Leaves(false) {
		if leaf.FullPath() == strings.Replace(path, ">", "mcim card", 1) {
			return true
		}
	}
	return false
}

// TestShellNoTerminal: a code is asked for where there is somebody to ask.
func TestShellNoTerminal(t *testing.T) {
	t.Parallel()
	s := &shell{command: &cardShellCmd{}}
	if _, err := (&shellVerifyCmd{Key: "pin1"}).code(s); err == nil || !strings.Contains(err.Error(), "--code-file") {
		t.Error(err)
	}
	s.ask = func(string) (string, error) { return "", card.ErrRemoved }
	if _, err := (&shellVerifyCmd{Key: "pin1"}).code(s); !errors.Is(err, card.ErrRemoved) {
		t.Error(err)
	}
}
