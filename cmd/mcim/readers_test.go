package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"mcim/card/emul"
	"mcim/card/vpcd"
)

// TestReadersWatch sees readers, a card that comes and goes, and the end of pcscd;
// Ctrl-C ends it with exit code 0.
func TestReadersWatch(t *testing.T) {
	t.Parallel()
	p, err := vpcd.StartPCSCD(t.Context(), vpcd.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	cmd := exec.Command(lookPath(t, "mcim"), "readers", "--watch")
	cmd.Env = append(os.Environ(), "PCSCLITE_CSOCK_NAME="+p.Socket)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewScanner(out)
	next := func(want string) {
		t.Helper()
		if lines.Scan(); lines.Text() != want {
			t.Fatalf("%q, want %q", lines.Text(), want)
		}
	}
	next("reader added        mcim virtual reader 00 00")
	next("reader added        mcim virtual reader 00 01")
	takeOut := put(t, p.Addrs[0])
	next("card inserted       mcim virtual reader 00 00")
	next("                    ATR 3b9f96801f878031e073fe211b674a357530350265f8")
	takeOut()
	next("card removed        mcim virtual reader 00 00")
	p.Stop()
	if lines.Scan(); len(lines.Text()) < 20 || lines.Text()[:18] != "PC/SC service lost" {
		t.Errorf("%q", lines.Text())
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() { // of why the service is lost
		continue
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// put puts a card into a virtual reader; what it returns takes it out.
func put(t *testing.T, addr string) func() {
	t.Helper()
	profile, err := emul.RandomProfile("usim")
	if err != nil {
		t.Fatal(err)
	}
	c, err := emul.New(profile)
	if err != nil {
		t.Fatal(err)
	}
	link, err := vpcd.Dial(t.Context(), addr, c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = link.Serve(ctx)
	}()
	<-link.Present()
	return func() {
		cancel()
		<-done
	}
}
