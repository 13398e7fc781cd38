package mcim

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-tpm/tpm2"
	"github.com/veraison/go-cose"

	"mcim/tpm"
	"mcim/tpm/policy"
)

// Limits of a package.
const (
	// MaxPackage is the greatest length of an encoded package in bytes.
	MaxPackage = 64 << 10
	// maxText is the greatest length of a text in a header in bytes.
	maxText = 128
	// packageVersion is the only version of the format so far.
	packageVersion = 1
	// contentType separates packages from whatever else an operator signs.
	contentType = "application/vnd.mcim.package+cbor"
)

// ErrPackage is returned for bytes that are no MCIM package in its one
// permitted encoding.
var ErrPackage = errors.New("not an MCIM package")

// Placement says where an MCIM lives.
type Placement string

// The placements of this issue.
const (
	InTRE  Placement = "tre"  // K is a key object of the TPM
	InUICC Placement = "uicc" // K goes into a card, through the TRE
)

// Header is the part of a package that everybody may read.
type Header struct {
	Version   uint64          `cbor:"1,keyasint"` // of the format
	ID        string          `cbor:"2,keyasint"` // unique for its issuer
	Issuer    string          `cbor:"3,keyasint"` // the home operator, a key of Config.Issuers
	Recipient Recipient       `cbor:"4,keyasint"`
	Slot      int             `cbor:"5,keyasint"`  // 1 or 2
	Epoch     uint64          `cbor:"6,keyasint"`  // value of the slot's epoch counter
	Sequence  uint64          `cbor:"7,keyasint"`  // grows from package to package for a slot
	NotBefore int64           `cbor:"8,keyasint"`  // seconds since 1970, inclusive
	NotAfter  int64           `cbor:"9,keyasint"`  // seconds since 1970, inclusive
	Build     string          `cbor:"10,keyasint"` // the RIM for which the package is made
	Platform  policy.Platform `cbor:"11,keyasint"` // the state of that RIM, over the policy's PCRs
	Placement Placement       `cbor:"12,keyasint"`
	// EpochIndex is the NV index of the counter that has the value Epoch.
	EpochIndex tpm2.TPMHandle `cbor:"13,keyasint"`
}

// Recipient names one TRE: its SRK and its AK certificate.
type Recipient struct {
	SRKName []byte            `cbor:"1,keyasint"` // TPM Name, 34 bytes
	AKCert  [sha256.Size]byte `cbor:"2,keyasint"` // SHA-256 of the DER
}

// KeyPart is K, wrapped for TPM2_Import under one SRK.
type KeyPart struct {
	Public    []byte `cbor:"1,keyasint"` // TPMT_PUBLIC
	Duplicate []byte `cbor:"2,keyasint"` // content of TPM2B_PRIVATE
	Seed      []byte `cbor:"3,keyasint"` // content of TPM2B_ENCRYPTED_SECRET
}

// Package is a decoded MCIM package. Its signature has not been checked.
type Package struct {
	Header Header
	Key    *KeyPart // nil where Placement is InUICC

	body    []byte // HPKE
	header  []byte // as encoded
	payload []byte
	message *cose.Sign1Message
}

// payload is what the operator signs.
type payload struct {
	Header []byte   `cbor:"1,keyasint"`
	Key    *KeyPart `cbor:"2,keyasint,omitempty"`
	Body   []byte   `cbor:"3,keyasint"`
}

// ParsePackage decodes a package strictly: deterministic CBOR, nothing left
// over, no unknown or doubled field, at most MaxPackage bytes. Every error is an
// ErrPackage. There is no second encoding of the same package.
func ParsePackage(b []byte) (*Package, error) {
	if len(b) > MaxPackage {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrPackage, len(b), MaxPackage)
	}
	var m cose.Sign1Message
	if err := m.UnmarshalCBOR(b); err != nil {
		return nil, fmt.Errorf("%w: COSE_Sign1: %w", ErrPackage, err)
	}
	if !lowS(m.Signature) {
		return nil, fmt.Errorf("%w: its signature is not in the one permitted form", ErrPackage)
	}
	m.Headers = packageHeaders()
	again, err := m.MarshalCBOR()
	if err != nil || !bytes.Equal(again, b) {
		return nil, fmt.Errorf("%w: the COSE_Sign1 is not for ES256 over a package, or not in deterministic encoding", ErrPackage)
	}
	p := &Package{payload: m.Payload, message: &m}
	return p, p.parse()
}

func (p *Package) parse() error {
	var c payload
	if err := decode(p.payload, &c); err != nil {
		return fmt.Errorf("%w: payload: %w", ErrPackage, err)
	}
	p.header, p.Key, p.body = c.Header, c.Key, c.Body
	if err := decode(p.header, &p.Header); err != nil {
		return fmt.Errorf("%w: header: %w", ErrPackage, err)
	}
	if err := p.Header.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrPackage, err)
	}
	if (p.Key != nil) != (p.Header.Placement == InTRE) {
		return fmt.Errorf("%w: placement %q with key part %t", ErrPackage, p.Header.Placement, p.Key != nil)
	}
	if p.Key == nil {
		return nil
	}
	if _, err := p.Key.public(); err != nil {
		return err
	}
	return nil
}

// Bytes is the encoding from which the package was parsed, or into which it was
// built.
func (p *Package) Bytes() ([]byte, error) { return p.message.MarshalCBOR() }

// Digest identifies the signed content.
func (p *Package) Digest() [sha256.Size]byte { return sha256.Sum256(p.payload) }

// KeyName is the TPM Name of K, which the receipt of the installation carries.
// It is empty where the package has no key part.
func (p *Package) KeyName() (tpm2.TPM2BName, error) {
	if p.Key == nil {
		return tpm2.TPM2BName{}, nil
	}
	public, err := p.Key.public()
	if err != nil {
		return tpm2.TPM2BName{}, err
	}
	return objectName(public)
}

func objectName(public *tpm2.TPMTPublic) (tpm2.TPM2BName, error) {
	name, err := tpm2.ObjectName(public)
	if err != nil {
		return tpm2.TPM2BName{}, fmt.Errorf("%w: name of a public area: %w", ErrPackage, err)
	}
	return *name, nil
}

// halfOrder is half of the order of P-256, rounded down: of the two signatures
// (r, s) and (r, n-s) that are equally valid only the one with the smaller s is
// permitted.
func halfOrder() *big.Int { return new(big.Int).Rsh(elliptic.P256().Params().N, 1) }

// sSize is the length of each half of an ES256 signature in bytes.
const sSize = 32

func lowS(signature []byte) bool {
	return len(signature) == 2*sSize && new(big.Int).SetBytes(signature[sSize:]).Cmp(halfOrder()) <= 0
}

// toLowS brings a signature into the permitted form.
func toLowS(signature []byte) {
	if lowS(signature) {
		return
	}
	s := new(big.Int).SetBytes(signature[sSize:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(signature[sSize:])
}

// verify checks the signature with the issuer's key.
func (p *Package) verify(key *ecdsa.PublicKey) error {
	verifier, err := cose.NewVerifier(cose.AlgorithmES256, key)
	if err != nil {
		return err
	}
	return p.message.Verify(nil, verifier)
}

func (k *KeyPart) public() (*tpm2.TPMTPublic, error) {
	public, err := tpm.Decode[tpm2.TPMTPublic](k.Public)
	if err != nil {
		return nil, fmt.Errorf("%w: public area of K: %w", ErrPackage, err)
	}
	return public, nil
}

// packageHeaders are the only COSE headers that a package has.
func packageHeaders() cose.Headers {
	return cose.Headers{
		Protected: cose.ProtectedHeader{
			cose.HeaderLabelAlgorithm:   cose.AlgorithmES256,
			cose.HeaderLabelContentType: contentType,
		},
		Unprotected: cose.UnprotectedHeader{},
	}
}

// check refuses values that no package can have. Whether they are right for
// this TRE is Check's business, the version included.
func (h *Header) check() error {
	for name, text := range map[string]string{"id": h.ID, "issuer": h.Issuer, "build": h.Build} {
		if !printable(text) {
			return fmt.Errorf("header: %s is empty, longer than %d bytes or not printable", name, maxText)
		}
	}
	switch {
	case h.Placement != InTRE && h.Placement != InUICC:
		return errors.New("header: unknown placement")
	case h.Slot < 1 || h.Slot >= SlotCount:
		return fmt.Errorf("header: slot %d, want 1 to %d", h.Slot, SlotCount-1)
	case len(h.Recipient.SRKName) != 2+sha256.Size:
		return fmt.Errorf("header: SRK name of %d bytes", len(h.Recipient.SRKName))
	case h.Epoch == 0 || h.Sequence == 0:
		return errors.New("header: epoch or sequence number 0")
	case h.NotAfter < h.NotBefore:
		return errors.New("header: validity ends before it begins")
	}
	return nil
}

func (h *Header) validAt(now time.Time) bool {
	return now.Unix() >= h.NotBefore && now.Unix() <= h.NotAfter
}

func printable(s string) bool {
	if s == "" || len(s) > maxText || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// encode is deterministic CBOR (RFC 8949, 4.2.1).
func encode(v any) ([]byte, error) {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		return nil, err
	}
	return mode.Marshal(v)
}

// decode takes only what encode gives for the same value.
func decode(b []byte, v any) error {
	mode, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels:   8,
		MaxArrayElements:  1024,
		MaxMapPairs:       64,
	}.DecMode()
	if err != nil {
		return err
	}
	if err := mode.Unmarshal(b, v); err != nil {
		return err
	}
	again, err := encode(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, b) {
		return errors.New("not in deterministic encoding")
	}
	return nil
}
