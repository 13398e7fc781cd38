package store_test

import (
	"bytes"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mcim/apdu/secret"
	"mcim/flows/store"
	"mcim/flows/store/storetest"
)

const killDir = "MCIM_STORE_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killDir); dir != "" {
		fmt.Println(writeUntilKilled(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestStore(t *testing.T) {
	t.Parallel()
	dirs := map[string]string{}
	storetest.Test(t, func(t *testing.T) *store.Store {
		if dirs[t.Name()] == "" {
			// Characters that mean something in a database's URL.
			dirs[t.Name()] = filepath.Join(t.TempDir(), "a ?b=#%20 'c")
		}
		return open(t, dirs[t.Name()])
	})
}

func open(t testing.TB, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closed(t testing.TB, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

const (
	keys   store.Secrets        = "k"
	values store.Bucket[string] = "v"
	counts store.Bucket[uint64] = "n"
)

// TestSecretsAreSealed looks for the plaintext in every file, and moves a sealed
// value to another name.
func TestSecretsAreSealed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	k := make([]byte, 16)
	_, _ = rand.Read(k)
	for _, name := range []string{"a", "b"} {
		if err := keys.Put(t.Context(), s, name, secret.New(k)); err != nil {
			t.Fatal(err)
		}
	}
	forms := []string{string(k), hex.EncodeToString(k)}
	search := func(when string) {
		for _, name := range files(t, dir) {
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %s has mode %04o", when, name, info.Mode().Perm())
			}
			for _, form := range forms {
				if bytes.Contains(read(t, name), []byte(form)) {
					t.Errorf("%s: the secret is in %s", when, name)
				}
			}
		}
	}
	search("open")
	closed(t, s)
	search("closed")

	db, err := sql.Open("sqlite", filepath.Join(dir, "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("UPDATE sealed SET value = (SELECT value FROM sealed WHERE bucket = 'k' AND key = 'a') WHERE bucket = 'k' AND key = 'b'"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("INSERT INTO record (at, kind, key, message) VALUES (1, 'x', 'y', x'00')"); err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{"DELETE FROM record", "UPDATE record SET kind = 'z'"} {
		if _, err := db.Exec(query); err == nil || !strings.Contains(err.Error(), "records are kept") {
			t.Errorf("%s: got %v", query, err)
		}
	}
	closed(t, db)
	s = open(t, dir)
	defer closed(t, s)
	if got, err := keys.Get(t.Context(), s, "a"); err != nil || !bytes.Equal(got.Reveal(), k) {
		t.Errorf("got %v", err)
	}
	if _, err := keys.Get(t.Context(), s, "b"); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("a moved secret: got %v", err)
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		is    error
	}{
		{"newer", func(t *testing.T, dir string) { execute(t, dir, "PRAGMA user_version = 2") }, store.ErrNewer},
		{"no key", func(t *testing.T, dir string) { remove(t, dir, "store.key") }, store.ErrKey},
		{"another key", func(t *testing.T, dir string) { write(t, dir, "store.key", make([]byte, 32)) }, store.ErrKey},
		{"half a key", func(t *testing.T, dir string) { write(t, dir, "store.key", make([]byte, 16)) }, store.ErrKey},
		{"no database", func(t *testing.T, dir string) { write(t, dir, "store.db", bytes.Repeat([]byte("x"), 5000)) }, store.ErrDamaged},
		{"truncated", func(t *testing.T, dir string) {
			write(t, dir, "store.db", read(t, filepath.Join(dir, "store.db"))[:5000])
		}, store.ErrDamaged},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			if err := values.Put(t.Context(), s, "a", "b"); err != nil {
				t.Fatal(err)
			}
			closed(t, s)
			tc.spoil(t, dir)
			if s, err := store.Open(t.Context(), dir); !errors.Is(err, tc.is) {
				t.Errorf("got %v %v, want %v", s, err, tc.is)
			}
		})
	}
}

func execute(t *testing.T, dir, query string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(query); err != nil {
		t.Fatal(err)
	}
	closed(t, db)
}

func write(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// TestKilledWriter kills a process that writes two counters in one transaction
// after another: both are the same, and no transaction that was said to be
// committed is lost.
func TestKilledWriter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var last uint64
	for range 3 {
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), killDir+"="+dir)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if _, err := fmt.Fscanln(out, &last); err != nil {
				t.Fatal(err)
			}
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait() // killed, as it should be
		s := open(t, dir)
		a, errA := counts.Get(t.Context(), s, "a")
		b, errB := counts.Get(t.Context(), s, "b")
		if errA != nil || errB != nil || a != b || a < last {
			t.Errorf("after %d: got %d and %d, %v %v", last, a, b, errA, errB)
		}
		closed(t, s)
	}
}

func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		closed(b, open(b, dir))
	}
}

func BenchmarkCreate(b *testing.B) {
	for b.Loop() {
		closed(b, open(b, b.TempDir()))
	}
}

func BenchmarkPut(b *testing.B) {
	s := open(b, b.TempDir())
	defer closed(b, s)
	for b.Loop() {
		if err := values.Put(b.Context(), s, "a", "b"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	s := open(b, b.TempDir())
	defer closed(b, s)
	if err := values.Put(b.Context(), s, "a", "b"); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := values.Get(b.Context(), s, "a"); err != nil {
			b.Fatal(err)
		}
	}
}

func TestOpenSQLite(t *testing.T) {
	t.Parallel()
	for full, want := range map[bool]string{true: "2", false: "1"} {
		db, err := store.OpenSQLite(filepath.Join(t.TempDir(), "x.db"), full)
		if err != nil {
			t.Fatal(err)
		}
		for pragma, want := range map[string]string{"synchronous": want, "journal_mode": "wal", "foreign_keys": "1", "busy_timeout": "10000"} {
			var got string
			if err := db.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s is %q, %v, want %q", pragma, got, err, want)
			}
		}
		closed(t, db)
	}
}
