package auc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"mcim/apdu/secret"
	"mcim/card/aka"
	"mcim/flows/store"
	"mcim/flows/wire"
)

// ErrUnknown is for an identity that the centre has no key of.
var ErrUnknown = errors.New("no key of that identity")

// ErrAUTS is for an AUTS that is malformed, or that the holder of the key has not
// made for that RAND.
var ErrAUTS = errors.New("AUTS not accepted")

const (
	numbers store.Bucket[uint64] = "auc-sqn" // SQN_HE by identity
	keys    store.Secrets        = "auc-k"
	opcs    store.Secrets        = "auc-opc"
)

// AMF goes into every AUTN: the separation bit set, as EPS wants it (TS 33.102,
// annex H).
func AMF() [2]byte { return [2]byte{0x80, 0x00} }

// Keys are what the two ends of AKA share.
type Keys struct {
	K, OPc secret.Bytes // 16 bytes each
	SQN    aka.SQN      // the last one used
}

// Centre is an authentication centre. It is safe for concurrent use; only one
// may use a store.
type Centre struct {
	store *store.Store
	rand  io.Reader
	mu    sync.Mutex // holds a sequence number from reading to writing
}

// New is the centre over a store; rand is where RAND and new keys come from.
func New(s *store.Store, rand io.Reader) *Centre { return &Centre{store: s, rand: rand} }

// NewKeys makes keys for a new identity. OPc is the identity's own: an OP that
// many share would be one global secret (SR-25).
func (c *Centre) NewKeys() (Keys, error) {
	b := make([]byte, 2*aka.BlockSize)
	if _, err := io.ReadFull(c.rand, b); err != nil {
		return Keys{}, fmt.Errorf("no randomness: %w", err)
	}
	defer clear(b)
	return Keys{K: secret.New(b[:aka.BlockSize]), OPc: secret.New(b[aka.BlockSize:])}, nil
}

// Enter writes the keys of an identity, over those that may be there. db is the
// centre's store or a transaction of it.
func (c *Centre) Enter(ctx context.Context, db store.DB, identity string, k Keys) error {
	if err := keys.Put(ctx, db, identity, k.K); err != nil {
		return err
	}
	if err := opcs.Put(ctx, db, identity, k.OPc); err != nil {
		return err
	}
	return numbers.Put(ctx, db, identity, uint64(k.SQN))
}

// Keys reads the keys of an identity; ErrUnknown.
func (c *Centre) Keys(ctx context.Context, identity string) (Keys, error) {
	k, err := keys.Get(ctx, c.store, identity)
	if errors.Is(err, store.ErrNotFound) {
		return Keys{}, ErrUnknown
	}
	if err != nil {
		return Keys{}, err
	}
	opc, err := opcs.Get(ctx, c.store, identity)
	if err != nil {
		return Keys{}, err
	}
	sqn, err := numbers.Get(ctx, c.store, identity)
	return Keys{K: k, OPc: opc, SQN: aka.SQN(sqn)}, err
}

// Forget deletes the keys of an identity. db is as of Enter.
func (c *Centre) Forget(ctx context.Context, db store.DB, identity string) error {
	return errors.Join(keys.Delete(ctx, db, identity), opcs.Delete(ctx, db, identity), numbers.Delete(ctx, db, identity))
}

// Vector makes the next authentication vector of an identity; ErrUnknown.
func (c *Centre) Vector(ctx context.Context, identity string) (wire.Vector, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	subscriber, err := c.subscriber(ctx, identity)
	if err != nil {
		return wire.Vector{}, err
	}
	return c.next(subscriber)
}

// Resync takes the AUTS with which an identity answered rand, and makes the next
// vector from there (TS 33.102, 6.3.5); ErrUnknown, ErrAUTS.
func (c *Centre) Resync(ctx context.Context, identity string, rand [16]byte, auts []byte) (wire.Vector, error) {
	if len(auts) != 14 {
		return wire.Vector{}, fmt.Errorf("%w: %d bytes instead of 14", ErrAUTS, len(auts))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	subscriber, err := c.subscriber(ctx, identity)
	if err != nil {
		return wire.Vector{}, err
	}
	if err := subscriber.Resync(rand, [14]byte(auts)); errors.Is(err, aka.ErrAUTS) {
		return wire.Vector{}, fmt.Errorf("%w: %w", ErrAUTS, err)
	} else if err != nil {
		return wire.Vector{}, err
	}
	return c.next(subscriber)
}

// subscriber is the network's end of AKA for an identity, which stores each new
// sequence number.
func (c *Centre) subscriber(ctx context.Context, identity string) (*aka.Subscriber, error) {
	k, err := c.Keys(ctx, identity)
	if err != nil {
		return nil, err
	}
	block, err := aka.NewAES(k.K)
	if err != nil {
		return nil, err
	}
	milenage, err := aka.NewMilenage(block, k.OPc)
	if err != nil {
		return nil, err
	}
	return aka.NewSubscriber(milenage, k.SQN, AMF(), func(sqn aka.SQN) error {
		return numbers.Put(ctx, c.store, identity, uint64(sqn))
	}), nil
}

func (c *Centre) next(s *aka.Subscriber) (wire.Vector, error) {
	var random [16]byte
	if _, err := io.ReadFull(c.rand, random[:]); err != nil {
		return wire.Vector{}, fmt.Errorf("no randomness: %w", err)
	}
	v, err := s.Next(random)
	if err != nil {
		return wire.Vector{}, err
	}
	return wire.Vector{RAND: v.RAND, AUTN: v.AUTN, XRES: v.XRES.Bytes(), CK: v.CK, IK: v.IK}, nil
}
