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
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"mcim/card/device"
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
	Card    cardCmd    `cmd:"" help:"Read a card."`
	Emulate emulateCmd `cmd:"" help:"Play a software UICC into pcscd until interrupted."`
	Version versionCmd `cmd:"" help:"Print the version of mcim and of what it stands on."`
}

// console is where a command prints; bound into every Run method.
type console struct {
	out, talk io.Writer
	json      bool
}

// print writes v as JSON where --json asks for it, and what text writes
// otherwise.
func (c console) print(v any, text func(io.Writer) error) error {
	var b bytes.Buffer
	if c.json {
		e := json.NewEncoder(&b)
		e.SetIndent("", "  ")
		if err := e.Encode(v); err != nil {
			return err
		}
	} else if err := text(&b); err != nil {
		return err
	}
	_, err := c.out.Write(b.Bytes())
	return err
}

// say writes a line of talk, which is not part of the result.
func (c console) say(format string, args ...any) {
	_, _ = fmt.Fprintf(c.talk, format+"\n", args...)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main with its surroundings as arguments; it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (code int) {
	var c cli
	exited := -1
	parser, err := kong.New(&c, kong.Name("mcim"), kong.Description(help), kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code }), kong.Help(printHelp), kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: reporting.Width}))
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "mcim: error: %v\n", err)
		return exitUsage
	}
	parsed, err := parser.Parse(args)
	if exited >= 0 { // -h printed its text
		return exited
	}
	if err != nil {
		code = report(stderr, usage(err))
		_, _ = fmt.Fprintf(stderr, "mcim: hint: `%s -h` shows the usage\n", command(err))
		return code
	}
	con := console{out: stdout, talk: stderr, json: c.JSON}
	err = parsed.Run(con, &contextHolder{ctx})
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("interrupted: %w", err)
	}
	return report(stderr, err)
}

// contextHolder carries the context into Run methods: kong binds by type, and
// an interface needs a type of its own.
type contextHolder struct{ context.Context }

// command names the command in which the usage error err was found, for the hint.
func command(err error) string {
	words := []string{"mcim"}
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

// usageError is a mistake of the caller: a bad flag or file.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// usage marks err as a mistake of the caller.
func usage(err error) error { return usageError{err} }

// exitCode tells mistakes of the caller and failed checks from everything else,
// which is the environment's.
func exitCode(err error) int {
	var wrong usageError
	switch {
	case err == nil:
		return exitPass
	case errors.Is(err, errFailed):
		return exitFailed
	case errors.As(err, &wrong), errors.Is(err, device.ErrURI), errors.Is(err, tpm.ErrURI):
		return exitUsage
	default:
		return exitEnvironment
	}
}

// report prints err and gives the exit code that fits it.
func report(stderr io.Writer, err error) int {
	code := exitCode(err)
	if err != nil && !errors.Is(err, errFailed) && !errors.Is(err, errNotReady) && !errors.Is(err, errUnproven) {
		_, _ = fmt.Fprintf(stderr, "mcim: error: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return code
}
