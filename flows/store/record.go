package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Record is a message that the role has signed or got, kept as the bytes that
// were signed ("all parties record", P8a.14). Records are only ever added.
type Record struct {
	// Seq counts the records of the store from 1; Append sets it.
	Seq int64
	// At is when the role recorded it, in milliseconds.
	At time.Time
	// Kind says what it is: "order", "receipt".
	Kind string
	// Key is what it belongs to, as the order's number.
	Key     string
	Message []byte
}

// Append adds a record and returns its Seq.
func Append(ctx context.Context, db DB, r Record) (int64, error) {
	_, q := db.handle()
	message := r.Message
	if message == nil {
		message = []byte{}
	}
	result, err := q.ExecContext(ctx, "INSERT INTO record (at, kind, key, message) VALUES (?, ?, ?, ?)", r.At.UnixMilli(), r.Kind, r.Key, message)
	if err != nil {
		return 0, fmt.Errorf("record %s %q: %w", r.Kind, r.Key, err)
	}
	return result.LastInsertId()
}

// Records reads the records of one key in the order in which they were added, or
// all with key "".
func Records(ctx context.Context, db DB, key string) ([]Record, error) {
	_, q := db.handle()
	rows, err := q.QueryContext(ctx, "SELECT seq, at, kind, key, message FROM record WHERE ?1 = '' OR key = ?1 ORDER BY seq", key)
	if err != nil {
		return nil, fmt.Errorf("records of %q: %w", key, err)
	}
	return collect(rows, func(rows *sql.Rows) (r Record, err error) {
		var at int64
		err = rows.Scan(&r.Seq, &at, &r.Kind, &r.Key, &r.Message)
		r.At = time.UnixMilli(at).UTC()
		return r, err
	})
}
