package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mcim/card/emul"
)

// interrupting is a place for talk that interrupts the command as soon as it names the
// undo file.
type interrupting struct {
	bytes.Buffer
	interrupt func()
}

func (w *interrupting) Write(b []byte) (int, error) {
	if strings.HasPrefix(string(b), "undo file: ") {
		w.interrupt()
	}
	return w.Buffer.Write(b)
}

// TestApplyInterrupted: an interrupted apply says how to go on, and goes on so.
func TestApplyInterrupted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if text != "" {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return path
	}
	p, err := emul.ReadProfile(file("card.toml", profileTOML(wornICCID)))
	if err != nil {
		t.Fatal(err)
	}
	c, err := emul.Open(file("card", ""), &p)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	changes := file("changes.json", `{"files":[{"path":"MF/EF.PL","decoded":{"languages":["de","en"]}}]}`)
	undo := file("undo.json", "")
	common := []string{"--card", "emul:" + file("card", ""), "--pin-file", file("pin", "1234"), "--allow", wornICCID}
	apply := func(ctx context.Context, talk io.Writer, args ...string) (int, string) {
		var out bytes.Buffer
		return run(ctx, append(append([]string{"card", "apply"}, common...), args...), &out, talk), out.String()
	}
	ctx, interrupt := context.WithCancel(t.Context())
	talk := &interrupting{interrupt: interrupt}
	code, out := apply(ctx, talk, "--undo", undo, changes)
	if code != exitEnvironment || !strings.Contains(out, "0 of 1 written and read back; undo file "+undo) ||
		!strings.Contains(talk.String(), "interrupted: broken off after 0 of 1 writes: ") ||
		!strings.Contains(talk.String(), "`mcim card apply --resume "+undo+"`, or undo it by `mcim card apply "+undo+"`") {
		t.Errorf("exit code %d\n%s%s", code, out, talk)
	}
	if code, out := apply(t.Context(), io.Discard, "--resume", undo); code != exitPass || !strings.Contains(out, "1 of 1 written") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if code, out := apply(t.Context(), io.Discard, changes); code != exitPass || !strings.Contains(out, "nothing written") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}
