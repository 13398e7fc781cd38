package supplier

import (
	"context"
	"crypto/ecdh"
	"crypto/x509"
	"errors"

	"github.com/google/go-tpm/tpm2"

	"mcim/apdu/secret"
	"mcim/flows/store"
	"mcim/flows/wire"
	"mcim/tpm"
	"mcim/tpm/ident"
	"mcim/tpm/mcim"
	"mcim/tpm/policy"
)

// equip makes what goes into a machine, and the statement on it, and keeps both:
// the same machine gets the same again.
func (s *Supplier) equip(ctx context.Context, serial string, m machine, t tre) (machine, error) {
	answer := wire.ProveAnswer{CA: s.node.Identity.CA.Raw, RO: s.config.RO}
	err := s.certify(serial, m, t, &answer)
	if err != nil {
		return m, err
	}
	if m.Platform, err = s.describe(serial, m, t, answer.AKCert); err != nil {
		return m, err
	}
	dek, err := agreementKey(t.dek)
	if err != nil {
		return m, wire.Refuse("P1.6", "DEK: %w", err)
	}
	machine := wire.MachineRole(serial)
	err = s.store.Tx(ctx, func(tx *store.Tx) error {
		if answer.Card, err = s.sealCard(ctx, tx, machine, dek); err != nil {
			return err
		}
		if m.PCID, answer.PCID, err = s.wrap(ctx, tx, machine, t, dek); err != nil {
			return err
		}
		m.Answer = &answer
		return benches.Put(ctx, tx, serial, m)
	})
	return m, err
}

// certify issues the platform certificate for the TRE key and the one of the AK
// (P1.6).
func (s *Supplier) certify(serial string, m machine, t tre, answer *wire.ProveAnswer) error {
	ak, err := ident.CheckAK(m.AK)
	if err != nil {
		return err
	}
	if answer.AKCert, err = s.issue(wire.AKRole(serial), ak); err != nil {
		return err
	}
	if answer.Certificate, err = s.issue(wire.MachineRole(serial), t.key); err != nil {
		return err
	}
	if ca := s.config.CA; !ca.Certificate.Equal(ca.Root) {
		answer.Chain = [][]byte{ca.Certificate.Raw}
	}
	return nil
}

func (s *Supplier) issue(role string, public tpm2.TPMTPublic) (der []byte, err error) {
	key, err := ident.ECDSAKey(public)
	if err != nil {
		return nil, err
	}
	var c *x509.Certificate
	if c, err = s.config.CA.Issue(role, key, s.node.Now()); err != nil {
		return nil, err
	}
	return c.Raw, nil
}

// describe signs what the PVA has to know of the machine (P1.8).
func (s *Supplier) describe(serial string, m machine, t tre, akCert []byte) (wire.Signed[wire.Platform], error) {
	reference, err := t.reference.Bytes()
	if err != nil {
		return nil, err
	}
	p := wire.Platform{
		Machine: wire.MachineRole(serial), EKHash: m.EKHash, AK: m.AK, AKCert: akCert, SRK: t.srk, DEK: t.dek,
		Slots: map[int]wire.Counter{}, Build: s.config.Build, Reference: reference, Made: s.node.Now(),
	}
	for _, slot := range t.slots {
		p.Slots[slot.Slot] = wire.Counter{Index: slot.Index, Epoch: slot.Epoch}
	}
	return wire.SignAs(s.node.Identity, wire.TypePlatform, p)
}

// sealCard seals the codes of the machine's UICC to its DEK; nothing where none
// goes into it.
func (s *Supplier) sealCard(ctx context.Context, tx *store.Tx, machine string, dek *ecdh.PublicKey) ([]byte, error) {
	c, err := cards.Get(ctx, tx, machine)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	pin1, err := pins.Get(ctx, tx, machine)
	if err != nil {
		return nil, err
	}
	adm1, err := adms.Get(ctx, tx, machine)
	if err != nil {
		return nil, err
	}
	return seal(dek, wire.PurposeCard, wire.CardSecrets{ICCID: c.ICCID, PIN1: pin1.Reveal(), ADM1: adm1.Reveal()})
}

// wrap takes a free provisional identity and wraps it for the TRE: K to be used in
// the state of the reference values alone (P1.7).
func (s *Supplier) wrap(ctx context.Context, tx *store.Tx, machine string, t tre, dek *ecdh.PublicKey) (id string, in wire.Injection, err error) {
	if id, err = s.free(ctx, tx); err != nil {
		return "", in, err
	}
	if id == "" {
		return "", in, wire.Errorf(wire.CodeUnavailable, "P1.7", "no provisional identity is left: order a batch")
	}
	err = pcids.Update(ctx, tx, id, func(p *pcid) error {
		p.Machine = machine
		in, err = s.inject(ctx, tx, id, *p, t, dek)
		return err
	})
	return id, in, err
}

func (s *Supplier) inject(ctx context.Context, tx *store.Tx, id string, p pcid, t tre, dek *ecdh.PublicKey) (in wire.Injection, err error) {
	k, err := keys.Get(ctx, tx, id)
	if err != nil {
		return in, err
	}
	opc, err := opcs.Get(ctx, tx, id)
	if err != nil {
		return in, err
	}
	state, err := policy.NewPlatform(t.reference.Values())
	if err != nil {
		return in, err
	}
	slot := t.slots[mcim.PCID]
	part, err := mcim.WrapKey(mcim.Target{
		SRK: t.srk, DEK: t.dek, Slot: mcim.PCID, EpochIndex: tpm2.TPMHandle(slot.Index), Epoch: slot.Epoch,
	}, k, state)
	if err != nil {
		return in, err
	}
	in = wire.Injection{Public: part.Public, Duplicate: part.Duplicate, Seed: part.Seed}
	in.Sealed, err = seal(dek, wire.PurposePCID, wire.PCID{ID: id, ICCID: p.ICCID, OPc: opc.Reveal(), SQN: p.SQN})
	return in, err
}

// seal encrypts a message with secrets to the DEK.
func seal[T any](dek *ecdh.PublicKey, purpose string, message T) ([]byte, error) {
	plain, err := wire.Marshal(message)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return wire.Seal(dek, purpose, secret.New(plain))
}

// agreementKey is the DEK for HPKE.
func agreementKey(public []byte) (*ecdh.PublicKey, error) {
	area, err := tpm.Decode[tpm2.TPMTPublic](public)
	if err != nil {
		return nil, err
	}
	key, err := ident.ECDSAKey(*area)
	if err != nil {
		return nil, err
	}
	return key.ECDH()
}
