package store

import (
	"context"
	"fmt"

	"mcim/apdu/secret"
)

// Secrets is a kind of secret of a store: its name. The secrets are sealed with
// AES-256-GCM under the store's key, each bound to its bucket and key.
type Secrets string

// Put seals a secret and writes it, over the one that may be there.
func (b Secrets) Put(ctx context.Context, db DB, key string, value secret.Bytes) error {
	s, q := db.handle()
	sealed, err := s.seal(string(b), key, value.Reveal())
	if err != nil {
		return err
	}
	return putBlob(ctx, q, "sealed", string(b), key, sealed)
}

// Get reads a secret; the error is ErrNotFound where none is, ErrDamaged where it
// was changed, moved, or sealed by another store.
func (b Secrets) Get(ctx context.Context, db DB, key string) (secret.Bytes, error) {
	s, q := db.handle()
	sealed, err := getBlob(ctx, q, "sealed", string(b), key)
	if err != nil {
		return secret.Bytes{}, err
	}
	return s.unseal(string(b), key, sealed)
}

// Delete removes a secret; it is no error when none is there. What the file
// system keeps of it is sealed.
func (b Secrets) Delete(ctx context.Context, db DB, key string) error {
	_, q := db.handle()
	return deleteBlob(ctx, q, "sealed", string(b), key)
}

// Secrets opens every secret, by "bucket/key": for a test that looks for them
// where they must not be.
func (s *Store) Secrets(ctx context.Context) (map[string]secret.Bytes, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT bucket, key, value FROM sealed")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	all := map[string]secret.Bytes{}
	for rows.Next() {
		var bucket, key string
		var sealed []byte
		if err := rows.Scan(&bucket, &key, &sealed); err != nil {
			return nil, err
		}
		if bucket == keyCheck {
			continue
		}
		if all[bucket+"/"+key], err = s.unseal(bucket, key, sealed); err != nil {
			return nil, err
		}
	}
	return all, rows.Err()
}

func (s *Store) seal(bucket, key string, plain []byte) ([]byte, error) {
	return s.aead.Seal(nil, nil, plain, sealedName(bucket, key)), nil
}

func (s *Store) unseal(bucket, key string, sealed []byte) (secret.Bytes, error) {
	plain, err := s.aead.Open(nil, nil, sealed, sealedName(bucket, key))
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("%w: secret %s %q was changed or is another store's", ErrDamaged, bucket, key)
	}
	return secret.New(plain), nil
}

// sealedName is the additional data of a sealed value; the length keeps bucket
// and key apart.
func sealedName(bucket, key string) []byte {
	return fmt.Appendf(nil, "mcim/store/1 %d %s %s", len(bucket), bucket, key)
}
