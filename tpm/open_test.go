package tpm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"mcim/apdu/secret"
	"mcim/card/proc"
	"mcim/card/proc/proctest"
	"mcim/tpm"
	"mcim/tpm/ident"
	"mcim/tpm/tpmtest"
)

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plain := filepath.Join(dir, "file")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		uri  string
		opts tpm.Options
		want error
	}{
		{"", tpm.Options{}, tpm.ErrURI},
		{"swtpm:", tpm.Options{}, tpm.ErrURI},
		{"/dev/tpm0", tpm.Options{}, tpm.ErrURI},
		{"tcp:localhost", tpm.Options{}, tpm.ErrURI},
		{"device:" + filepath.Join(dir, "none"), tpm.Options{}, tpm.ErrNoTPM},
		{"device:" + plain, tpm.Options{}, tpm.ErrNoTPM},
		{"unix:" + filepath.Join(dir, "none"), tpm.Options{}, tpm.ErrNoTPM},
		{"unix:" + plain, tpm.Options{}, tpm.ErrNoTPM},
		{"swtpm:" + plain, tpm.Options{}, syscall.ENOTDIR},
		{"swtpm:" + dir, tpm.Options{Range: tpm.Range{NV: 0x01800F00, NVCount: 16, Persistent: 0x81800000, PersistentCount: 8}}, tpm.ErrRange},
		{"swtpm:" + dir, tpm.Options{Range: tpm.Range{NV: 0x01C00000, NVCount: 16, Persistent: 0x81000000, PersistentCount: 8}}, tpm.ErrRange},
		{"swtpm:" + dir, tpm.Options{Range: tpm.Range{NV: 0x01800000, NVCount: 3, Persistent: 0x81000000, PersistentCount: 8}}, tpm.ErrRange},
		{"device:/dev/null", tpm.Options{EKPin: []byte{1}}, tpm.ErrGone},
	} {
		m, err := tpm.Open(context.Background(), c.uri, c.opts)
		if !errors.Is(err, c.want) || m != nil {
			t.Errorf("%s: %v", c.uri, err)
		}
	}
}

// TestOpenNamesThePackage: swtpm is missed first, since swtpm_setup would not say so.
func TestOpenNamesThePackage(t *testing.T) {
	swtpm, err := exec.LookPath("swtpm")
	if err != nil {
		t.Fatal(err)
	}
	path, made := t.TempDir(), t.TempDir()
	t.Setenv("PATH", path)
	if err := os.Mkdir(filepath.Join(made, "tpm"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"swtpm", "swtpm-tools"} {
		var missing *proc.MissingError
		if _, err := tpm.Open(context.Background(), "swtpm:"+t.TempDir(), tpm.Options{}); !errors.As(err, &missing) || missing.Package != want {
			t.Errorf("to manufacture: %v, want %s", err, want)
		}
		if want == "swtpm" {
			if _, err := tpm.Open(context.Background(), "swtpm:"+made, tpm.Options{}); !errors.As(err, &missing) || missing.Package != want {
				t.Errorf("to start: %v", err)
			}
		}
		if err := os.Symlink(swtpm, filepath.Join(path, "swtpm")); err != nil && want == "swtpm" {
			t.Fatal(err)
		}
	}
}

// TestSetupFails: of all that swtpm_setup prints, the line that says why is told.
func TestSetupFails(t *testing.T) {
	path := t.TempDir()
	for _, name := range []string{"swtpm", "swtpm_setup", "swtpm_localca", "sh"} {
		program, err := exec.LookPath(name)
		if err == nil {
			err = os.Symlink(program, filepath.Join(path, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", path)
	dir := t.TempDir()
	_, err := tpm.Open(context.Background(), "swtpm:"+dir, tpm.Options{})
	if want := "swtpm_setup makes no TPM: swtpm_localca exit with status 1: Could not find certtool in PATH; mcim doctor tells what is missing"; !errors.Is(err, tpm.ErrSetup) || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("without certtool: %v", err)
	}
	if err := os.Remove(filepath.Join(path, "swtpm_setup")); err != nil {
		t.Fatal(err)
	}
	silent := filepath.Join(path, "swtpm_setup")
	for script, want := range map[string]string{
		"exit 1": "it says nothing",
		"echo Starting; echo; echo Ending.; exit 1": "makes no TPM: Ending; mcim",
	} {
		proctest.WriteProgram(t, silent, []byte("#!/bin/sh\n"+script+"\n"))
		if _, err := tpm.Open(context.Background(), "swtpm:"+dir, tpm.Options{}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", script, err)
		}
	}
}

// TestComma: swtpm would take the rest of the path for its next option.
func TestComma(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a,b")
	if _, err := tpm.Open(context.Background(), "swtpm:"+dir, tpm.Options{}); err == nil || !strings.Contains(err.Error(), "no comma in the path "+dir+": name another folder") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is there: %v", err)
	}
}

func TestFolderInUse(t *testing.T) {
	t.Parallel()
	dir := tpmtest.Dir(t)
	m := tpmtest.OpenDir(t, dir, tpm.Options{})
	_, err := tpm.Open(context.Background(), "swtpm:"+dir, tpm.Options{})
	var used *tpm.InUseError
	if !errors.As(err, &used) || used.PID != os.Getpid() || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("second open: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	tpmtest.OpenDir(t, dir, tpm.Options{})
}

func TestManufactureStartsAnewAfterACut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, left := range []string{"manufacture/tpm", "manufacture/ca", "ca"} {
		if err := os.MkdirAll(filepath.Join(dir, left), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	m := tpmtest.OpenDir(t, dir, tpm.Options{})
	if _, err := ident.VerifyEK(m, tpmtest.Trust(t, dir)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "manufacture")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the work folder is still there: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := tpm.Open(ctx, "swtpm:"+t.TempDir(), tpm.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestStateDamaged: a state that swtpm does not take, or would start another TPM
// without, is named.
func TestStateDamaged(t *testing.T) {
	t.Parallel()
	dir := tpmtest.Dir(t)
	state := filepath.Join(dir, "tpm", "tpm2-00.permall")
	good, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"garbage": []byte("not a state"), "truncated": good[:len(good)/2], "empty": {}, "gone": nil} {
		err := os.WriteFile(state, content, 0o600)
		if content == nil {
			err = os.Remove(state)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tpm.Open(context.Background(), "swtpm:"+dir, tpm.Options{}); !errors.Is(err, tpm.ErrDamaged) || !strings.Contains(err.Error(), state) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(state, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := tpmtest.OpenDir(t, dir, tpm.Options{}).Info(); err != nil {
		t.Errorf("put back: %v", err)
	}
	if _, _, err := tpm.LocalCA(t.TempDir()); !errors.Is(err, os.ErrNotExist) || !errors.Is(err, tpm.ErrDamaged) {
		t.Errorf("no CA: %v", err)
	}
	cert := filepath.Join(dir, "ca", "issuercert.pem")
	for _, content := range []string{"x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if err := os.WriteFile(cert, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := tpm.LocalCA(dir); !errors.Is(err, tpm.ErrDamaged) || !strings.Contains(err.Error(), cert) {
			t.Errorf("a CA that is none: %v", err)
		}
	}
}

// swtpmOf finds the process that has the folder open.
func swtpmOf(t *testing.T, dir string) int {
	t.Helper()
	list, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range list {
		b, err := os.ReadFile(path)
		if err == nil && bytes.HasPrefix(b, []byte("/usr/bin/swtpm\x00")) && bytes.Contains(b, []byte("dir="+dir)) {
			pid, err := strconv.Atoi(strings.Split(path, "/")[2])
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	t.Fatal("no swtpm runs on " + dir)
	return 0
}

// TestKilled: a TPM that is killed again and again after its keys were used says
// that it is gone, keeps its keys, and does not count that as failed
// authorizations.
func TestKilled(t *testing.T) {
	t.Parallel()
	dir := tpmtest.Dir(t)
	for range 5 {
		m := tpmtest.OpenDir(t, dir, tpm.Options{Claimed: true})
		if _, err := ident.VerifyEK(m, tpmtest.Trust(t, dir)); err != nil {
			t.Fatal(err)
		}
		info, err := m.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.LockoutCount != 0 || info.InLockout {
			t.Errorf("failed authorizations: %d", info.LockoutCount)
		}
		tre, err := ident.CreateTRE(m, ident.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tre.Certify(tre.SRK, nil); err != nil {
			t.Fatal(err)
		}
		ek, err := m.EK() // which no template exempts from the protection
		if err != nil {
			t.Fatal(err)
		}
		credential, err := ident.MakeCredential(tpm2.Marshal(ek.Public), tre.AK.Bytes(), secret.New([]byte("secret")))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tre.Activate(credential); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(swtpmOf(t, dir), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Info(); !errors.Is(err, tpm.ErrGone) || !errors.Is(err, proc.ErrEnded) {
			t.Errorf("after the kill: %v", err)
		}
		if err := m.Close(); err != nil {
			t.Errorf("close after the kill: %v", err)
		}
		if _, err := m.Info(); !errors.Is(err, tpm.ErrGone) {
			t.Errorf("after close: %v", err)
		}
	}
}

const holdEnv = "TPM_TEST_HOLD"

// TestMain lets the test binary be the process that holds a TPM and is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(holdEnv); dir != "" {
		if _, err := tpm.Open(context.Background(), "swtpm:"+dir, tpm.Options{}); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("open")
		time.Sleep(time.Hour)
	}
	os.Exit(m.Run())
}

func TestHolderKilled(t *testing.T) {
	t.Parallel()
	dir := tpmtest.Dir(t)
	for range 3 {
		holder := exec.Command(os.Args[0])
		holder.Env = append(os.Environ(), holdEnv+"="+dir)
		out, err := holder.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := holder.Start(); err != nil {
			t.Fatal(err)
		}
		line := make([]byte, 5)
		if _, err := out.Read(line); err != nil || string(line[:4]) != "open" {
			t.Fatalf("%q, %v", line, err)
		}
		var used *tpm.InUseError
		if _, err := tpm.Open(context.Background(), "swtpm:"+dir, tpm.Options{}); !errors.As(err, &used) || used.PID != holder.Process.Pid {
			t.Errorf("while it is held: %v", err)
		}
		if err := holder.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = holder.Wait()
		m := tpmtest.OpenDir(t, dir, tpm.Options{})
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// unixTPM starts a swtpm that listens on a socket, as a machine might run one.
func unixTPM(t *testing.T) (uri, dir string) {
	t.Helper()
	dir = tpmtest.Dir(t)
	short, err := os.MkdirTemp("", "tpm") // a socket path has 107 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(short) })
	path := filepath.Join(short, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	p, err := proc.Start(context.Background(), proc.Spec{Path: "swtpm", Package: "swtpm", ExtraFiles: []*os.File{f},
		Args: []string{"socket", "--tpm2", "--server", "type=unixio,fd=3", "--tpmstate", "dir=" + filepath.Join(dir, "tpm"), "--flags", "not-need-init,startup-clear"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	if err := errors.Join(l.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return "unix:" + path, dir
}

func TestUnix(t *testing.T) {
	t.Parallel()
	uri, dir := unixTPM(t)
	m, err := tpm.Open(context.Background(), uri, tpm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ident.VerifyEK(m, tpmtest.Trust(t, dir)); err != nil {
		t.Error(err)
	}
	if m.Kind != tpm.KindUnix || m.Foreign() {
		t.Errorf("%s TPM, foreign: %v", m.Kind, m.Foreign())
	}
	if err := errors.Join(m.Close(), m.Close()); err != nil {
		t.Error(err)
	}
}
