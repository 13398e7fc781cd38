package supplier

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mcim/apdu/secret"
	"mcim/flows/store"
	"mcim/flows/wire"
	"mcim/tpm/ident"
	"mcim/tpm/measure"
)

// Config is what a supplier needs.
type Config struct {
	wire.NodeConfig
	// Store keeps identities, machines and cards. Required.
	Store *store.Store
	// CA certifies machines and their AKs: one below the CA of all roles
	// (wire.CA.Sub), or that one. Required.
	CA *wire.CA
	// RO gives the provisional identities, PVA takes the descriptions.
	RO, PVA string
	// Trust is which TPM makers' certificates are believed; its time is set by
	// the supplier's clock.
	Trust ident.Trust
	// Build names the software that is on the machines.
	Build string
	// PCRs that the reference values are of; nil is measure.PolicyPCRs.
	PCRs []int
	// Batch is how many provisional identities are ordered at once; 0 is 10.
	Batch int

	// AnyMaker takes every EK certificate. It exists so that a test can show what
	// the check is worth. Nothing else may set it.
	AnyMaker bool
}

const defaultBatch = 10

// Supplier is a supplier of M2M equipment.
type Supplier struct {
	node   *wire.Node
	config Config
	store  *store.Store
}

// pcid is a provisional identity in the supplier's hands. Its K and OPc are in
// keys and opcs until they are in a machine.
type pcid struct {
	ICCID   string    `cbor:"iccid"`
	SQN     []byte    `cbor:"sqn"`
	Expires time.Time `cbor:"expires"`
	Machine string    `cbor:"machine"` // that it is for; empty while it is free
}

// card is the UICC that goes into a machine. Its codes are in pins and adms.
type card struct {
	ICCID string `cbor:"iccid"`
}

const (
	pcids   store.Bucket[pcid]    = "pcid" // by identity
	keys    store.Secrets         = "pcid-k"
	opcs    store.Secrets         = "pcid-opc"
	batches store.Bucket[int]     = "batch" // how many identities, by name
	cards   store.Bucket[card]    = "card"  // by machine
	pins    store.Secrets         = "card-pin1"
	adms    store.Secrets         = "card-adm1"
	benches store.Bucket[machine] = "machine" // by serial number
)

// New makes a supplier; Start serves it.
func New(c Config) *Supplier {
	if c.PCRs == nil {
		c.PCRs = measure.PolicyPCRs()
	}
	if c.Batch == 0 {
		c.Batch = defaultBatch
	}
	s := &Supplier{node: wire.NewNode(c.NodeConfig), config: c, store: c.Store}
	bench := []string{wire.KindFactory}
	wire.PathEnrol.Handle(s.node.Server, bench, s.enrol)
	wire.PathProve.Handle(s.node.Server, bench, s.prove)
	wire.PathSupplied.Handle(s.node.Server, bench, s.supplied)
	return s
}

// Start serves the supplier until Close.
func (s *Supplier) Start(ctx context.Context) error { return s.node.Start(ctx) }

// Close ends the supplier; its store stays open.
func (s *Supplier) Close() error { return s.node.Close() }

// Card is a UICC as its maker delivers it. PIN1 and ADM1 have 8 bytes each, as
// VERIFY takes them.
type Card struct {
	ICCID      string
	PIN1, ADM1 secret.Bytes
}

// PutCard says which UICC goes into a machine (by its role name); the machine
// gets the codes at P1.7.
func (s *Supplier) PutCard(ctx context.Context, machine string, c Card) error {
	if c.PIN1.Len() != 8 || c.ADM1.Len() != 8 {
		return fmt.Errorf("the codes of a UICC have 8 bytes each, not %d and %d", c.PIN1.Len(), c.ADM1.Len())
	}
	return s.store.Tx(ctx, func(tx *store.Tx) error {
		if err := pins.Put(ctx, tx, machine, c.PIN1); err != nil {
			return err
		}
		if err := adms.Put(ctx, tx, machine, c.ADM1); err != nil {
			return err
		}
		return cards.Put(ctx, tx, machine, card{c.ICCID})
	})
}

// Prepare sees to it that there are provisional identities for the next machine:
// it orders a batch (P1.1, with the answer of P1.4) where none is free.
func (s *Supplier) Prepare(ctx context.Context) error {
	free, err := s.free(ctx, s.store)
	if err != nil || free != "" {
		return err
	}
	known, err := batches.List(ctx, s.store)
	if err != nil {
		return err
	}
	// The name counts what has come, so that a batch whose answer was lost is
	// asked for again.
	name := fmt.Sprintf("batch-%d", len(known)+1)
	return wire.Step(s.node.Context(ctx), "P1.1", s.node.Role, s.config.RO, "order a batch of provisional identities", func(ctx context.Context) error {
		return s.order(ctx, name)
	})
}

func (s *Supplier) order(ctx context.Context, name string) error {
	box := s.node.Identity.Box
	answer, err := wire.Ask(ctx, s.node.Contacts, s.config.RO, wire.PathPCIDBatch,
		wire.BatchRequest{Batch: name, Count: s.config.Batch, HPKE: box.PublicKey().Bytes()})
	if err != nil {
		return err
	}
	plain, err := wire.Open(box, wire.PurposeBatch, answer.Sealed)
	if err != nil {
		return err
	}
	list, err := wire.Unmarshal[[]wire.PCID](plain.Reveal())
	if err != nil {
		return errors.New("the batch holds no list of provisional identities") // err may repeat a key
	}
	return s.store.Tx(ctx, func(tx *store.Tx) error {
		for _, one := range list {
			if err := take(ctx, tx, one, answer.Expires); err != nil {
				return err
			}
		}
		return batches.Put(ctx, tx, name, len(list))
	})
}

// take enters a provisional identity of a batch.
func take(ctx context.Context, tx *store.Tx, one wire.PCID, expires time.Time) error {
	if err := keys.Put(ctx, tx, one.ID, secret.New(one.K)); err != nil {
		return err
	}
	if err := opcs.Put(ctx, tx, one.ID, secret.New(one.OPc)); err != nil {
		return err
	}
	return pcids.Put(ctx, tx, one.ID, pcid{ICCID: one.ICCID, SQN: one.SQN, Expires: expires})
}

// free is a provisional identity that is for no machine yet; empty if none is.
func (s *Supplier) free(ctx context.Context, db store.DB) (string, error) {
	all, err := pcids.List(ctx, db)
	if err != nil {
		return "", err
	}
	for _, e := range all {
		if e.Value.Machine == "" && s.node.Now().Before(e.Value.Expires) {
			return e.Key, nil
		}
	}
	return "", nil
}
