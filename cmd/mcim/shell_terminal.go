package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// converse takes lines from the terminal until quit, Ctrl-D or the end of ctx. What fails
// does not end it.
func (s *shell) converse(con console, ctx context.Context) error {
	fd := int(os.Stdin.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return fmt.Errorf("the terminal: %w", err)
	}
	defer func() { _ = term.Restore(fd, before) }()
	typed := newKeys(ctx, os.Stdin)
	t := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{typed, con.out}, "> ")
	past := openHistory(con)
	defer past.close()
	t.History = past
	t.AutoCompleteCallback = func(line string, pos int, key rune) (string, int, bool) {
		return s.complete(t, line, pos, key)
	}
	s.ask = func(prompt string) (string, error) {
		typed.asks(true)
		defer typed.asks(false)
		code, err := t.ReadPassword(prompt)
		if errors.Is(err, io.EOF) { // Ctrl-D
			return "", nil
		}
		return code, err
	}
	con.out, con.talk = t, t
	con.say("card %s; help lists the commands, Ctrl-D ends", s.command.Card)
	for !s.quit {
		if width, height, err := term.GetSize(fd); err == nil && width > 0 {
			_ = t.SetSize(width, height)
		}
		line, err := t.ReadLine()
		switch {
		case errors.Is(err, term.ErrPasteIndicator):
		case errors.Is(err, io.EOF):
			_, err := t.Write([]byte("\n"))
			return err
		case err != nil:
			return err
		}
		running, stop := context.WithCancel(ctx)
		typed.running(stop)
		code := s.line(con, running, line)
		typed.running(nil)
		stop()
		past.keep(line, code != exitUsage)
	}
	return nil
}

// keys are what is typed. Ctrl-C ends the command that runs, or else empties the line.
type keys struct {
	ctx   context.Context
	typed chan []byte
	rest  []byte

	mu     sync.Mutex
	stop   context.CancelFunc // ends the command; nil while none runs
	asking bool               // the command waits for a line
}

const ctrlC = 0x03

// emptyLine is what takes a line back in the editor: to its end, all before away, and on
// to a new one.
var emptyLine = []byte{0x05, 0x15, '\r'}

func newKeys(ctx context.Context, from io.Reader) *keys {
	k := &keys{ctx: ctx, typed: make(chan []byte, 64)}
	go func() {
		defer close(k.typed)
		for {
			b := make([]byte, 256)
			n, err := from.Read(b)
			if n > 0 {
				k.take(b[:n])
			}
			if err != nil {
				return
			}
		}
	}()
	return k
}

// take passes keys on, all but a Ctrl-C that ends a command.
func (k *keys) take(b []byte) {
	var out []byte
	for _, c := range b {
		switch {
		case c != ctrlC:
			out = append(out, c)
		case !k.interrupt():
			out = append(out, emptyLine...)
		}
	}
	select {
	case k.typed <- out:
	case <-k.ctx.Done():
	}
}

// interrupt ends the command that runs, if there is one and it does not wait for a line.
func (k *keys) interrupt() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stop == nil || k.asking {
		return false
	}
	k.stop()
	return true
}

// running says how a command is ended that runs from now on; nil: none does.
func (k *keys) running(stop context.CancelFunc) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stop = stop
}

// asks says whether the command waits for a line.
func (k *keys) asks(asking bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asking = asking
}

// Read implements io.Reader.
func (k *keys) Read(b []byte) (int, error) {
	for len(k.rest) == 0 {
		var open bool
		select {
		case k.rest, open = <-k.typed:
			if !open {
				return 0, io.EOF
			}
		case <-k.ctx.Done():
			return 0, io.EOF
		}
	}
	n := copy(b, k.rest)
	k.rest = k.rest[n:]
	return n, nil
}
