package ro

import (
	"context"
	"errors"
	"time"

	"mcim/flows/auc"
	"mcim/flows/store"
	"mcim/flows/wire"
)

// icf is the initial connectivity function: the home network of the provisional
// identities. It says what they may reach, and ends them.
type icf struct {
	node  *wire.Node
	store *store.Store
	auc   *auc.Centre
	keep  bool // see Config.KeepPCID
}

// access is what the ICF knows of a provisional identity.
type access struct {
	Expires time.Time `cbor:"expires"`
	// Ended says why it gives no access any more; empty while it does.
	Ended string `cbor:"ended"`
	// Machine is the last one that attached by it, as the VNO has seen.
	Machine string `cbor:"machine"`
}

const accesses store.Bucket[access] = "icf-pcid" // by PCID

// enter takes a pair from the CCIF (P1.3).
func (f *icf) enter(ctx context.Context, tx *store.Tx, one pair, expires time.Time) error {
	if err := accesses.Put(ctx, tx, one.id, access{Expires: expires}); err != nil {
		return err
	}
	return f.auc.Enter(ctx, tx, one.id, one.keys)
}

// vectors answers a network in which a provisional identity wants to attach
// (P2.4 to P2.6), for restricted access.
func (f *icf) vectors(ctx context.Context, p wire.Peer, req wire.VectorRequest) (v wire.Vector, err error) {
	if err := f.mayAttach(ctx, req.Identity); err != nil {
		return v, err
	}
	own, restricted := f.node.Role, false
	err = wire.Step(ctx, "P2.5", own, own, "no validation before vectors: the bearer will be restricted, P4.7 validates", func(context.Context) error {
		restricted = true
		return nil
	})
	if err != nil {
		return v, err
	}
	err = wire.Step(ctx, "P2.6", own, p.Role, "authentication vector, restricted profile", func(ctx context.Context) (err error) {
		v, err = f.auc.Vector(ctx, req.Identity)
		v.Restricted = restricted
		return err
	})
	return v, err
}

// resync answers after a synchronisation failure.
func (f *icf) resync(ctx context.Context, _ wire.Peer, req wire.VectorRequest) (wire.Vector, error) {
	if err := f.mayAttach(ctx, req.Identity); err != nil {
		return wire.Vector{}, err
	}
	v, err := f.auc.Resync(ctx, req.Identity, req.RAND, req.AUTS)
	v.Restricted = true
	if errors.Is(err, auc.ErrAUTS) {
		err = wire.Refuse("P2.7", "%w", err)
	}
	return v, err
}

// mayAttach refuses an identity without access, at the attach request (failure
// matrix, P2.3).
func (f *icf) mayAttach(ctx context.Context, pcid string) error {
	a, err := accesses.Get(ctx, f.store, pcid)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return wire.Refuse("P2.3", "no such provisional identity")
	case err != nil:
		return err
	case a.Ended != "":
		return wire.Refuse("P2.3", "the provisional identity gives no access any more: %s", a.Ended)
	case f.node.Now().After(a.Expires):
		return wire.Refuse("P2.3", "the provisional identity expired at %s", a.Expires.Format(time.RFC3339))
	}
	return nil
}

// attached notes in which machine an identity is used.
func (f *icf) attached(ctx context.Context, _ wire.Peer, req wire.AttachedNotice) (wire.Empty, error) {
	err := accesses.Update(ctx, f.store, req.Identity, func(a *access) error {
		a.Machine = req.Machine
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		err = wire.Refuse("P2.3", "no such provisional identity")
	}
	return wire.Empty{}, err
}

// withdraw ends an identity whatever it is used for.
func (f *icf) withdraw(ctx context.Context, pcid string) error {
	return f.end(ctx, pcid, "withdrawn")
}

// release ends the identities by which a machine came (P7.5) and names them.
func (f *icf) release(ctx context.Context, machine string) ([]string, error) {
	all, err := accesses.List(ctx, f.store)
	if err != nil {
		return nil, err
	}
	var ended []string
	for _, e := range all {
		if e.Value.Machine != machine {
			continue
		}
		if err := f.end(ctx, e.Key, "the machine has its subscription"); err != nil {
			return nil, err
		}
		ended = append(ended, e.Key)
	}
	return ended, nil
}

func (f *icf) end(ctx context.Context, pcid, why string) error {
	if f.keep {
		return nil
	}
	return f.store.Tx(ctx, func(tx *store.Tx) error {
		err := accesses.Update(ctx, tx, pcid, func(a *access) error {
			if a.Ended == "" {
				a.Ended = why
			}
			return nil
		})
		if err != nil {
			return err
		}
		return f.auc.Forget(ctx, tx, pcid)
	})
}
