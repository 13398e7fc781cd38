package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"mcim/card/device"
	"mcim/hwtest"
	"mcim/tpm"
)

// TestHelp walks all commands: -h prints the help as it is written, with examples
// that mcim takes, on lines that fit a terminal.
func TestHelp(t *testing.T) {
	t.Parallel()
	leaves := newParser(t).Model.Leaves(false)
	if len(leaves) < 5 {
		t.Fatalf("only %d commands", len(leaves))
	}
	for _, leaf := range leaves {
		t.Run(leaf.FullPath(), func(t *testing.T) {
			t.Parallel()
			var out, talk bytes.Buffer
			if code := run(t.Context(), append(strings.Fields(leaf.FullPath())[1:], "-h"), &out, &talk); code != exitPass || talk.Len() > 0 {
				t.Errorf("exit code %d, %q", code, talk.String())
			}
			next := "Flags"
			if len(leaf.Positional) > 0 {
				next = "Arguments"
			}
			if !strings.Contains(out.String(), "\n"+leaf.Help+"\n\n"+leaf.Detail+"\n\n"+next+":\n") {
				t.Errorf("not as written:\n%s", out.String())
			}
			if strings.Count(out.String(), leaf.Help) > 1 {
				t.Errorf("%q is there twice", leaf.Help)
			}
			if wide := tooWide(out.String()); len(wide) > 0 {
				t.Errorf("too wide: %q", wide)
			}
			lines := examples(leaf.Detail)
			if len(lines) == 0 {
				t.Errorf("no examples in %q", leaf.Detail)
			}
			for _, line := range lines {
				words := strings.Fields(strings.ReplaceAll(line, "'pcsc:ACS ACR39U'", "pcsc:ACS"))
				if parsed, err := newParser(t).Parse(words[1:]); err != nil || parsed.Selected() == nil || parsed.Selected().FullPath() != leaf.FullPath() {
					t.Errorf("%s: %v", line, err)
				}
			}
		})
	}
}

func newParser(t *testing.T) *kong.Kong {
	t.Helper()
	parser, err := kong.New(&cli{}, kong.Name("mcim"))
	if err != nil {
		t.Fatal(err)
	}
	return parser
}

// examples are the command lines below "Examples:", each on one line.
func examples(help string) []string {
	_, after, _ := strings.Cut(help, "Examples:\n")
	var list []string
	for line := range strings.Lines(strings.ReplaceAll(after, " \\\n   ", "")) {
		if !strings.HasPrefix(line, "  mcim ") {
			break
		}
		list = append(list, strings.TrimSpace(line))
	}
	return list
}

// TestHelpOfGroups: help without a command, and of one that has commands.
func TestHelpOfGroups(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-h"}, {"card", "-h"}, {"lab", "-h"}} {
		var out, talk bytes.Buffer
		code := run(t.Context(), args, &out, &talk)
		usage := "Usage: " + strings.Join(append([]string{"mcim"}, args[:len(args)-1]...), " ") + " <command> [flags]\n"
		if code != exitPass || talk.Len() > 0 || !strings.HasPrefix(out.String(), usage) || !strings.Contains(out.String(), "\nCommands:\n") {
			t.Errorf("%v: exit code %d, %q, %s", args, code, talk.String(), out.String())
		}
		if wide := tooWide(out.String()); len(wide) > 0 {
			t.Errorf("%v: too wide: %q", args, wide)
		}
	}
	var talk bytes.Buffer
	if code := run(t.Context(), []string{"version", "-h"}, full{}, &talk); code != exitUsage || !strings.Contains(talk.String(), "no space left") {
		t.Errorf("nowhere to write: exit code %d, %q", code, talk.String())
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
		{fmt.Errorf("x: %w", hwtest.ErrOutput), exitUsage, "mcim: error: x: " + hwtest.ErrOutput.Error() + "\n"},
		{errors.Join(errors.New("one"), errors.New("two")), exitEnvironment, "mcim: error: one; two\n"},
		{errors.Join(errors.New("cut: gone"), errors.New("gone"), errors.New("gone")), exitEnvironment, "mcim: error: cut: gone\n"},
	} {
		var talk bytes.Buffer
		con := console{out: io.Discard, talk: &talk}
		if code := con.finish(tt.err); code != tt.code || talk.String() != tt.text {
			t.Errorf("%v: exit code %d, want %d; %q, want %q", tt.err, code, tt.code, talk.String(), tt.text)
		}
	}
}

// TestJSONErrors: with --json an error is one document, of the same form wherever
// it comes from, and is told on standard error too.
func TestJSONErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, tt := range []struct {
		args   string
		code   int
		result bool
	}{
		{"--json nonsense", exitUsage, false},
		{"card info --json --nonsense", exitUsage, false},
		{"card info --json --card usb:0", exitUsage, false},
		{"card info --json --card emul:" + dir + "/none", exitUsage, false},
		{"card dump --json --card usb:0", exitUsage, false},
		{"card dump --json --card emul:usim --pin-file " + dir + "/none", exitUsage, false},
		{"card diff --json emul:usim " + dir + "/none", exitUsage, false},
		{"doctor --json --tpm usb:0", exitUsage, false},
		{"demo --json --attack magic", exitUsage, false},
		{"demo --json --out /proc/none", exitUsage, false},
		{"demo --json --dry-run --tpm unix:" + dir + "/none", exitEnvironment, true},
		{"demo --json --out " + dir + "/out --tpm unix:" + dir + "/none", exitEnvironment, false},
		{"emulate --json --private", exitUsage, false},
		{"emulate --json --vpcd localhost:1 --profile " + dir + "/none", exitUsage, false},
		{"lab init --json --lab /proc/none", exitEnvironment, false},
		{"lab status --json --lab " + dir, exitEnvironment, false},
		{"lab remove --json --lab " + dir, exitEnvironment, false},
	} {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			var out, talk bytes.Buffer
			code := run(t.Context(), strings.Fields(tt.args), &out, &talk)
			var got struct {
				Error  string
				Exit   int
				Result json.RawMessage
			}
			d := json.NewDecoder(&out)
			d.DisallowUnknownFields()
			if err := d.Decode(&got); err != nil || d.More() {
				t.Fatalf("%v in %q", err, out.String())
			}
			first, _, _ := strings.Cut(talk.String(), "\n")
			if code != tt.code || got.Exit != code || got.Error == "" || first != "mcim: error: "+got.Error || (got.Result != nil) != tt.result {
				t.Errorf("exit code %d, %+v, %q", code, got, talk.String())
			}
		})
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

// TestReadersFit: a reader with a long name and a card with the longest ATR.
func TestReadersFit(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	err := writeReaders(&out, []readerRow{
		{Index: 0, Name: "Identiv uTrust 3700 F CL Reader [uTrust 3700 F] (53692042204012) 00 00", State: "card in use", Family: "usim", ATR: strings.Repeat("3b", 33)},
		{Index: 10, Name: "A", State: "empty"},
	})
	if wide := tooWide(out.String()); err != nil || len(wide) > 0 {
		t.Errorf("%v: %q", err, wide)
	}
	if lines := strings.Split(out.String(), "\n"); len(lines) != 5 || lines[3] != "10     A"+strings.Repeat(" ", 71)+"empty" {
		t.Errorf("%q", lines)
	}
}
