package ro

import (
	"context"
	"errors"
	"sync"
	"time"

	"mcim/flows/auc"
	"mcim/flows/engine"
	"mcim/flows/store"
	"mcim/flows/wire"
)

// Config is what a registration operator needs.
type Config struct {
	wire.NodeConfig
	// Store keeps identities, orders and machines. Required.
	Store *store.Store
	// Engine runs the orders. New registers its procedures, Launch launches it.
	// Required. Its Backoff should be one attempt: the operator asks again itself.
	Engine *engine.Engine
	// PLMN is MCC and MNC of the provisional identities, 5 or 6 digits.
	PLMN string
	// VNO and PVA are the roles that the operator works with.
	VNO, PVA string
	// Validity of a provisional identity; 0 is 5 years.
	Validity time.Duration
	// Quarantine of a provisional identity between two machines; 0 is 30 days.
	Quarantine time.Duration

	// Carrier is what a dishonest carrier puts in the place of a package on its
	// way to a machine. It exists so that a test can show that the TRE refuses
	// it. Nothing else may set it.
	Carrier func(machine string, p wire.PackageMessage) wire.PackageMessage
	// KeepPCID ends no provisional identity, so that a test can show what that is
	// worth. Nothing else may set it.
	KeepPCID bool
}

const (
	defaultValidity   = 5 * 365 * 24 * time.Hour
	defaultQuarantine = 30 * 24 * time.Hour
)

// RO is a registration operator.
type RO struct {
	node   *wire.Node
	config Config
	store  *store.Store
	engine *engine.Engine

	ccif ccif
	icf  icf
	drf  drf
	dpf  dpf

	patience *patience

	first, changeTRE, changeUICC engine.Procedure[job, Result]

	mu       sync.Mutex
	launched bool
	due      []job // came before Launch
}

// New makes a registration operator and registers its procedures at the engine.
// Start serves it, Launch takes up its orders.
func New(c Config) *RO {
	if c.Validity == 0 {
		c.Validity = defaultValidity
	}
	if c.Quarantine == 0 {
		c.Quarantine = defaultQuarantine
	}
	node := wire.NewNode(c.NodeConfig)
	centre := auc.New(c.Store, node.Rand)
	r := &RO{node: node, config: c, store: c.Store, engine: c.Engine, patience: newPatience()}
	r.ccif = ccif{node, c.Store, centre, c.PLMN, c.Validity, c.Quarantine}
	r.icf = icf{node, c.Store, centre, c.KeepPCID}
	r.drf = drf{node, c.Store}
	r.dpf = dpf{node: node, vno: c.VNO, pva: c.PVA, carrier: c.Carrier, sessions: map[string]*wire.Session{}}
	r.first = engine.Register(c.Engine, "FirstProvisioning", r.ending(r.firstProvisioning))
	r.changeTRE = engine.Register(c.Engine, "ChangeTRE", r.ending(r.changeInTRE))
	r.changeUICC = engine.Register(c.Engine, "ChangeUICC", r.ending(r.changeInUICC))
	r.handle()
	return r
}

func (r *RO) handle() {
	server, vno := r.node.Server, []string{r.config.VNO}
	wire.PathPCIDBatch.Handle(server, []string{wire.KindSupplier}, r.batch)
	wire.PathVectors.Handle(server, vno, r.icf.vectors)
	wire.PathResync.Handle(server, vno, r.icf.resync)
	wire.PathAttached.Handle(server, vno, r.icf.attached)
	wire.PathOrder.Handle(server, []string{wire.KindSHO}, r.order)
	wire.PathContact.Handle(server, []string{wire.KindMachine}, r.contact)
}

// Start serves the operator until Close.
func (r *RO) Start(ctx context.Context) error { return r.node.Start(ctx) }

// Launch takes up the orders that were cut and begins those that wait. Machines
// may contact the operator before.
func (r *RO) Launch(ctx context.Context) error {
	if err := r.engine.Launch(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	r.launched = true
	due := r.due
	r.due = nil
	r.mu.Unlock()
	cut, err := r.drf.openChanges(ctx)
	if err != nil {
		return err
	}
	for _, j := range append(due, cut...) {
		if err := r.begin(ctx, j); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the operator. The engine is the caller's, and must be closed before.
func (r *RO) Close() error {
	r.dpf.closeAll()
	return r.node.Close()
}

// Withdraw takes a provisional identity out of service at once (SR-14).
func (r *RO) Withdraw(ctx context.Context, pcid string) error { return r.icf.withdraw(ctx, pcid) }

// procedure is the one that a job runs.
func (r *RO) procedure(j job) engine.Procedure[job, Result] {
	switch j.Mandate.Procedure() {
	case "P8a":
		return r.changeTRE
	case "P8c":
		return r.changeUICC
	}
	return r.first
}

// begin starts a job, once. Before Launch it waits for that, and when the engine
// closes, for the next one.
func (r *RO) begin(ctx context.Context, j job) error {
	r.mu.Lock()
	if !r.launched {
		r.due = append(r.due, j)
		r.mu.Unlock()
		return nil
	}
	r.mu.Unlock()
	if err := r.procedure(j).Start(ctx, j.Order, j); !errors.Is(err, engine.ErrInterrupted) {
		return err
	}
	return nil
}

// Wait waits for an order's end. A first provisioning begins when the machine
// comes, so Wait may come first. The error is a *wire.Error with the step at
// which the order ended, or at which it waits for its machine; or that of ctx.
func (r *RO) Wait(ctx context.Context, order string) (Result, error) {
	o, err := orders.Get(ctx, r.store, order)
	if err != nil {
		return Result{}, wire.Errorf(wire.CodeNotFound, "", "no order %s: %w", order, err)
	}
	ctx, cancel := r.patience.watch(ctx, order)
	defer cancel()
	procedure, tick := r.procedure(o.job(order)), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for {
		result, err := procedure.Wait(ctx, order)
		if !errors.Is(err, engine.ErrUnknown) {
			return result, err
		}
		select {
		case <-ctx.Done():
			return Result{}, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// Pending is an order that is not over.
type Pending struct {
	Order, Machine string
	// Procedure is that of its mandate: "P4", "P8a" or "P8c".
	Procedure string
	// Begun is false for a first provisioning that waits for its machine to come.
	Begun bool
	// Steps are those that are finished, in their order.
	Steps []string
}

// Pending lists the orders that are not over, by name.
func (r *RO) Pending(ctx context.Context) ([]Pending, error) {
	running, err := r.engine.Pending(ctx)
	if err != nil {
		return nil, err
	}
	steps := map[string][]string{}
	for _, p := range running {
		steps[p.ID] = p.Steps
	}
	all, err := orders.List(ctx, r.store)
	if err != nil {
		return nil, err
	}
	var list []Pending
	for _, e := range all {
		if o := e.Value; !o.Over {
			done, runs := steps[e.Key]
			list = append(list, Pending{e.Key, o.Mandate.Machine, o.Mandate.Procedure(), runs || o.Mandate.OldSHO != "", done})
		}
	}
	return list, nil
}

// Succeeded lists the procedures of the orders that have ended well, without
// order: "P4", "P8a", "P8c".
func (r *RO) Succeeded(ctx context.Context) ([]string, error) {
	all, err := orders.List(ctx, r.store)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, e := range all {
		if o := e.Value; o.Over && o.Failure == nil {
			list = append(list, o.Mandate.Procedure())
		}
	}
	return list, nil
}
