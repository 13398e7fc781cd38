package m2me

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"mcim/apdu/secret"
	"mcim/card/aka"
	"mcim/flows/store"
	"mcim/flows/wire"
	"mcim/tpm/ident"
	"mcim/tpm/mcim"
)

// supplied is what the machine keeps of its supply.
type supplied struct {
	RO     string `cbor:"ro"`      // role name
	AKCert []byte `cbor:"ak_cert"` // DER
}

const supplies store.Bucket[supplied] = "supplied"

// Supply is the machine's part of the supply phase on the supplier's bench (P1.5
// to P1.7): keys born in the TPM, proof of possession and residency, and what the
// supplier puts in. It can be called again after any interruption.
func (m *Machine) Supply(ctx context.Context) error {
	if m.config.Observer != nil {
		ctx = wire.WithObserver(ctx, m.config.Observer)
	}
	bench := wire.NewContacts(m.config.Identity, m.config.Directory, m.config.Backoff)
	defer bench.Close()
	var challenge wire.EnrolAnswer
	var put wire.ProveAnswer
	steps := []struct {
		name, text string
		do         func(context.Context) error
	}{
		{"P1.5", "keys of the TRE are born in the TPM; who are you? EK certificate and AK", func(ctx context.Context) (err error) {
			challenge, err = m.enrol(ctx, bench)
			return err
		}},
		{"P1.6", "credential opened by the TPM, keys certified by the AK; platform certificate comes back", func(ctx context.Context) (err error) {
			put, err = m.prove(ctx, bench, challenge)
			return err
		}},
		{"P1.7", "PCID into the TPM, the card's PIN1 and ADM1 sealed, receipt", func(ctx context.Context) error {
			return m.take(ctx, bench, put, challenge.Nonce)
		}},
	}
	for _, s := range steps {
		m.config.OnPoint(s.name + " begin")
		if err := wire.Step(ctx, s.name, m.role, m.config.Supplier, s.text, s.do); err != nil {
			return err
		}
		m.config.OnPoint(s.name + " end")
	}
	return nil
}

func (m *Machine) enrol(ctx context.Context, bench *wire.Contacts) (wire.EnrolAnswer, error) {
	var none wire.EnrolAnswer
	options, err := m.keyOptions()
	if err != nil {
		return none, err
	}
	if m.tre, err = ident.CreateTRE(m.config.TPM, options); err != nil {
		return none, err
	}
	if err := m.openStore(nil); err != nil {
		return none, err
	}
	m.point(ctx, "keys made")
	if err := m.mcims.Provision(); err != nil {
		return none, err
	}
	m.point(ctx, "counters made")
	request, err := m.Enrolment()
	if err != nil {
		return none, err
	}
	return wire.Ask(ctx, bench, m.config.Supplier, wire.PathEnrol, request)
}

func (m *Machine) prove(ctx context.Context, bench *wire.Contacts, challenge wire.EnrolAnswer) (wire.ProveAnswer, error) {
	var none wire.ProveAnswer
	// A TPM holds three sessions at a time, and a credential takes all of them.
	if err := m.mcims.Rest(); err != nil {
		return none, err
	}
	activated, err := m.tre.Activate(ident.Credential{Blob: challenge.Credential, Secret: challenge.Secret})
	if err != nil {
		return none, fmt.Errorf("the credential is not for this TPM: %w", err)
	}
	request := wire.ProveRequest{Serial: m.config.Serial, Activated: activated.Reveal(), Log: m.config.Log}
	for _, c := range []struct {
		key ident.Key
		to  *wire.Certification
	}{{m.tre.SRK, &request.SRK}, {m.tre.Key, &request.TREKey}, {m.tre.DEK, &request.DEK}} {
		certified, err := m.tre.Certify(c.key, challenge.Nonce)
		if err != nil {
			return none, err
		}
		*c.to = wire.Certification(certified)
	}
	if request.Slots, err = m.epochs(challenge.Nonce); err != nil {
		return none, err
	}
	return wire.Ask(ctx, bench, m.config.Supplier, wire.PathProve, request)
}

// epochs is the proven count of each slot's epoch counter.
func (m *Machine) epochs(nonce []byte) ([]wire.SlotEpoch, error) {
	var list []wire.SlotEpoch
	for n := range mcim.SlotCount {
		target, err := m.mcims.Target(n)
		if err != nil {
			return nil, err
		}
		proof, err := m.proof(n, nonce)
		if err != nil {
			return nil, err
		}
		list = append(list, wire.SlotEpoch{Slot: n, Index: uint32(target.EpochIndex), Epoch: target.Epoch, Proof: proof})
	}
	return list, nil
}

// take puts into the machine what the supplier gave, and answers with the
// receipt of the PCID.
func (m *Machine) take(ctx context.Context, bench *wire.Contacts, put wire.ProveAnswer, nonce []byte) error {
	if err := m.takeCertificate(put); err != nil {
		return err
	}
	if err := m.inject(put.PCID); err != nil {
		return fmt.Errorf("the PCID: %w", err)
	}
	m.point(ctx, "PCID injected")
	if len(put.Card) > 0 {
		if err := m.takeCard(put.Card); err != nil {
			return fmt.Errorf("the card's secrets: %w", err)
		}
	}
	if err := m.openStore(put.AKCert); err != nil {
		return err
	}
	receipt, err := m.mcims.Receipt(mcim.PCID, nonce)
	if err != nil {
		return err
	}
	raw, err := wire.Marshal(receipt)
	if err != nil {
		return err
	}
	_, err = wire.Ask(ctx, bench, m.config.Supplier, wire.PathSupplied, wire.SuppliedRequest{Serial: m.config.Serial, Receipt: raw})
	if err != nil {
		return err
	}
	m.point(ctx, "receipt given")
	return supplies.Put(ctx, m.store, m.role, supplied{RO: put.RO, AKCert: put.AKCert})
}

// takeCertificate keeps the platform certificate, with which the key in the TPM
// is the machine's identity from now on.
func (m *Machine) takeCertificate(put wire.ProveAnswer) error {
	var certs []*x509.Certificate
	for _, der := range slices.Concat([][]byte{put.Certificate}, put.Chain, [][]byte{put.CA}) {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("platform certificate: %w", err)
		}
		certs = append(certs, c)
	}
	signer, err := m.tre.Signer()
	if err != nil {
		return err
	}
	id, err := wire.NewIdentity(certs, signer)
	if err != nil {
		return err
	}
	if id.Role != m.role {
		return fmt.Errorf("the platform certificate is for %s, not for %s", id.Role, m.role)
	}
	return id.Save(m.config.Dir, store.WriteFile)
}

// inject takes the PCID; K stays wrapped until it is in the TPM.
func (m *Machine) inject(in wire.Injection) error {
	dek, err := m.tre.Exchanger()
	if err != nil {
		return err
	}
	clear, err := wire.Open(dek, wire.PurposePCID, in.Sealed)
	if err != nil {
		return err
	}
	id, err := wire.Unmarshal[wire.PCID](clear.Reveal())
	if err != nil {
		return err
	}
	if len(id.SQN) != 6 {
		return errors.New("its SQN has not 6 bytes")
	}
	platform, err := m.mcims.Platform() // which K_PCID is bound to
	if err != nil {
		return err
	}
	sub := &mcim.Subscription{
		IMSI: id.ID, ICCID: id.ICCID, MNCLength: 2, OPc: secret.New(id.OPc),
		AMF: [2]byte{0x80, 0}, SQN: aka.SQNFromBytes([6]byte(id.SQN)),
	}
	return m.mcims.Inject(&mcim.KeyPart{Public: in.Public, Duplicate: in.Duplicate, Seed: in.Seed}, platform, sub)
}

// takeCard seals what opens the card.
func (m *Machine) takeCard(sealed []byte) error {
	dek, err := m.tre.Exchanger()
	if err != nil {
		return err
	}
	clear, err := wire.Open(dek, wire.PurposeCard, sealed)
	if err != nil {
		return err
	}
	c, err := wire.Unmarshal[wire.CardSecrets](clear.Reveal())
	if err != nil {
		return err
	}
	return errors.Join(
		m.mcims.Seal(sealedICCID, secret.New([]byte(c.ICCID))),
		m.mcims.Seal(sealedPIN1, secret.New(c.PIN1)),
		m.mcims.Seal(sealedADM1, secret.New(c.ADM1)),
	)
}

// openTRE opens what Supply made.
func (m *Machine) openTRE(ctx context.Context) error {
	s, err := supplies.Get(ctx, m.store, m.role)
	if err != nil {
		return fmt.Errorf("the machine was not supplied: %w", err)
	}
	m.ro = s.RO
	if m.tre == nil {
		options, err := m.keyOptions()
		if err != nil {
			return err
		}
		if m.tre, err = ident.OpenTRE(m.config.TPM, options); err != nil {
			return err
		}
	}
	signer, err := m.tre.Signer()
	if err != nil {
		return err
	}
	if m.config.Identity, err = wire.LoadIdentity(m.config.Dir, signer); err != nil {
		return err
	}
	m.config.Identity.Now = m.config.Clock
	return m.openStore(s.AKCert)
}

// treDir is the folder of the TRE's files.
func (m *Machine) treDir() string { return filepath.Join(m.config.Dir, "tre") }

// keyOptions binds the DEK to the platform state that is there when the machine
// is supplied.
func (m *Machine) keyOptions() (ident.Options, error) {
	if err := os.MkdirAll(m.treDir(), 0o700); err != nil {
		return ident.Options{}, err
	}
	return mcim.DEKOptions(m.config.TPM, m.treDir(), m.config.PCRs)
}

// openStore opens the MCIMs of the TRE, again where the AK has got its
// certificate, to which packages are addressed.
func (m *Machine) openStore(akCert []byte) (err error) {
	if m.mcims != nil {
		if err := m.mcims.Close(); err != nil {
			return err
		}
	}
	c := mcim.Config{Dir: m.treDir(), Issuers: m.issuers, Build: m.config.Build, PCRs: m.config.PCRs, Weak: m.config.Weak}
	if len(akCert) > 0 {
		c.AKCert = sha256.Sum256(akCert)
	}
	m.mcims, err = mcim.New(m.tre, c)
	return err
}

// trust makes the SHO whose certificate comes with a package the one whose
// packages the TRE takes: the lab's CA has certified it as a home operator.
func (m *Machine) trust(der []byte) error {
	role, cert, err := m.node.Identity.Certified(der)
	if err != nil {
		return wire.Refuse("P6.8", "the certificate of the issuer: %w", err)
	}
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok || wire.RoleKind(role) != wire.KindSHO {
		return wire.Refuse("P6.8", "%s is no home operator and may issue no package", role)
	}
	clear(m.issuers) // of earlier packages
	m.issuers[role] = key
	return nil
}
