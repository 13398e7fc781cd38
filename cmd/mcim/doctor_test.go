package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"mcim/card/proc"
	"mcim/card/proc/proctest"
	"mcim/card/vpcd"
	"mcim/hwtest"
)

// nobody is a user without rights.
const nobody = 65534

// asNobody runs mcim as a user without rights, if this user has some, and gives
// its exit code and what it printed.
func asNobody(t *testing.T, env []string, args ...string) (code int, stdout []byte) {
	t.Helper()
	program, err := os.ReadFile(lookPath(t, "mcim"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(openDir(t), "mcim")
	proctest.WriteProgram(t, path, program)
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Dir = "/"
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	stdout, err = cmd.Output()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode(), stdout
	case err != nil:
		t.Fatal(err)
	}
	return 0, stdout
}

// openDir is a folder that everybody can enter.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mcim-open-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// check reads one check out of the output of mcim doctor --json.
func check(t *testing.T, stdout []byte, name string) hwtest.Check {
	t.Helper()
	var d hwtest.Diagnosis
	if err := json.Unmarshal(stdout, &d); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	for _, c := range d.Checks {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no check %q in %s", name, stdout)
	return hwtest.Check{}
}

// TestDoctorPermissionPCSC takes the right to use pcscd from the user.
func TestDoctorPermissionPCSC(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	p, err := vpcd.StartPCSCD(t.Context(), vpcd.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	env := []string{"PCSCLITE_CSOCK_NAME=" + p.Socket}
	setMode := func(mode fs.FileMode) {
		t.Helper()
		if err := os.Chmod(p.Socket, mode); err != nil {
			t.Fatal(err)
		}
	}
	setMode(0)
	code, out := asNobody(t, env, "doctor", "--card", "pcsc:0", "--json")
	c := check(t, out, hwtest.CheckPermission)
	if code != exitEnvironment || c.State != hwtest.Fail || !strings.Contains(c.Found, "may not use the pcscd at "+p.Socket) ||
		!strings.Contains(c.Fix, "run as root, or allow this user org.debian.pcsc-lite.access_pcsc") {
		t.Errorf("exit code %d, %+v", code, c)
	}
	code, out = asNobody(t, env, "doctor", "--json")
	if c := check(t, out, hwtest.CheckPermission); code != exitPass || c.State != hwtest.Warn {
		t.Errorf("not required: exit code %d, %+v", code, c)
	}
	setMode(0o666)
	if _, out = asNobody(t, env, "doctor", "--json"); check(t, out, hwtest.CheckPermission).State == hwtest.Warn &&
		!strings.Contains(check(t, out, hwtest.CheckPermission).Found, "may not use") {
		t.Errorf("with permission: %s", out)
	}
}

// TestDoctorPermissionTPM names a device that the user may not open.
func TestDoctorPermissionTPM(t *testing.T) {
	t.Parallel()
	code, out := asNobody(t, nil, "doctor", "--tpm", "device:"+forbiddenDevice(t), "--json")
	c := check(t, out, hwtest.CheckTPM)
	if code != exitEnvironment || c.State != hwtest.Fail || !c.Required || !strings.Contains(c.Found, "may not open device:") ||
		!strings.Contains(c.Fix, "usermod -aG ") && !strings.Contains(c.Fix, "run as root") {
		t.Errorf("exit code %d, %+v", code, c)
	}
}

// forbiddenDevice is a character device that a user without rights cannot open:
// one of our own, or one of the machine.
func forbiddenDevice(t *testing.T) string {
	t.Helper()
	path := filepath.Join(openDir(t), "tpmrm0")
	if err := unix.Mknod(path, unix.S_IFCHR|0o660, int(unix.Mkdev(10, 224))); err == nil {
		return path
	}
	found := ""
	_ = filepath.WalkDir("/dev", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeCharDevice == 0 {
			return nil
		}
		if info, err := d.Info(); err == nil && info.Mode().Perm()&0o006 == 0 {
			found = path
		}
		return nil
	})
	if found == "" {
		t.Fatal("this machine has no device that is closed to anybody")
	}
	return found
}

// TestDoctorTPM looks at a TPM through a socket, as it is, and with the answers
// of one that lacks a mode, and at a socket that breaks off.
func TestDoctorTPM(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	swtpm, err := proc.Start(t.Context(), proc.Spec{Path: "swtpm", Args: []string{"socket", "--tpm2", "--server",
		"type=unixio,path=" + filepath.Join(dir, "sock"), "--tpmstate", "dir=" + dir, "--flags", "not-need-init,startup-clear"}})
	if err != nil {
		t.Fatal(err)
	}
	defer swtpm.Stop()
	if err := await(filepath.Join(dir, "sock")); err != nil {
		t.Fatal(err)
	}
	proxy := listen(t, filepath.Join(dir, "proxy"), func(conn net.Conn) { refuseTestParms(conn, filepath.Join(dir, "sock")) })
	broken := listen(t, filepath.Join(dir, "broken"), func(net.Conn) {})
	for _, tt := range []struct {
		uri   string
		code  int
		found string
		fix   string
	}{
		{"unix:" + proxy, exitEnvironment, "lacks ECC P-256, EncryptDecrypt2 with AES-128-CFB", "update its firmware, or run on swtpm"},
		{"unix:" + broken, exitEnvironment, "does not answer as a TPM 2.0", "check that it is a TPM 2.0"},
		{"unix:" + filepath.Join(dir, "none"), exitEnvironment, "none at unix:", "start what is to listen there"},
	} {
		code, out := mcim(t, "doctor", "--tpm", tt.uri, "--json")
		c := check(t, out, hwtest.CheckTPM)
		if code != tt.code || c.State != hwtest.Fail || !strings.Contains(c.Found, tt.found) || !strings.Contains(c.Fix, tt.fix) {
			t.Errorf("%s: exit code %d, %+v", tt.uri, code, c)
		}
	}
}

// TestTPMBeforeTheRun: a named TPM is asked who it is before a run makes or prints
// anything, and no run begins before its makers are named.
func TestTPMBeforeTheRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	swtpm, err := proc.Start(t.Context(), proc.Spec{Path: "swtpm", Args: []string{"socket", "--tpm2", "--server",
		"type=unixio,path=" + filepath.Join(dir, "sock"), "--tpmstate", "dir=" + dir, "--flags", "not-need-init,startup-clear"}})
	if err != nil {
		t.Fatal(err)
	}
	defer swtpm.Stop()
	if err := await(filepath.Join(dir, "sock")); err != nil {
		t.Fatal(err)
	}
	broken := listen(t, filepath.Join(dir, "broken"), func(net.Conn) {})
	for _, tt := range []struct {
		uri  string
		code int
		want string
	}{
		{"unix:" + filepath.Join(dir, "sock"), exitUsage, "are trusted: name a PEM file of their root certificates by --ek-roots FILE\n"},
		{"unix:" + broken, exitEnvironment, "does not answer as a TPM 2.0: "},
	} {
		for _, args := range [][]string{{"demo", "--tpm", tt.uri, "--out", filepath.Join(dir, "out")}, {"lab", "init", "--tpm", tt.uri, "--lab", filepath.Join(dir, "lab")}} {
			var out, talk bytes.Buffer
			code := run(t.Context(), args, &out, &talk)
			if code != tt.code || out.Len() > 0 || !strings.Contains(talk.String(), tt.want) || strings.Count(talk.String(), "\n") != 1 {
				t.Errorf("%v: exit code %d, %q, %q", args, code, out.String(), talk.String())
			}
		}
	}
	for _, name := range []string{"out", "lab"} {
		if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDoctorTPMThere is the success beside the refusals.
func TestDoctorTPMThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	swtpm, err := proc.Start(t.Context(), proc.Spec{Path: "swtpm", Args: []string{"socket", "--tpm2", "--server",
		"type=unixio,path=" + filepath.Join(dir, "sock"), "--tpmstate", "dir=" + dir, "--flags", "not-need-init,startup-clear"}})
	if err != nil {
		t.Fatal(err)
	}
	defer swtpm.Stop()
	if err := await(filepath.Join(dir, "sock")); err != nil {
		t.Fatal(err)
	}
	code, out := mcim(t, "doctor", "--tpm", "unix:"+filepath.Join(dir, "sock"), "--json")
	c := check(t, out, hwtest.CheckTPM)
	if code != exitPass || c.State != hwtest.OK || !strings.Contains(c.Found, "IBM") {
		t.Errorf("exit code %d, %+v", code, c)
	}
}

func mcim(t *testing.T, args ...string) (code int, stdout []byte) {
	t.Helper()
	cmd := exec.Command(lookPath(t, "mcim"), args...)
	cmd.Env = append(os.Environ(), "PCSCLITE_CSOCK_NAME="+filepath.Join(t.TempDir(), "none"))
	stdout, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), stdout
}

// listen serves each connection to a socket.
func listen(t *testing.T, path string, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serve(conn)
			_ = conn.Close()
		}
	}()
	return path
}

// refuseTestParms passes TPM commands on, but answers TPM2_TestParms (0000018A)
// with TPM_RC_VALUE.
func refuseTestParms(conn net.Conn, to string) {
	tpm, err := net.Dial("unix", to)
	if err != nil {
		return
	}
	defer func() { _ = tpm.Close() }()
	for {
		command, err := readTPM(conn)
		if err != nil {
			return
		}
		answer := []byte{0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0x84}
		if string(command[6:10]) != "\x00\x00\x01\x8a" {
			if _, err := tpm.Write(command); err != nil {
				return
			}
			if answer, err = readTPM(tpm); err != nil {
				return
			}
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}

// readTPM reads a command or response of a TPM: tag, length, code, parameters.
func readTPM(r io.Reader) ([]byte, error) {
	b := make([]byte, 10)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	rest := make([]byte, int(b[4])<<8+int(b[5])-len(b))
	_, err := io.ReadFull(r, rest)
	return append(b, rest...), err
}
