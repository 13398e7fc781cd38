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

// manufacture makes the TPM of dir with EK certificates (RSA-2048 and P-384), a
// platform certificate and the local CA that signs them. It does nothing if the
// TPM is there; it starts anew where an earlier run was cut.
func manufacture(ctx context.Context, dir string) error {
	if _, err := os.Stat(filepath.Join(dir, stateDir)); err == nil || !errors.Is(err, os.ErrNotExist) {
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
	if err := setup.Wait(ctx); err != nil {
		return fmt.Errorf("manufacture of a TPM: %w", err)
	}
	return nil
}

// LocalCA reads the CA certificates that signed the EK of a swtpm: folder: what
// a verifier trusts as the maker of such TPMs.
func LocalCA(dir string) (roots, intermediates []*x509.Certificate, err error) {
	read := func(name string) *x509.Certificate {
		b, rerr := os.ReadFile(filepath.Join(dir, caDir, name))
		if rerr != nil {
			err = errors.Join(err, rerr)
			return nil
		}
		block, _ := pem.Decode(b)
		if block == nil {
			err = errors.Join(err, fmt.Errorf("%s: not a PEM certificate", name))
			return nil
		}
		cert, perr := x509.ParseCertificate(block.Bytes)
		err = errors.Join(err, perr)
		return cert
	}
	root, issuer := read("swtpm-localca-rootca-cert.pem"), read("issuercert.pem")
	if err != nil {
		return nil, nil, fmt.Errorf("CA of the swtpm: %w", err)
	}
	return []*x509.Certificate{root}, []*x509.Certificate{issuer}, nil
}
