package hwtest

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcim/card"
	"mcim/card/device"
	"mcim/card/pcsc"
	"mcim/card/proc/proctest"
	"mcim/tpm"
)

// The checks that need another environment or another user are broken in the
// tests of cmd/mcim, where each mcim is a process of its own.

// newDoctor looks at a machine.
func newDoctor(t *testing.T, m Machine) *doctor {
	t.Helper()
	d := &doctor{Machine: m}
	if err := d.complete(); err != nil {
		t.Fatal(err)
	}
	return d
}

// only gives the one check that was made.
func (d *doctor) only(t *testing.T) Check {
	t.Helper()
	if len(d.checks) != 1 {
		t.Fatalf("%d checks: %+v", len(d.checks), d.checks)
	}
	return d.checks[0]
}

// TestDoctorPrograms takes the parts of a private pcscd away.
func TestDoctorPrograms(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	broken := filepath.Join(dir, "pcscd")
	proctest.WriteProgram(t, broken, []byte("#!/bin/sh\necho cannot load a library >&2\nexit 127\n"))
	quiet := filepath.Join(dir, "quiet")
	proctest.WriteProgram(t, quiet, []byte("#!/bin/sh\n"))
	none := filepath.Join(dir, "none")
	programs := func(d *doctor) { d.programPCSCD(t.Context()) }
	for _, tt := range []struct {
		name    string
		machine Machine
		look    func(*doctor)
		want    Check
	}{
		{"pcscd", Machine{}, programs, Check{CheckPCSCD, OK, true, "at /", ""}},
		{"no pcscd", Machine{PCSCD: none}, programs, Check{CheckPCSCD, Fail, true, "not installed", "as root: apt-get install pcscd"}},
		{"no pcscd, a reader named", Machine{PCSCD: none, Card: "pcsc:0"}, programs,
			Check{CheckPCSCD, Warn, false, "not installed", "as root: apt-get install pcscd"}},
		{"pcscd that does not run", Machine{PCSCD: broken}, programs,
			Check{CheckPCSCD, Fail, true, "does not run: pcscd ended: exit status 127: cannot load a library", "as root: apt-get install --reinstall pcscd"}},
		{"pcscd that is none", Machine{PCSCD: quiet}, programs,
			Check{CheckPCSCD, Fail, true, "it does not tell its version", "as root: apt-get install --reinstall pcscd"}},
		{"driver", Machine{}, (*doctor).driver, Check{CheckDriver, OK, true, "libifdvpcd.so", ""}},
		{"no driver", Machine{Driver: none}, (*doctor).driver,
			Check{CheckDriver, Fail, true, "the driver is not installed: no " + none, "as root: apt-get install vsmartcard-vpcd"}},
		{"no driver, a reader named", Machine{Driver: none, Card: "pcsc:0"}, (*doctor).driver,
			Check{CheckDriver, Warn, false, "the driver is not installed: no " + none, "as root: apt-get install vsmartcard-vpcd"}},
		{"library", Machine{}, (*doctor).library, Check{CheckLibrary, OK, true, "pcsclite", ""}},
		{"no TPM", Machine{Device: none}, func(d *doctor) { d.tpm(t.Context()) },
			Check{CheckTPM, Warn, false, "none at " + none + ", swtpm is used", "none for runs in software; else switch it on in the firmware setup"}},
		{"TPM of the machine that is none", Machine{Device: "/dev/null"}, func(d *doctor) { d.tpm(t.Context()) },
			Check{CheckTPM, Warn, false, "device:/dev/null does not answer as a TPM 2.0", "check that it is a TPM 2.0 and that nothing else uses it"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDoctor(t, tt.machine)
			tt.look(d)
			got := d.only(t)
			if !strings.Contains(got.Found, tt.want.Found) {
				t.Errorf("found %q, want %q", got.Found, tt.want.Found)
			}
			got.Found = tt.want.Found
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestDoctorSWTPM takes swtpm out of the PATH, and its tools alone.
func TestDoctorSWTPM(t *testing.T) {
	states := func() map[string]State {
		d := newDoctor(t, Machine{})
		d.swtpm(t.Context())
		m := map[string]State{}
		for _, c := range d.checks {
			m[c.Name] = c.State
			if c.State != OK && !strings.HasPrefix(c.Fix, "as root: apt-get install swtpm") {
				t.Errorf("%+v", c)
			}
		}
		return m
	}
	if diff := cmp.Diff(map[string]State{CheckSWTPM: OK, CheckSWTPMSetup: OK}, states()); diff != "" {
		t.Error(diff)
	}
	dir := t.TempDir()
	if err := os.Symlink("/usr/bin/swtpm", filepath.Join(dir, "swtpm")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	if diff := cmp.Diff(map[string]State{CheckSWTPM: OK, CheckSWTPMSetup: Fail}, states()); diff != "" {
		t.Error(diff)
	}
	t.Setenv("PATH", t.TempDir())
	if diff := cmp.Diff(map[string]State{CheckSWTPM: Fail, CheckSWTPMSetup: Fail}, states()); diff != "" {
		t.Error(diff)
	}
}

// TestDoctorReaders judges what pcscd tells of readers.
func TestDoctorReaders(t *testing.T) {
	t.Parallel()
	driver := t.TempDir()
	usim := pcsc.Reader{Index: 1, Name: "B", Card: true, ATR: []byte{0x3B, 0x9F, 0x96, 0x80, 0x1F, 0x87, 0x80, 0x31, 0xE0, 0x73, 0xFE, 0x21,
		0x1B, 0x67, 0x4A, 0x35, 0x75, 0x30, 0x35, 0x02, 0x65, 0xF8}}
	for _, tt := range []struct {
		name         string
		readers      []pcsc.Reader
		ccid         string
		reader, card Check
	}{
		{"none, and no driver", nil, filepath.Join(driver, "none"),
			Check{CheckReader, Warn, false, "pcscd sees none", "as root: apt-get install libccid (the driver of USB readers), and restart pcscd"},
			Check{CheckCard, Warn, false, "not known before reader is ok, see its fix", "as root: apt-get install libccid (the driver of USB readers), and restart pcscd"}},
		{"none", nil, driver,
			Check{CheckReader, Warn, false, "pcscd sees none", "plug a reader in; lsusb has to list it"},
			Check{CheckCard, Warn, false, "not known before reader is ok, see its fix", "plug a reader in; lsusb has to list it"}},
		{"empty", []pcsc.Reader{{Name: "A"}}, driver,
			Check{CheckReader, OK, false, "pcsc:0 A", ""},
			Check{CheckCard, Warn, false, "every reader is empty", insertCard}},
		{"mute", []pcsc.Reader{{Name: "A", Card: true, Mute: true}}, driver,
			Check{CheckReader, OK, false, "pcsc:0 A", ""},
			Check{CheckCard, Warn, false, "the card in pcsc:0 does not answer to reset", turnCard}},
		{"card", []pcsc.Reader{{Name: "A"}, usim}, driver,
			Check{CheckReader, OK, false, "pcsc:0 A, pcsc:1 B", ""},
			Check{CheckCard, OK, false, "pcsc:1 usim", ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDoctor(t, Machine{CCIDDriver: tt.ccid})
			d.readerAndCard(t.Context(), tt.readers)
			if diff := cmp.Diff([]Check{tt.reader, tt.card}, d.checks); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestDoctorCardTrouble gives each trouble with a card a fix of its own.
func TestDoctorCardTrouble(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err        error
		found, fix string
	}{
		{fmt.Errorf("no card in reader %q: put one in%w", "A", mark(pcsc.ErrNoCard)), `no card in reader "A"`, insertCard},
		{fmt.Errorf("card removed: no card%w", mark(card.ErrRemoved)), "card removed", insertCard},
		{fmt.Errorf("card in reader %q is in use: end%w", "A", mark(pcsc.ErrSharing)), `card in reader "A" is in use`, "end the other program"},
		{fmt.Errorf("card in reader %q does not answer to reset: it%w", "A", mark(pcsc.ErrMute)), `card in reader "A" does not answer to reset`, turnCard},
		{fmt.Errorf("card offers neither: it%w", mark(pcsc.ErrProtocol)), "card offers neither", "use a card that speaks T=0 or T=1"},
		{fmt.Errorf("card did not answer in time: x%w", mark(card.ErrTimeout)), "card did not answer in time", turnCard},
		{errors.New("something: new"), "something: new", "mcim readers shows"},
	} {
		found, fix := cardTrouble(tt.err)
		if found != tt.found || !strings.HasPrefix(fix, tt.fix) {
			t.Errorf("%v: %q, %q", tt.err, found, fix)
		}
	}
}

// marked is an error that is another one without saying so.
type marked struct{ is error }

func mark(err error) error { return marked{err} }

func (marked) Error() string          { return "" }
func (m marked) Is(target error) bool { return target == m.is }

// TestDoctorTPMTrouble names the group that may open the device.
func TestDoctorTPMTrouble(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tpmrm0")
	if err := os.WriteFile(path, nil, 0o660); err != nil {
		t.Fatal(err)
	}
	uri := "device:" + path
	if _, fix := tpmTrouble(uri, fmt.Errorf("x: %w", tpm.ErrPermission)); os.Getgid() == 0 && !strings.Contains(fix, "chgrp tss "+path) {
		t.Errorf("group root: %q", fix)
	}
	if daemon, err := user.LookupGroup("daemon"); err == nil && os.Getuid() == 0 {
		gid := 0
		if _, err := fmt.Sscan(daemon.Gid, &gid); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Chown(path, 0, gid), os.Chmod(path, 0o660)); err != nil {
			t.Fatal(err)
		}
		if _, fix := tpmTrouble(uri, tpm.ErrPermission); fix != "as root: usermod -aG daemon root; then log in again" {
			t.Errorf("group daemon: %q", fix)
		}
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, fix := tpmTrouble(uri, tpm.ErrPermission); !strings.Contains(fix, "chmod 660 "+path) {
		t.Errorf("closed to the group: %q", fix)
	}
	if _, fix := tpmTrouble("device:/none", tpm.ErrPermission); !strings.HasPrefix(fix, "as root: usermod -aG tss ") {
		t.Errorf("no file: %q", fix)
	}
	for uri, want := range map[string][2]string{
		"device:/none": {"none at device:/none", "switch it on in the firmware setup"},
		uri:            {"none at " + uri + ": that file is no device", "name the device of the TPM"},
		"unix:/none":   {"none at unix:/none", "start what is to listen there, as swtpm socket --tpm2 --server type=unixio,path=/none"},
	} {
		if found, fix := tpmTrouble(uri, tpm.ErrNoTPM); found != want[0] || !strings.HasPrefix(fix, want[1]) {
			t.Errorf("%s: %q, %q", uri, found, fix)
		}
	}
	if found, fix := tpmTrouble("device:/none", errors.New("busy")); found != "busy" || !strings.Contains(fix, "/dev/tpmrm0 can be shared") {
		t.Errorf("%q, %q", found, fix)
	}
}

func TestDiagnoseURI(t *testing.T) {
	t.Parallel()
	if _, err := Diagnose(t.Context(), Machine{Card: "usb:0"}); !errors.Is(err, device.ErrURI) {
		t.Error(err)
	}
	for _, uri := range []string{"usb:0", "device:", "swtpm", "device"} {
		if _, err := Diagnose(t.Context(), Machine{TPM: uri}); !errors.Is(err, tpm.ErrURI) {
			t.Errorf("%q: %v", uri, err)
		}
	}
}

// TestDiagnosisText writes a fix that several checks share once.
func TestDiagnosisText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		checks []Check
		want   string
	}{
		{[]Check{{"pcscd", OK, true, "1.9.9", ""}}, "ok    pcscd           1.9.9\n\nready\n"},
		{[]Check{{"reader", Warn, false, "none", "plug one in"}, {"card", Warn, false, "not known", "plug one in"}},
			"warn  reader          none\n                      fix: plug one in\nwarn  card            not known\n\n" +
				"ready; not there and not needed for this: reader, card\n"},
		{[]Check{{"swtpm", Fail, true, "not installed", "apt-get install swtpm"}, {"card", Warn, false, "none", "put one in"}},
			"fail  swtpm           not installed\n                      fix: apt-get install swtpm\n" +
				"warn  card            none\n                      fix: put one in\n\nnot ready: swtpm\n"},
	} {
		var b strings.Builder
		if err := (Diagnosis{Checks: tt.checks}).WriteText(&b); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, b.String()); diff != "" {
			t.Error(diff)
		}
	}
}

// TestStartService names the command for this machine, or the variable that
// leads elsewhere.
func TestStartService(t *testing.T) {
	t.Setenv(socketEnv, "/somewhere/pcscd.comm")
	d := newDoctor(t, Machine{})
	if fix := d.startService(); !strings.Contains(fix, "unset "+socketEnv) || socket() != "/somewhere/pcscd.comm" {
		t.Errorf("%q, %q", fix, socket())
	}
	t.Setenv(socketEnv, "")
	if fix := d.startService(); !strings.HasPrefix(fix, "as root: ") || strings.Contains(fix, "apt-get") || socket() != "/run/pcscd/pcscd.comm" {
		t.Errorf("%q, %q", fix, socket())
	}
	if fix := newDoctor(t, Machine{PCSCD: filepath.Join(t.TempDir(), "none")}).startService(); !strings.HasPrefix(fix, "as root: apt-get install pcscd && ") {
		t.Errorf("not installed: %q", fix)
	}
}
