package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"mcim/flows/wire"
)

// DB is where values are read and written: a Store, or a Tx of one.
type DB interface {
	handle() (*Store, querier)
}

// querier is what *sql.DB and *sql.Tx have in common.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func (s *Store) handle() (*Store, querier) { return s, s.db }

// Tx is a transaction: what is written through it is there together or not at
// all. Use it for everything inside Store.Tx, never the Store, which would wait
// for the transaction to end.
type Tx struct {
	store *Store
	tx    *sql.Tx
}

func (t *Tx) handle() (*Store, querier) { return t.store, t.tx }

// Tx runs f in a transaction, alone among the writers of the store. An error or a
// panic of f takes everything back.
func (s *Store) Tx(ctx context.Context, f func(*Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin of a transaction: %w", err)
	}
	// After a commit, Rollback does nothing but say so.
	defer func() { _ = tx.Rollback() }()
	if err := f(&Tx{s, tx}); err != nil {
		return err
	}
	return tx.Commit()
}

// within runs f in the transaction that db is, or in one of its own.
func within(ctx context.Context, db DB, f func(*Tx) error) error {
	if tx, ok := db.(*Tx); ok {
		return f(tx)
	}
	s, _ := db.handle()
	return s.Tx(ctx, f)
}

// Bucket is a kind of value of a store: its name, with the type of the values.
type Bucket[T any] string

// Entry is one value with its key.
type Entry[T any] struct {
	Key   string
	Value T
}

// Put writes a value, over the one that may be there.
func (b Bucket[T]) Put(ctx context.Context, db DB, key string, value T) error {
	blob, err := wire.Marshal(value)
	if err != nil {
		return err
	}
	_, q := db.handle()
	return putBlob(ctx, q, "value", string(b), key, blob)
}

// Insert writes a value where none is; otherwise the error is ErrExists.
func (b Bucket[T]) Insert(ctx context.Context, db DB, key string, value T) error {
	blob, err := wire.Marshal(value)
	if err != nil {
		return err
	}
	_, q := db.handle()
	result, err := q.ExecContext(ctx, "INSERT INTO value (bucket, key, value) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", string(b), key, blob)
	if err != nil {
		return fmt.Errorf("insert %s %q: %w", string(b), key, err)
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, fmt.Errorf("%w: %s %q", ErrExists, string(b), key))
	}
	return nil
}

// Get reads a value; the error is ErrNotFound where none is, ErrDamaged for one
// that is no T.
func (b Bucket[T]) Get(ctx context.Context, db DB, key string) (T, error) {
	_, q := db.handle()
	blob, err := getBlob(ctx, q, "value", string(b), key)
	if err != nil {
		var zero T
		return zero, err
	}
	return decode[T](string(b), key, blob)
}

// List reads all values in the order of their keys.
func (b Bucket[T]) List(ctx context.Context, db DB) ([]Entry[T], error) {
	_, q := db.handle()
	rows, err := q.QueryContext(ctx, "SELECT key, value FROM value WHERE bucket = ? ORDER BY key", string(b))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", string(b), err)
	}
	return collect(rows, func(rows *sql.Rows) (e Entry[T], err error) {
		var blob []byte
		if err := rows.Scan(&e.Key, &blob); err != nil {
			return e, err
		}
		e.Value, err = decode[T](string(b), e.Key, blob)
		return e, err
	})
}

// Update reads a value, lets f change it, and writes it back, alone among the
// writers. The error is ErrNotFound where none is, or that of f, after which
// nothing has changed.
func (b Bucket[T]) Update(ctx context.Context, db DB, key string, f func(*T) error) error {
	return within(ctx, db, func(tx *Tx) error {
		value, err := b.Get(ctx, tx, key)
		if err != nil {
			return err
		}
		if err := f(&value); err != nil {
			return err
		}
		return b.Put(ctx, tx, key, value)
	})
}

// Delete removes a value; it is no error when none is there.
func (b Bucket[T]) Delete(ctx context.Context, db DB, key string) error {
	_, q := db.handle()
	return deleteBlob(ctx, q, "value", string(b), key)
}

func decode[T any](bucket, key string, blob []byte) (T, error) {
	v, err := wire.Unmarshal[T](blob)
	if err != nil {
		return v, fmt.Errorf("%w: %s %q: %w", ErrDamaged, bucket, key, err)
	}
	return v, nil
}

// collect reads all rows and closes them.
func collect[T any](rows *sql.Rows, scan func(*sql.Rows) (T, error)) ([]T, error) {
	defer func() { _ = rows.Close() }()
	var list []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, rows.Err()
}

// The table names below are the constants "value" and "sealed", never input.

func putBlob(ctx context.Context, q querier, table, bucket, key string, blob []byte) error {
	_, err := q.ExecContext(ctx, "INSERT INTO "+table+" (bucket, key, value) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", bucket, key, blob)
	if err != nil {
		return fmt.Errorf("put %s %q: %w", bucket, key, err)
	}
	return nil
}

func getBlob(ctx context.Context, q querier, table, bucket, key string) ([]byte, error) {
	var blob []byte
	err := q.QueryRowContext(ctx, "SELECT value FROM "+table+" WHERE bucket = ? AND key = ?", bucket, key).Scan(&blob)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("%w: %s %q", ErrNotFound, bucket, key)
	}
	if err != nil {
		return nil, fmt.Errorf("get %s %q: %w", bucket, key, err)
	}
	return blob, nil
}

func deleteBlob(ctx context.Context, q querier, table, bucket, key string) error {
	if _, err := q.ExecContext(ctx, "DELETE FROM "+table+" WHERE bucket = ? AND key = ?", bucket, key); err != nil {
		return fmt.Errorf("delete %s %q: %w", bucket, key, err)
	}
	return nil
}
