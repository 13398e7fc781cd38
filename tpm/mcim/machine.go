package mcim

import (
	"crypto/ecdh"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"mcim/apdu/secret"
	"mcim/tpm"
	"mcim/tpm/ident"
	"mcim/tpm/policy"
)

// machine is the TPM as the store uses it, with the keys of the TRE.
type machine struct {
	tpm      *tpm.TPM
	keys     *ident.TRE
	counters *tpm.Kept // authenticates the answers; there is nothing to encrypt
	dek      ecdh.KeyExchanger
	akCert   [sha256.Size]byte
}

// count runs a command on a counter. A session that failed is not used again,
// whatever the reason: the two ends may have different nonces.
func (m *machine) count(command func(tpm2.Session) error) error {
	err := m.counters.Use(nil, command)
	if err != nil {
		_ = m.counters.Close() // the cause counts
	}
	return err
}

// parent is the SRK, in a session that encrypts the first parameters.
func (m *machine) parent() tpm2.AuthHandle {
	return m.keys.SRK.Auth(m.tpm.Session(tpm.InOut))
}

// signer is the AK: it needs no secret, but the answer is authenticated.
func (m *machine) signer() tpm2.AuthHandle {
	return m.keys.AK.Auth(m.tpm.Session(tpm.Integrity))
}

func (m *machine) defineNV(public tpm2.TPMSNVPublic) error {
	_, err := tpm2.NVDefineSpace{AuthHandle: m.tpm.Owner(tpm.Integrity), PublicInfo: tpm2.New2B(public)}.Execute(m.tpm)
	if err != nil {
		return fmt.Errorf("define counter %#x: %w", uint32(public.NVIndex), err)
	}
	return nil
}

// importKey is TPM2_Import. K is never in clear outside the TPM.
func (m *machine) importKey(key *KeyPart) (private []byte, err error) {
	public, err := key.public()
	if err != nil {
		return nil, err
	}
	rsp, err := tpm2.Import{
		ParentHandle: m.parent(),
		ObjectPublic: tpm2.New2B(*public),
		Duplicate:    tpm2.TPM2BPrivate{Buffer: key.Duplicate},
		InSymSeed:    tpm2.TPM2BEncryptedSecret{Buffer: key.Seed},
		Symmetric:    tpm2.TPMTSymDef{Algorithm: tpm2.TPMAlgNull},
	}.Execute(m.tpm)
	if refusal(err) {
		return nil, fmt.Errorf("%w: %w", ErrImport, err)
	}
	if err != nil {
		return nil, fmt.Errorf("import K: %w", err)
	}
	return rsp.OutPrivate.Buffer, nil
}

// refusal tells an answer of the TPM that stays from one that may pass.
func refusal(err error) bool {
	var rc tpm2.TPMRC
	return errors.As(err, &rc) && !rc.IsWarning()
}

// load is TPM2_Load under the SRK. The caller flushes.
func (m *machine) load(public, private []byte) (tpm2.NamedHandle, error) {
	area, err := tpm.Decode[tpm2.TPMTPublic](public)
	if err != nil {
		return tpm2.NamedHandle{}, err
	}
	rsp, err := tpm2.Load{
		ParentHandle: m.parent(),
		InPrivate:    tpm2.TPM2BPrivate{Buffer: private},
		InPublic:     tpm2.New2B(*area),
	}.Execute(m.tpm)
	if err != nil {
		return tpm2.NamedHandle{}, fmt.Errorf("load into the TPM: %w", err)
	}
	return tpm2.NamedHandle{Handle: rsp.ObjectHandle, Name: rsp.Name}, nil
}

// seal is TPM2_Create of a sealed object that only the policy opens.
func (m *machine) seal(authPolicy [sha256.Size]byte, value secret.Bytes) (public, private []byte, err error) {
	rsp, err := tpm2.Create{
		ParentHandle: m.parent(),
		InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{
			Data: tpm2.NewTPMUSensitiveCreate(&tpm2.TPM2BSensitiveData{Buffer: value.Reveal()}),
		}},
		InPublic: tpm2.New2B(tpm2.TPMTPublic{
			Type:             tpm2.TPMAlgKeyedHash,
			NameAlg:          tpm2.TPMAlgSHA256,
			ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, NoDA: true},
			AuthPolicy:       tpm2.TPM2BDigest{Buffer: authPolicy[:]},
		}),
	}.Execute(m.tpm)
	if err != nil {
		return nil, nil, err
	}
	area, err := rsp.OutPublic.Contents()
	if err != nil {
		return nil, nil, err
	}
	return tpm2.Marshal(*area), rsp.OutPrivate.Buffer, nil
}

// unseal is TPM2_Unseal under the policy; the answer is encrypted.
func (m *machine) unseal(b *blob, p policy.MCIM) (secret.Bytes, error) {
	object, err := m.load(b.Public, b.Private)
	if refusal(err) || errors.Is(err, tpm.ErrStructure) {
		return secret.Bytes{}, fmt.Errorf("%w: %w", ErrRollback, err)
	}
	if err != nil {
		return secret.Bytes{}, err
	}
	var value secret.Bytes
	session := m.tpm.KeepPolicy(tpm.Out)
	err = session.Use(p.Run, func(auth tpm2.Session) error {
		rsp, err := tpm2.Unseal{
			ItemHandle: tpm2.AuthHandle{Handle: object.Handle, Name: object.Name, Auth: auth},
		}.Execute(m.tpm)
		if err == nil {
			value = secret.New(rsp.OutData.Buffer)
		}
		return err
	})
	return value, errors.Join(err, session.Close(), m.tpm.Flush(object.Handle))
}

// certifyKey is TPM2_Certify of a loaded key by the AK. The admin role of K
// needs neither policy nor secret (keyPublic).
func (m *machine) certifyKey(key tpm2.NamedHandle, over []byte) (attest, signature []byte, err error) {
	rsp, err := tpm2.Certify{
		ObjectHandle:   tpm2.AuthHandle{Handle: key.Handle, Name: key.Name, Auth: tpm2.PasswordAuth(nil)},
		SignHandle:     m.signer(),
		QualifyingData: tpm2.TPM2BData{Buffer: over},
		InScheme:       tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
	}.Execute(m.tpm)
	if err != nil {
		return nil, nil, fmt.Errorf("certify K: %w", err)
	}
	return rsp.CertifyInfo.Bytes(), tpm2.Marshal(rsp.Signature), nil
}

// certifyCounter is TPM2_NV_Certify by the AK.
func (m *machine) certifyCounter(c counter, over []byte) (attest, signature []byte, err error) {
	rsp, err := tpm2.NVCertify{
		SignHandle:     m.signer(),
		AuthHandle:     tpm2.AuthHandle{Handle: c.index, Name: c.name, Auth: tpm2.PasswordAuth(nil)},
		NVIndex:        c.handle(),
		QualifyingData: tpm2.TPM2BData{Buffer: over},
		InScheme:       tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
		Size:           8,
	}.Execute(m.tpm)
	if err != nil {
		return nil, nil, fmt.Errorf("certify counter %#x: %w", uint32(c.index), err)
	}
	return rsp.CertifyInfo.Bytes(), tpm2.Marshal(rsp.Signature), nil
}

func (m *machine) recipient() Recipient {
	return Recipient{SRKName: m.keys.SRK.Name.Buffer, AKCert: m.akCert}
}

func (m *machine) target() Target {
	return Target{SRK: m.keys.SRK.Bytes(), DEK: m.keys.DEK.Bytes(), AKCert: m.akCert}
}
