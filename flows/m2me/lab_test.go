package m2me_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"mcim/card"
	"mcim/card/emul"
	"mcim/flows"
	"mcim/flows/m2me"
	"mcim/flows/sho"
	"mcim/flows/store"
	"mcim/flows/wire"
	"mcim/flows/world"
	"mcim/tpm/mcim"
	"mcim/tpm/measure"
	"mcim/tpm/policy"
	"mcim/tpm/tpmtest"
)

// lab is a machine among all real roles, and a registration operator whose
// requests the test writes.
type lab struct {
	*world.World
	t   *testing.T
	run *flows.Run
}

// How far the machine of a lab has come.
const (
	blank       = iota
	supplied    // P1
	bootstraped // P2
	provisioned // P4 to P7
)

func newLab(t *testing.T, c world.Config, stage int) *lab {
	t.Helper()
	c.InProcess = true
	if c.Dir == "" {
		c.Dir = filepath.Join(t.TempDir(), "lab")
	}
	if c.TPM == "" {
		c.TPM = "swtpm:" + tpmtest.Dir(t)
	}
	w, err := world.Create(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{World: w, t: t, run: flows.NewRun(w)}
	t.Cleanup(l.close)
	for _, step := range []func(context.Context) error{l.run.Supply, l.run.Bootstrap, l.run.Provision}[:stage] {
		l.must(step(l.ctx()))
	}
	return l
}

func (l *lab) ctx() context.Context { return l.Context(context.WithoutCancel(l.t.Context())) }

func (l *lab) close() { l.must(l.Close()) }

// insert puts another card into the machine's reader, while the machine does
// nothing with it: before and after it answers from its own state, one request
// at a time.
func (l *lab) insert(c card.Card) {
	_, _ = l.Machine.Placement(l.ctx()) // a machine that is off uses no card
	l.Device.Card = c
	_, _ = l.Machine.Placement(l.ctx())
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// identity is that of a role of the lab.
func (l *lab) identity(role string) *wire.Identity {
	l.t.Helper()
	id, _, err := l.As(role)
	l.must(err)
	return id
}

// session is one with the machine, of the RO or another role.
func (l *lab) session(role string) *wire.Session {
	l.t.Helper()
	addr, err := l.Directory.Address(l.Machine.Role())
	l.must(err)
	s, err := wire.Dial(l.ctx(), l.identity(role), addr, l.Machine.Role(), wire.ClientOptions{})
	l.must(err)
	l.t.Cleanup(func() { _ = s.Close() })
	return s
}

// call asks the machine in the name of the RO.
func call[Req, Resp any](l *lab, r wire.Route[Req, Resp], req Req) (Resp, error) {
	l.t.Helper()
	return r.Call(l.ctx(), l.session(world.RORole), req)
}

// platform is what the supplier has stated of the machine.
func (l *lab) platform() wire.Platform {
	l.t.Helper()
	id, contacts, err := l.As(world.RORole)
	l.must(err)
	answer, err := wire.Ask(l.ctx(), contacts, world.PVARole, wire.PathRecord, wire.MachineRequest{Machine: l.Machine.Role()})
	l.must(err)
	p, _, err := answer.Signed.VerifyFrom(id, wire.KindSupplier, wire.TypePlatform)
	l.must(err)
	return p
}

// parcel is what a package is made of.
type parcel struct {
	issuer string
	target mcim.Target
	order  mcim.Order
	sub    *mcim.Subscription
}

// pack makes a package of SHO-A for the machine as it is; change makes it another
// one.
func (l *lab) pack(order string, placement wire.Placement, change func(*parcel)) wire.PackageMessage {
	l.t.Helper()
	nonce := random(32)
	state, err := call(l, wire.PathState, wire.StateRequest{Placement: placement, Nonce: nonce})
	l.must(err)
	p := l.platform()
	reference, err := measure.ParseReference(p.Reference)
	l.must(err)
	approved, err := policy.NewPlatform(reference.Values())
	l.must(err)
	card, err := emul.RandomProfile("usim")
	l.must(err)
	made := parcel{
		issuer: world.SHOA,
		target: mcim.Target{
			SRK: p.SRK, DEK: p.DEK, AKCert: sha256.Sum256(p.AKCert),
			Slot: state.Slot, EpochIndex: tpm2.TPMHandle(p.Slots[state.Slot].Index), Epoch: state.Epoch,
		},
		order: mcim.Order{
			ID: order, Sequence: state.Sequence + 1, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
			Build: p.Build, Platform: approved, Placement: mcim.Placement(placement),
		},
		sub: &mcim.Subscription{IMSI: card.IMSI, ICCID: card.ICCID, MNCLength: 2, K: card.K, OPc: card.OPc, AMF: card.AMF},
	}
	if change != nil {
		change(&made)
	}
	id := l.identity(made.issuer)
	made.order.Issuer = made.issuer
	built, err := mcim.Build(id.Signer, made.target, made.order, made.sub)
	l.must(err)
	raw, err := built.Bytes()
	l.must(err)
	return wire.PackageMessage{Order: order, Package: raw, Issuer: id.Certificate.Raw, Nonce: nonce}
}

// install delivers a good package.
func (l *lab) install(order string, placement wire.Placement) wire.PackageMessage {
	l.t.Helper()
	p := l.pack(order, placement, nil)
	_, err := call(l, wire.PathDeliver, p)
	l.must(err)
	return p
}

// epoch is the count of a slot's epoch counter, which the machine proves.
func (l *lab) epoch(slot int) uint64 {
	l.t.Helper()
	nonce, p := random(32), l.platform()
	answer, err := call(l, wire.PathDelete, wire.DeleteRequest{Slot: slot, Nonce: nonce}) // epoch 0: nothing is erased
	l.must(err)
	proof, err := wire.Unmarshal[mcim.EpochProof](answer.Proof)
	l.must(err)
	epoch, err := mcim.VerifyEpoch(p.AK, tpm2.TPMHandle(p.Slots[slot].Index), nonce, &proof)
	l.must(err)
	return epoch
}

// other is the lab's machine with another configuration, the lab's own being off.
func (l *lab) other(change func(*m2me.Config)) *m2me.Machine {
	l.t.Helper()
	l.must(l.Machine.Close())
	dir := filepath.Join(l.Dir(), "roles", l.Machine.Role())
	s, err := store.Open(l.ctx(), dir)
	l.must(err)
	l.t.Cleanup(func() { _ = s.Close() })
	c := m2me.Config{
		NodeConfig: wire.NodeConfig{Identity: l.identity(wire.FactoryRole(l.Machine.Serial())), Directory: l.Directory, Observer: l.Meter.Observe},
		Serial:     l.Machine.Serial(), Dir: dir, Store: s, TPM: l.TPM, Log: measure.CannedBoot().Bytes(), Build: "mcim-lab-1", // as of package world
		Card: l.Device, VNO: world.VNORole, Supplier: world.SupplierRole,
	}
	change(&c)
	m := m2me.New(c)
	l.t.Cleanup(func() { _ = m.Close() })
	return m
}

// served is the one subscription that has service in a placement.
func (l *lab) served(placement wire.Placement) (operator string, info sho.Info) {
	l.t.Helper()
	found := 0
	for name, o := range l.SHOs {
		list, err := o.Subscriptions(l.ctx())
		l.must(err)
		for _, s := range list {
			if s.Placement == placement && s.State != sho.Closed {
				operator, info, found = name, s, found+1
			}
		}
	}
	if found != 1 || info.State != sho.Active {
		l.t.Fatalf("%d subscriptions have service in the %s, the last one %s of %s, which is %s", found, placement, info.IMSI, operator, info.State)
	}
	return operator, info
}

// order orders the change of a placement to the other operator.
func (l *lab) order(placement wire.Placement) (order string) {
	l.t.Helper()
	from, _ := l.served(placement)
	to := map[string]string{world.SHOA: world.SHOB, world.SHOB: world.SHOA}[from]
	order, err := l.Subscriber.Change(l.ctx(), l.Machine.Role(), placement, from, to)
	l.must(err)
	return order
}

// change changes the operator of a placement, and makes sure that the machine
// then has service by the new one.
func (l *lab) change(placement wire.Placement) {
	l.t.Helper()
	_, before := l.served(placement)
	_, err := l.RO.Wait(l.ctx(), l.order(placement))
	l.must(err)
	l.serves(placement, before.IMSI)
}

// serves wants the machine attached in a placement by another subscription than
// the one before.
func (l *lab) serves(placement wire.Placement, before string) {
	l.t.Helper()
	_, now := l.served(placement)
	got, err := l.Machine.Placement(l.ctx())
	l.must(err)
	if attached := l.VNO.Attached(l.Machine.Role()); now.IMSI == before || attached != now.IMSI || got != placement {
		l.t.Fatalf("attached by %s in the %s; want %s in the %s, not %s", attached, got, now.IMSI, placement, before)
	}
}

// refused wants a failure of that kind at that step, whose text has the words.
func refused(t *testing.T, err, kind error, step, words string) {
	t.Helper()
	var e *wire.Error
	if !errors.As(err, &e) || !errors.Is(err, kind) || e.Step != step || !strings.Contains(e.Text, words) {
		t.Errorf("got %q, want %v at %q with %q", fmt.Sprint(err), kind, step, words)
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // does not fail
	return b
}

func publicKey(t *testing.T, der []byte) *ecdsa.PublicKey {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c.PublicKey.(*ecdsa.PublicKey)
}
