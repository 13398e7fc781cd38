package tpm

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"mcim/card/proc"
)

// CopySWTPM copies the TPM in the folder of a swtpm: URI to another folder, where it
// can be looked at: a swtpm writes its state whenever it starts. The error is
// fs.ErrNotExist where no TPM is made yet, or another one of the file system.
func CopySWTPM(from, to string) error {
	return os.CopyFS(filepath.Join(to, stateDir), os.DirFS(filepath.Join(from, stateDir)))
}

// manufacture makes the TPM of dir with EK certificates (RSA-2048 and P-384), a
// platform certificate and the local CA that signs them. It does nothing if the
// TPM is there; it starts anew where an earlier run was cut.
func manufacture(ctx context.Context, dir string) error {
	switch _, err := os.Stat(filepath.Join(dir, stateDir)); {
	case err == nil:
		return whole(dir)
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	work := filepath.Join(dir, "manufacture")
	for _, old := range []string{work, filepath.Join(dir, caDir)} {
		if err := os.RemoveAll(old); err != nil {
			return err
		}
	}
	for _, d := range []string{work, filepath.Join(work, stateDir), filepath.Join(work, caDir)} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return err
		}
	}
	if err := runSetup(ctx, work); err != nil {
		return err
	}
	// The TPM last: it is the sign that all is there.
	for _, d := range []string{caDir, stateDir} {
		if err := os.Rename(filepath.Join(work, d), filepath.Join(dir, d)); err != nil {
			return err
		}
	}
	return os.RemoveAll(work)
}

// whole refuses a TPM whose state is gone: swtpm would start another one there.
func whole(dir string) error {
	state := filepath.Join(dir, stateDir, stateFile)
	if _, err := os.Stat(state); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}

func runSetup(ctx context.Context, work string) error {
	const pkg = "swtpm-tools"
	localca, err := proc.Find("swtpm_localca", pkg)
	if err != nil {
		return err
	}
	ca := filepath.Join(work, caDir)
	files := map[string][]string{
		"localca.conf": {"statedir = " + ca, "signingkey = " + ca + "/signkey.pem", "issuercert = " + ca + "/issuercert.pem",
			"certserial = " + ca + "/certserial"},
		"localca.options": {"--platform-manufacturer mcim", "--platform-version 1.0", "--platform-model lab"},
		"setup.conf": {"create_certs_tool = " + localca, "create_certs_tool_config = " + work + "/localca.conf",
			"create_certs_tool_options = " + work + "/localca.options", "active_pcr_banks = sha256"},
	}
	for name, lines := range files {
		if err := os.WriteFile(filepath.Join(work, name), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			return err
		}
	}
	setup, err := proc.Start(ctx, proc.Spec{Path: "swtpm_setup", Package: pkg, Dir: work, Env: []string{"TMPDIR=" + work}, Forks: true, Args: []string{
		"--tpm2", "--tpmstate", filepath.Join(work, stateDir), "--config", filepath.Join(work, "setup.conf"),
		"--create-ek-cert", "--create-platform-cert", "--lock-nvram", "--overwrite"}})
	if err != nil {
		return err
	}
	err = setup.Wait(ctx)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("manufacture of a TPM: %w", err)
	default:
		return fmt.Errorf("%w: %s; mcim doctor tells what is missing", ErrSetup, complaint(setup.Output()))
	}
}

// ErrSetup means that swtpm_setup could not make a TPM.
var ErrSetup = errors.New("swtpm_setup makes no TPM")

// complaint is the line of swtpm_setup that says why it failed: the first that
// speaks of a failure, among many that do not.
func complaint(output string) string {
	last := "it says nothing"
	for line := range strings.Lines(output) {
		line = strings.TrimRight(strings.TrimSpace(line), ".")
		if line == "" {
			continue
		}
		last = line
		for _, word := range []string{"could not", "cannot", "failed", "error", "exit with status", "denied", "no space", "not found"} {
			if strings.Contains(strings.ToLower(line), word) {
				return line
			}
		}
	}
	return last
}

// LocalCA reads the CA certificates that signed the EK of a swtpm: folder: what
// a verifier trusts as the maker of such TPMs.
func LocalCA(dir string) (roots, intermediates []*x509.Certificate, err error) {
	read := func(name string) *x509.Certificate {
		path := filepath.Join(dir, caDir, name)
		b, rerr := os.ReadFile(path)
		if rerr != nil {
			err = errors.Join(err, rerr)
			return nil
		}
		block, _ := pem.Decode(b)
		if block == nil {
			err = errors.Join(err, fmt.Errorf("%s: not a PEM certificate", path))
			return nil
		}
		cert, perr := x509.ParseCertificate(block.Bytes)
		if perr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", path, perr))
		}
		return cert
	}
	root, issuer := read("swtpm-localca-rootca-cert.pem"), read("issuercert.pem")
	if err != nil {
		return nil, nil, fmt.Errorf("%w: CA of the swtpm: %w", ErrDamaged, err)
	}
	return []*x509.Certificate{root}, []*x509.Certificate{issuer}, nil
}
