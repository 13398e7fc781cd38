package ro

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"errors"
	"fmt"
	"time"

	"mcim/apdu/secret"
	"mcim/flows/auc"
	"mcim/flows/store"
	"mcim/flows/wire"
)

// ccif is the connectivity credential issuing function: it makes provisional
// identities, watches over their validity, and gives them out again after a
// quarantine. Their keys it hands on and does not keep.
type ccif struct {
	node                 *wire.Node
	store                *store.Store
	keys                 *auc.Centre // makes them; holds them as the ICF
	plmn                 string
	validity, quarantine time.Duration
}

// issue is what the CCIF knows of a provisional identity.
type issue struct {
	Batch   string    `cbor:"batch"`
	Expires time.Time `cbor:"expires"`
	// Free is when it may be given to another machine; zero while it is out.
	Free time.Time `cbor:"free"`
}

// batch is an order of a supplier, with the answer.
type batch struct {
	Count  int        `cbor:"count"`
	HPKE   []byte     `cbor:"hpke"`
	Answer wire.Batch `cbor:"answer"`
}

const (
	issues  store.Bucket[issue] = "ccif-pcid"  // by PCID
	batches store.Bucket[batch] = "ccif-batch" // by supplier and name
)

// Limits of a batch: identities, and bytes of its name.
const (
	maxBatch     = 1000
	maxBatchName = 64
)

// batch makes provisional identities for a supplier (P1.1 to P1.4).
func (r *RO) batch(ctx context.Context, p wire.Peer, req wire.BatchRequest) (wire.Batch, error) {
	to, err := ecdh.P256().NewPublicKey(req.HPKE)
	if err != nil || req.Count < 1 || req.Count > maxBatch || req.Batch == "" || len(req.Batch) > maxBatchName {
		return wire.Batch{}, wire.Errorf(wire.CodeInvalid, "P1.1", "a batch has a name of 1 to %d bytes and is of 1 to %d identities for a key on P-256", maxBatchName, maxBatch)
	}
	key := p.Role + " " + req.Batch
	b := batch{Count: req.Count, HPKE: req.HPKE}
	err = r.store.Tx(ctx, func(tx *store.Tx) error {
		known, err := batches.Get(ctx, tx, key)
		if err == nil {
			b.Answer = known.Answer
			return known.same(req)
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if b.Answer, err = r.makeBatch(ctx, tx, key, req.Count, to); err != nil {
			return err
		}
		return batches.Insert(ctx, tx, key, b)
	})
	if err != nil {
		return wire.Batch{}, err
	}
	return b.Answer, nil
}

// same refuses another order under the name of the batch.
func (b *batch) same(req wire.BatchRequest) error {
	if b.Count != req.Count || !bytes.Equal(b.HPKE, req.HPKE) {
		return wire.Errorf(wire.CodeConflict, "P1.1", "the batch %s was ordered otherwise before", req.Batch)
	}
	return nil
}

// makeBatch runs P1.2 to P1.4.
func (r *RO) makeBatch(ctx context.Context, tx *store.Tx, name string, count int, to *ecdh.PublicKey) (b wire.Batch, err error) {
	supplier, _, _ := bytes.Cut([]byte(name), []byte(" "))
	b.Expires = r.node.Now().Add(r.config.Validity)
	made := make([]pair, 0, count)
	err = wire.Step(ctx, "P1.2", r.node.Role, r.node.Role, "CCIF makes provisional identities with their keys", func(ctx context.Context) error {
		numbers, err := r.ccif.numbers(ctx, tx, count)
		if err != nil {
			return err
		}
		for _, id := range numbers {
			one, err := r.ccif.generate(ctx, tx, id, name, b.Expires)
			if err != nil {
				return err
			}
			made = append(made, one)
		}
		return nil
	})
	if err != nil {
		return b, err
	}
	err = wire.Step(ctx, "P1.3", r.node.Role, r.node.Role, "CCIF gives the pairs to the ICF", func(ctx context.Context) error {
		for _, one := range made {
			if err := r.icf.enter(ctx, tx, one, b.Expires); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return b, err
	}
	err = wire.Step(ctx, "P1.4", r.node.Role, string(supplier), "the pairs, sealed for the supplier", func(context.Context) error {
		b.Sealed, err = seal(made, to)
		return err
	})
	return b, err
}

// pair is a provisional identity with its keys.
type pair struct {
	id   string
	keys auc.Keys
}

// generate makes one pair, with new keys also where the number is not new.
func (c *ccif) generate(ctx context.Context, tx *store.Tx, id, batch string, expires time.Time) (pair, error) {
	keys, err := c.keys.NewKeys()
	if err != nil {
		return pair{}, err
	}
	return pair{id, keys}, issues.Put(ctx, tx, id, issue{Batch: batch, Expires: expires})
}

// numbers finds numbers to give out: first those that are out of quarantine,
// which is after their use or their validity, then new ones.
func (c *ccif) numbers(ctx context.Context, tx *store.Tx, count int) ([]string, error) {
	all, err := issues.List(ctx, tx)
	if err != nil {
		return nil, err
	}
	now := c.node.Now()
	list := make([]string, 0, count)
	for _, e := range all {
		free := e.Value.Free
		if free.IsZero() {
			free = e.Value.Expires.Add(c.quarantine)
		}
		if len(list) < count && now.After(free) {
			list = append(list, e.Key)
		}
	}
	for n := len(all) + 1; len(list) < count; n++ {
		list = append(list, fmt.Sprintf("%s%0*d", c.plmn, 15-len(c.plmn), n))
	}
	return list, nil
}

// retire puts an identity into quarantine (P7.5).
func (c *ccif) retire(ctx context.Context, pcid string) error {
	return issues.Update(ctx, c.store, pcid, func(i *issue) error {
		if i.Free.IsZero() {
			i.Free = c.node.Now().Add(c.quarantine)
		}
		return nil
	})
}

// seal encrypts the pairs to the supplier (P1.4).
func seal(made []pair, to *ecdh.PublicKey) ([]byte, error) {
	list := make([]wire.PCID, len(made))
	for i, one := range made {
		sqn := one.keys.SQN.Bytes()
		list[i] = wire.PCID{ID: one.id, ICCID: "89" + one.id + "00", K: one.keys.K.Reveal(), OPc: one.keys.OPc.Reveal(), SQN: sqn[:]}
	}
	plain, err := wire.Marshal(list)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return wire.Seal(to, wire.PurposeBatch, secret.New(plain))
}
