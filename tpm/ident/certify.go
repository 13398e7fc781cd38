package ident

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"

	"github.com/google/go-tpm/tpm2"

	"mcim/tpm"
)

// Errors of the check of what an AK signed.
var (
	// ErrSignature: this AK did not sign it.
	ErrSignature = errors.New("not signed by this attestation key")
	// ErrNotAttested: the TPM signed it, but it is no such statement.
	ErrNotAttested = errors.New("not the statement of a TPM that was asked for")
	// ErrFreshness: it answers another question: an old nonce, another session.
	ErrFreshness = errors.New("the statement answers another challenge")
	// ErrOtherKey: it is about another object.
	ErrOtherKey = errors.New("the statement is about another object")
)

// Certification is the statement of an AK that a key lives in its TPM.
type Certification struct {
	Public    []byte `cbor:"1,keyasint"` // encoded TPMT_PUBLIC of the key
	Attest    []byte `cbor:"2,keyasint"` // encoded TPMS_ATTEST
	Signature []byte `cbor:"3,keyasint"` // encoded TPMT_SIGNATURE
}

// Certify makes the AK state that key is in this TPM; nonce (at most 32 bytes)
// is the verifier's.
func (tre *TRE) Certify(key Key, nonce []byte) (Certification, error) {
	tre.mu.Lock()
	defer tre.mu.Unlock()
	rsp, err := tpm2.Certify{
		// The admin role of our keys has an empty auth value; the session of the AK
		// protects the whole command.
		ObjectHandle:   key.Auth(tpm2.PasswordAuth(nil)),
		SignHandle:     tre.AK.Auth(tre.tpm.Session(tpm.InOut)),
		QualifyingData: tpm2.TPM2BData{Buffer: nonce},
		InScheme:       tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
	}.Execute(tre.tpm)
	if err != nil {
		return Certification{}, fmt.Errorf("certification by the AK: %w", err)
	}
	return Certification{Public: key.Bytes(), Attest: rsp.CertifyInfo.Bytes(), Signature: tpm2.Marshal(rsp.Signature)}, nil
}

// Quote makes the AK state the values of the selected PCRs; challenge (at most
// 32 bytes) is what the verifier asked with. Package attest gives it a meaning.
func (tre *TRE) Quote(challenge []byte, pcrs tpm2.TPMLPCRSelection) (attest, signature []byte, err error) {
	tre.mu.Lock()
	defer tre.mu.Unlock()
	rsp, err := tpm2.Quote{
		SignHandle:     tre.AK.Auth(tre.tpm.Session(tpm.InOut)),
		QualifyingData: tpm2.TPM2BData{Buffer: challenge},
		InScheme:       tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
		PCRSelect:      pcrs,
	}.Execute(tre.tpm)
	if err != nil {
		return nil, nil, fmt.Errorf("quote by the AK: %w", err)
	}
	return rsp.Quoted.Bytes(), tpm2.Marshal(rsp.Signature), nil
}

// VerifyCertification checks the statement and gives the key it is about: the
// Name is computed from the public area, not believed. It fails with
// ErrSignature, ErrNotAttested, ErrFreshness, ErrOtherKey and tpm.ErrStructure.
// What the key may do is for the caller to check.
func VerifyCertification(akPublic, nonce []byte, c Certification) (tpm2.TPMTPublic, tpm2.TPM2BName, error) {
	none := func(err error) (tpm2.TPMTPublic, tpm2.TPM2BName, error) {
		return tpm2.TPMTPublic{}, tpm2.TPM2BName{}, fmt.Errorf("certification: %w", err)
	}
	pub, err := tpm.Decode[tpm2.TPMTPublic](c.Public)
	if err != nil {
		return none(err)
	}
	name, err := tpm2.ObjectName(pub)
	if err != nil {
		return none(err)
	}
	attest, err := VerifyAttest(akPublic, tpm2.TPMSTAttestCertify, nonce, c.Attest, c.Signature)
	if err != nil {
		return none(err)
	}
	info, err := attest.Attested.Certify()
	if err != nil {
		return none(fmt.Errorf("%w: %w", ErrNotAttested, err))
	}
	if !bytes.Equal(info.Name.Buffer, name.Buffer) {
		return none(ErrOtherKey)
	}
	return *pub, *name, nil
}

// VerifyAttest checks a TPMS_ATTEST of any kind: signed by the AK with that
// encoded public area (checked by CheckAK), made by a TPM, of that kind, and
// over that challenge. It fails with ErrAK, ErrSignature, ErrNotAttested,
// ErrFreshness and tpm.ErrStructure.
func VerifyAttest(akPublic []byte, kind tpm2.TPMST, challenge, attest, signature []byte) (*tpm2.TPMSAttest, error) {
	ak, err := CheckAK(akPublic)
	if err != nil {
		return nil, err
	}
	key, err := ECDSAKey(ak)
	if err != nil {
		return nil, err
	}
	if err := verifyECDSA(key, attest, signature); err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(attest, []byte{0xFF, 'T', 'C', 'G'}) { // TPM_GENERATED_VALUE
		return nil, fmt.Errorf("%w: it was not made inside a TPM", ErrNotAttested)
	}
	a, err := tpm.Decode[tpm2.TPMSAttest](attest)
	if err != nil {
		return nil, err
	}
	if a.Type != kind {
		return nil, fmt.Errorf("%w: type %#x instead of %#x", ErrNotAttested, uint16(a.Type), uint16(kind))
	}
	if !bytes.Equal(a.ExtraData.Buffer, challenge) {
		return nil, ErrFreshness
	}
	return a, nil
}

func verifyECDSA(key *ecdsa.PublicKey, message, signature []byte) error {
	s, err := tpm.Decode[tpm2.TPMTSignature](signature)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if s.SigAlg != tpm2.TPMAlgECDSA {
		return fmt.Errorf("%w: not an ECDSA signature", ErrSignature)
	}
	ecc, err := s.Signature.ECDSA()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	digest := sha256.Sum256(message)
	if ecc.Hash != tpm2.TPMAlgSHA256 ||
		!ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(ecc.SignatureR.Buffer), new(big.Int).SetBytes(ecc.SignatureS.Buffer)) {
		return ErrSignature
	}
	return nil
}
