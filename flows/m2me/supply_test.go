package m2me_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mcim/flows/m2me"
	"mcim/flows/wire"
	"mcim/flows/world"
)

// relay stands between the machine and its supplier: it passes on what both say,
// but for what the test changes.
type relay struct {
	enrol  func(*wire.EnrolAnswer)
	prove  func(*wire.ProveAnswer)
	refuse error // instead of taking the receipt
}

// machineBehind is the lab's machine with the relay for its supplier.
func (l *lab) machineBehind(r *relay) *m2me.Machine {
	l.t.Helper()
	_, bench, err := l.As(wire.FactoryRole(l.Machine.Serial()))
	l.must(err)
	directory := &wire.Directory{}
	node := wire.NewNode(wire.NodeConfig{Identity: l.identity(world.SupplierRole), Directory: directory})
	factory := []string{wire.KindFactory}
	wire.PathEnrol.Handle(node.Server, factory, func(ctx context.Context, _ wire.Peer, req wire.EnrolRequest) (wire.EnrolAnswer, error) {
		answer, err := wire.Ask(ctx, bench, world.SupplierRole, wire.PathEnrol, req)
		if err == nil && r.enrol != nil {
			r.enrol(&answer)
		}
		return answer, err
	})
	wire.PathProve.Handle(node.Server, factory, func(ctx context.Context, _ wire.Peer, req wire.ProveRequest) (wire.ProveAnswer, error) {
		answer, err := wire.Ask(ctx, bench, world.SupplierRole, wire.PathProve, req)
		if err == nil && r.prove != nil {
			r.prove(&answer)
		}
		return answer, err
	})
	wire.PathSupplied.Handle(node.Server, factory, func(ctx context.Context, _ wire.Peer, req wire.SuppliedRequest) (wire.Empty, error) {
		if r.refuse != nil {
			return wire.Empty{}, r.refuse
		}
		return wire.Ask(ctx, bench, world.SupplierRole, wire.PathSupplied, req)
	})
	l.must(node.Start(l.ctx()))
	l.t.Cleanup(func() { _ = node.Close() })
	return l.other(func(c *m2me.Config) { c.Directory, c.Backoff = directory, wire.Backoff{Attempts: 1} })
}

// TestSupplyIsRefused: what the machine does not take from its supplier, after
// which it is not supplied; and that a supply of which the end was lost is
// finished by doing it again.
func TestSupplyIsRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t, world.Config{}, blank)
	l.must(l.Supplier.Prepare(l.ctx()))
	ca, err := wire.LoadCA(filepath.Join(l.Dir(), "roles", world.SupplierRole, "ca"))
	l.must(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	l.must(err)
	var r relay
	m := l.machineBehind(&r)
	certify := func(role string, key *ecdsa.PublicKey) func(*wire.ProveAnswer) {
		return func(a *wire.ProveAnswer) {
			if key == nil { // that of the TRE
				key = publicKey(t, a.Certificate)
			}
			c, err := ca.Issue(role, key, time.Now())
			l.must(err)
			a.Certificate = c.Raw
		}
	}
	for _, tt := range []struct {
		name  string
		r     relay
		step  string
		words string
	}{
		{"credential for another TPM", relay{enrol: func(a *wire.EnrolAnswer) { a.Credential[len(a.Credential)-1] ^= 1 }}, "P1.6", "not for this TPM"},
		{"other nonce", relay{enrol: func(a *wire.EnrolAnswer) { a.Nonce[0] ^= 1 }}, "P1.6", "residency"},
		{"certificate of another serial number", relay{prove: certify(wire.MachineRole("other"), nil)}, "P1.7", "is for m2me/other, not for " + m.Role()},
		{"certificate for another key", relay{prove: certify(m.Role(), &key.PublicKey)}, "P1.7", "for another key"},
		{"no certificate", relay{prove: func(a *wire.ProveAnswer) { a.Certificate = nil }}, "P1.7", "platform certificate"},
		{"no root", relay{prove: func(a *wire.ProveAnswer) { a.CA = nil }}, "P1.7", "platform certificate"},
		{"PCID for another TRE", relay{prove: func(a *wire.ProveAnswer) { a.PCID.Sealed[len(a.PCID.Sealed)-1] ^= 1 }}, "P1.7", "the PCID"},
		{"card codes for the PCID", relay{prove: func(a *wire.ProveAnswer) { a.PCID.Sealed = a.Card }}, "P1.7", "the PCID"},
		{"K of another policy", relay{prove: func(a *wire.ProveAnswer) { a.PCID.Public[len(a.PCID.Public)/2] ^= 1 }}, "P1.7", "policy"},
		{"K for another TPM", relay{prove: func(a *wire.ProveAnswer) { a.PCID.Duplicate[len(a.PCID.Duplicate)-1] ^= 1 }}, "P1.7", "the PCID"},
		{"codes of another card", relay{prove: func(a *wire.ProveAnswer) { a.Card = a.PCID.Sealed }}, "P1.7", "the card's secrets"},
		{"receipt that is lost", relay{refuse: wire.Errorf(wire.CodeUnavailable, "", "lost by the test")}, "P1.7", "lost by the test"},
	} {
		r = tt.r
		err := m.Supply(l.ctx())
		e := wire.AsError(err, "")
		if err == nil || e.Step != tt.step || !strings.Contains(e.Text, tt.words) {
			t.Errorf("%s: %q, want one at %s with %q", tt.name, fmt.Sprint(err), tt.step, tt.words)
		}
		if done, err := m.Supplied(l.ctx()); done || err != nil {
			t.Errorf("%s: supplied %v, %v", tt.name, done, err)
		}
	}
	r = relay{}
	l.must(m.Supply(l.ctx()))
	l.must(m.Supply(l.ctx())) // once more is the same
	l.must(m.Close())
	l.must(errors.Join(l.run.Supply(l.ctx()), l.run.Bootstrap(l.ctx()), l.run.Provision(l.ctx())))
}
