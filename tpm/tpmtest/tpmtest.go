package tpmtest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"
	"testing"
	"testing/fstest"

	"mcim/tpm"
)

// template holds the files of the folder that this process manufactured.
var template = sync.OnceValues(func() (files fstest.MapFS, err error) {
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
})

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

// Dir is a new folder with a manufactured TPM, for "swtpm:" + Dir(t).
func Dir(t testing.TB) string {
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

// OpenDir opens the TPM of a folder of Dir; it is closed at the end of the test,
// if the test has not done so.
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

// Open opens a fresh TPM, pins its EK and claims the default range.
func Open(t testing.TB) *tpm.TPM {
	t.Helper()
	return OpenWith(t, tpm.Options{})
}

// OpenWith is Open with options.
func OpenWith(t testing.TB, opts tpm.Options) *tpm.TPM {
	t.Helper()
	m := OpenDir(t, Dir(t), opts)
	if err := m.Claim(); err != nil {
		t.Fatal(err)
	}
	eks, err := m.EKs()
	if err != nil {
		t.Fatal(err)
	}
	m.PinEK(eks[0])
	return m
}
