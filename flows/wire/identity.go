package wire

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// ErrKeyFile is for a certificate or key file that is broken, does not fit the
// others, or can be read by others than its owner.
var ErrKeyFile = errors.New("bad key file")

// The files of an identity in its folder.
const (
	certFile = "cert.pem" // the role's certificate, the chain, the root
	keyFile  = "key.pem"  // the signing key; absent when it is held elsewhere
	boxFile  = "box.pem"  // the key for messages sealed to the role
)

// Identity is who a role is: its certificate, the key behind it, the CA that all
// roles of a lab share, and a key of its own for messages sealed to it.
type Identity struct {
	Role        string
	Certificate *x509.Certificate
	// Signer is the key of the certificate, for TLS and for Sign.
	Signer crypto.Signer
	// Chain is what lies between Certificate and CA; usually nothing.
	Chain []*x509.Certificate
	// CA is the only root that the role accepts.
	CA *x509.Certificate
	// Box is the role's key agreement key, for Open.
	Box *ecdh.PrivateKey
	// Now is the clock for validity checks; nil is the system's.
	Now func() time.Time

	roots *x509.CertPool
}

// newIdentity takes certs as the role's certificate, the chain, and the root.
func newIdentity(certs []*x509.Certificate, signer crypto.Signer, box *ecdh.PrivateKey) (*Identity, error) {
	cert, ca := certs[0], certs[len(certs)-1]
	role, err := RoleOf(cert)
	if err != nil {
		return nil, err
	}
	key, err := p256(signer.Public())
	if err != nil {
		return nil, err
	}
	if !key.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("%w: the certificate of %s is for another key", ErrKeyFile, role)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	return &Identity{Role: role, Certificate: cert, Chain: certs[1 : len(certs)-1], Signer: signer, CA: ca, Box: box, roots: roots}, nil
}

// NewIdentity puts together an identity whose certificate another role issued,
// as a supplier does for a machine: certs is the certificate, what lies between,
// and the root; signer holds the certificate's key. The key for sealed messages
// is new. The error is ErrRole, or ErrKeyFile for certificates that do not fit.
func NewIdentity(certs []*x509.Certificate, signer crypto.Signer) (*Identity, error) {
	if len(certs) < 2 {
		return nil, fmt.Errorf("%w: a certificate needs its root", ErrKeyFile)
	}
	box, err := newBoxKey()
	if err != nil {
		return nil, err
	}
	id, err := newIdentity(certs, signer, box)
	if err != nil {
		return nil, err
	}
	if _, err := id.verify(certs[:len(certs)-1]); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	return id, nil
}

// Certified reads which role a certificate (DER) is for, if the CA of the roles
// has issued it: of one that came in a message, not over TLS.
func (id *Identity) Certified(der []byte) (role string, cert *x509.Certificate, err error) {
	if cert, err = x509.ParseCertificate(der); err != nil {
		return "", nil, err
	}
	role, err = id.verify([]*x509.Certificate{cert})
	return role, cert, err
}

// verify checks a role's certificate and its chain against the root, and reads
// the role.
func (id *Identity) verify(certs []*x509.Certificate) (string, error) {
	between := x509.NewCertPool()
	for _, c := range certs[1:] {
		between.AddCert(c)
	}
	options := x509.VerifyOptions{Roots: id.roots, Intermediates: between, CurrentTime: id.now()}
	if _, err := certs[0].Verify(options); err != nil {
		return "", err
	}
	return RoleOf(certs[0])
}

// Save writes the identity into dir with write, which must write a file at once
// and readable for its owner only (store.WriteFile). A signing key that is held
// elsewhere is not written.
func (id *Identity) Save(dir string, write func(path string, data []byte) error) error {
	box, err := keyPEM(id.Box)
	if err != nil {
		return err
	}
	if err := write(filepath.Join(dir, boxFile), box); err != nil {
		return err
	}
	if key, ok := id.Signer.(*ecdsa.PrivateKey); ok {
		text, err := keyPEM(key)
		if err != nil {
			return err
		}
		if err := write(filepath.Join(dir, keyFile), text); err != nil {
			return err
		}
	}
	return write(filepath.Join(dir, certFile), certPEM(append(append([]*x509.Certificate{id.Certificate}, id.Chain...), id.CA)...))
}

// LoadIdentity reads what Save wrote. signer is nil, or the key that is held
// elsewhere. The error is ErrKeyFile or that of the file system.
func LoadIdentity(dir string, signer crypto.Signer) (*Identity, error) {
	certs, err := readCerts(filepath.Join(dir, certFile))
	if err != nil {
		return nil, err
	}
	if len(certs) < 2 {
		return nil, fmt.Errorf("%w: %s holds %d certificates instead of the role's and its root", ErrKeyFile, certFile, len(certs))
	}
	if signer == nil {
		if signer, err = readKey(filepath.Join(dir, keyFile)); err != nil {
			return nil, err
		}
	}
	boxKey, err := readKey(filepath.Join(dir, boxFile))
	if err != nil {
		return nil, err
	}
	box, err := boxKey.ECDH()
	if err != nil {
		return nil, err
	}
	return newIdentity(certs, signer, box)
}

// tlsConfig is the base for both ends: TLS 1.3 only, both sides certified by the
// lab's CA, and no resumption, so that every connection has checked certificates
// and an exporter of its own.
func (id *Identity) tlsConfig() *tls.Config {
	own := tls.Certificate{Certificate: [][]byte{id.Certificate.Raw}, PrivateKey: id.Signer, Leaf: id.Certificate}
	for _, c := range id.Chain {
		own.Certificate = append(own.Certificate, c.Raw)
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{own},
		RootCAs:                id.roots,
		ClientCAs:              id.roots,
		ClientAuth:             tls.RequireAndVerifyClientCert,
		SessionTicketsDisabled: true,
		Time:                   id.Now,
	}
}

func (id *Identity) now() time.Time {
	if id.Now != nil {
		return id.Now()
	}
	return time.Now()
}

const (
	certBlock = "CERTIFICATE"
	keyBlock  = "PRIVATE KEY"
)

func certPEM(certs ...*x509.Certificate) []byte {
	var text []byte
	for _, cert := range certs {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: cert.Raw})...)
	}
	return text
}

func keyPEM(key any) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), nil
}

func readCerts(path string) ([]*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	certs, err := parseCerts(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrKeyFile, path, err)
	}
	return certs, nil
}

func parseCerts(text []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for len(bytes.TrimSpace(text)) > 0 {
		block, rest := pem.Decode(text)
		if block == nil || block.Type != certBlock {
			return nil, errors.New("not a list of PEM certificates")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs, text = append(certs, cert), rest
	}
	return certs, nil
}

func readKey(path string) (*ecdsa.PrivateKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%w: %s can be read by others (mode %04o): chmod 600 it", ErrKeyFile, path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrKeyFile, path, err)
	}
	return key, nil
}

// parseKey never repeats what it read: the text holds a key.
func parseKey(text []byte) (*ecdsa.PrivateKey, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != keyBlock || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("not one PEM private key")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("the key is not in PKCS #8 form")
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errCurve
	}
	if _, err := p256(&key.PublicKey); err != nil {
		return nil, err
	}
	return key, nil
}
