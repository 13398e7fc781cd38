package pva

import (
	"context"
	"errors"
	"time"

	"mcim/flows/store"
	"mcim/flows/wire"
	"mcim/tpm/ident"
	"mcim/tpm/measure"
)

// Config is what a platform validation authority needs.
type Config struct {
	wire.NodeConfig
	// Store keeps platforms, validations and verdicts. Required.
	Store *store.Store
	// Supplier and RO are the roles whose statements and evidence are taken.
	Supplier, RO string
	// NonceValidity is how long evidence may take to come; 0 is 5 minutes.
	NonceValidity time.Duration
	// VerdictValidity is how long a verdict is good; 0 is an hour.
	VerdictValidity time.Duration

	// AppraiseNothing passes every platform without looking at its evidence. It
	// exists so that a test can show what the appraisal is worth. Nothing else may
	// set it.
	AppraiseNothing bool
}

const (
	defaultNonceValidity   = 5 * time.Minute
	defaultVerdictValidity = time.Hour
)

// validation is one that was opened.
type validation struct {
	Machine   string                    `cbor:"machine"`
	Requester string                    `cbor:"requester"`
	Purpose   string                    `cbor:"purpose"`
	Nonce     []byte                    `cbor:"nonce"`
	Expires   time.Time                 `cbor:"expires"`
	Evidence  []byte                    `cbor:"evidence"` // that was judged; empty before
	Verdict   wire.Signed[wire.Verdict] `cbor:"verdict"`
}

// counters are attest.Counters of the last affirming verdict.
type counters struct {
	Reset   uint32 `cbor:"reset"`
	Restart uint32 `cbor:"restart"`
	Clock   uint64 `cbor:"clock"`
	Safe    bool   `cbor:"safe"`
}

const (
	platforms   store.Bucket[wire.Signed[wire.Platform]] = "platform" // by machine
	validations store.Bucket[validation]                 = "validation"
	last        store.Bucket[counters]                   = "counters" // by machine
)

// PVA is a platform validation authority.
type PVA struct {
	node   *wire.Node
	config Config
	store  *store.Store
}

// New makes an authority; Start serves it.
func New(c Config) *PVA {
	if c.NonceValidity == 0 {
		c.NonceValidity = defaultNonceValidity
	}
	if c.VerdictValidity == 0 {
		c.VerdictValidity = defaultVerdictValidity
	}
	p := &PVA{node: wire.NewNode(c.NodeConfig), config: c, store: c.Store}
	ro := []string{c.RO}
	wire.PathPlatform.Handle(p.node.Server, []string{c.Supplier}, p.platform)
	wire.PathRecord.Handle(p.node.Server, ro, p.record)
	wire.PathOpen.Handle(p.node.Server, []string{wire.KindSHO}, p.open)
	wire.PathAppraise.Handle(p.node.Server, ro, p.appraise)
	return p
}

// Start serves the authority until Close.
func (p *PVA) Start(ctx context.Context) error { return p.node.Start(ctx) }

// Close ends the authority; its store stays open.
func (p *PVA) Close() error { return p.node.Close() }

// platform takes the supplier's statement about a machine (P1.8). A later one
// replaces it, as after an update; an earlier one does not come back.
func (p *PVA) platform(ctx context.Context, _ wire.Peer, req wire.PlatformMessage) (wire.Empty, error) {
	statement, supplier, err := req.Signed.VerifyFrom(p.node.Identity, wire.KindSupplier, wire.TypePlatform)
	if err != nil {
		return wire.Empty{}, wire.Refuse("P1.8", "statement on a platform: %w", err)
	}
	if supplier != p.config.Supplier {
		return wire.Empty{}, wire.Refuse("P1.8", "%s is no supplier that this authority knows", supplier)
	}
	_, err = ident.CheckAK(statement.AK)
	if err == nil {
		_, err = measure.ParseReference(statement.Reference)
	}
	if err != nil {
		return wire.Empty{}, wire.Refuse("P1.8", "statement on %s: %w", statement.Machine, err)
	}
	return wire.Empty{}, p.store.Tx(ctx, func(tx *store.Tx) error {
		if err := p.later(ctx, tx, statement); err != nil {
			return err
		}
		if err := p.note(ctx, tx, wire.TypePlatform, statement.Machine, req.Signed); err != nil {
			return err
		}
		return platforms.Put(ctx, tx, statement.Machine, req.Signed)
	})
}

// later refuses a statement that was made before the one that is known.
func (p *PVA) later(ctx context.Context, tx *store.Tx, statement wire.Platform) error {
	signed, err := platforms.Get(ctx, tx, statement.Machine)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	known, _, err := signed.VerifyFrom(p.node.Identity, wire.KindSupplier, wire.TypePlatform)
	if err == nil && statement.Made.Before(known.Made) {
		err = wire.Errorf(wire.CodeConflict, "P1.8", "a later statement on %s is known", statement.Machine)
	}
	return err
}

// record hands the supplier's statement out (P6.3).
func (p *PVA) record(ctx context.Context, _ wire.Peer, req wire.MachineRequest) (wire.PlatformMessage, error) {
	signed, err := platforms.Get(ctx, p.store, req.Machine)
	if errors.Is(err, store.ErrNotFound) {
		err = wire.Errorf(wire.CodeNotFound, "", "no supplier has certified %s", req.Machine)
	}
	return wire.PlatformMessage{Signed: signed}, err
}
