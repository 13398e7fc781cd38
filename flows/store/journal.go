package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"mcim/flows/wire"
)

// State is how far something in the journal has come.
type State int

// The states of a journal entry.
const (
	// Fresh was not in the journal before: do it.
	Fresh State = iota
	// Cut has an intent but no outcome: it may or may not have been done, so look
	// before doing it again.
	Cut
	// Done has an outcome.
	Done
)

// ErrIntent is for an intent under a key that stands for another one.
var ErrIntent = errors.New("the journal has another intent under this key")

// Intend writes down that what is about to be done, under a key that is used for
// it alone ("order-7/P8c.8/verify-adm"), and says how far it came before. The
// same intent may be written again; another one under the same key is ErrIntent.
func Intend[T any](ctx context.Context, db DB, key string, what T) (State, error) {
	blob, err := wire.Marshal(what)
	if err != nil {
		return Fresh, err
	}
	state := Fresh
	err = within(ctx, db, func(tx *Tx) error {
		var known, result []byte
		err := tx.tx.QueryRowContext(ctx, "SELECT what, result FROM journal WHERE key = ?", key).Scan(&known, &result)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			_, err := tx.tx.ExecContext(ctx, "INSERT INTO journal (key, what) VALUES (?, ?)", key, blob)
			return err
		case err != nil:
			return err
		case string(known) != string(blob):
			return fmt.Errorf("%w: %q", ErrIntent, key)
		}
		state = Cut
		if result != nil {
			state = Done
		}
		return nil
	})
	if err != nil {
		return Fresh, fmt.Errorf("intent %q: %w", key, err)
	}
	return state, nil
}

// Outcome writes down how the intended thing under key ended; the error is
// ErrNotFound where no intent is. A later outcome replaces an earlier one.
func Outcome[T any](ctx context.Context, db DB, key string, result T) error {
	blob, err := wire.Marshal(result)
	if err != nil {
		return err
	}
	_, q := db.handle()
	done, err := q.ExecContext(ctx, "UPDATE journal SET result = ? WHERE key = ?", blob, key)
	if err != nil {
		return fmt.Errorf("outcome %q: %w", key, err)
	}
	if n, err := done.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, fmt.Errorf("%w: intent %q", ErrNotFound, key))
	}
	return nil
}

// Result reads the outcome under key; the error is ErrNotFound where none is yet.
func Result[T any](ctx context.Context, db DB, key string) (T, error) {
	var zero T
	_, q := db.handle()
	var blob []byte
	err := q.QueryRowContext(ctx, "SELECT result FROM journal WHERE key = ?", key).Scan(&blob)
	if errors.Is(err, sql.ErrNoRows) || err == nil && blob == nil {
		return zero, fmt.Errorf("%w: outcome %q", ErrNotFound, key)
	}
	if err != nil {
		return zero, fmt.Errorf("outcome %q: %w", key, err)
	}
	return decode[T]("journal", key, blob)
}

// Pending lists the keys of the intents that have no outcome.
func Pending(ctx context.Context, db DB) ([]string, error) {
	_, q := db.handle()
	rows, err := q.QueryContext(ctx, "SELECT key FROM journal WHERE result IS NULL ORDER BY key")
	if err != nil {
		return nil, fmt.Errorf("pending intents: %w", err)
	}
	return collect(rows, func(rows *sql.Rows) (key string, err error) {
		return key, rows.Scan(&key)
	})
}

// Forget removes an entry of the journal, so that its key may stand for a new
// intent; it is no error when none is there.
func Forget(ctx context.Context, db DB, key string) error {
	_, q := db.handle()
	if _, err := q.ExecContext(ctx, "DELETE FROM journal WHERE key = ?", key); err != nil {
		return fmt.Errorf("journal %q: %w", key, err)
	}
	return nil
}

// Spend does something at most once as far as that can be known: do spends what
// does not come back (a PIN try, a sequence number, a one-shot install). The
// intent is written before, the result after. Where an earlier run was cut in
// between, probe looks whether it was done, and with which result; only if not, do
// runs again. Where it was done, the result is that of the journal. An error of do
// leaves the intent without an outcome, so the next run probes.
func Spend[W, R any](ctx context.Context, s *Store, key string, what W, do func(context.Context) (R, error), probe func(context.Context) (R, bool, error)) (R, error) {
	var zero R
	state, err := Intend(ctx, s, key, what)
	if err != nil {
		return zero, err
	}
	if state == Done {
		return Result[R](ctx, s, key)
	}
	var result R
	done := false
	if state == Cut {
		if result, done, err = probe(ctx); err != nil {
			return zero, err
		}
	}
	if !done {
		if result, err = do(ctx); err != nil {
			return zero, err
		}
	}
	return result, Outcome(ctx, s, key, result)
}
