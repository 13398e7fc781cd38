package ro_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"mcim/flows/auc"
	"mcim/flows/engine"
	"mcim/flows/flowtest"
	"mcim/flows/ro"
	"mcim/flows/sho"
	"mcim/flows/store"
	"mcim/flows/subscriber"
	"mcim/flows/vno"
	"mcim/flows/wire"
	"mcim/flows/wire/wiretest"
)

const machine = "m2me/1"

// lab is an RO among real home operators, a real VNO and a real subscriber, with a
// scripted supplier, PVA and machine.
type lab struct {
	*wiretest.Lab
	ro         *ro.RO
	store      *store.Store // of the RO
	sho        map[string]*sho.SHO
	vno        *vno.VNO
	pva        *flowtest.PVA
	supplier   *wire.Node
	subscriber *subscriber.Subscriber
	machine    *flowtest.Machine
	pcids      map[string]wire.PCID

	engine     *engine.Engine
	engineFile string
	change     func(*ro.Config)
}

func newLab(t testing.TB, change func(*ro.Config)) *lab {
	l := &lab{Lab: wiretest.New(t), sho: map[string]*sho.SHO{}, pcids: map[string]wire.PCID{}}
	l.pva = flowtest.NewPVA(l.Lab)
	l.supplier = l.Script("supplier", nil)
	l.store, l.engineFile, l.change = l.open(), filepath.Join(t.TempDir(), "engine.db"), change
	l.openRO(t.Context(), nil)
	if err := l.ro.Launch(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.vno = vno.New(vno.Config{
		NodeConfig: l.Config("vno"), RO: "ro", Homes: map[string]string{"99970": "ro", "00101": "sho-a", "00102": "sho-b"},
	})
	l.start(l.vno)
	for name, plmn := range map[string]string{"sho-a": "00101", "sho-b": "00102"} {
		l.sho[name] = sho.New(sho.Config{NodeConfig: l.Config(name), Store: l.open(), PLMN: plmn, RO: "ro", PVA: "pva", VNO: "vno"})
		l.start(l.sho[name])
	}
	l.subscriber = subscriber.New(subscriber.Config{NodeConfig: l.Config("subscriber"), Store: l.open()})
	l.machine = flowtest.NewMachine(l.Lab, "1")
	l.machine.Keys = l.keys
	l.machine.New = l.imsi
	l.pva.Supply(l.machine.Platform(machine))
	return l
}

// openRO opens the RO over its store; ctx is that of its engine.
func (l *lab) openRO(ctx context.Context, onPoint func(string)) {
	l.T.Helper()
	e, err := engine.Open(ctx, l.engineFile, engine.Options{Backoff: wire.Backoff{Attempts: 1}, OnPoint: onPoint})
	if err != nil {
		l.T.Fatal(err)
	}
	config := ro.Config{NodeConfig: l.Config("ro"), Store: l.store, Engine: e, PLMN: "99970", VNO: "vno", PVA: "pva"}
	if l.change != nil {
		l.change(&config)
	}
	l.ro, l.engine = ro.New(config), e
	l.start(l.ro)
	l.T.Cleanup(func() { _ = e.Close() })
}

// role is what every role has in common.
type role interface {
	Start(context.Context) error
	Close() error
}

func (l *lab) start(r role) {
	l.T.Helper()
	if err := r.Start(l.T.Context()); err != nil {
		l.T.Fatal(err)
	}
	l.T.Cleanup(func() { _ = r.Close() })
}

func (l *lab) open() *store.Store {
	l.T.Helper()
	s, err := store.Open(l.T.Context(), l.T.TempDir())
	if err != nil {
		l.T.Fatal(err)
	}
	l.T.Cleanup(func() { _ = s.Close() })
	return s
}

// batch orders provisional identities as the supplier does.
func (l *lab) batch(name string, count int) []wire.PCID {
	l.T.Helper()
	answer, err := wire.Ask(wire.At(l.T.Context(), "P1.1"), l.supplier.Contacts, "ro", wire.PathPCIDBatch,
		wire.BatchRequest{Batch: name, Count: count, HPKE: l.supplier.Identity.Box.PublicKey().Bytes()})
	if err != nil {
		l.T.Fatal(err)
	}
	plain, err := wire.Open(l.supplier.Identity.Box, wire.PurposeBatch, answer.Sealed)
	if err != nil {
		l.T.Fatal(err)
	}
	list, err := wire.Unmarshal[[]wire.PCID](plain.Reveal())
	if err != nil {
		l.T.Fatal(err)
	}
	for _, p := range list {
		l.pcids[p.ID] = p
	}
	return list
}

// keys are those of an identity, wherever its home is.
func (l *lab) keys(identity string) auc.Keys {
	if p, ok := l.pcids[identity]; ok {
		return keysOf(p)
	}
	for _, home := range l.sho {
		if k, err := home.Keys(context.Background(), identity); err == nil {
			return k
		}
	}
	l.T.Errorf("no keys of %s", identity)
	return auc.Keys{}
}

// imsi is the one of an order's subscription.
func (l *lab) imsi(order string) string {
	for _, home := range l.sho {
		list, err := home.Subscriptions(context.Background())
		if err != nil {
			l.T.Error(err)
		}
		for _, s := range list {
			if s.Order == order {
				return s.IMSI
			}
		}
	}
	l.T.Errorf("no subscription of %s", order)
	return ""
}

// state is that of a subscription at a home operator.
func (l *lab) state(home, imsi string) sho.State {
	l.T.Helper()
	list, err := l.sho[home].Subscriptions(l.T.Context())
	if err != nil {
		l.T.Fatal(err)
	}
	for _, s := range list {
		if s.IMSI == imsi {
			return s.State
		}
	}
	return ""
}

// arrive powers the machine up with a provisional identity and lets it contact
// the RO.
func (l *lab) arrive(pcid string) error {
	l.T.Helper()
	if err := l.machine.Attach(l.machine.Node.Context(l.T.Context()), pcid); err != nil {
		l.T.Fatal(err)
	}
	_, err := l.machine.Contact(wire.At(l.T.Context(), "P4.1"))
	return err
}

func (l *lab) wait(order string) (ro.Result, error) {
	l.T.Helper()
	ctx, cancel := context.WithTimeout(l.T.Context(), time.Minute)
	defer cancel()
	return l.ro.Wait(ctx, order)
}

// first provisions the machine with a subscription of sho-a.
func (l *lab) first() ro.Result {
	l.T.Helper()
	order, err := l.subscriber.First(l.T.Context(), machine, "sho-a", time.Time{})
	if err != nil {
		l.T.Fatal(err)
	}
	if err := l.arrive(l.batch("b1", 1)[0].ID); err != nil {
		l.T.Fatal(err)
	}
	result, err := l.wait(order)
	if err != nil {
		l.T.Fatal(err)
	}
	return result
}
