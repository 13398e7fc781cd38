package main

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mcim/apdu"
	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card/aka"
	"mcim/card/emul"
)

// TestEmulateKilled kills `mcim emulate` between two answers, or before one, and
// looks at the card that the next one plays: no sequence number is taken twice,
// and no try of a PIN comes back.
func TestEmulateKilled(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	const rounds = 8
	for range rounds {
		v.round()
	}
	if len(v.answered) < rounds {
		t.Errorf("only %d AUTHENTICATEs were answered", len(v.answered))
	}
}

// victim is the card as the world outside of its process knows it.
type victim struct {
	t        *testing.T
	dir      string
	home     *aka.Subscriber
	answered []aka.Vector // accepted by the card, and the answer seen
	tries    []int        // what the counter of PIN1 can be
}

func newVictim(t *testing.T) *victim {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "card.toml"), []byte(profileTOML("8988211000000467343")), 0o600); err != nil {
		t.Fatal(err)
	}
	profile, err := emul.ReadProfile(filepath.Join(dir, "card.toml"))
	if err != nil {
		t.Fatal(err)
	}
	block, err := aka.NewAES(profile.K)
	if err != nil {
		t.Fatal(err)
	}
	milenage, err := aka.NewMilenage(block, profile.OPc)
	if err != nil {
		t.Fatal(err)
	}
	return &victim{t: t, dir: dir, home: aka.NewSubscriber(milenage, 0, profile.AMF, nil), tries: []int{3}}
}

// round plays the card, compares it with what is known, uses it and kills it.
func (v *victim) round() {
	emulate, socket := v.play()
	p := v.program(socket)
	v.compare(p)
	var commands []func() (command apdu.Command, answered func(apdu.Response))
	for range 1 + mathrand.IntN(3) {
		commands = append(commands, v.authenticate)
	}
	for range mathrand.IntN(3) {
		commands = append(commands, v.wrongPIN)
	}
	cut := mathrand.IntN(len(commands))
	for i, next := range commands[:cut+1] {
		command, answered := next()
		p.send(command)
		if i > 0 && i == cut && mathrand.IntN(2) == 0 { // no answer is waited for
			time.Sleep(time.Duration(mathrand.IntN(1500)) * time.Microsecond)
			break
		}
		answered(p.receive())
	}
	if err := emulate.Process.Kill(); err != nil {
		v.t.Fatal(err)
	}
	_ = emulate.Wait()
	p.end()
}

// authenticate is an AUTHENTICATE with a new vector.
func (v *victim) authenticate() (apdu.Command, func(apdu.Response)) {
	var random [16]byte
	_, _ = rand.Read(random[:])
	vector, err := v.home.Next(random)
	if err != nil {
		v.t.Fatal(err)
	}
	return usim.Authenticate{RAND: vector.RAND, AUTN: vector.AUTN}.Command(), func(r apdu.Response) {
		a, err := usim.ParseAuthenticate(r.Data)
		if err != nil || a.AUTS != nil || !slices.Equal(a.RES, vector.XRES.Bytes()) {
			v.t.Fatalf("AUTHENTICATE: %v, %v", r.SW, err)
		}
		v.answered = append(v.answered, vector)
	}
}

// wrongPIN is a VERIFY that spends a try, perhaps even if no answer comes.
func (v *victim) wrongPIN() (apdu.Command, func(apdu.Response)) {
	before := v.tries[0]
	v.tries = []int{before, before - 1}
	return uicc.Verify{Ref: uicc.RefPIN1, PIN: secret.New([]byte("99999999"))}.Command(), func(r apdu.Response) {
		if n, ok := r.SW.Retries(); !ok || n != before-1 {
			v.t.Fatalf("wrong PIN: %v", r.SW)
		}
		v.tries = []int{before - 1}
	}
}

// compare holds the card to what it answered before it was killed, and verifies
// PIN1.
func (v *victim) compare(p *program) {
	r := p.ask(uicc.Verify{Ref: uicc.RefPIN1}.Command())
	if n, ok := r.SW.Retries(); !ok || !slices.Contains(v.tries, n) {
		v.t.Fatalf("the counter of PIN1 is %v, want one of %v", r.SW, v.tries)
	}
	pin, err := uicc.PadPIN("1234")
	if err != nil {
		v.t.Fatal(err)
	}
	for _, c := range []apdu.Command{uicc.SelectAID(usim.AIDPrefix()).Command(), uicc.Verify{Ref: uicc.RefPIN1, PIN: pin}.Command()} {
		if r := p.ask(c); !r.SW.OK() {
			v.t.Fatalf("%02X: %v", c.INS, r.SW)
		}
	}
	v.tries = []int{3}
	for _, old := range v.answered {
		r := p.ask(usim.Authenticate{RAND: old.RAND, AUTN: old.AUTN}.Command())
		if a, err := usim.ParseAuthenticate(r.Data); err != nil || a.AUTS == nil {
			v.t.Fatalf("the card takes an old SQN again: %v, %v", r.SW, err)
		}
	}
}

// play starts mcim emulate and gives the socket of its pcscd.
func (v *victim) play() (*exec.Cmd, string) {
	cmd := exec.Command(lookPath(v.t, "mcim"), "emulate", "--private", "--profile", "card.toml", "--image", "card.img")
	cmd.Dir = v.dir
	out, err := cmd.StdoutPipe()
	if err != nil {
		v.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	socket, found := strings.CutPrefix(strings.TrimSpace(line), "PCSCLITE_CSOCK_NAME=")
	if err != nil || !found {
		v.t.Fatalf("emulate says %q, %v", line, err)
	}
	v.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = os.RemoveAll(filepath.Dir(socket)) // a killed mcim leaves it
	})
	return cmd, socket
}

func lookPath(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// program is apdus, a PC/SC program with a card open.
type program struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func (v *victim) program(socket string) *program {
	cmd := exec.Command(lookPath(v.t, "apdus"))
	cmd.Env = append(os.Environ(), "PCSCLITE_CSOCK_NAME="+socket)
	in, err := cmd.StdinPipe()
	if err != nil {
		v.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		v.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	return &program{v.t, cmd, in, bufio.NewReader(out)}
}

func (p *program) send(c apdu.Command) {
	b, err := c.Bytes()
	if err == nil {
		_, err = fmt.Fprintf(p.in, "%x\n", b)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *program) receive() apdu.Response {
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.TrimSpace(line))
	if err != nil {
		p.t.Fatal(err)
	}
	r, err := apdu.ParseResponse(b)
	if err != nil {
		p.t.Fatal(err)
	}
	return r
}

func (p *program) ask(c apdu.Command) apdu.Response {
	p.send(c)
	return p.receive()
}

// end ends the program, whose card is gone.
func (p *program) end() {
	_ = p.in.Close()
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}
