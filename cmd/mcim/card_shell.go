package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"mcim/apdu/ef"
	"mcim/card"
	"mcim/card/device"
	"mcim/card/explain"
	"mcim/card/trace"
)

type cardShellCmd struct {
	Card      string   `help:"Card: pcsc:INDEX, pcsc:NAME, emul:usim, emul:IMAGE or replay:FILE." placeholder:"URI" default:"pcsc:0"`
	Allow     []string `help:"ICCID of a card that commands may write to or spend of; stands for --allow of each line." placeholder:"ICCID"`
	KeepGoing bool     `help:"Of a script: go on behind a line that fails."`
}

// Help is the long help text.
func (cardShellCmd) Help() string {
	return `Keeps the card open and takes a command on each line: those of mcim card without these two words,
raw APDUs in hexadecimal, and select, read, ls, pwd, status, verify, reset, help and quit. What was
selected and verified holds from line to line; info, dump and others that begin with a reset say so.

In a terminal Tab completes commands, flags, files and keys, and the arrow up brings a line back;
lines are kept in $XDG_STATE_HOME/mcim-history, but none with an APDU that may hold a code or key.
Ctrl-C interrupts a command, Ctrl-D ends. Elsewhere standard input is a script: the first line that
fails ends it, with its exit code. Empty lines and what follows # are left out.

Examples:
  mcim card shell
  mcim card shell --card emul:usim
  mcim card shell --card emul:card.img --keep-going --json

A session:
  > select EF.ICCID
  > read
  > 00A40004023F00
  > verify pin1
  > pin status`
}

// shellGrammar is what a line of the shell may be.
type shellGrammar struct {
	JSON bool `help:"Print the result as one JSON document." name:"json"`

	cardCmd `embed:""`

	Select shellSelectCmd `cmd:"" help:"Select a file, directory or application."`
	Read   shellReadCmd   `cmd:"" help:"Read the file that is selected."`
	List   shellListCmd   `cmd:"" name:"ls" help:"List the files of the current directory that are on the card."`
	Place  shellPlaceCmd  `cmd:"" name:"pwd" help:"Say what is selected."`
	Status shellStatusCmd `cmd:"" help:"Ask the card for the parameters of the current directory."`
	Verify shellVerifyCmd `cmd:"" help:"Ask for a PIN or ADM, without showing it, and verify it."`
	Reset  shellResetCmd  `cmd:"" help:"Reset the card."`
	Help   shellHelpCmd   `cmd:"" help:"Show all commands, or what one is for."`
	Quit   shellQuitCmd   `cmd:"" help:"End the shell."`
}

// shell is an open card and what is known of it.
type shell struct {
	command *cardShellCmd
	open    *device.Card // tapped
	session *card.Session
	refused *card.Refused
	atr     []byte

	reader   *explain.Reader // follows what is selected
	last     explain.Explanation
	heard    *listener // of apdu, while it runs
	resets   int
	verified bool // a code, since the last reset

	ask  func(prompt string) (string, error) // reads without echo; nil where nobody is there
	quit bool
}

// Run takes line after line.
func (c *cardShellCmd) Run(con console, ctx *contextHolder) error {
	if ctx.shell != nil {
		return usage(errors.New("this is a shell already"))
	}
	open, err := device.Open(ctx, c.Card, 0)
	if err != nil {
		return imageError(err)
	}
	defer func() { _ = open.Close() }()
	s := &shell{command: c, refused: &card.Refused{}, reader: &explain.Reader{}}
	tapped := *open
	tapped.Card = trace.Tap(open.Card, trace.Options{Sensitive: trace.KeyFiles()}, s)
	s.open = &tapped
	if err := s.reset(ctx); err != nil {
		return err
	}
	kept := device.Keep(ctx, s.open, s.atr)
	if term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd())) && !con.json {
		return s.converse(con, kept)
	}
	return s.script(con, kept, os.Stdin)
}

// WriteAPDU implements trace.Sink.
func (s *shell) WriteAPDU(e trace.Exchange) error {
	s.last = s.reader.Explain(e)
	if s.heard != nil {
		return s.heard.WriteAPDU(e)
	}
	return nil
}

// WriteReset implements trace.ResetSink.
func (s *shell) WriteReset(r trace.Reset) error {
	s.resets++
	s.reader.Reset()
	s.verified = false
	if r.Err == nil {
		s.atr = r.ATR
	}
	return nil
}

// reset resets the card and begins a session.
func (s *shell) reset(ctx context.Context) error {
	s.session = card.NewSession(s.open, card.Options{})
	_, err := s.session.Reset(ctx)
	return err
}

// exitError ends a script with the exit code of its line, which has told its error.
type exitError struct {
	error
	code int
}

// script runs the lines of r.
func (s *shell) script(con console, ctx context.Context, r io.Reader) error {
	var first error
	lines := bufio.NewScanner(r)
	for n := 1; !s.quit && lines.Scan(); n++ {
		code := s.line(con, ctx, lines.Text())
		switch {
		case code == exitPass:
			continue
		case first == nil:
			first = exitError{fmt.Errorf("line %d", n), code}
		}
		con.say("mcim: that was line %d", n)
		if !s.command.KeepGoing || ctx.Err() != nil {
			break
		}
	}
	if err := lines.Err(); err != nil && first == nil {
		return fmt.Errorf("the script: %w", err)
	}
	return first
}

// line runs one line and gives its exit code.
func (s *shell) line(con console, ctx context.Context, text string) int {
	words, err := split(text)
	con.result = new(any)
	if err != nil {
		return con.finish(usage(err))
	}
	if len(words) == 0 {
		return exitPass
	}
	if isHex(words[0]) {
		words = append([]string{"apdu"}, words...)
	}
	g, err := s.grammar(con)
	if err != nil {
		return con.finish(err)
	}
	con.json = con.json || slices.Contains(words, "--json")
	before, at, verified := s.resets, s.reader.Place(), s.verified
	code := g.run(&contextHolder{ctx, s}, con, words)
	s.session = card.NewSession(s.open, card.Options{}) // another command may have used the card
	if s.resets > before && words[0] != "reset" && (verified || at != explain.Place{Dir: ef.DirMF}) {
		con.say("mcim: the card was reset: nothing is selected or verified any more")
	}
	return code
}

// grammar is that of a line, in which the card and the list of cards that may be written
// are those of the shell.
func (s *shell) grammar(con console) (*grammar, error) {
	g, err := newGrammar(&shellGrammar{}, con, kong.Name(">"), kong.Description("Commands on the open card."))
	if err != nil {
		return nil, err
	}
	for _, leaf := range g.Model.Leaves(false) {
		for _, f := range leaf.Flags {
			switch {
			case f.Name == "card":
				f.Default, f.HasDefault = s.command.Card, true
			case f.Name == "allow" && len(s.command.Allow) > 0:
				f.Default, f.HasDefault = strings.Join(s.command.Allow, ","), true
			}
		}
	}
	g.Model.Children = slices.DeleteFunc(g.Model.Children, func(n *kong.Node) bool { return n.Name == "shell" })
	return g, nil
}

// split takes a line apart at its spaces, but for those in quotes, and leaves out what
// follows #.
func split(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote rune
	inside := false
	end := func() {
		if inside {
			words = append(words, word.String())
		}
		word.Reset()
		inside = false
	}
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, inside = r, true
		case r == ' ' || r == '\t' || r == '\r':
			end()
		case r == '#' && !inside:
			return words, nil
		default:
			word.WriteRune(r)
			inside = true
		}
	}
	end()
	if quote != 0 {
		return nil, fmt.Errorf("a quote %c is not closed", quote)
	}
	return words, nil
}

// isHex tells an APDU from a command.
func isHex(word string) bool {
	b, err := hex.DecodeString(strings.ReplaceAll(word, ":", ""))
	return err == nil && len(b) >= 4
}
