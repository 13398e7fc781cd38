package world

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"mcim/flows/auc"
	"mcim/flows/engine"
	"mcim/flows/m2me"
	"mcim/flows/pva"
	"mcim/flows/ro"
	"mcim/flows/sho"
	"mcim/flows/store"
	"mcim/flows/subscriber"
	"mcim/flows/supplier"
	"mcim/flows/vno"
	"mcim/flows/wire"
)

// build names the software of the lab's machines.
const build = "mcim-lab-1"

// makeKeys makes the lab's CA, the supplier's CA below it, and a certificate for
// each role and for the machine on the supplier's bench.
func (w *World) makeKeys() error {
	now := time.Now()
	ca, err := wire.NewCA("mcim lab", now)
	if err != nil {
		return err
	}
	factory, err := ca.Sub("supplier of the lab", []string{wire.KindMachine, wire.KindAK}, now)
	if err != nil {
		return err
	}
	if err := w.save("ca", ca.Save); err != nil {
		return err
	}
	if err := w.save("roles/"+SupplierRole+"/ca", factory.Save); err != nil {
		return err
	}
	for _, role := range append([]string{wire.FactoryRole(w.serial)}, roleNames...) {
		id, err := ca.Identity(role, now)
		if err != nil {
			return err
		}
		if err := w.save("roles/"+role, id.Save); err != nil {
			return err
		}
	}
	return nil
}

// save writes keys into a folder of the lab.
func (w *World) save(dir string, save func(string, func(string, []byte) error) error) error {
	path := w.lab.Path(dir)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	return save(path, store.WriteFile)
}

// node is the place of a role among the others.
func (w *World) node(role string) (wire.NodeConfig, error) {
	id, err := wire.LoadIdentity(w.lab.Path("roles", role), nil)
	if err != nil {
		return wire.NodeConfig{}, fmt.Errorf("keys of %s: %w", role, err)
	}
	return wire.NodeConfig{
		Identity: id, Directory: w.Directory, Observer: w.Meter.Observe, Logger: w.config.Logger,
		Count: func(m wire.Message) { w.Meter.Message(m.Step) },
	}, nil
}

// role is one that is served until Close.
type role interface {
	Start(context.Context) error
	Close() error
}

// startRoles makes and starts all roles but the machine, which is powered on by
// its procedure.
func (w *World) startRoles(ctx context.Context) error {
	if _, err := wire.LoadCA(w.lab.Path("ca")); err != nil { // who needs it comes late
		return fmt.Errorf("the lab's CA: %w", err)
	}
	nodes := map[string]wire.NodeConfig{}
	for _, role := range append([]string{wire.FactoryRole(w.serial)}, roleNames...) {
		var err error
		if nodes[role], err = w.node(role); err != nil {
			return err
		}
	}
	if err := w.makeRO(ctx, nodes[RORole]); err != nil {
		return err
	}
	if err := w.makeSupplier(nodes[SupplierRole]); err != nil {
		return err
	}
	weak := w.config.Weak
	w.PVA = pva.New(pva.Config{NodeConfig: nodes[PVARole], Store: w.stores[PVARole], Supplier: SupplierRole, RO: RORole, AppraiseNothing: weak.AppraiseNothing})
	w.VNO = vno.New(vno.Config{NodeConfig: nodes[VNORole], Homes: w.homes(), RO: RORole, FalseNetwork: w.config.Attack.FalseNetwork, OpenBearer: weak.OpenBearer})
	w.Subscriber = subscriber.New(subscriber.Config{NodeConfig: nodes[SubscriberRole], Store: w.stores[SubscriberRole]})
	w.later(w.Subscriber.Close)
	started := []role{w.RO, w.Supplier, w.PVA, w.VNO}
	for _, name := range []string{SHOA, SHOB} {
		w.SHOs[name] = sho.New(sho.Config{
			NodeConfig: nodes[name], Store: w.stores[name], PLMN: w.plmns[name], RO: RORole, PVA: PVARole, VNO: VNORole, Unbound: weak.unbound(),
		})
		started = append(started, w.SHOs[name])
	}
	for _, r := range started {
		if err := r.Start(ctx); err != nil {
			return err
		}
		w.later(r.Close)
	}
	w.makeMachine(ctx, nodes[wire.FactoryRole(w.serial)])
	return nil
}

// homes is the role that knows the identities of each PLMN.
func (w *World) homes() map[string]string {
	m := map[string]string{}
	for role, plmn := range w.plmns {
		m[plmn] = role
	}
	return m
}

func (w *World) makeRO(ctx context.Context, node wire.NodeConfig) error {
	e, err := engine.Open(w.Context(ctx), w.lab.Path("roles", RORole, "engine.db"), engine.Options{
		OnPoint: w.config.OnPoint, Backoff: wire.Backoff{Attempts: 1},
	})
	if err != nil {
		return err
	}
	w.RO = ro.New(ro.Config{
		NodeConfig: node, Store: w.stores[RORole], Engine: e, PLMN: w.plmns[RORole], VNO: VNORole, PVA: PVARole, Carrier: w.carry, KeepPCID: w.config.Weak.KeepPCID,
	})
	w.engine = e
	w.later(e.Close)
	return nil
}

func (w *World) makeSupplier(node wire.NodeConfig) error {
	ca, err := wire.LoadCA(w.lab.Path("roles", SupplierRole, "ca"))
	if err != nil {
		return fmt.Errorf("CA of the supplier: %w", err)
	}
	w.Supplier = supplier.New(supplier.Config{
		NodeConfig: node, Store: w.stores[SupplierRole], CA: ca, RO: RORole, PVA: PVARole, Trust: w.trust, Build: build, PCRs: w.pcrs(),
		AnyMaker: w.config.Weak.AnyMaker,
	})
	return nil
}

func (w *World) makeMachine(ctx context.Context, node wire.NodeConfig) {
	role := wire.MachineRole(w.serial)
	w.Machine = m2me.New(m2me.Config{
		NodeConfig: node, Serial: w.serial, Dir: w.lab.Path("roles", role), Store: w.stores[role],
		TPM: w.TPM, Log: w.log.Bytes(), PCRs: w.pcrs(), Build: build, Card: w.tapped, Allow: w.allowed(ctx), Refused: w.config.Refused,
		VNO: VNORole, Supplier: SupplierRole, OnPoint: w.config.OnPoint, Weak: w.config.Weak.tre(),
	})
	w.later(w.Machine.Close)
}

// allowed is which cards may be written: those that the caller named, and the
// lab's own.
func (w *World) allowed(ctx context.Context) []string {
	list := slices.Clone(w.config.Allow)
	if w.config.Card != "" {
		return list
	}
	if w.profile != nil {
		return append(list, w.profile.ICCID)
	}
	if own, err := w.OwnCard(ctx); err == nil {
		list = append(list, own.ICCID)
	}
	return list
}

// issueCard tells those who have to know of the new lab's card: SHO-A, whose
// subscription is in it, and the supplier, who puts it into the machine.
func (w *World) issueCard(ctx context.Context) error {
	p := w.profile
	if p == nil {
		return nil
	}
	machine := wire.MachineRole(w.serial)
	err := w.SHOs[SHOA].Import(ctx, sho.Card{
		IMSI: p.IMSI, ICCID: p.ICCID, Machine: machine, Subscriber: SubscriberRole, Keys: auc.Keys{K: p.K, OPc: p.OPc, SQN: p.SQN},
	})
	if err != nil {
		return err
	}
	keys, err := cardKeys(*p, w.config)
	if err != nil {
		return err
	}
	return w.Supplier.PutCard(ctx, machine, supplier.Card{ICCID: keys.ICCID, PIN1: keys.PIN1, ADM1: keys.ADM1})
}
