package wire

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"path/filepath"
	"time"
)

// The validity of what a CA issues. A lab lives as long as its folder; nothing
// is issued for the repository, so nothing there expires.
const (
	validity  = 20 * 365 * 24 * time.Hour
	clockSkew = 24 * time.Hour
)

// The files of a CA in its folder.
const (
	caCertFile = "ca.pem"
	caKeyFile  = "ca-key.pem"
)

// CA issues the roles' certificates: ECDSA on P-256, made at run time.
type CA struct {
	Certificate *x509.Certificate
	// Root is what the roles trust: the CA itself, or the one above it.
	Root *x509.Certificate

	key *ecdsa.PrivateKey
}

// NewCA makes a certificate authority; name is its common name, now the middle
// of its first day.
func NewCA(name string, now time.Time) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template, err := newTemplate(name, &key.PublicKey, now)
	if err != nil {
		return nil, err
	}
	authority(template)
	template.MaxPathLen = 1
	cert, err := issue(template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &CA{cert, cert, key}, nil
}

// Sub makes a CA below this root that certifies only roles with a serial number
// of the given kinds: with kind "m2me" it certifies "m2me/SN-0001", and what it
// issues for any other role is accepted by nobody. A supplier gets one for its
// machines.
func (ca *CA) Sub(name string, kinds []string, now time.Time) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template, err := newTemplate(name, &key.PublicKey, now)
	if err != nil {
		return nil, err
	}
	authority(template)
	template.MaxPathLenZero = true
	template.PermittedDNSDomainsCritical = true
	for _, kind := range kinds {
		if err := CheckRole(kind + "/1"); err != nil || RoleKind(kind) != kind {
			return nil, fmt.Errorf("%w: %q is no kind of roles with serial numbers", ErrRole, kind)
		}
		template.PermittedDNSDomains = append(template.PermittedDNSDomains, kind+domain)
	}
	if len(kinds) == 0 {
		return nil, fmt.Errorf("%w: a subordinate CA needs the kinds of its roles", ErrRole)
	}
	cert, err := issue(template, ca.Certificate, &key.PublicKey, ca.key)
	if err != nil {
		return nil, err
	}
	return &CA{cert, ca.Root, key}, nil
}

func authority(template *x509.Certificate) {
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign
}

// chain is what lies between a role's certificate and the root.
func (ca *CA) chain() []*x509.Certificate {
	if ca.Certificate.Equal(ca.Root) {
		return nil
	}
	return []*x509.Certificate{ca.Certificate}
}

// Issue makes a role's certificate for a key that is held elsewhere: pub is an
// ECDSA key on P-256, as of the machine whose TLS key is in its TPM. The caller
// has to know that the key is the role's.
func (ca *CA) Issue(role string, pub crypto.PublicKey, now time.Time) (*x509.Certificate, error) {
	if err := CheckRole(role); err != nil {
		return nil, err
	}
	key, err := p256(pub)
	if err != nil {
		return nil, err
	}
	template, err := newTemplate(role, key, now)
	if err != nil {
		return nil, err
	}
	template.URIs = []*url.URL{roleURI(role)}
	template.DNSNames = []string{hostName(role)}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	return issue(template, ca.Certificate, key, ca.key)
}

// Identity issues a certificate with new keys for role.
func (ca *CA) Identity(role string, now time.Time) (*Identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return ca.IdentityFor(role, key, now)
}

// IdentityFor issues a certificate for role whose private key is behind signer.
func (ca *CA) IdentityFor(role string, signer crypto.Signer, now time.Time) (*Identity, error) {
	cert, err := ca.Issue(role, signer.Public(), now)
	if err != nil {
		return nil, err
	}
	box, err := newBoxKey()
	if err != nil {
		return nil, err
	}
	return newIdentity(append(append([]*x509.Certificate{cert}, ca.chain()...), ca.Root), signer, box)
}

// Save writes the CA into dir with write, which must write a file at once and
// readable for its owner only (store.WriteFile).
func (ca *CA) Save(dir string, write func(path string, data []byte) error) error {
	key, err := keyPEM(ca.key)
	if err != nil {
		return err
	}
	if err := write(filepath.Join(dir, caKeyFile), key); err != nil {
		return err
	}
	return write(filepath.Join(dir, caCertFile), certPEM(ca.Certificate, ca.Root))
}

// LoadCA reads what Save wrote. The error is ErrKeyFile for a file that is
// broken, does not fit the other, or can be read by others than its owner.
func LoadCA(dir string) (*CA, error) {
	certs, err := readCerts(filepath.Join(dir, caCertFile))
	if err != nil {
		return nil, err
	}
	key, err := readKey(filepath.Join(dir, caKeyFile))
	if err != nil {
		return nil, err
	}
	if len(certs) != 2 || !certs[0].IsCA || !certs[1].IsCA || !key.PublicKey.Equal(certs[0].PublicKey) {
		return nil, fmt.Errorf("%w: %s is not the certificate of the key in %s with its root", ErrKeyFile, caCertFile, caKeyFile)
	}
	return &CA{certs[0], certs[1], key}, nil
}

func newTemplate(name string, pub *ecdsa.PublicKey, now time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	point, err := pub.Bytes()
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256(point)
	return &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)),
		Subject:      pkix.Name{CommonName: name, Organization: []string{"mcim lab"}},
		NotBefore:    now.Add(-clockSkew),
		NotAfter:     now.Add(validity),
		SubjectKeyId: id[:20],
	}, nil
}

func issue(template, parent *x509.Certificate, pub *ecdsa.PublicKey, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

var errCurve = errors.New("the key is not an ECDSA key on P-256, the only kind that roles use")

func p256(pub crypto.PublicKey) (*ecdsa.PublicKey, error) {
	key, ok := pub.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errCurve
	}
	return key, nil
}
