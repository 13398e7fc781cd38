package flowtest

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"math/big"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"mcim/flows/wire"
	"mcim/tpm/attest"
	"mcim/tpm/mcim"
	"mcim/tpm/measure"
	"mcim/tpm/policy"
)

// TRE signs as a TPM would, with keys of its own, and believes every package.
type TRE struct {
	T            testing.TB
	ak, srk, dek *ecdsa.PrivateKey
	ek, key      *ecdsa.PrivateKey
	Epochs       [mcim.SlotCount]uint64
	Sequences    [mcim.SlotCount]uint64
}

// NewTRE makes the keys of a TRE; its epochs are at 1.
func NewTRE(t testing.TB) *TRE {
	tre := &TRE{T: t, Epochs: [mcim.SlotCount]uint64{1, 1, 1}}
	for _, key := range []**ecdsa.PrivateKey{&tre.ak, &tre.srk, &tre.dek, &tre.ek, &tre.key} {
		*key = newKey(t)
	}
	return tre
}

// index is the NV index of a slot's epoch counter.
func index(slot int) uint32 { return 0x01800F10 + uint32(slot) }

// Platform is the supplier's statement on the TRE.
func (tre *TRE) Platform(machine string) wire.Platform {
	p := wire.Platform{
		Machine: machine,
		AK:      tre.public(tre.ak, resident(true), ecdsaScheme(), nil),
		AKCert:  []byte("AK certificate of " + machine),
		SRK:     tre.public(tre.srk, tpm2.ECCSRKTemplate.ObjectAttributes, tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgNull}, aes()),
		DEK:     tre.public(tre.dek, agreement(), tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgNull}, nil),
		Slots:   map[int]wire.Counter{},
		Build:   "test",
	}
	var err error
	if p.Reference, err = measure.Derive(p.Build, measure.CannedBoot(), measure.PolicyPCRs()...).Bytes(); err != nil {
		tre.T.Error(err)
	}
	for slot := range mcim.SlotCount {
		p.Slots[slot] = wire.Counter{Index: index(slot), Epoch: tre.Epochs[slot]}
	}
	return p
}

// Proof is the AK's statement of a slot's epoch (mcim.EpochProof).
func (tre *TRE) Proof(slot int, nonce []byte) []byte {
	attest, signature := tre.attest(tpm2.TPMSTAttestNV, hashed("mcim-epoch/1", nonce), tre.counter(slot, tre.Epochs[slot]))
	return tre.encode(mcim.EpochProof{Attest: attest, Signature: signature})
}

// Receipt is the AK's statement that a package is installed (mcim.Receipt).
func (tre *TRE) Receipt(p *mcim.Package, nonce []byte) []byte {
	over := hashed("mcim-receipt/1", []byte(p.Header.ID), nonce)
	r := mcim.Receipt{PackageID: p.Header.ID}
	if p.Key == nil {
		r.Attest, r.Signature = tre.attest(tpm2.TPMSTAttestNV, over, tre.counter(p.Header.Slot, p.Header.Epoch))
		return tre.encode(r)
	}
	name, err := p.KeyName()
	if err != nil {
		tre.T.Error(err)
	}
	attested := tpm2.NewTPMUAttest(tpm2.TPMSTAttestCertify, &tpm2.TPMSCertifyInfo{Name: name})
	r.Attest, r.Signature = tre.attest(tpm2.TPMSTAttestCertify, over, attested)
	return tre.encode(r)
}

// Counters are the reset count and the clock (ms) that quotes tell.
type Counters struct {
	Reset uint32
	Clock uint64
}

// Evidence is the TRE's evidence (attest.Evidence) of a boot with that log.
func (tre *TRE) Evidence(r attest.Request, log measure.Log, c Counters) []byte {
	values, pcrs := log.Replay(), measure.PolicyPCRs()
	digest, over := sha256.New(), sha256.New()
	e := attest.Evidence{AK: []byte("AK"), Log: log.Bytes()}
	for _, pcr := range pcrs {
		value := values[pcr]
		digest.Write(value[:])
		e.PCRs = append(e.PCRs, attest.PCRValue{PCR: pcr, Value: value})
	}
	for _, part := range [][]byte{[]byte("tre-attest/1"), r.Nonce, r.Exporter, []byte(r.Purpose)} {
		over.Write(part)
	}
	attested := tpm2.TPMSAttest{
		Magic: tpm2.TPMGeneratedValue, Type: tpm2.TPMSTAttestQuote, ExtraData: tpm2.TPM2BData{Buffer: over.Sum(nil)},
		ClockInfo: tpm2.TPMSClockInfo{Clock: c.Clock, ResetCount: c.Reset, Safe: true},
		Attested: tpm2.NewTPMUAttest(tpm2.TPMSTAttestQuote, &tpm2.TPMSQuoteInfo{
			PCRSelect: measure.Selection(pcrs...), PCRDigest: tpm2.TPM2BDigest{Buffer: digest.Sum(nil)},
		}),
	}
	e.Quote, e.Signature = tre.sign(attested)
	b, err := e.Marshal()
	if err != nil {
		tre.T.Error(err)
	}
	return b
}

func (tre *TRE) counter(slot int, value uint64) tpm2.TPMUAttest {
	name, err := policy.CounterName(tpm2.TPMHandle(index(slot)))
	if err != nil {
		tre.T.Error(err)
	}
	return tpm2.NewTPMUAttest(tpm2.TPMSTAttestNV, &tpm2.TPMSNVCertifyInfo{
		IndexName: name, NVContents: tpm2.TPM2BData{Buffer: binary.BigEndian.AppendUint64(nil, value)},
	})
}

// attest makes a TPMS_ATTEST and its signature by the AK.
func (tre *TRE) attest(kind tpm2.TPMST, over []byte, attested tpm2.TPMUAttest) (attest, signature []byte) {
	return tre.sign(tpm2.TPMSAttest{Magic: tpm2.TPMGeneratedValue, Type: kind, ExtraData: tpm2.TPM2BData{Buffer: over}, Attested: attested})
}

func (tre *TRE) sign(a tpm2.TPMSAttest) (attest, signature []byte) {
	attest = tpm2.Marshal(a)
	digest := sha256.Sum256(attest)
	r, s, err := ecdsa.Sign(rand.Reader, tre.ak, digest[:])
	if err != nil {
		tre.T.Error(err)
	}
	return attest, tpm2.Marshal(tpm2.TPMTSignature{
		SigAlg: tpm2.TPMAlgECDSA,
		Signature: tpm2.NewTPMUSignature(tpm2.TPMAlgECDSA, &tpm2.TPMSSignatureECC{
			Hash: tpm2.TPMAlgSHA256, SignatureR: parameter(r), SignatureS: parameter(s),
		}),
	})
}

func (tre *TRE) encode(v any) []byte {
	b, err := wire.Marshal(v)
	if err != nil {
		tre.T.Error(err)
	}
	return b
}

// public is the TPMT_PUBLIC of a key.
func (tre *TRE) public(key *ecdsa.PrivateKey, a tpm2.TPMAObject, scheme tpm2.TPMTECCScheme, sym *tpm2.TPMTSymDefObject) []byte {
	point, err := key.PublicKey.Bytes()
	if err != nil {
		tre.T.Error(err)
	}
	if sym == nil {
		sym = &tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull}
	}
	return tpm2.Marshal(tpm2.TPMTPublic{
		Type: tpm2.TPMAlgECC, NameAlg: tpm2.TPMAlgSHA256, ObjectAttributes: a,
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			Symmetric: *sym, Scheme: scheme, CurveID: tpm2.TPMECCNistP256, KDF: tpm2.TPMTKDFScheme{Scheme: tpm2.TPMAlgNull},
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: point[1:33]}, Y: tpm2.TPM2BECCParameter{Buffer: point[33:]},
		}),
	})
}

func resident(restricted bool) tpm2.TPMAObject {
	return tpm2.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, NoDA: true, Restricted: restricted, SignEncrypt: true}
}

func agreement() tpm2.TPMAObject {
	a := resident(false)
	a.SignEncrypt, a.Decrypt = false, true
	return a
}

func ecdsaScheme() tpm2.TPMTECCScheme {
	return tpm2.TPMTECCScheme{
		Scheme: tpm2.TPMAlgECDSA, Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256}),
	}
}

func aes() *tpm2.TPMTSymDefObject {
	return &tpm2.TPMTSymDefObject{
		Algorithm: tpm2.TPMAlgAES,
		KeyBits:   tpm2.NewTPMUSymKeyBits(tpm2.TPMAlgAES, tpm2.TPMKeyBits(128)),
		Mode:      tpm2.NewTPMUSymMode(tpm2.TPMAlgAES, tpm2.TPMAlgCFB),
	}
}

func parameter(n *big.Int) tpm2.TPM2BECCParameter {
	return tpm2.TPM2BECCParameter{Buffer: n.FillBytes(make([]byte, 32))}
}

// hashed is the data that the AK signs besides, as tpm/mcim has it.
func hashed(label string, parts ...[]byte) []byte {
	h := sha256.New()
	h.Write([]byte(label))
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		h.Write(p)
	}
	return h.Sum(nil)
}
