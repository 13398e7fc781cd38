package flows

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
)

// selfMade is a copy of an EK certificate that nobody but its maker has signed.
func selfMade(der []byte) ([]byte, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: cert.SerialNumber, Subject: cert.Subject, NotBefore: cert.NotBefore, NotAfter: cert.NotAfter,
		KeyUsage: cert.KeyUsage, UnknownExtKeyUsage: cert.UnknownExtKeyUsage, BasicConstraintsValid: true, ExtraExtensions: cert.Extensions,
	}
	issuer := *template
	issuer.Subject = cert.Issuer
	return x509.CreateCertificate(rand.Reader, template, &issuer, cert.PublicKey, key)
}
