package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"mcim/card/device"
	"mcim/tpm"
)

// TestHelpHasExamples walks all commands: each one shows how it is used, and -h
// prints that with exit code 0.
func TestHelpHasExamples(t *testing.T) {
	t.Parallel()
	var c cli
	parser, err := kong.New(&c, kong.Name("mcim"))
	if err != nil {
		t.Fatal(err)
	}
	leaves := parser.Model.Leaves(false)
	if len(leaves) < 5 {
		t.Fatalf("only %d commands", len(leaves))
	}
	for _, leaf := range leaves {
		words := strings.Fields(leaf.FullPath())
		t.Run(leaf.FullPath(), func(t *testing.T) {
			t.Parallel()
			if leaf.Help == "" || !strings.Contains(leaf.Detail, "Example: "+leaf.FullPath()) {
				t.Errorf("the help has no line with \"Example: %s\":\n%s", leaf.FullPath(), leaf.Detail)
			}
			var out, talk bytes.Buffer
			code := run(t.Context(), append(words[1:], "-h"), &out, &talk)
			if code != exitPass || !strings.Contains(out.String(), "Example: "+leaf.FullPath()) || talk.Len() > 0 {
				t.Errorf("-h: exit code %d, %q, %q", code, out.String(), talk.String())
			}
		})
	}
}

// TestExitCodes tells apart whose mistake an error is.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		code int
		text string
	}{
		{nil, exitPass, ""},
		{errFailed, exitFailed, ""},
		{fmt.Errorf("with reasons: %w", errFailed), exitFailed, ""},
		{errNotReady, exitEnvironment, ""},
		{usage(errors.New("bad flag")), exitUsage, "mcim: error: bad flag\n"},
		{fmt.Errorf("x: %w", device.ErrURI), exitUsage, "mcim: error: x: " + device.ErrURI.Error() + "\n"},
		{tpm.ErrURI, exitUsage, "mcim: error: " + tpm.ErrURI.Error() + "\n"},
		{errors.Join(errors.New("one"), errors.New("two")), exitEnvironment, "mcim: error: one; two\n"},
	} {
		var talk bytes.Buffer
		if code := report(&talk, tt.err); code != tt.code || talk.String() != tt.text {
			t.Errorf("%v: exit code %d, want %d; %q, want %q", tt.err, code, tt.code, talk.String(), tt.text)
		}
	}
}

// full is a place where nothing can be written.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// TestResultNotWritten: a result that cannot be printed is an error.
func TestResultNotWritten(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"version"}, {"version", "--json"}, {"card", "info", "--card", "emul:usim"}} {
		var talk bytes.Buffer
		if code := run(t.Context(), args, full{}, &talk); code != exitEnvironment || !strings.Contains(talk.String(), "no space left") {
			t.Errorf("%v: exit code %d, %q", args, code, talk.String())
		}
	}
	if code := run(t.Context(), []string{"version"}, io.Discard, io.Discard); code != exitPass {
		t.Errorf("exit code %d", code)
	}
}

// TestInterrupted: an end by a signal is no fault, and where it cut something
// off, that is said.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	profile := filepath.Join(t.TempDir(), "card.toml")
	if err := os.WriteFile(profile, []byte(profileTOML("8988211000000467343")), 0o600); err != nil {
		t.Fatal(err)
	}
	var talk bytes.Buffer
	if code := run(ctx, []string{"emulate", "--private", "--profile", profile}, io.Discard, &talk); code != exitPass || talk.Len() > 0 {
		t.Errorf("emulate: exit code %d, %q", code, talk.String())
	}
	if code := run(ctx, []string{"card", "info", "--card", "emul:usim"}, io.Discard, &talk); code != exitEnvironment ||
		!strings.HasPrefix(talk.String(), "mcim: error: interrupted: ") {
		t.Errorf("card info: exit code %d, %q", code, talk.String())
	}
}
