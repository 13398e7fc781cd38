package supplier

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"

	"github.com/google/go-tpm/tpm2"

	"mcim/apdu/secret"
	"mcim/flows/store"
	"mcim/flows/wire"
	"mcim/tpm/ident"
	"mcim/tpm/mcim"
	"mcim/tpm/measure"
)

// machine is a machine on the bench.
type machine struct {
	EKHash []byte `cbor:"ek_hash"` // SHA-256 of the EK's TPMT_PUBLIC
	AK     []byte `cbor:"ak"`      // TPMT_PUBLIC
	Nonce  []byte `cbor:"nonce"`   // for what the AK certifies
	// Answer is what was put into it, Platform what is said of it. PCID is the
	// provisional identity that it got.
	Answer   *wire.ProveAnswer          `cbor:"answer"`
	Platform wire.Signed[wire.Platform] `cbor:"platform"`
	PCID     string                     `cbor:"pcid"`
	Supplied bool                       `cbor:"supplied"`
}

// credentials are the secrets that prove possession, by serial number.
const credentials store.Secrets = "credential"

// bench is the serial number of a peer on the bench.
func bench(p wire.Peer, serial string) error {
	if p.Role != wire.FactoryRole(serial) {
		return wire.Refuse("", "%s speaks for the machine %s", p.Role, serial)
	}
	return nil
}

// enrol takes a machine's claim to be a TRE (P1.5): the EK is one that a trusted
// maker has certified, the AK can do nothing but attest; whether they are one TPM
// is for the credential to show.
func (s *Supplier) enrol(ctx context.Context, p wire.Peer, req wire.EnrolRequest) (answer wire.EnrolAnswer, err error) {
	if err := bench(p, req.Serial); err != nil {
		return answer, err
	}
	if err := s.checkEK(req); err != nil && !s.config.AnyMaker {
		return answer, wire.Refuse("P1.5", "%w", err)
	}
	if _, err := ident.CheckAK(req.AK); err != nil {
		return answer, wire.Refuse("P1.5", "%w", err)
	}
	random, err := s.node.Bytes(32 + 32)
	if err != nil {
		return answer, err
	}
	value := secret.New(random[:32])
	credential, err := ident.MakeCredential(req.EK, req.AK, value)
	if err != nil {
		return answer, wire.Refuse("P1.5", "%w", err)
	}
	answer = wire.EnrolAnswer{Credential: credential.Blob, Secret: credential.Secret, Nonce: random[32:]}
	return answer, s.begin(ctx, req, value, answer.Nonce)
}

// checkEK checks the certificate of the EK against the trusted makers.
func (s *Supplier) checkEK(req wire.EnrolRequest) error {
	if len(req.EKCerts) == 0 {
		return errors.New("the TPM has no EK certificate: nobody knows whose it is")
	}
	trust := s.config.Trust
	trust.At = s.node.Now()
	between := x509.NewCertPool()
	if trust.Intermediates != nil {
		between = trust.Intermediates.Clone()
	}
	for _, der := range req.EKCerts[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		between.AddCert(c)
	}
	trust.Intermediates = between
	_, err := trust.Check(req.EKCerts[0], req.EK)
	return err
}

// begin notes the machine. The same TRE may begin again; another one under the
// serial number of a supplied machine may not.
func (s *Supplier) begin(ctx context.Context, req wire.EnrolRequest, value secret.Bytes, nonce []byte) error {
	hash := sha256.Sum256(req.EK)
	return s.store.Tx(ctx, func(tx *store.Tx) error {
		m, err := benches.Get(ctx, tx, req.Serial)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if m.Answer != nil && (!bytes.Equal(m.EKHash, hash[:]) || !bytes.Equal(m.AK, req.AK)) {
			return wire.Errorf(wire.CodeConflict, "P1.5", "the serial number %s belongs to another TRE", req.Serial)
		}
		m.EKHash, m.AK, m.Nonce = hash[:], req.AK, nonce
		if err := credentials.Put(ctx, tx, req.Serial, value); err != nil {
			return err
		}
		return benches.Put(ctx, tx, req.Serial, m)
	})
}

// prove takes the proof of possession and residency (P1.6) and answers with
// certificates, provisional identity and the card's codes (P1.7).
func (s *Supplier) prove(ctx context.Context, p wire.Peer, req wire.ProveRequest) (answer wire.ProveAnswer, err error) {
	if err := bench(p, req.Serial); err != nil {
		return answer, err
	}
	m, err := benches.Get(ctx, s.store, req.Serial)
	if err != nil {
		return answer, wire.Refuse("P1.6", "the machine has not enrolled")
	}
	value, err := credentials.Get(ctx, s.store, req.Serial)
	if err != nil {
		return answer, err
	}
	if subtle.ConstantTimeCompare(value.Reveal(), req.Activated) != 1 {
		return answer, wire.Refuse("P1.6", "possession: the credential was not opened by the TPM with that EK and AK")
	}
	tre, err := s.resident(m, req)
	if err != nil {
		return answer, wire.Refuse("P1.6", "residency: %w", err)
	}
	if m.Answer == nil {
		if m, err = s.equip(ctx, req.Serial, m, tre); err != nil {
			return answer, err
		}
	} else if err := s.same(m, tre); err != nil {
		return answer, err
	}
	return *m.Answer, nil
}

// tre is what was proven of a TRE.
type tre struct {
	srk, dek  []byte // TPMT_PUBLIC
	key       tpm2.TPMTPublic
	slots     []wire.SlotEpoch
	reference measure.Reference
}

// resident checks that the AK certifies the keys and the counters, and that the
// keys are what their names say.
func (s *Supplier) resident(m machine, req wire.ProveRequest) (tre, error) {
	storage := tpm2.TPMAObject{Restricted: true, Decrypt: true}
	signing := tpm2.TPMAObject{SignEncrypt: true}
	agreement := tpm2.TPMAObject{Decrypt: true}
	if _, err := certified(m, req.SRK, storage); err != nil {
		return tre{}, wire.Refuse("", "SRK: %w", err)
	}
	key, err := certified(m, req.TREKey, signing)
	if err != nil {
		return tre{}, wire.Refuse("", "TRE key: %w", err)
	}
	if _, err := certified(m, req.DEK, agreement); err != nil {
		return tre{}, wire.Refuse("", "DEK: %w", err)
	}
	if err := counted(m, req.Slots); err != nil {
		return tre{}, err
	}
	log, err := measure.Parse(req.Log)
	if err != nil {
		return tre{}, wire.Refuse("", "event log: %w", err)
	}
	for _, e := range log.Check(s.config.PCRs...) {
		return tre{}, wire.Refuse("", "event log: %w", e)
	}
	return tre{req.SRK.Public, req.DEK.Public, key, req.Slots, measure.Derive(s.config.Build, log, s.config.PCRs...)}, nil
}

// certified checks one certification, and that the key was made in the TPM,
// cannot leave it, and is good for that use alone.
func certified(m machine, c wire.Certification, use tpm2.TPMAObject) (tpm2.TPMTPublic, error) {
	public, _, err := ident.VerifyCertification(m.AK, m.Nonce, ident.Certification(c))
	if err != nil {
		return public, err
	}
	a := public.ObjectAttributes
	switch {
	case !a.FixedTPM || !a.FixedParent || !a.SensitiveDataOrigin:
		return public, errors.New("it was not made in the TPM, or may leave it")
	case a.Restricted != use.Restricted || a.Decrypt != use.Decrypt || a.SignEncrypt != use.SignEncrypt:
		return public, errors.New("it is a key for another use")
	}
	return public, nil
}

// counted checks that the AK has signed the epoch of every slot.
func counted(m machine, slots []wire.SlotEpoch) error {
	if len(slots) != mcim.SlotCount {
		return wire.Refuse("", "%d slots instead of %d", len(slots), mcim.SlotCount)
	}
	for n, slot := range slots {
		proof, err := wire.Unmarshal[mcim.EpochProof](slot.Proof)
		if err != nil {
			return wire.Refuse("", "epoch of slot %d: %w", n, err)
		}
		epoch, err := mcim.VerifyEpoch(m.AK, tpm2.TPMHandle(slot.Index), m.Nonce, &proof)
		if err != nil {
			return wire.Refuse("", "epoch of slot %d: %w", n, err)
		}
		if slot.Slot != n || epoch != slot.Epoch {
			return wire.Refuse("", "slot %d is in epoch %d, not %d", n, epoch, slot.Epoch)
		}
	}
	return nil
}

// same refuses to give what one TRE has got to another.
func (s *Supplier) same(m machine, t tre) error {
	p, _, err := m.Platform.VerifyFrom(s.node.Identity, wire.KindSupplier, wire.TypePlatform)
	if err != nil {
		return err
	}
	if !bytes.Equal(p.SRK, t.srk) || !bytes.Equal(p.DEK, t.dek) {
		return wire.Errorf(wire.CodeConflict, "P1.6", "the TRE has other keys than when it was supplied: it was cleared")
	}
	return nil
}

// supplied takes the receipt of the provisional identity, forgets its key and
// describes the machine to the PVA (P1.8).
func (s *Supplier) supplied(ctx context.Context, p wire.Peer, req wire.SuppliedRequest) (wire.Empty, error) {
	if err := bench(p, req.Serial); err != nil {
		return wire.Empty{}, err
	}
	m, err := benches.Get(ctx, s.store, req.Serial)
	if err != nil || m.Answer == nil {
		return wire.Empty{}, wire.Refuse("P1.7", "the machine has got nothing yet")
	}
	if err := injected(m, req.Receipt); err != nil {
		return wire.Empty{}, wire.Refuse("P1.7", "receipt of the provisional identity: %w", err)
	}
	err = s.store.Tx(ctx, func(tx *store.Tx) error {
		if err := errors.Join(keys.Delete(ctx, tx, m.PCID), opcs.Delete(ctx, tx, m.PCID)); err != nil {
			return err
		}
		machine := wire.MachineRole(req.Serial)
		if err := errors.Join(pins.Delete(ctx, tx, machine), adms.Delete(ctx, tx, machine)); err != nil {
			return err
		}
		m.Supplied = true
		return benches.Put(ctx, tx, req.Serial, m)
	})
	if err != nil {
		return wire.Empty{}, err
	}
	return wire.Empty{}, wire.Step(ctx, "P1.8", s.node.Role, s.config.PVA, "keys, slots and reference values of the machine", func(ctx context.Context) error {
		_, err := wire.Ask(ctx, s.node.Contacts, s.config.PVA, wire.PathPlatform, wire.PlatformMessage{Signed: m.Platform})
		return err
	})
}

// injected checks that the AK certifies the very key that was wrapped.
func injected(m machine, receipt []byte) error {
	signed, err := wire.Unmarshal[mcim.Receipt](receipt)
	if err != nil {
		return err
	}
	in := m.Answer.PCID
	put := &mcim.Package{
		Header: mcim.Header{ID: signed.PackageID, Placement: mcim.InTRE},
		Key:    &mcim.KeyPart{Public: in.Public, Duplicate: in.Duplicate, Seed: in.Seed},
	}
	return mcim.VerifyReceipt(m.AK, put, m.Nonce, &signed)
}
