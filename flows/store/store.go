package store

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	// The SQLite driver registers itself as "sqlite" with database/sql.
	_ "modernc.org/sqlite"
)

// Schema is the number of the tables' form, kept in every database.
const Schema = 1

// Errors of this package.
var (
	// ErrNotFound is for a key that is not there.
	ErrNotFound = errors.New("not in the store")
	// ErrExists is for an Insert of a key that is there already.
	ErrExists = errors.New("already in the store")
	// ErrNewer is for a file of a newer mcim; nothing was changed in it.
	ErrNewer = errors.New("made by a newer version of mcim")
	// ErrKey is for a store whose key file is missing, broken or another store's.
	ErrKey = errors.New("the store's key does not fit")
	// ErrDamaged is for a file that is no store, or one whose content is broken.
	ErrDamaged = errors.New("the store is damaged")
)

// The files of a store in its folder.
const (
	dbFile  = "store.db"
	keyFile = "store.key" // 32 bytes
)

// Store is one role's store. It is safe for concurrent use.
type Store struct {
	db   *sql.DB
	aead cipher.AEAD
}

// Open opens the store in dir, which it makes if it is not there. The error is
// ErrNewer, ErrKey, ErrDamaged or that of the file system.
func Open(ctx context.Context, dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, dbFile)
	fresh, err := createEmpty(path)
	if err != nil {
		return nil, err
	}
	aead, err := openKey(filepath.Join(dir, keyFile), fresh)
	if err != nil {
		return nil, err
	}
	db, err := OpenSQLite(path, true)
	if err != nil {
		return nil, err
	}
	s := &Store{db, aead}
	if err := s.init(ctx); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// Close ends the use of the store.
func (s *Store) Close() error { return s.db.Close() }

// createEmpty makes path with mode 0600 (SQLite gives its side files the same)
// and says whether it holds no database yet.
func createEmpty(path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return false, err
	}
	info, err := f.Stat()
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err == nil && info.Size() == 0, err
}

// OpenSQLite opens a SQLite file as the roles use it: write-ahead log, foreign
// keys on, a writer waits up to 10 s for another one, transactions take the write
// lock when they begin. With full, a commit is on the disk when it returns, also
// if the machine then loses power: the journal of a spending step must not
// forget an intent. Without, it survives the death of the process only.
func OpenSQLite(path string, full bool) (*sql.DB, error) {
	synchronous := "NORMAL"
	if full {
		synchronous = "FULL"
	}
	query := url.Values{
		"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(" + synchronous + ")", "foreign_keys(ON)"},
		"_txlock": {"immediate"},
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	name := url.URL{Scheme: "file", Path: absolute, RawQuery: query.Encode()}
	db, err := sql.Open("sqlite", name.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(4)
	db.SetMaxIdleConns(4)
	return db, nil
}

const schemaSQL = `
CREATE TABLE value (bucket TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (bucket, key)) WITHOUT ROWID;
CREATE TABLE sealed (bucket TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (bucket, key)) WITHOUT ROWID;
CREATE TABLE record (seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, message BLOB NOT NULL);
CREATE TRIGGER record_kept BEFORE DELETE ON record BEGIN SELECT RAISE(ABORT, 'records are kept'); END;
CREATE TRIGGER record_fixed BEFORE UPDATE ON record BEGIN SELECT RAISE(ABORT, 'records are kept'); END;
CREATE TABLE journal (key TEXT PRIMARY KEY, what BLOB NOT NULL, result BLOB) WITHOUT ROWID;
`

// keyCheck is a sealed value that says whether the key is the store's.
const keyCheck = "key check"

// init checks the schema number and the key, or makes both for an empty file.
func (s *Store) init(ctx context.Context) error {
	var version int
	if err := s.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return unreadable(ctx, err)
	}
	switch {
	case version > Schema:
		return fmt.Errorf("%w: its schema is %d, this one knows %d: use the newer mcim, or another folder", ErrNewer, version, Schema)
	case version == 0:
		return s.create(ctx)
	}
	sealed, err := getBlob(ctx, s.db, "sealed", keyCheck, keyCheck)
	if err != nil {
		return unreadable(ctx, err)
	}
	if err := s.sound(ctx); err != nil {
		return err
	}
	plain, err := s.unseal(keyCheck, keyCheck, sealed)
	if err != nil || subtle.ConstantTimeCompare(plain.Reveal(), []byte(keyCheck)) != 1 {
		return fmt.Errorf("%w: %s belongs to another store", ErrKey, keyFile)
	}
	return nil
}

// sound looks for damage that the statements before have not met.
func (s *Store) sound(ctx context.Context) error {
	var found string
	if err := s.db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&found); err != nil {
		return unreadable(ctx, err)
	}
	if found != "ok" {
		return fmt.Errorf("%w: %s", ErrDamaged, found)
	}
	return nil
}

// unreadable is ErrDamaged, unless the end of ctx kept the store from being read.
func unreadable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

func (s *Store) create(ctx context.Context) error {
	return s.Tx(ctx, func(tx *Tx) error {
		// A second opener may have waited for the first one's tables.
		var version int
		if err := tx.tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil || version != 0 {
			return err
		}
		if _, err := tx.tx.ExecContext(ctx, schemaSQL); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		sealed, err := s.seal(keyCheck, keyCheck, []byte(keyCheck))
		if err != nil {
			return err
		}
		if err := putBlob(ctx, tx.tx, "sealed", keyCheck, keyCheck, sealed); err != nil {
			return err
		}
		_, err = tx.tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", Schema))
		return err
	})
}

// openKey reads the store's key, or makes it for a fresh store.
func openKey(path string, fresh bool) (cipher.AEAD, error) {
	key, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && fresh {
		key = make([]byte, 32)
		_, _ = rand.Read(key)
		err = WriteFile(path, key)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is not there, so the store's secrets cannot be read", ErrKey, path)
	}
	if err != nil {
		return nil, err
	}
	if len(key) != 32 {
		return nil, fmt.Errorf("%w: %s has %d bytes instead of 32", ErrKey, path, len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
