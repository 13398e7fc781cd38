package wire

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// ErrRole is for a name that no role can have, and a certificate that names none.
var ErrRole = errors.New("not a role")

var roleName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*(/[A-Za-z0-9]+(-[A-Za-z0-9]+)*)?$`)

// CheckRole says whether name can be a role: lower-case letters and digits in
// parts joined by "-", then perhaps "/" and a serial number of letters and digits
// joined by "-", at most 60 characters: "sho-a", "m2me/SN-0001".
func CheckRole(name string) error {
	if len(name) > 60 || !roleName.MatchString(name) {
		return fmt.Errorf("%w: %q: use letters and digits joined by -, as in sho-a or m2me/SN-0001", ErrRole, name)
	}
	return nil
}

// RoleKind is the part of a role's name before the first "-" or "/": "sho" of
// "sho-a", "m2me" of "m2me/SN-0001".
func RoleKind(name string) string {
	kind, _, _ := strings.Cut(name, "/")
	kind, _, _ = strings.Cut(kind, "-")
	return kind
}

// allowed says whether role is in list, by its name or by its kind.
func allowed(list []string, role string) bool {
	return slices.Contains(list, role) || slices.Contains(list, RoleKind(role))
}

// roleURI has a host because crypto/x509 refuses a URI without one below a CA
// with name constraints.
func roleURI(role string) *url.URL { return &url.URL{Scheme: "mcim", Host: "role", Path: "/" + role} }

// domain is below the top-level domain for private use.
const domain = ".mcim.internal"

// hostName is the role as a DNS name, which TLS checks the server's certificate
// for, and by which a subordinate CA is kept to the roles of its kinds: the kind
// is the last label before the domain where the role has a serial number.
func hostName(role string) string {
	kind, serial, ok := strings.Cut(role, "/")
	if ok {
		return serial + "." + kind + domain
	}
	return role + domain
}

// RoleOf reads the role's name from a certificate: its only URI name, of the
// form "mcim://role/NAME", which its only DNS name has to confirm. It does not
// verify the certificate. The error is ErrRole.
func RoleOf(cert *x509.Certificate) (string, error) {
	if len(cert.URIs) != 1 || len(cert.DNSNames) != 1 {
		return "", fmt.Errorf("%w: the certificate has %d URI and %d DNS names instead of one each", ErrRole, len(cert.URIs), len(cert.DNSNames))
	}
	u := cert.URIs[0]
	name := strings.TrimPrefix(u.Path, "/")
	if u.String() != roleURI(name).String() {
		return "", fmt.Errorf("%w: the certificate's URI name is %q", ErrRole, u)
	}
	if err := CheckRole(name); err != nil {
		return "", err
	}
	if cert.DNSNames[0] != hostName(name) {
		return "", fmt.Errorf("%w: the certificate names %s and %s", ErrRole, name, cert.DNSNames[0])
	}
	return name, nil
}
