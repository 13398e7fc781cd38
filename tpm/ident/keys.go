package ident

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"
	"io"
	"math/big"

	"encoding/asn1"

	"github.com/google/go-tpm/tpm2"

	"mcim/tpm"
)

// Errors of the keys in the TPM.
var (
	// ErrDigest: the TRE key signs SHA-256 digests only.
	ErrDigest = errors.New("not a SHA-256 digest: the TRE key signs nothing else")
	// ErrCurve: a public key that is no point of P-256.
	ErrCurve = errors.New("not a public key on P-256")
)

// Signer is the TRE key as a crypto.Signer, fit for TLS 1.3 and X.509. It gives
// ASN.1 signatures.
func (tre *TRE) Signer() (crypto.Signer, error) {
	pub, err := ECDSAKey(tre.Key.Public)
	return signer{tre, pub}, err
}

type signer struct {
	tre *TRE
	pub *ecdsa.PublicKey
}

// Public implements crypto.Signer.
func (s signer) Public() crypto.PublicKey { return s.pub }

// Sign implements crypto.Signer. The TPM takes its own randomness. It fails
// with ErrDigest.
func (s signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts.HashFunc() != crypto.SHA256 || len(digest) != crypto.SHA256.Size() {
		return nil, ErrDigest
	}
	s.tre.mu.Lock()
	defer s.tre.mu.Unlock()
	rsp, err := tpm2.Sign{
		KeyHandle:  s.tre.Key.Auth(s.tre.tpm.Session(tpm.In)),
		Digest:     tpm2.TPM2BDigest{Buffer: digest},
		Validation: tpm2.TPMTTKHashCheck{Tag: tpm2.TPMSTHashCheck},
	}.Execute(s.tre.tpm)
	if err != nil {
		return nil, fmt.Errorf("signature of the TRE: %w", err)
	}
	sig, err := rsp.Signature.Signature.ECDSA()
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(struct{ R, S *big.Int }{
		new(big.Int).SetBytes(sig.SignatureR.Buffer), new(big.Int).SetBytes(sig.SignatureS.Buffer)})
}

// Exchanger is the DEK as a private key of std crypto/hpke.
func (tre *TRE) Exchanger() (ecdh.KeyExchanger, error) {
	pub, err := ecdhKey(tre.DEK.Public)
	return exchanger{tre, pub}, err
}

type exchanger struct {
	tre *TRE
	pub *ecdh.PublicKey
}

// PublicKey implements ecdh.KeyExchanger.
func (e exchanger) PublicKey() *ecdh.PublicKey { return e.pub }

// Curve implements ecdh.KeyExchanger.
func (e exchanger) Curve() ecdh.Curve { return ecdh.P256() }

// ECDH implements ecdh.KeyExchanger. The secret is encrypted on the way from the
// TPM. It fails with ErrCurve, and with the TPM's code if the policy of the DEK
// does not hold.
func (e exchanger) ECDH(remote *ecdh.PublicKey) ([]byte, error) {
	if remote.Curve() != ecdh.P256() {
		return nil, ErrCurve
	}
	point := remote.Bytes()[1:]
	e.tre.mu.Lock()
	defer e.tre.mu.Unlock()
	rsp, err := tpm2.ECDHZGen{
		KeyHandle: e.tre.DEK.Auth(e.session()),
		InPoint: tpm2.New2B(tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: point[:32]}, Y: tpm2.TPM2BECCParameter{Buffer: point[32:]}}),
	}.Execute(e.tre.tpm)
	if err != nil {
		return nil, fmt.Errorf("key agreement of the TRE: %w", err)
	}
	z, err := rsp.OutPoint.Contents()
	if err != nil {
		return nil, err
	}
	if len(z.X.Buffer) > 32 {
		return nil, fmt.Errorf("%w: shared secret of %d bytes", tpm.ErrStructure, len(z.X.Buffer))
	}
	return new(big.Int).SetBytes(z.X.Buffer).FillBytes(make([]byte, 32)), nil
}

func (e exchanger) session() tpm2.Session {
	if e.tre.opts.DEKRun != nil {
		return e.tre.tpm.Policy(tpm.InOut, e.tre.opts.DEKRun)
	}
	return e.tre.tpm.Session(tpm.InOut)
}

// ECDSAKey is a P-256 key of the TPM as a public key of std. It fails with
// ErrCurve.
func ECDSAKey(pub tpm2.TPMTPublic) (*ecdsa.PublicKey, error) {
	point, err := pointP256(pub)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCurve, err)
	}
	return key, nil
}

func ecdhKey(pub tpm2.TPMTPublic) (*ecdh.PublicKey, error) {
	point, err := pointP256(pub)
	if err != nil {
		return nil, err
	}
	key, err := ecdh.P256().NewPublicKey(point)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCurve, err)
	}
	return key, nil
}

func pointP256(pub tpm2.TPMTPublic) ([]byte, error) {
	if pub.Type != tpm2.TPMAlgECC {
		return nil, ErrCurve
	}
	parms, err := pub.Parameters.ECCDetail()
	if err != nil {
		return nil, err
	}
	return point(pub, parms, tpm2.TPMECCNistP256, 32)
}

// point is the key in uncompressed form (SEC 1, 2.3.3); size is that of one
// coordinate in bytes.
func point(pub tpm2.TPMTPublic, parms *tpm2.TPMSECCParms, curve tpm2.TPMECCCurve, size int) ([]byte, error) {
	at, err := pub.Unique.ECC()
	if err != nil {
		return nil, err
	}
	if parms.CurveID != curve || len(at.X.Buffer) > size || len(at.Y.Buffer) > size {
		return nil, ErrCurve
	}
	b := make([]byte, 1+2*size)
	b[0] = 4
	copy(b[1+size-len(at.X.Buffer):], at.X.Buffer)
	copy(b[1+2*size-len(at.Y.Buffer):], at.Y.Buffer)
	return b, nil
}
