package hwtest

import (
	"context"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mcim/card/proc"
	"mcim/flows/world"
	"mcim/hwtest/report"
	"mcim/tpm"
	"mcim/tpm/measure"
	"mcim/tpm/tpmtest"
)

// somebodyElse is a TPM as a machine of somebody else has it: behind a socket, with
// the boot of that machine in its PCRs and in a log, and with the restraint of a
// device.
func somebodyElse(t *testing.T) world.Config {
	t.Helper()
	ctx, dir := context.Background(), tpmtest.Dir(t)
	c := world.Config{
		TPM: "unix:" + filepath.Join(dir, "sock"), TPMOptions: tpm.Options{Foreign: true},
		BootLog: filepath.Join(dir, "log"), EKRoots: filepath.Join(dir, "makers.pem"), InProcess: true,
	}
	roots, between, err := tpm.LocalCA(dir)
	if err != nil {
		t.Fatal(err)
	}
	var makers []byte
	for _, cert := range append(roots, between...) {
		makers = append(makers, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	log := measure.CannedBoot()
	if err := errors.Join(os.WriteFile(c.EKRoots, makers, 0o600), os.WriteFile(c.BootLog, log.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	p, err := proc.Start(ctx, proc.Spec{Path: "swtpm", Package: "swtpm", Args: []string{"socket", "--tpm2", "--server",
		"type=unixio,path=" + filepath.Join(dir, "sock"), "--tpmstate", "dir=" + filepath.Join(dir, "tpm"), "--flags", "not-need-init,startup-clear"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	boots, err := tpm.Open(ctx, c.TPM, tpm.Options{})
	for end := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(end); boots, err = tpm.Open(ctx, c.TPM, tpm.Options{}) {
		time.Sleep(time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(measure.Extend(boots, log), boots.Close()); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestForeignTPM runs the whole suite on a TPM of somebody else, twice: nothing is
// taken over, the machine's own measurements are used, and the range of handles is
// free again afterwards.
func TestForeignTPM(t *testing.T) {
	t.Parallel()
	ctx, c := context.Background(), somebodyElse(t)
	for range 2 {
		budget := world.Spend{}
		for _, s := range Suite() {
			budget = budget.Plus(s.Spends).Plus(s.Frees)
		}
		result, err := (&Runner{Lab: c, Budget: &budget}).Run(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if result.Verdict != report.Pass || result.Environment.GivenBack < 12 {
			t.Fatalf("verdict %s, given back %d: %+v", result.Verdict, result.Environment.GivenBack, result.Procedures)
		}
	}
	m, err := tpm.Open(ctx, c.TPM, c.TPMOptions)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	if left, err := m.Ours(); err != nil || len(left) != 0 {
		t.Errorf("left in the TPM: %v, %v", left, err)
	}
}

// TestForeignTPMRefused: what a TPM of somebody else is not used with, and is not
// changed by.
func TestForeignTPMRefused(t *testing.T) {
	t.Parallel()
	ctx, named := context.Background(), somebodyElse(t)
	for _, tt := range []struct {
		name   string
		change func(*world.Config)
		want   string
	}{
		{"no makers", func(c *world.Config) { c.EKRoots = "" }, "--ek-roots FILE"},
		{"makers of other TPMs", func(c *world.Config) { c.EKRoots = otherMakers(t) }, "not from a trusted TPM maker"},
		{"no log", func(c *world.Config) { c.BootLog = "/nowhere" }, "has no event log"},
	} {
		c := named
		tt.change(&c)
		_, err := (&Runner{Lab: c}).Run(ctx)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
	}
	other := named
	other.BootLog = otherBoot(t)
	result, err := (&Runner{Lab: other}).Run(ctx)
	if err != nil || result.Verdict != report.Fail {
		t.Errorf("with the log of another boot: %v, %+v", err, result)
	}
	none := world.Spend{}
	result, err = (&Runner{Lab: named, Budget: &none}).Run(ctx)
	if err != nil || result.Verdict != report.NotRun {
		t.Errorf("without a budget: %v, %+v", err, result)
	}
}

func otherMakers(t *testing.T) string {
	t.Helper()
	roots, _, err := tpm.LocalCA(tpmtest.OtherDir(t))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "makers.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: roots[0].Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// otherBoot is a log with one event more than there was.
func otherBoot(t *testing.T) string {
	t.Helper()
	log := measure.CannedBoot()
	log.AddMeasured(9, measure.EVIPL, []byte("/boot/other\x00"), []byte("another image"))
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, log.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
