package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"

	"mcim/apdu"
	"mcim/apdu/secret"
	"mcim/card"
	"mcim/card/cardtest"
	"mcim/card/emul"
	"mcim/card/pcsc"
	"mcim/card/vpcd"
	reporting "mcim/hwtest/report"
)

// TestMain makes this test program be mcim itself, and a small PC/SC program,
// under those names.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"mcim": main, "apdus": apdus})
}

// apdus is a PC/SC program: it sends each line of hexadecimal on standard input
// to the card and writes the answer, with what had to be fetched, as a line. The
// line "hold" makes a file of that name and keeps the card until it is killed.
func apdus() {
	c, err := pcsc.Open(context.Background(), "0", pcsc.Options{Wait: 10 * time.Second})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer func() { _ = c.Close() }()
	session := card.NewSession(c, card.Options{})
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if lines.Text() == "hold" {
			_ = os.WriteFile("hold", nil, 0o600)
			time.Sleep(time.Hour)
		}
		answer, err := exchange(session, lines.Text())
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Printf("%x\n", answer.Bytes())
	}
}

func exchange(s *card.Session, line string) (apdu.Response, error) {
	b, err := hex.DecodeString(line)
	if err != nil {
		return apdu.Response{}, err
	}
	command, err := apdu.ParseCommand(b)
	if err != nil {
		return apdu.Response{}, err
	}
	return s.Send(context.Background(), command)
}

// TestScripts runs the command line as its users do.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup:               setUpScript,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"play":    playCommand,
			"end":     endCommand,
			"slay":    slayCommand,
			"readers": readersCommand,
			"code":    codeCommand,
			"lines":   linesCommand,
			"await":   awaitCommand,
			"bridged": bridgedCommand,
			"ends":    endsCommand,
		},
	})
}

// children is where a script keeps the processes that it started.
type children struct{ byName map[string]*exec.Cmd }

// setUpScript gives a script profiles with keys of its own, a home folder, and no
// pcscd of the machine.
func setUpScript(env *testscript.Env) error {
	env.Values["children"] = &children{map[string]*exec.Cmd{}}
	env.Setenv("PCSCLITE_CSOCK_NAME", filepath.Join(env.WorkDir, "no.comm"))
	// Where mcim keeps labs; the scripts must not share it.
	env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
	env.Setenv("XDG_STATE_HOME", filepath.Join(env.WorkDir, ".state"))
	programs, _, _ := strings.Cut(env.Getenv("PATH"), string(os.PathListSeparator))
	env.Setenv("MCIM_ONLY", programs) // a PATH with nothing but mcim
	for name, iccid := range map[string]string{"card.toml": "8988211000000467343", "other.toml": "8988211000000467350"} {
		if err := os.WriteFile(filepath.Join(env.WorkDir, name), []byte(profileTOML(iccid)), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// profileTOML is a profile with random keys, PIN1 1234 and PUK1 12345678, and other
// codes of the card that differ from those.
func profileTOML(iccid string) string {
	p, err := emul.RandomProfile("usim")
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("model = \"usim\"\niccid = %q\nimsi = \"001010123456789\"\npin1 = \"1234\"\npuk1 = \"12345678\"\n"+
		"pin2 = \"2345\"\npuk2 = \"23456789\"\nuniversal = \"3456\"\nuniversal_puk = \"34567890\"\nadm2 = \"6164322d74657874\"\n"+
		"k = \"%x\"\nopc = \"%x\"\namf = \"8000\"\nsqn = \"000000000000\"\nadm1 = \"%x\"\n",
		iccid, p.K.Reveal(), p.OPc.Reveal(), p.ADM1.Reveal())
}

// playCommand (play NAME ARGS...) starts `mcim emulate ARGS`, waits until it says
// that the card is there, and keeps what it prints in NAME.out and NAME.err.
func playCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: play NAME ARGS...")
	}
	start(ts, args[0], append([]string{"emulate"}, args[1:]...), func(*exec.Cmd) bool {
		return strings.Contains(ts.ReadFile(args[0]+".err"), "\n")
	})
	if said := ts.ReadFile(args[0] + ".err"); !strings.Contains(said, " in the reader") {
		ts.Fatalf("emulate says %q", said)
	}
	if socket, found := strings.CutPrefix(strings.TrimSpace(ts.ReadFile(args[0]+".out")), "PCSCLITE_CSOCK_NAME="); found {
		ts.Setenv("PCSCLITE_CSOCK_NAME", socket)
	}
}

// start starts mcim under a name, with its outputs in NAME.out and NAME.err, and
// waits until it is as far as ready says.
func start(ts *testscript.TestScript, name string, args []string, ready func(*exec.Cmd) bool) {
	mcim, err := exec.LookPath("mcim")
	ts.Check(err)
	cmd := exec.Command(mcim, args...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = []string{"PATH=" + ts.Getenv("PATH"), "TMPDIR=" + ts.Getenv("TMPDIR"), "HOME=" + ts.Getenv("HOME"), "PCSCLITE_CSOCK_NAME=" + ts.Getenv("PCSCLITE_CSOCK_NAME")}
	out, err := os.Create(ts.MkAbs(name + ".out"))
	ts.Check(err)
	talk, err := os.Create(ts.MkAbs(name + ".err"))
	ts.Check(err)
	cmd.Stdout, cmd.Stderr = out, talk
	ts.Check(cmd.Start())
	ts.Check(errors.Join(out.Close(), talk.Close()))
	ts.Value("children").(*children).byName[name] = cmd
	ts.Defer(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for end := time.Now().Add(20 * time.Second); !ready(cmd); time.Sleep(time.Millisecond) {
		if time.Now().After(end) || !running(cmd.Process.Pid) {
			ts.Fatalf("mcim %v does not begin: %s%s", args, ts.ReadFile(name+".out"), ts.ReadFile(name+".err"))
		}
	}
}

// beginCommand (begin NAME ARGS...) starts `mcim NAME ARGS`, and waits until its
// children, a swtpm and a pcscd, are there.
func beginCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: begin NAME ARGS...")
	}
	start(ts, args[0], args, func(cmd *exec.Cmd) bool {
		return slices.Equal(namesOf(childrenOf(ts, cmd.Process.Pid)), []string{"pcscd", "swtpm"})
	})
}

// slayCommand (slay NAME PROGRAM CODE) kills a program that the mcim of that name
// has started, and waits for the exit code of that mcim.
func slayCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: slay NAME PROGRAM CODE")
	}
	cmd := ts.Value("children").(*children).byName[args[0]]
	pids := childrenOf(ts, cmd.Process.Pid)
	i := slices.IndexFunc(pids, func(pid int) bool { return slices.Equal(namesOf([]int{pid}), args[1:2]) })
	if i < 0 {
		ts.Fatalf("no %s among the children %v", args[1], namesOf(pids))
	}
	ts.Check(syscall.Kill(pids[i], syscall.SIGKILL))
	_ = cmd.Wait()
	if code := strconv.Itoa(cmd.ProcessState.ExitCode()); code != args[2] {
		ts.Fatalf("exit code %s, want %s", code, args[2])
	}
}

// namesOf is the sorted names of processes.
func namesOf(pids []int) []string {
	var names []string
	for _, pid := range pids {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil {
			names = append(names, strings.TrimSpace(string(b)))
		}
	}
	slices.Sort(names)
	return names
}

// endCommand (end NAME SIGNAL CODE) sends a signal to what play started, and
// checks the exit code (-1: killed) and that its pcscd has ended with it.
func endCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: end NAME SIGNAL CODE")
	}
	signal := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL}[args[1]]
	cmd := ts.Value("children").(*children).byName[args[0]]
	pids := childrenOf(ts, cmd.Process.Pid)
	ts.Check(cmd.Process.Signal(signal))
	_ = cmd.Wait()
	if code := strconv.Itoa(cmd.ProcessState.ExitCode()); code != args[2] {
		ts.Fatalf("exit code %s, want %s", code, args[2])
	}
	for _, pid := range pids {
		for end := time.Now().Add(10 * time.Second); running(pid); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				ts.Fatalf("process %d outlives mcim", pid)
			}
		}
	}
}

// childrenOf lists the child processes of a process.
func childrenOf(ts *testscript.TestScript, parent int) []int {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	ts.Check(err)
	var pids []int
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(b), ") ") // state, parent, ...
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			ts.Check(err)
			pids = append(pids, pid)
		}
	}
	return pids
}

// running tells whether a process is there and no zombie.
func running(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	return err == nil && !strings.HasPrefix(rest, "Z")
}

// readersCommand (readers [WHAT]) starts a pcscd with two virtual readers,
// whose addresses are in VPCD0 and VPCD1. WHAT is what is in the first: nothing,
// "pulled:N" a card that is pulled out after N commands, "strange" one
// without a valid ATR, "gsm" one that knows class A0 alone, or "left" a socket that a
// pcscd left behind.
func readersCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: readers [WHAT]")
	}
	dir, err := os.MkdirTemp("", "mcim-readers-")
	ts.Check(err)
	ts.Defer(func() { _ = os.RemoveAll(dir) })
	if len(args) == 1 && args[0] == "left" {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "pcscd.comm"), Net: "unix"})
		ts.Check(err)
		l.SetUnlinkOnClose(false)
		ts.Check(l.Close())
		ts.Setenv("PCSCLITE_CSOCK_NAME", filepath.Join(dir, "pcscd.comm"))
		return
	}
	p, err := vpcd.StartPCSCD(context.Background(), vpcd.Config{Dir: dir, Slots: 2})
	ts.Check(err)
	ts.Defer(p.Stop)
	ts.Setenv("PCSCLITE_CSOCK_NAME", p.Socket)
	ts.Setenv("VPCD0", p.Addrs[0])
	ts.Setenv("VPCD1", p.Addrs[1])
	if len(args) == 1 {
		putIn(ts, p.Addrs[0], strangeCard(ts, args[0]))
	}
}

// putIn puts a card into a reader until the script ends.
func putIn(ts *testscript.TestScript, addr string, c card.Card) {
	link, err := vpcd.Dial(context.Background(), addr, c)
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = link.Serve(ctx)
	}()
	ts.Defer(func() {
		cancel()
		<-done
	})
	<-link.Present()
}

func strangeCard(ts *testscript.TestScript, what string) card.Card {
	profile, err := emul.RandomProfile("usim")
	ts.Check(err)
	profile.ICCID, profile.PIN1, profile.PUK1 = "8988211000000467343", secret.New([]byte("1234")), secret.New([]byte("12345678"))
	c, err := emul.New(profile)
	ts.Check(err)
	kind, number, _ := strings.Cut(what, ":")
	switch kind {
	case "pulled":
		at, err := strconv.Atoi(number)
		ts.Check(err)
		return cardtest.NewFaulty(c, cardtest.Fault{At: at, Kind: cardtest.Removed})
	case "strange":
		return badATR{c}
	case "gsm":
		return onlySIM{c}
	default:
		ts.Fatalf("no card %q", what)
		return nil
	}
}

// badATR is a card whose ATR is none.
type badATR struct{ card.Card }

func (badATR) Reset(context.Context) ([]byte, error) { return []byte{0x00, 0x00}, nil }

// onlySIM is a card that knows class A0 alone.
type onlySIM struct{ card.Card }

func (onlySIM) Reset(context.Context) ([]byte, error) { return []byte{0x3B, 0x00}, nil }

func (c onlySIM) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if len(command) > 0 && command[0] != 0xA0 {
		return []byte{0x6E, 0x00}, nil
	}
	return c.Card.Transmit(ctx, command)
}

// codeCommand (code N mcim ARGS...) runs mcim and checks its exit code; what it
// printed is in the files stdout and stderr. What people read there fits a terminal;
// the one line that ends an attack does not have to.
func codeCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N mcim ARGS...")
	}
	err := ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	code := 0
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
	for _, name := range []string{"stdout", "stderr"} {
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(ts.ReadFile(name)), 0o600))
	}
	if slices.Contains(args, "--json") || slices.Contains(args, "dump") { // documents
		return
	}
	for _, line := range tooWide(ts.ReadFile("stdout")) {
		if verdict, _, _ := strings.Cut(line, ":"); verdict != "refused" && verdict != "succeeded" && verdict != "not reached" {
			ts.Fatalf("%d characters: %s", utf8.RuneCountInString(line), line)
		}
	}
}

// tooWide are the lines that are wider than a terminal. A path alone on its line is
// not: it stays whole, so that it can be copied.
func tooWide(text string) []string {
	var list []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSuffix(line, "\n"); utf8.RuneCountInString(line) > reporting.Width && len(strings.Fields(line)) > 1 {
			list = append(list, line)
		}
	}
	return list
}

// TestScriptsMeasureAll: the output of every command is measured by some script
// that runs it by code.
func TestScriptsMeasureAll(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var scripts strings.Builder
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		scripts.Write(b)
	}
	for _, leaf := range newParser(t).Model.Leaves(false) {
		if !strings.Contains(scripts.String(), "\ncode 0 "+leaf.FullPath()) && leaf.Name != "emulate" { // it goes on, and prints one line
			t.Errorf("no script has a line \"code 0 %s\"", leaf.FullPath())
		}
	}
}

// linesCommand (lines FILE N) checks how many lines a file has.
func linesCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: lines FILE N")
	}
	if n := strconv.Itoa(strings.Count(ts.ReadFile(args[0]), "\n")); n != args[1] {
		ts.Fatalf("%s has %s lines, want %s", args[0], n, args[1])
	}
}

// bridgedCommand (bridged NAME) goes over to the pcscd of `mcim emulate --json`.
func bridgedCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: bridged NAME")
	}
	var document playing
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0]+".out")), &document))
	ts.Setenv("PCSCLITE_CSOCK_NAME", document.Socket)
}

// endsCommand (ends NAME CODE) waits for the end of what play started.
func endsCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: ends NAME CODE")
	}
	cmd := ts.Value("children").(*children).byName[args[0]]
	_ = cmd.Wait()
	if code := strconv.Itoa(cmd.ProcessState.ExitCode()); code != args[1] {
		ts.Fatalf("exit code %s, want %s", code, args[1])
	}
}

// awaitCommand (await FILE) waits until a file is there.
func awaitCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: await FILE")
	}
	ts.Check(await(ts.MkAbs(args[0])))
}

// await waits until a file is there.
func await(path string) error {
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(path); err == nil || time.Now().After(end) {
			return err
		}
	}
}
