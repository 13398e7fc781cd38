package change

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/card"
	"mcim/card/emul"
)

// childFolder names the folder with image and undo document, and childEnd the APDU at
// which it is killed, to the process of TestKill.
const (
	childFolder = "MCIM_CHANGE_TEST_FOLDER"
	childEnd    = "MCIM_CHANGE_TEST_END"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childFolder); dir != "" {
		if err := applyAndDie(dir, os.Getenv(childEnd)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// killer is a card whose process is killed once the card has a command, before its
// answer.
type killer struct {
	card.Card
	left int
}

func (k *killer) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	answer, err := k.Card.Transmit(ctx, command)
	if k.left--; k.left < 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return answer, err
}

// applyAndDie applies the edits to the image in a folder.
func applyAndDie(dir, end string) error {
	at, err := strconv.Atoi(end)
	if err != nil {
		return err
	}
	c, err := emul.Open(filepath.Join(dir, "card"), nil)
	if err != nil {
		return err
	}
	d, err := Parse([]byte(edits))
	if err != nil {
		return err
	}
	pin, err := uicc.PadPIN("1234")
	if err != nil {
		return err
	}
	_, err = Apply(context.Background(), &killer{c, at}, d, Options{PIN1: pin, ADM: secret.New([]byte("12345678")), Allow: []string{testICCID},
		Journal: func(_ string, b []byte) error { return os.WriteFile(filepath.Join(dir, "undo"), b, 0o600) }})
	return errors.Join(err, c.Close())
}

// TestKill kills the process of an apply at each of its writes and proofs: the next
// process completes it, and another one undoes it.
func TestKill(t *testing.T) {
	t.Parallel()
	p := newProfile(t)
	image := filepath.Join(t.TempDir(), "card")
	c := onDisk(t, image, &p)
	before := state(t, c)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	killed := 0
	first, all := spared(t, newCard(t))
	for at := first; at < all; at++ {
		path := copied(t, image)
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childFolder+"="+filepath.Dir(path), childEnd+"="+strconv.Itoa(at))
		out, err := child.CombinedOutput()
		if err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("APDU %d: %v: %s", at, err, out)
		}
		undo, err := os.ReadFile(filepath.Join(filepath.Dir(path), "undo"))
		if err != nil {
			t.Fatal(err)
		}
		killed++
		completeAndUndo(t, path, string(undo), before)
	}
	if killed < 12 {
		t.Errorf("killed %d times after the undo document was written", killed)
	}
}

// completeAndUndo is what two other processes do afterwards.
func completeAndUndo(t *testing.T, path, undo, before string) {
	t.Helper()
	resumed, err := parsed(t, undo).Resumed()
	if err != nil {
		t.Fatal(err)
	}
	c := onDisk(t, path, nil)
	if _, err := Apply(t.Context(), c, resumed, options(t, new([]byte))); err != nil {
		t.Error(err)
	}
	if plan, err := Make(t.Context(), c, parsed(t, edits), options(t, new([]byte))); err != nil || len(plan.Changes) > 0 {
		t.Errorf("%+v %v", plan, err)
	}
	if _, err := Apply(t.Context(), c, parsed(t, undo), options(t, new([]byte))); err != nil {
		t.Error(err)
	}
	same(t, "undone", state(t, c), before)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}
