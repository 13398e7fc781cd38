package storetest

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"mcim/apdu/secret"
	"mcim/flows/store"
)

// model is what a store with a bucket and a secret of strings should hold.
type model struct {
	values, secrets map[string]string
	records         []string
}

func (m model) copy() model {
	c := model{map[string]string{}, map[string]string{}, slices.Clone(m.records)}
	for k, v := range m.values {
		c.values[k] = v
	}
	for k, v := range m.secrets {
		c.secrets[k] = v
	}
	return c
}

const texts store.Bucket[string] = "text"

var errTakeBack = errors.New("take back")

// testModel runs random calls on a store and on a model of it, in transactions
// that are kept or taken back, and with the store opened anew in between.
func testModel(t *testing.T, open func() *store.Store) {
	rapid.Check(t, func(rt *rapid.T) {
		s := open()
		defer func() { check(t, s.Close(), nil) }()
		m := content(t, s) // what the runs before have left
		for range rapid.IntRange(1, 8).Draw(rt, "transactions") {
			after, keep := m.copy(), rapid.Bool().Draw(rt, "keep")
			err := s.Tx(t.Context(), func(tx *store.Tx) error {
				for range rapid.IntRange(1, 5).Draw(rt, "calls") {
					change(t, rt, tx, &after)
				}
				if !keep {
					return errTakeBack
				}
				return nil
			})
			if keep {
				check(t, err, nil)
				m = after
			} else {
				check(t, err, errTakeBack)
			}
			compare(t, rt, s, m)
			if rapid.Bool().Draw(rt, "reopen") {
				check(t, s.Close(), nil)
				s = open()
				compare(t, rt, s, m)
			}
		}
	})
}

func modelKeys() []string { return []string{"", "a", "b", "a b", "b\x00c"} }

// change makes one random call.
func change(t *testing.T, rt *rapid.T, tx *store.Tx, m *model) {
	ctx := t.Context()
	key := rapid.SampledFrom(modelKeys()).Draw(rt, "key")
	text := rapid.String().Draw(rt, "text")
	switch rapid.IntRange(0, 6).Draw(rt, "call") {
	case 0:
		check(t, texts.Put(ctx, tx, key, text), nil)
		m.values[key] = text
	case 1:
		if _, ok := m.values[key]; ok {
			check(t, texts.Insert(ctx, tx, key, text), store.ErrExists)
			return
		}
		check(t, texts.Insert(ctx, tx, key, text), nil)
		m.values[key] = text
	case 2:
		check(t, texts.Delete(ctx, tx, key), nil)
		delete(m.values, key)
	case 3:
		old, ok := m.values[key]
		err := texts.Update(ctx, tx, key, func(v *string) error { *v += text; return nil })
		if !ok {
			check(t, err, store.ErrNotFound)
			return
		}
		check(t, err, nil)
		m.values[key] = old + text
	case 4:
		check(t, keys.Put(ctx, tx, key, secret.New([]byte(text))), nil)
		m.secrets[key] = text
	case 5:
		check(t, keys.Delete(ctx, tx, key), nil)
		delete(m.secrets, key)
	case 6:
		_, err := store.Append(ctx, tx, store.Record{Kind: "text", Key: key, Message: []byte(text)})
		check(t, err, nil)
		m.records = append(m.records, text)
	}
}

// content reads the whole store.
func content(t *testing.T, s *store.Store) model {
	t.Helper()
	got := model{map[string]string{}, map[string]string{}, nil}
	entries, err := texts.List(t.Context(), s)
	check(t, err, nil)
	for _, e := range entries {
		got.values[e.Key] = e.Value
	}
	for _, key := range modelKeys() {
		if k, err := keys.Get(t.Context(), s, key); err == nil {
			got.secrets[key] = string(k.Reveal())
		}
	}
	records, err := store.Records(t.Context(), s, "")
	check(t, err, nil)
	for _, r := range records {
		got.records = append(got.records, string(r.Message))
	}
	return got
}

func compare(t *testing.T, rt *rapid.T, s *store.Store, m model) {
	t.Helper()
	if diff := cmp.Diff(m, content(t, s), cmp.AllowUnexported(model{})); diff != "" {
		rt.Fatal(diff)
	}
}
