package emul

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mcim/card/aka"
)

// childImage names the image to the process that TestKill kills.
const childImage = "MCIM_EMUL_TEST_IMAGE"

func TestMain(m *testing.M) {
	if path := os.Getenv(childImage); path != "" {
		if err := serve(path, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// serve answers commands, each a length of 2 bytes and the APDU, until EOF.
func serve(path string, in io.Reader, out io.Writer) error {
	c, err := Open(path, nil)
	if err != nil {
		return err
	}
	c.storage.(*image).limit = 300 // compaction has to be hit too
	for {
		command, err := readFrame(in)
		if err != nil {
			return nil
		}
		r, err := c.Transmit(context.Background(), command)
		if err != nil {
			return err
		}
		if err := writeFrame(out, r); err != nil {
			return nil
		}
	}
}

func writeFrame(w io.Writer, b []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
	return err
}

func readFrame(r io.Reader) ([]byte, error) {
	var n [2]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(n[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

// victim is the card as the world outside knows it.
type victim struct {
	t        *testing.T
	path     string
	rng      *rand.Rand
	home     *aka.Subscriber
	answered []aka.Vector // taken by the card, and its answer seen
	tries    []int        // what the counter of PIN1 may be
	loci     []byte       // what the first byte of EF.LOCI may be
	locked   bool         // PIN1 is not verified
}

type childCard struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out io.ReadCloser
}

func (v *victim) start() *childCard {
	v.t.Helper()
	c := &childCard{cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), childImage+"="+v.path)
	c.cmd.Stderr = os.Stderr
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		v.t.Fatal(err)
	}
	if c.out, err = c.cmd.StdoutPipe(); err != nil {
		v.t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	return c
}

// ask sends a command; the answer is "" where the child was killed before it
// came.
func (v *victim) ask(c *childCard, command string) string {
	v.t.Helper()
	if err := writeFrame(c.in, unhex(v.t, command)); err != nil {
		return ""
	}
	b, err := readFrame(c.out)
	if err != nil {
		return ""
	}
	return hex.EncodeToString(b)
}

// step sends a random command and notes what may be true from then on: before
// the answer both the old and the new state, after it the new one.
func (v *victim) step(c *childCard) (alive bool) {
	left := v.tries[len(v.tries)-1]
	switch n := v.rng.IntN(4); {
	case left == 0:
		v.locked = false
		return v.pin(c, "002C0001 10 3132333435363738 31323334FFFFFFFF", []int{0, 3}, 3)
	case n == 0 && left > 1:
		v.locked = true
		return v.pin(c, "00200001 08 30303030FFFFFFFF", []int{left, left - 1}, left-1)
	case n <= 1 || v.locked:
		v.locked = false
		return v.pin(c, "00200001 08 31323334FFFFFFFF", []int{left, left - 1, 3}, 3)
	case n == 2:
		b := byte(v.rng.IntN(256))
		v.loci = append(v.loci, b)
		answer := v.ask(c, "00D68B00 01 "+hexByte(b))
		if answer == "" {
			return false
		}
		v.want(answer, "9000")
		v.loci = []byte{b}
	default:
		vec := nextVector(v.t, v.home)
		answer := v.ask(c, authenticate(vec)+"00")
		if answer == "" {
			return false
		}
		v.want(answer, success(vec))
		v.answered = append(v.answered, vec)
	}
	return true
}

func (v *victim) pin(c *childCard, command string, before []int, after int) bool {
	v.tries = before
	answer := v.ask(c, command)
	if answer == "" {
		return false
	}
	v.tries = []int{after}
	return true
}

func (v *victim) want(got, want string) {
	v.t.Helper()
	if got != want {
		v.t.Fatalf("got %s, want %s", got, want)
	}
}

// check opens the image that the dead child left.
func (v *victim) check() {
	v.t.Helper()
	c, err := Open(v.path, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	defer closeCard(v.t, c)
	left := int(c.pins[0].tries)
	if !slices.Contains(v.tries, left) {
		v.t.Fatalf("%d tries, want one of %v", left, v.tries)
	}
	v.tries = []int{left}
	if left == 0 {
		run(v.t, c, "002C0001 10 3132333435363738 31323334FFFFFFFF = 9000")
	}
	run(v.t, c, selectUSIM, verifyPIN1)
	v.tries = []int{3}
	loci := answerOf(v.t, c, "00B08B00 01")[0]
	if !slices.Contains(v.loci, loci) {
		v.t.Fatalf("EF.LOCI begins with %02x, want one of %x", loci, v.loci)
	}
	v.loci = []byte{loci}
	for _, vec := range v.answered {
		if got := send(v.t, c, authenticate(vec)+"00"); !strings.HasPrefix(got, "dc0e") {
			v.t.Fatalf("a vector is taken again: the SQN has gone back: %s", got)
		}
	}
	v.answered = v.answered[max(0, len(v.answered)-32):] // older ones have an IND in common with these
}

// TestKill kills the process that holds the card at any moment, many times, and
// looks whether the card remembers all that it has answered.
func TestKill(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	p := testProfile(t)
	v := &victim{
		t: t, path: filepath.Join(t.TempDir(), "card"), rng: rand.New(rand.NewPCG(seed, 0)),
		home: homeOf(t, p), tries: []int{3}, loci: []byte{0xFF},
	}
	closeCard(t, openCard(t, v.path, &p))
	answers := 0
	for range 30 {
		c := v.start()
		v.locked = false
		for _, line := range []string{selectUSIM, verifyPIN1} {
			command, want, _ := strings.Cut(line, " = ")
			v.want(v.ask(c, command), want)
		}
		delay := time.Duration(v.rng.IntN(8000)) * time.Microsecond
		killed := make(chan error, 1)
		go func() {
			time.Sleep(delay)
			killed <- c.cmd.Process.Kill()
		}()
		for v.step(c) {
			answers++
		}
		if err := <-killed; err != nil {
			t.Fatal(err)
		}
		_ = c.cmd.Wait() // killed, as wanted
		v.check()
	}
	if answers == 0 {
		t.Error("no answer was seen: the test has shown nothing")
	}
	t.Logf("%d answers between kills", answers)
}

// TestKillWhileCompacting kills at the moments at which the image is two files.
func TestKillWhileCompacting(t *testing.T) {
	t.Parallel()
	p, path := testProfile(t), filepath.Join(t.TempDir(), "card")
	c := openCard(t, path, &p)
	run(t, c, wrongPIN1+"63C2")
	closeCard(t, c)
	whole := mustRead(t, path)
	for n := 0; n <= len(whole); n += 97 {
		mustWrite(t, path+tempSuffix, whole[:n]) // a new image that did not get into place
		c := openCard(t, path, nil)
		run(t, c, "00200001 = 63C2")
		if err := c.storage.(*image).compact(); err != nil {
			t.Fatal(err)
		}
		closeCard(t, c)
	}
	run(t, openCard(t, path, nil), "00200001 = 63C2")
}
