package wire

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/veraison/go-cose"
)

// ErrSignature is for a signed message that is malformed, of another type than
// asked for, signed by another role, or whose signature does not fit.
var ErrSignature = errors.New("signature not accepted")

// Signed is a COSE_Sign1 message (RFC 9052, 4.2; ES256) whose payload is the
// CBOR form of a T, as bytes: what is stored is what was signed. The protected
// header carries the message's type (RFC 9596), so that an order cannot be taken
// for a verdict, and, where Identity.Sign made it, the signer's certificate.
type Signed[T any] []byte

// typePrefix makes a message type a media type, as the typ header wants it.
const typePrefix = "application/vnd.mcim."

// Sign signs payload as a message of type typ ("change-order") with a key whose
// public part the receiver knows.
func Sign[T any](signer crypto.Signer, typ string, payload T) (Signed[T], error) {
	return sign(signer, typ, payload, nil)
}

// SignAs signs payload as the role id, with its certificate in the message, for
// receivers that trust the same CA and expect that role.
func SignAs[T any](id *Identity, typ string, payload T) (Signed[T], error) {
	return sign(id.Signer, typ, payload, append([]*x509.Certificate{id.Certificate}, id.Chain...))
}

func sign[T any](signer crypto.Signer, typ string, payload T, certs []*x509.Certificate) (Signed[T], error) {
	body, err := Marshal(payload)
	if err != nil {
		return nil, err
	}
	es256, err := cose.NewSigner(cose.AlgorithmES256, signer)
	if err != nil {
		return nil, err
	}
	m := cose.NewSign1Message()
	m.Headers.Protected.SetAlgorithm(cose.AlgorithmES256)
	if _, err := m.Headers.Protected.SetType(typePrefix + typ); err != nil {
		return nil, fmt.Errorf("message type %q: %w", typ, err)
	}
	if len(certs) > 0 {
		m.Headers.Protected[cose.HeaderLabelX5Chain] = chainHeader(certs)
	}
	m.Payload = body
	if err := m.Sign(rand.Reader, nil, es256); err != nil {
		return nil, fmt.Errorf("signing a message of type %s: %w", typ, err)
	}
	return m.MarshalCBOR()
}

// Verify checks that the message is of type typ and signed by pub, and returns
// its payload. The error is ErrSignature, or ErrMalformed for a payload that is
// no T.
func (s Signed[T]) Verify(pub crypto.PublicKey, typ string) (T, error) {
	m, err := parseSigned(s, typ)
	if err != nil {
		var zero T
		return zero, err
	}
	return verify[T](m, pub)
}

// VerifyFrom checks that the message is of type typ and signed by a role that
// the receiver's CA has certified; role is that role by name or by kind. It
// returns the payload and the signer's name; errors as of Verify.
func (s Signed[T]) VerifyFrom(receiver *Identity, role, typ string) (payload T, signer string, err error) {
	m, err := parseSigned(s, typ)
	if err != nil {
		return payload, "", err
	}
	certs, err := chainOf(m)
	if err != nil {
		return payload, "", err
	}
	signer, err = receiver.verify(certs)
	if err != nil {
		return payload, "", fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if !allowed([]string{role}, signer) {
		return payload, "", fmt.Errorf("%w: signed by %s instead of %s", ErrSignature, signer, role)
	}
	payload, err = verify[T](m, certs[0].PublicKey)
	return payload, signer, err
}

// maxChain is how many certificates a message may carry.
const maxChain = 3

// chainHeader is the x5chain header: one certificate as it is, several as an
// array (RFC 9360, 2).
func chainHeader(certs []*x509.Certificate) any {
	if len(certs) == 1 {
		return certs[0].Raw
	}
	list := make([]any, len(certs))
	for i, c := range certs {
		list[i] = c.Raw
	}
	return list
}

// chainOf reads what chainHeader made.
func chainOf(m *cose.Sign1Message) ([]*x509.Certificate, error) {
	list, ok := m.Headers.Protected[cose.HeaderLabelX5Chain].([]any)
	if !ok {
		list = []any{m.Headers.Protected[cose.HeaderLabelX5Chain]}
	}
	if len(list) == 0 || len(list) > maxChain {
		return nil, fmt.Errorf("%w: it carries %d certificates", ErrSignature, len(list))
	}
	certs := make([]*x509.Certificate, len(list))
	for i, item := range list {
		raw, _ := item.([]byte)
		cert, err := x509.ParseCertificate(raw)
		if err != nil {
			return nil, fmt.Errorf("%w: no certificate of its signer: %w", ErrSignature, err)
		}
		certs[i] = cert
	}
	return certs, nil
}

// parseSigned decodes the one encoding of a COSE_Sign1 message with a payload,
// no unprotected header, and the type wanted.
func parseSigned(b []byte, typ string) (*cose.Sign1Message, error) {
	m := cose.NewSign1Message()
	if err := m.UnmarshalCBOR(b); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if again, err := m.MarshalCBOR(); err != nil || !bytes.Equal(again, b) {
		return nil, fmt.Errorf("%w: not the deterministic encoding", ErrSignature)
	}
	if len(m.Headers.Unprotected) != 0 {
		return nil, fmt.Errorf("%w: it has an unprotected header", ErrSignature)
	}
	if got, _ := m.Headers.Protected[cose.HeaderLabelType].(string); got != typePrefix+typ {
		return nil, fmt.Errorf("%w: a message of type %q instead of %q", ErrSignature, got, typePrefix+typ)
	}
	return m, nil
}

func verify[T any](m *cose.Sign1Message, pub crypto.PublicKey) (T, error) {
	var zero T
	if _, err := p256(pub); err != nil {
		return zero, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	es256, err := cose.NewVerifier(cose.AlgorithmES256, pub.(*ecdsa.PublicKey))
	if err != nil {
		return zero, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if err := m.Verify(nil, es256); err != nil {
		return zero, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return Unmarshal[T](m.Payload)
}
