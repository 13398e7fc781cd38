package store_test

import (
	"context"
	"errors"
	"fmt"

	"mcim/flows/store"
)

// writeUntilKilled is the child of TestKilledWriter.
func writeUntilKilled(dir string) error {
	ctx := context.Background()
	s, err := store.Open(ctx, dir)
	if err != nil {
		return err
	}
	n, err := counts.Get(ctx, s, "a")
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	for {
		n++
		err := s.Tx(ctx, func(tx *store.Tx) error {
			return errors.Join(counts.Put(ctx, tx, "a", n), counts.Put(ctx, tx, "b", n))
		})
		if err != nil {
			return err
		}
		fmt.Println(n)
	}
}
