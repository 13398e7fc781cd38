package tpmtest

import (
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"mcim/tpm"
	"mcim/tpm/ident"
	"mcim/tpm/measure"
)

// The files of the two TPMs that this process manufactured.
var (
	first  = sync.OnceValues(manufacture)
	second = sync.OnceValues(manufacture)
)

func manufacture() (files fstest.MapFS, err error) {
	dir, err := os.MkdirTemp("", "tpmtest")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	t, err := tpm.Open(context.Background(), "swtpm:"+dir, tpm.Options{})
	if err != nil {
		return nil, err
	}
	if err := t.Close(); err != nil {
		return nil, err
	}
	return readAll(os.DirFS(dir))
}

func readAll(dir fs.FS) (fstest.MapFS, error) {
	files := fstest.MapFS{}
	err := fs.WalkDir(dir, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(dir, name)
		files[name] = &fstest.MapFile{Data: data, Mode: 0o600}
		return err
	})
	return files, err
}

// Dir is a new folder with a manufactured TPM, for "swtpm:" + Dir(t). Every
// folder holds the same TPM.
func Dir(t testing.TB) string {
	t.Helper()
	return copyOf(t, first)
}

// OtherDir is Dir with another TPM: other keys, another CA.
func OtherDir(t testing.TB) string {
	t.Helper()
	return copyOf(t, second)
}

func copyOf(t testing.TB, template func() (fstest.MapFS, error)) string {
	t.Helper()
	files, err := template()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, files); err != nil {
		t.Fatal(err)
	}
	return dir
}

// OpenDir opens the TPM of a folder; it is closed at the end of the test, if the
// test has not done so.
func OpenDir(t testing.TB, dir string, opts tpm.Options) *tpm.TPM {
	t.Helper()
	m, err := tpm.Open(context.Background(), "swtpm:"+dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("close of the TPM: %v", err)
		}
	})
	return m
}

// OpenBlank opens a fresh TPM: its EK is pinned and the default range claimed,
// but no boot was measured.
func OpenBlank(t testing.TB) *tpm.TPM {
	t.Helper()
	return prepare(t, Dir(t), tpm.Options{})
}

// Open opens a fresh TPM after a canned boot, with its EK verified and pinned
// and the default range claimed.
func Open(t testing.TB) *tpm.TPM {
	t.Helper()
	return OpenWith(t, tpm.Options{})
}

// OpenWith is Open with options, which must not put the restraint of a foreign
// TPM on it.
func OpenWith(t testing.TB, opts tpm.Options) *tpm.TPM {
	t.Helper()
	return booted(t, prepare(t, Dir(t), opts))
}

// OpenOther is Open with the TPM of OtherDir.
func OpenOther(t testing.TB) *tpm.TPM {
	t.Helper()
	return booted(t, prepare(t, OtherDir(t), tpm.Options{}))
}

func prepare(t testing.TB, dir string, opts tpm.Options) *tpm.TPM {
	t.Helper()
	m := OpenDir(t, dir, opts)
	if err := m.Claim(); err != nil {
		t.Fatal(err)
	}
	if _, err := ident.VerifyEK(m, Trust(t, dir)); err != nil {
		t.Fatal(err)
	}
	return m
}

func booted(t testing.TB, m *tpm.TPM) *tpm.TPM {
	t.Helper()
	if err := measure.Extend(m, measure.CannedBoot()); err != nil {
		t.Fatal(err)
	}
	return m
}

// Trust believes the CA that made the TPM of a folder.
func Trust(t testing.TB, dir string) ident.Trust {
	t.Helper()
	roots, intermediates, err := tpm.LocalCA(dir)
	if err != nil {
		t.Fatal(err)
	}
	return ident.Trust{Roots: pool(roots), Intermediates: pool(intermediates), At: time.Now()}
}

func pool(certs []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c)
	}
	return p
}
