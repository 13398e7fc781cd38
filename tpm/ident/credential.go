package ident

import (
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"mcim/apdu/secret"
	"mcim/tpm"
)

// ErrAK means that a key is not fit to attest: it could sign what the TPM did not
// make, or leave the TPM.
var ErrAK = errors.New("not an attestation key")

// CheckAK reads the encoded TPMT_PUBLIC of an AK and checks each attribute on
// which the meaning of its signatures rests. It fails with ErrAK, ErrCurve and
// tpm.ErrStructure.
func CheckAK(public []byte) (tpm2.TPMTPublic, error) {
	pub, err := tpm.Decode[tpm2.TPMTPublic](public)
	if err != nil {
		return tpm2.TPMTPublic{}, fmt.Errorf("public area of the AK: %w", err)
	}
	a := pub.ObjectAttributes
	for _, need := range []struct {
		ok   bool
		what string
	}{
		{a.FixedTPM, "fixedTPM is clear: it may leave the TPM"},
		{a.FixedParent, "fixedParent is clear: it may leave its hierarchy"},
		{a.SensitiveDataOrigin, "sensitiveDataOrigin is clear: it was not made in the TPM"},
		{a.Restricted, "restricted is clear: it signs anything"},
		{a.SignEncrypt, "sign is clear"},
		{!a.Decrypt, "decrypt is set"},
		{!a.X509Sign, "x509sign is set"},
		{pub.NameAlg == tpm2.TPMAlgSHA256, "its name is not made by SHA-256"},
		{isECDSA(*pub), "it does not sign by ECDSA with SHA-256"},
	} {
		if !need.ok {
			return tpm2.TPMTPublic{}, fmt.Errorf("%w: %s", ErrAK, need.what)
		}
	}
	_, err = ECDSAKey(*pub)
	return *pub, err
}

func isECDSA(pub tpm2.TPMTPublic) bool {
	if pub.Type != tpm2.TPMAlgECC {
		return false
	}
	parms, err := pub.Parameters.ECCDetail()
	if err != nil || parms.Scheme.Scheme != tpm2.TPMAlgECDSA {
		return false
	}
	scheme, err := parms.Scheme.Details.ECDSA()
	return err == nil && scheme.HashAlg == tpm2.TPMAlgSHA256
}

// Credential is a secret that one TPM opens for one AK: the answer shows that
// the AK lives beside the EK.
type Credential struct {
	Blob   []byte `cbor:"1,keyasint"` // contents of a TPM2B_ID_OBJECT
	Secret []byte `cbor:"2,keyasint"` // contents of a TPM2B_ENCRYPTED_SECRET
}

// MakeCredential wraps value (at most 32 bytes) for the EK and the AK with these
// encoded public areas. It needs no TPM. Check both keys first.
func MakeCredential(ekPublic, akPublic []byte, value secret.Bytes) (Credential, error) {
	if value.Len() == 0 || value.Len() > 32 {
		return Credential{}, errors.New("the secret of a credential has 1 to 32 bytes")
	}
	ek, err := tpm.Decode[tpm2.TPMTPublic](ekPublic)
	if err != nil {
		return Credential{}, fmt.Errorf("public area of the EK: %w", err)
	}
	ak, err := tpm.Decode[tpm2.TPMTPublic](akPublic)
	if err != nil {
		return Credential{}, fmt.Errorf("public area of the AK: %w", err)
	}
	name, err := tpm2.ObjectName(ak)
	if err != nil {
		return Credential{}, err
	}
	kem, err := tpm2.ImportEncapsulationKey(ek)
	if err != nil {
		return Credential{}, fmt.Errorf("EK: %w", err)
	}
	blob, sealed, err := tpm2.CreateCredential(rand.Reader, kem, name.Buffer, value.Reveal())
	return Credential{Blob: blob, Secret: sealed}, err
}

// Activate opens a credential that was made for the pinned EK and the AK of this
// TRE; for any other the TPM answers TPM_RC_INTEGRITY or TPM_RC_VALUE.
func (tre *TRE) Activate(c Credential) (secret.Bytes, error) {
	ek, err := tre.tpm.EK()
	if err != nil {
		return secret.Bytes{}, err
	}
	tre.mu.Lock()
	defer tre.mu.Unlock()
	rsp, err := tpm2.ActivateCredential{
		ActivateHandle: tre.AK.Auth(tre.tpm.Session(tpm.InOut)),
		KeyHandle:      tpm2.AuthHandle{Handle: ek.Handle, Name: ek.Name, Auth: tre.tpm.AuthEK(ek)},
		CredentialBlob: tpm2.TPM2BIDObject{Buffer: c.Blob},
		Secret:         tpm2.TPM2BEncryptedSecret{Buffer: c.Secret},
	}.Execute(tre.tpm)
	if err != nil {
		return secret.Bytes{}, fmt.Errorf("the TPM does not open the credential: %w", err)
	}
	return secret.New(rsp.CertInfo.Buffer), nil
}
