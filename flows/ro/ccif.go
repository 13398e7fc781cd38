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

const maxBatch = 1000

// batch makes provisional identities for a supplier (P1.1 to P1.4).
func (r *RO) batch(ctx context.Context, p wire.Peer, req wire.BatchRequest) (wire.Batch, error) {
	key := p.Role + " " + req.Batch
	known, err := batches.Get(ctx, r.store, key)
	if err == nil {
		if known.Count != req.Count || !bytes.Equal(known.HPKE, req.HPKE) {
			return wire.Batch{}, wire.Errorf(wire.CodeConflict, "P1.1", "the batch %s was ordered otherwise before", req.Batch)
		}
		return known.Answer, nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return wire.Batch{}, err
	}
	to, err := ecdh.P256().NewPublicKey(req.HPKE)
	if err != nil || req.Count < 1 || req.Count > maxBatch {
		return wire.Batch{}, wire.Errorf(wire.CodeInvalid, "P1.1", "a batch is of 1 to %d identities for a key on P-256", maxBatch)
	}
	b := batch{Count: req.Count, HPKE: req.HPKE}
	err = r.store.Tx(ctx, func(tx *store.Tx) error {
		b.Answer, err = r.makeBatch(ctx, tx, key, req.Count, to)
		if err != nil {
			return err
		}
		return batches.Insert(ctx, tx, key, b)
	})
	return b.Answer, err
}

// makeBatch runs P1.2 to P1.4.
func (r *RO) makeBatch(ctx context.Context, tx *store.Tx, name string, count int, to *ecdh.PublicKey) (b wire.Batch, err error) {
	supplier, _, _ := bytes.Cut([]byte(name), []byte(" "))
	b.Expires = r.node.Now().Add(r.config.Validity)
	made := make([]pair, 0, count)
	err = wire.Step(ctx, "P1.2", r.node.Role, r.node.Role, "CCIF makes provisional identities with their keys", func(ctx context.Context) error {
		for range count {
			one, err := r.ccif.generate(ctx, tx, name, b.Expires)
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

// generate makes one pair: a number that is out of quarantine, or a new one.
func (c *ccif) generate(ctx context.Context, tx *store.Tx, batch string, expires time.Time) (pair, error) {
	id, err := c.number(ctx, tx)
	if err != nil {
		return pair{}, err
	}
	keys, err := c.keys.NewKeys()
	if err != nil {
		return pair{}, err
	}
	return pair{id, keys}, issues.Put(ctx, tx, id, issue{Batch: batch, Expires: expires})
}

func (c *ccif) number(ctx context.Context, tx *store.Tx) (string, error) {
	all, err := issues.List(ctx, tx)
	if err != nil {
		return "", err
	}
	now := c.node.Now()
	for _, e := range all {
		if free := e.Value.Free; !free.IsZero() && now.After(free) {
			return e.Key, nil
		}
	}
	return fmt.Sprintf("%s%0*d", c.plmn, 15-len(c.plmn), len(all)+1), nil
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
