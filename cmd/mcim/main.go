package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"mcim/card/device"
	"mcim/hwtest"
	reporting "mcim/hwtest/report"
	"mcim/tpm"
)

// Exit codes, documented in the help text and README.md.
const (
	exitPass        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitEnvironment = 3
)

// cli is the command line; each field's type is a command.
type cli struct {
	JSON bool `help:"Print the result as one JSON document." name:"json"`

	Demo    demoCmd    `cmd:"" help:"Run first provisioning and change of subscription, with proofs; or an attack."`
	Lab     labCmd     `cmd:"" help:"Make, show and remove a lab."`
	Doctor  doctorCmd  `cmd:"" help:"Check pcscd, permission, reader, card, swtpm and TPM, and name each fix."`
	Readers readersCmd `cmd:"" help:"List the PC/SC readers and the cards in them."`
	Card    cardCmd    `cmd:"" help:"Read a card, or send it raw APDUs."`
	Trace   traceCmd   `cmd:"" help:"Show, explain and replay a trace."`
	Emulate emulateCmd `cmd:"" help:"Play a software UICC into pcscd until interrupted."`
	Version versionCmd `cmd:"" help:"Print the version of mcim and of what it stands on."`
}

// console is where a command prints; bound into every Run method.
type console struct {
	out, talk io.Writer
	json      bool
	result    *any // for --json, until the command has ended
}

// print writes v where --json asks for it, and what text writes otherwise. The
// JSON comes when the command has ended: an error goes into the same document.
func (c console) print(v any, text func(io.Writer) error) error {
	if c.json {
		*c.result = v
		return nil
	}
	return c.printNow(v, text)
}

// printNow is print for a command that goes on afterwards.
func (c console) printNow(v any, text func(io.Writer) error) error {
	if c.json {
		return writeJSON(c.out, v)
	}
	var b bytes.Buffer
	if err := text(&b); err != nil {
		return err
	}
	_, err := c.out.Write(b.Bytes())
	return err
}

func writeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// say writes a line of talk, which is not part of the result.
func (c console) say(format string, args ...any) {
	_, _ = fmt.Fprintf(c.talk, format+"\n", args...)
}

func main() {
	// With a place for the signal, a write to a pipe that nobody reads fails, and does
	// not kill. It tells nothing more: sockets raise it, too.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	reading, unread := context.WithCancel(context.Background())
	ctx, stop := signal.NotifyContext(reading, endings()...)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	code := run(ctx, os.Args[1:], outlet{os.Stdout, unread}, outlet{os.Stderr, unread})
	stop()
	unread()
	os.Exit(code)
}

// outlet is an output that ends the command where nobody reads it any more.
type outlet struct {
	io.Writer
	unread func()
}

// Write implements io.Writer.
func (o outlet) Write(b []byte) (int, error) {
	n, err := o.Writer.Write(b)
	if errors.Is(err, syscall.EPIPE) {
		o.unread()
	}
	return n, err
}

// endings are the signals after which a command cleans up and ends. With nohup,
// SIGHUP is none of them.
func endings() []os.Signal {
	list := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		list = append(list, syscall.SIGHUP)
	}
	return list
}

// run is main with its surroundings as arguments; it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c cli
	con := console{out: stdout, talk: stderr, json: slices.Contains(args, "--json"), result: new(any)}
	g, err := newGrammar(&c, con, kong.Name("mcim"), kong.Description(help))
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "mcim: error: %v\n", err)
		return exitUsage
	}
	return g.run(&contextHolder{Context: ctx}, con, args)
}

// grammar is what one command line may be.
type grammar struct {
	*kong.Kong
	exited int // code with which kong has ended, as -h does; -1 where it has not
}

func newGrammar(root any, con console, options ...kong.Option) (*grammar, error) {
	g := &grammar{exited: -1}
	var err error
	g.Kong, err = kong.New(root, append(options, kong.Writers(con.out, con.talk), kong.Exit(func(code int) { g.exited = code }),
		kong.Help(printHelp), kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: reporting.Width}))...)
	return g, err
}

// run runs a command line and gives its exit code.
func (g *grammar) run(ctx *contextHolder, con console, args []string) int {
	parsed, err := g.Parse(args)
	if g.exited >= 0 { // -h printed its text
		return g.exited
	}
	if err != nil {
		code := con.finish(usage(err))
		con.say("mcim: hint: `%s` shows the usage", strings.TrimSpace(command(g.Model.Name, err)+" -h"))
		return code
	}
	err = parsed.Run(con, ctx)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("interrupted: %w", err)
	}
	return con.finish(err)
}

// contextHolder carries the context into Run methods: kong binds by type, and
// an interface needs a type of its own.
type contextHolder struct {
	context.Context
	shell *shell // in which the command runs; nil outside of one
}

// command names the command of a program in which the usage error err was found, for the hint.
func command(program string, err error) string {
	words := []string{program}
	var parse *kong.ParseError
	if errors.As(err, &parse) {
		for _, step := range parse.Context.Path {
			if step.Command != nil {
				words = append(words, step.Command.Name)
			}
		}
	}
	return strings.Join(words, " ")
}

// errFailed ends a command whose result, already printed, is that a check
// failed: exit code 1 and nothing more to say.
var errFailed = errors.New("a check failed")

// errNotReady ends a command whose result, already printed, is that something
// is missing on this machine: exit code 3 and nothing more to say.
var errNotReady = errors.New("the machine is not ready")

// failedError is what the card or its guard refused: exit code 1.
type failedError struct{ error }

func (e failedError) Unwrap() error { return e.error }

// usageError is a mistake of the caller: a bad flag or file.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// usage marks err as a mistake of the caller.
func usage(err error) error { return usageError{err} }

// exitCode tells mistakes of the caller and failed checks from everything else,
// which is the environment's.
func exitCode(err error) int {
	var wrong usageError
	var refused failedError
	var line exitError
	switch {
	case err == nil:
		return exitPass
	case errors.As(err, &line):
		return line.code
	case errors.Is(err, errFailed), errors.As(err, &refused):
		return exitFailed
	case errors.As(err, &wrong), errors.Is(err, device.ErrURI), errors.Is(err, device.ErrNoImage), errors.Is(err, tpm.ErrURI),
		errors.Is(err, hwtest.ErrOutput):
		return exitUsage
	default:
		return exitEnvironment
	}
}

// said says whether err only ends a command, whose result tells the rest.
func said(err error) bool {
	var line exitError
	return err == nil || errors.As(err, &line) || errors.Is(err, errFailed) || errors.Is(err, errNotReady) || errors.Is(err, errUnproven)
}

// failure is what --json prints for an error.
type failure struct {
	Error  string `json:"error"`
	Exit   int    `json:"exit"`
	Result any    `json:"result,omitempty"` // what there is of it
}

// finish prints err, and the document of --json, and gives the exit code.
func (c console) finish(err error) int {
	code := exitCode(err)
	if c.json {
		document := *c.result
		if !said(err) {
			document = failure{oneLine(err), code, document}
		}
		if document != nil {
			if werr := writeJSON(c.out, document); werr != nil {
				err = errors.Join(err, werr)
				code = max(code, exitEnvironment)
			}
		}
	}
	if !said(err) {
		c.say("mcim: error: %s", oneLine(err))
	}
	return code
}

// oneLine is the text of err with each cause once.
func oneLine(err error) string {
	var line string
	for part := range strings.Lines(err.Error()) {
		part = strings.TrimSpace(part)
		switch {
		case strings.Contains(line, part):
		case line == "":
			line = part
		default:
			line += "; " + part
		}
	}
	return line
}
