package ident

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/google/go-tpm/tpm2"

	"mcim/tpm"
)

// Errors of the check of an EK certificate.
var (
	// ErrCertificate: not an X.509 certificate.
	ErrCertificate = errors.New("EK certificate cannot be read")
	// ErrChain: no trusted maker signed it, or it is not valid at that time.
	ErrChain = errors.New("EK certificate is not from a trusted TPM maker")
	// ErrProfile: it does not have what an EK certificate must have (TCG EK
	// Credential Profile, 3.2).
	ErrProfile = errors.New("not an EK certificate by its profile")
	// ErrEKMismatch: it certifies another key than the one the TPM has.
	ErrEKMismatch = errors.New("EK certificate is for another key")
)

// Trust says which TPM makers are believed.
type Trust struct {
	Roots, Intermediates *x509.CertPool
	At                   time.Time // when the certificates must be valid
}

// TPMInfo is what the maker certified about a TPM.
type TPMInfo struct {
	Maker       string // as "id:00001014"
	Model       string
	Version     string // of the firmware at manufacture, as "id:20191023"
	Certificate *x509.Certificate
}

// VerifyEK finds the EK of the TPM that trust accepts, pins it for all sessions
// and says what it is. It fails with tpm.ErrNoEK, or joins what was wrong with
// each EK there is.
func VerifyEK(t *tpm.TPM, trust Trust) (TPMInfo, error) {
	eks, err := t.EKs()
	if err != nil {
		return TPMInfo{}, err
	}
	var errs []error
	for _, ek := range eks {
		if ek, err = t.LoadEK(ek); err != nil {
			return TPMInfo{}, err
		}
		info, err := trust.Check(ek.Certificate, tpm2.Marshal(ek.Public))
		if err == nil {
			t.PinEK(ek)
			return info, nil
		}
		errs = append(errs, fmt.Errorf("EK %s: %w", ek.Type, err))
	}
	return TPMInfo{}, errors.Join(errs...)
}

// Check verifies an EK certificate (DER, padding as in NV allowed) for the EK
// with that encoded TPMT_PUBLIC. It fails with ErrCertificate, ErrChain,
// ErrProfile, ErrEKMismatch and tpm.ErrStructure.
func (trust Trust) Check(der, ekPublic []byte) (TPMInfo, error) {
	cert, err := parseNV(der)
	if err != nil {
		return TPMInfo{}, err
	}
	pub, err := tpm.Decode[tpm2.TPMTPublic](ekPublic)
	if err != nil {
		return TPMInfo{}, fmt.Errorf("public area of the EK: %w", err)
	}
	key, err := publicKey(*pub)
	if err != nil {
		return TPMInfo{}, err
	}
	if !key.Equal(cert.PublicKey) {
		return TPMInfo{}, ErrEKMismatch
	}
	info, err := profile(cert)
	if err != nil {
		return TPMInfo{}, err
	}
	// The name of the TPM in the SAN was read above: it is what makes it critical.
	cert.UnhandledCriticalExtensions = slices.DeleteFunc(cert.UnhandledCriticalExtensions, oidSAN.Equal)
	_, err = cert.Verify(x509.VerifyOptions{Roots: trust.Roots, Intermediates: trust.Intermediates,
		CurrentTime: trust.At, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return TPMInfo{}, fmt.Errorf("%w: %w", ErrChain, err)
	}
	return info, nil
}

// parseNV reads a certificate that zeros or FFs may follow.
func parseNV(der []byte) (*x509.Certificate, error) {
	var first asn1.RawValue
	rest, err := asn1.Unmarshal(der, &first)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	if slices.ContainsFunc(rest, func(b byte) bool { return b != 0 && b != 0xFF }) {
		return nil, fmt.Errorf("%w: something follows it", ErrCertificate)
	}
	cert, err := x509.ParseCertificate(first.FullBytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	return cert, nil
}

// comparable public keys of std.
type comparableKey interface{ Equal(crypto.PublicKey) bool }

func publicKey(pub tpm2.TPMTPublic) (comparableKey, error) {
	switch pub.Type {
	case tpm2.TPMAlgRSA:
		return rsaKey(pub)
	case tpm2.TPMAlgECC:
		parms, err := pub.Parameters.ECCDetail()
		if err != nil {
			return nil, err
		}
		if parms.CurveID == tpm2.TPMECCNistP384 {
			b, err := point(pub, parms, tpm2.TPMECCNistP384, 48)
			if err != nil {
				return nil, err
			}
			return ecdsa.ParseUncompressedPublicKey(elliptic.P384(), b)
		}
		return ECDSAKey(pub)
	}
	return nil, fmt.Errorf("%w: EK of a type that is not supported", ErrProfile)
}

func rsaKey(pub tpm2.TPMTPublic) (*rsa.PublicKey, error) {
	parms, err := pub.Parameters.RSADetail()
	if err != nil {
		return nil, err
	}
	n, err := pub.Unique.RSA()
	if err != nil {
		return nil, err
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(n.Buffer), E: int(parms.Exponent)}
	if key.E == 0 {
		key.E = 65537 // the TPM writes its default as 0
	}
	return key, nil
}

var (
	oidSAN     = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidEKUsage = asn1.ObjectIdentifier{2, 23, 133, 8, 1}
	oidMaker   = asn1.ObjectIdentifier{2, 23, 133, 2, 1}
	oidModel   = asn1.ObjectIdentifier{2, 23, 133, 2, 2}
	oidVersion = asn1.ObjectIdentifier{2, 23, 133, 2, 3}
)

// profile checks what an EK certificate must and must not have and reads the
// name of the TPM from it (TCG EK Credential Profile, 3.2).
func profile(cert *x509.Certificate) (TPMInfo, error) {
	wrong := func(what string) (TPMInfo, error) { return TPMInfo{}, fmt.Errorf("%w: %s", ErrProfile, what) }
	usage := x509.KeyUsageKeyAgreement
	if cert.PublicKeyAlgorithm == x509.RSA {
		usage = x509.KeyUsageKeyEncipherment
	}
	switch {
	case cert.Version != 3:
		return wrong("X.509 version is not 3")
	case !cert.BasicConstraintsValid || cert.IsCA:
		return wrong("basic constraints must say that it is no CA")
	case cert.KeyUsage != usage:
		return wrong("key usage must be key encipherment (RSA) or key agreement (ECC) alone")
	case !slices.ContainsFunc(cert.UnknownExtKeyUsage, oidEKUsage.Equal):
		return wrong("extended key usage 2.23.133.8.1 is missing")
	}
	info, err := nameOfTPM(cert)
	info.Certificate = cert
	return info, err
}

// nameOfTPM reads the directoryName of the SAN.
func nameOfTPM(cert *x509.Certificate) (TPMInfo, error) {
	var info TPMInfo
	i := slices.IndexFunc(cert.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidSAN) })
	if i < 0 {
		return info, fmt.Errorf("%w: no subject alternative name", ErrProfile)
	}
	var names []asn1.RawValue
	if rest, err := asn1.Unmarshal(cert.Extensions[i].Value, &names); err != nil || len(rest) > 0 {
		return info, fmt.Errorf("%w: subject alternative name cannot be read", ErrProfile)
	}
	for _, n := range names {
		if n.Class != asn1.ClassContextSpecific || n.Tag != 4 { // directoryName (RFC 5280, 4.2.1.6)
			continue
		}
		var rdns pkix.RDNSequence
		if rest, err := asn1.Unmarshal(n.Bytes, &rdns); err != nil || len(rest) > 0 {
			return info, fmt.Errorf("%w: directory name cannot be read", ErrProfile)
		}
		for _, rdn := range rdns {
			for _, a := range rdn {
				info.set(a)
			}
		}
	}
	if info.Maker == "" || info.Model == "" || info.Version == "" {
		return info, fmt.Errorf("%w: maker, model or version of the TPM is missing", ErrProfile)
	}
	return info, nil
}

func (i *TPMInfo) set(a pkix.AttributeTypeAndValue) {
	text, _ := a.Value.(string) // another type counts as missing
	switch {
	case a.Type.Equal(oidMaker):
		i.Maker = text
	case a.Type.Equal(oidModel):
		i.Model = text
	case a.Type.Equal(oidVersion):
		i.Version = text
	}
}
