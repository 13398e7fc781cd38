package world

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-tpm/tpm2"

	"mcim/card/emul"
	"mcim/flows/m2me"
	"mcim/flows/ro"
	"mcim/flows/sho"
	"mcim/flows/store"
	"mcim/flows/subscriber"
	"mcim/flows/wire"
	"mcim/tpm/mcim"
	"mcim/tpm/measure"
)

// As is what a role can say, for proofs that a message of it at the wrong time is
// refused. The role's own key signs and proves it.
func (w *World) As(role string) (*wire.Identity, *wire.Contacts, error) {
	id, err := wire.LoadIdentity(w.lab.Path("roles", role), nil)
	if err != nil {
		return nil, nil, err
	}
	c := wire.NewContacts(id, w.Directory, wire.Backoff{Attempts: 1})
	w.later(func() error { c.Close(); return nil })
	return id, c, nil
}

// Stranger is a machine with a certificate of the lab that nobody has ordered
// anything for.
func (w *World) Stranger() (*wire.Identity, error) {
	ca, err := wire.LoadCA(w.lab.Path("ca"))
	if err != nil {
		return nil, err
	}
	return ca.Identity(wire.MachineRole("stranger"), time.Now())
}

// carry remembers each package on its way to the machine, and lets a dishonest
// carrier change it.
func (w *World) carry(machine string, p wire.PackageMessage) wire.PackageMessage {
	if w.config.Attack.Carrier != nil {
		p = w.config.Attack.Carrier(machine, p)
	}
	w.carried = append(w.carried, p)
	return p
}

// Carried are the packages that went to the machine since the lab was opened,
// for deliveries that must be refused.
func (w *World) Carried() []wire.PackageMessage { return slices.Clone(w.carried) }

// Tamper changes the platform while it runs: a module that nobody approved is
// loaded, and measured, as it has to be. The TPM must be the lab's own.
func (w *World) Tamper() error {
	w.log.AddMeasured(9, measure.EVIPL, []byte("/lib/modules/unapproved.ko\x00"), []byte("image of a module that nobody approved"))
	if err := measure.Extend(w.TPM, w.log); err != nil {
		return err
	}
	w.Machine.Measured(w.log.Bytes())
	return nil
}

// OwnCard is the subscription that the UICC had when it was put into the machine.
func (w *World) OwnCard(ctx context.Context) (sho.Info, error) {
	list, err := w.SHOs[SHOA].Subscriptions(ctx)
	if err != nil {
		return sho.Info{}, err
	}
	for _, s := range list {
		if s.Placement == wire.InUICC && s.Order == "" {
			return s, nil
		}
	}
	return sho.Info{}, fmt.Errorf("the UICC of %s has no subscription of %s", w.Machine.Role(), SHOA)
}

// Supplied says whether P1 has come to its end: the machine is supplied, and its
// subscriber has contracted a home operator for it.
func (w *World) Supplied(ctx context.Context) (bool, error) {
	machine := wire.MachineRole(w.serial)
	done, err := m2me.New(m2me.Config{Serial: w.serial, Store: w.stores[machine]}).Supplied(ctx)
	if err != nil || !done {
		return false, err
	}
	return subscriber.Contracted(ctx, w.stores[SubscriberRole], machine)
}

// Home is the role that is the home of an identity.
func (w *World) Home(identity string) string {
	for role, plmn := range w.plmns {
		if strings.HasPrefix(identity, plmn) {
			return role
		}
	}
	return ""
}

// ForAnotherMachine makes the package that the issuer of p would have made for
// another machine in the same position: rightly signed, but for a TRE that is not
// this one. It says which IMSI is in it.
func (w *World) ForAnotherMachine(p wire.PackageMessage) (other wire.PackageMessage, imsi string, err error) {
	pkg, err := mcim.ParsePackage(p.Package)
	if err != nil {
		return p, "", err
	}
	h := pkg.Header
	issuer, _, err := w.As(h.Issuer)
	if err != nil {
		return p, "", err
	}
	srk, dek, err := otherKeys()
	if err != nil {
		return p, "", err
	}
	profile, err := emul.RandomProfile("usim")
	if err != nil {
		return p, "", err
	}
	made, err := mcim.Build(issuer.Signer,
		mcim.Target{SRK: srk, DEK: dek, AKCert: sha256.Sum256(dek), Slot: h.Slot, EpochIndex: h.EpochIndex, Epoch: h.Epoch},
		mcim.Order{
			ID: h.ID, Issuer: h.Issuer, Sequence: h.Sequence, NotBefore: time.Unix(h.NotBefore, 0), NotAfter: time.Unix(h.NotAfter, 0),
			Build: h.Build, Platform: h.Platform, Placement: h.Placement, Unbound: w.config.Weak.unbound(),
		},
		&mcim.Subscription{IMSI: profile.IMSI, ICCID: profile.ICCID, MNCLength: 2, K: profile.K, OPc: profile.OPc, AMF: profile.AMF})
	if err != nil {
		return p, "", err
	}
	p.Package, err = made.Bytes()
	return p, profile.IMSI, err
}

// otherKeys are SRK and DEK of a TRE somewhere else.
func otherKeys() (srk, dek []byte, err error) {
	public := func(template tpm2.TPMTPublic) ([]byte, error) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		point, err := key.PublicKey.Bytes()
		if err != nil {
			return nil, err
		}
		template.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: point[1:33]}, Y: tpm2.TPM2BECCParameter{Buffer: point[33:]},
		})
		return tpm2.Marshal(template), nil
	}
	if srk, err = public(tpm2.ECCSRKTemplate); err != nil {
		return nil, nil, err
	}
	dek, err = public(tpm2.ECCSRKTemplate)
	return srk, dek, err
}

// OpenOrCreate opens the lab in c.Dir, or makes it where there is none. One whose
// making was cut is made anew: nothing can have been done in it yet.
func OpenOrCreate(ctx context.Context, c Config) (*World, error) {
	w, err := Open(ctx, c)
	if errors.Is(err, ErrUnfinished) {
		if _, err := Remove(ctx, c); err != nil {
			return nil, err
		}
		return Create(ctx, c)
	}
	if errors.Is(err, store.ErrNoLab) {
		return Create(ctx, c)
	}
	return w, err
}

// Cut says whether an order has begun in the lab and is not over: Resume ends it.
func (w *World) Cut(ctx context.Context) (bool, error) {
	list, err := w.RO.Pending(ctx)
	return slices.ContainsFunc(list, func(p ro.Pending) bool { return p.Begun }), err
}

// Resume goes on where the lab was when it was closed or cut: the machine is
// powered on, and what was ordered ends.
func (w *World) Resume(ctx context.Context) error {
	if err := w.Machine.PowerOn(ctx); err != nil {
		return err
	}
	if err := w.RO.Launch(ctx); err != nil {
		return err
	}
	for _, operator := range w.SHOs {
		if err := operator.Resume(ctx); err != nil {
			return err
		}
	}
	placement, err := w.Machine.Placement(ctx)
	if err != nil {
		return err
	}
	if placement == "" {
		if _, err := w.Machine.Register(ctx); err != nil {
			return err
		}
	}
	return w.settle(ctx)
}

// settle waits until every order has ended; the error is that of the orders that
// ended badly.
func (w *World) settle(ctx context.Context) error {
	pending, err := w.engine.Pending(ctx)
	if err != nil {
		return err
	}
	for _, p := range pending {
		_, werr := w.RO.Wait(ctx, p.ID)
		err = errors.Join(err, werr)
	}
	return err
}
