package sho

import (
	"context"
	"crypto/ecdh"
	"errors"
	"time"

	"mcim/flows/auc"
	"mcim/flows/store"
	"mcim/flows/wire"
)

// Config is what a home operator needs.
type Config struct {
	wire.NodeConfig
	// Store keeps contracts, subscriptions and keys. Required.
	Store *store.Store
	// PLMN is MCC and MNC, 5 or 6 digits: the beginning of every IMSI.
	PLMN string
	// RO, PVA and VNO are the roles that the operator works with.
	RO, PVA, VNO string
	// PackageValidity is how long a package may be installed; 0 is a day.
	PackageValidity time.Duration

	// Unbound makes packages that are not bound to one TRE but encrypted to this
	// key. It exists so that a test can show what the binding is worth. Nothing
	// else may set it.
	Unbound *ecdh.PublicKey
}

const defaultPackageValidity = 24 * time.Hour

// SHO is a home operator.
type SHO struct {
	node   *wire.Node
	config Config
	store  *store.Store
	auc    *auc.Centre
}

// New makes a home operator; Start serves it.
func New(c Config) *SHO {
	if c.PackageValidity == 0 {
		c.PackageValidity = defaultPackageValidity
	}
	node := wire.NewNode(c.NodeConfig)
	s := &SHO{node: node, config: c, store: c.Store, auc: auc.New(c.Store, node.Rand)}
	subscriber, ro, vno := []string{wire.KindSubscriber}, []string{c.RO}, []string{c.VNO}
	wire.PathContract.Handle(node.Server, subscriber, s.contract)
	wire.PathStatus.Handle(node.Server, subscriber, s.status)
	wire.PathRegister.Handle(node.Server, ro, s.register)
	wire.PathValidate.Handle(node.Server, ro, s.validate)
	wire.PathAccept.Handle(node.Server, ro, s.accept)
	wire.PathCreate.Handle(node.Server, ro, s.create)
	wire.PathProtect.Handle(node.Server, ro, s.protect)
	wire.PathResult.Handle(node.Server, ro, s.result)
	wire.PathLive.Handle(node.Server, ro, s.live)
	wire.PathLeave.Handle(node.Server, ro, s.leave)
	wire.PathWakeSHO.Handle(node.Server, ro, s.wake)
	wire.PathClose.Handle(node.Server, ro, s.close)
	wire.PathVectors.Handle(node.Server, vno, s.vectors)
	wire.PathResync.Handle(node.Server, vno, s.resync)
	wire.PathAttached.Handle(node.Server, vno, s.attached)
	return s
}

// Start serves the operator until Close.
func (s *SHO) Start(ctx context.Context) error { return s.node.Start(ctx) }

// Close ends the operator; its store stays open.
func (s *SHO) Close() error { return s.node.Close() }

// step runs f as a step of P4, where the operator works at one; the steps of a
// change are those that the RO tells of.
func (s *SHO) step(ctx context.Context, name, text string, f func(context.Context) error) error {
	if wire.Procedure(ctx) != "P4" {
		return f(ctx)
	}
	return wire.Step(ctx, name, s.node.Role, s.node.Role, text, f)
}

// record keeps a signed message.
func (s *SHO) record(ctx context.Context, db store.DB, kind, key string, message []byte) error {
	_, err := store.Append(ctx, db, store.Record{At: s.node.Now(), Kind: kind, Key: key, Message: message})
	return err
}

// missing turns a value that is not in the store into a refusal.
func missing(err error, format string, args ...any) error {
	if errors.Is(err, store.ErrNotFound) {
		return wire.Refuse("", format, args...)
	}
	return err
}
