package flowtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"mcim/flows/wire"
	"mcim/tpm/mcim"
	"mcim/tpm/measure"
)

// Maker is a maker of TPMs, who certifies their EKs.
type Maker struct {
	T    testing.TB
	Cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewMaker makes a maker's root.
func NewMaker(t testing.TB, now time.Time) *Maker {
	m := &Maker{T: t, key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "maker"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	m.Cert = m.issue(template, template, &m.key.PublicKey)
	return m
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (m *Maker) issue(template, parent *x509.Certificate, key *ecdsa.PublicKey) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, m.key)
	if err != nil {
		m.T.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		m.T.Fatal(err)
	}
	return cert
}

// EK certifies an endorsement key by its profile.
func (m *Maker) EK(key *ecdsa.PublicKey) []byte {
	name := pkix.RDNSequence{{
		{Type: asn1.ObjectIdentifier{2, 23, 133, 2, 1}, Value: "id:00000000"},
		{Type: asn1.ObjectIdentifier{2, 23, 133, 2, 2}, Value: "software"},
		{Type: asn1.ObjectIdentifier{2, 23, 133, 2, 3}, Value: "id:1"},
	}}
	raw, err := asn1.Marshal(name)
	if err != nil {
		m.T.Fatal(err)
	}
	directory := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: raw}
	san, err := asn1.Marshal([]asn1.RawValue{directory})
	if err != nil {
		m.T.Fatal(err)
	}
	return m.issue(&x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: m.Cert.NotBefore, NotAfter: m.Cert.NotAfter, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageKeyAgreement, UnknownExtKeyUsage: []asn1.ObjectIdentifier{{2, 23, 133, 8, 1}},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: san}},
	}, m.Cert, key).Raw
}

// Enrolment is the TRE's claim to be one, with an EK of that maker.
func (tre *TRE) Enrolment(serial string, m *Maker) wire.EnrolRequest {
	return wire.EnrolRequest{
		Serial: serial, EKCerts: [][]byte{m.EK(&tre.ek.PublicKey)},
		EK: tre.public(tre.ek, tpm2.ECCSRKTemplate.ObjectAttributes, tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgNull}, aes()),
		AK: tre.Platform("").AK,
	}
}

// Prove proves the TRE's keys and counters over the supplier's nonce, for a machine
// that has booted with that log. What only the TPM can open is the caller's.
func (tre *TRE) Prove(serial string, nonce, activated []byte, log measure.Log) wire.ProveRequest {
	p := tre.Platform("")
	req := wire.ProveRequest{
		Serial: serial, Activated: activated, Log: log.Bytes(),
		SRK: tre.Certify(p.SRK, nonce), TREKey: tre.Certify(tre.public(tre.key, resident(false), ecdsaScheme(), nil), nonce), DEK: tre.Certify(p.DEK, nonce),
	}
	for slot := range mcim.SlotCount {
		req.Slots = append(req.Slots, wire.SlotEpoch{Slot: slot, Index: index(slot), Epoch: tre.Epochs[slot], Proof: tre.Proof(slot, nonce)})
	}
	return req
}

// Certify is the AK's statement that a key with that public area is in its TPM.
func (tre *TRE) Certify(public, nonce []byte) wire.Certification {
	area, err := tpm2.Unmarshal[tpm2.TPMTPublic](public)
	if err != nil {
		tre.T.Fatal(err)
	}
	name, err := tpm2.ObjectName(area)
	if err != nil {
		tre.T.Fatal(err)
	}
	c := wire.Certification{Public: public}
	c.Attest, c.Signature = tre.attest(tpm2.TPMSTAttestCertify, nonce, tpm2.NewTPMUAttest(tpm2.TPMSTAttestCertify, &tpm2.TPMSCertifyInfo{Name: *name}))
	return c
}

// Injected is the AK's receipt (mcim.Receipt) for an injected key.
func (tre *TRE) Injected(in wire.Injection, nonce []byte) []byte {
	return tre.Receipt(&mcim.Package{
		Header: mcim.Header{ID: "pcid", Placement: mcim.InTRE},
		Key:    &mcim.KeyPart{Public: in.Public, Duplicate: in.Duplicate, Seed: in.Seed},
	}, nonce)
}

// Open opens what is sealed to the DEK.
func (tre *TRE) Open(purpose string, sealed []byte) []byte {
	dek, err := tre.dek.ECDH()
	if err != nil {
		tre.T.Fatal(err)
	}
	plain, err := wire.Open(dek, purpose, sealed)
	if err != nil {
		tre.T.Error(err)
	}
	return plain.Reveal()
}

// TREKey is the public part of the key for TLS.
func (tre *TRE) TREKey() *ecdsa.PublicKey { return &tre.key.PublicKey }
