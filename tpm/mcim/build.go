package mcim

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/veraison/go-cose"

	"mcim/apdu/secret"
	"mcim/tpm"
	"mcim/tpm/policy"
)

// ErrTarget is returned for a description of a TRE that cannot be right.
var ErrTarget = errors.New("no usable description of the target TRE")

// Target is what an operator has to know of a TRE to make a package for one of
// its slots. All of it is public. The operator takes SRK and DEK only with the
// AK's certification, and EpochIndex and Epoch with VerifyEpoch, from a TRE that
// the platform validation authority has found in order.
type Target struct {
	SRK        []byte            // TPMT_PUBLIC
	DEK        []byte            // TPMT_PUBLIC
	AKCert     [sha256.Size]byte // SHA-256 of the AK certificate
	Slot       int
	EpochIndex tpm2.TPMHandle // the slot's epoch counter
	Epoch      uint64         // its value
}

// Order is what the operator decides about a package.
type Order struct {
	ID        string    // unique for the issuer
	Issuer    string    // the operator, as the TRE knows it
	Sequence  uint64    // above that of every earlier package for the slot
	NotBefore time.Time // to the second
	NotAfter  time.Time // to the second
	Build     string    // the RIM for which the package is made
	Platform  policy.Platform
	Placement Placement

	// Unbound leaves out what binds a package to one TRE: K is not wrapped, and
	// the body is encrypted to this key instead of the DEK. It exists so that a
	// test can show what the binding is worth. Nothing else may set it.
	Unbound *ecdh.PublicKey
}

// Build makes a package for the target, signed by the operator's P-256 key. The
// subscription must have its K. Errors are ErrTarget, ErrSubscription,
// policy.ErrPCRs or policy.ErrEpoch, ErrPackage (an order that makes no valid
// header), or the signer's.
func Build(signer crypto.Signer, target Target, order Order, sub *Subscription) (*Package, error) {
	b := sub.body()
	if err := b.check(); err != nil {
		return nil, err
	}
	if len(b.K) != keySize {
		return nil, fmt.Errorf("%w: K is missing", ErrSubscription)
	}
	header, err := target.header(order)
	if err != nil {
		return nil, err
	}
	var c payload
	if order.Placement == InTRE {
		b.K = nil
		if c.Key, err = target.wrapKey(sub.K, order.Platform, order.Unbound != nil); err != nil {
			return nil, err
		}
	}
	if c.Header, err = encode(header); err != nil {
		return nil, err
	}
	if c.Body, err = target.sealBody(b, c.Header, order.Unbound); err != nil {
		return nil, err
	}
	return sign(signer, &c)
}

// WrapKey wraps K for the slot of the target, to be usable in one platform state
// and epoch only. The supplier uses it for the provisional identity in slot 0,
// which Inject takes; for the other slots it is part of Build.
func WrapKey(target Target, k secret.Bytes, platform policy.Platform) (*KeyPart, error) {
	return target.wrapKey(k, platform, false)
}

func (t *Target) header(order Order) (*Header, error) {
	srk, err := tpm.Decode[tpm2.TPMTPublic](t.SRK)
	if err != nil {
		return nil, fmt.Errorf("%w: SRK: %w", ErrTarget, err)
	}
	name, err := objectName(srk)
	if err != nil {
		return nil, err
	}
	h := &Header{
		Version: packageVersion, ID: order.ID, Issuer: order.Issuer,
		Recipient: Recipient{SRKName: name.Buffer, AKCert: t.AKCert},
		Slot:      t.Slot, EpochIndex: t.EpochIndex, Epoch: t.Epoch, Sequence: order.Sequence,
		NotBefore: order.NotBefore.Unix(), NotAfter: order.NotAfter.Unix(),
		Build: order.Build, Platform: order.Platform, Placement: order.Placement,
	}
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPackage, err)
	}
	return h, nil
}

// policy is the policy of a key in the target's slot.
func (t *Target) policy(platform policy.Platform) policy.MCIM {
	return policy.MCIM{
		Platform:   platform,
		EpochIndex: t.EpochIndex,
		Epoch:      t.Epoch,
		Command:    tpm2.TPMCCEncryptDecrypt2,
	}
}

func (t *Target) wrapKey(k secret.Bytes, platform policy.Platform, unbound bool) (*KeyPart, error) {
	if k.Len() != keySize {
		return nil, fmt.Errorf("%w: K of %d bytes, want %d", ErrSubscription, k.Len(), keySize)
	}
	digest, err := t.policy(platform).Digest()
	if err != nil {
		return nil, err
	}
	seed := make([]byte, sha256.Size)
	if _, err := rand.Read(seed); err != nil {
		return nil, err
	}
	public := keyPublic(digest, sha256.Sum256(append(seed[:len(seed):len(seed)], k.Reveal()...)))
	sensitive := tpm2.TPMTSensitive{
		SensitiveType: tpm2.TPMAlgSymCipher,
		SeedValue:     tpm2.TPM2BDigest{Buffer: seed},
		Sensitive:     tpm2.NewTPMUSensitiveComposite(tpm2.TPMAlgSymCipher, &tpm2.TPM2BSymKey{Buffer: k.Reveal()}),
	}
	part := &KeyPart{Public: tpm2.Marshal(public)}
	if unbound {
		part.Duplicate, part.Seed = tpm2.Marshal(tpm2.New2B(sensitive)), []byte{}
		return part, nil
	}
	part.Duplicate, part.Seed, err = t.duplicate(public, tpm2.Marshal(sensitive))
	return part, err
}

// duplicate is TPM2_Duplicate to the target's SRK, done without a TPM.
func (t *Target) duplicate(public tpm2.TPMTPublic, sensitive []byte) (duplicate, seed []byte, err error) {
	srk, err := tpm.Decode[tpm2.TPMTPublic](t.SRK)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: SRK: %w", ErrTarget, err)
	}
	kem, err := tpm2.ImportEncapsulationKey(srk)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: SRK: %w", ErrTarget, err)
	}
	name, err := objectName(&public)
	if err != nil {
		return nil, nil, err
	}
	return tpm2.CreateDuplicate(rand.Reader, kem, name.Buffer, sensitive)
}

// keyPublic is the public area of K: AES-128 in CFB mode, for decryption only,
// usable by policy only. adminWithPolicy is clear, so that TPM2_Certify needs no
// policy: the admin role can certify K, and nothing else of use.
func keyPublic(authPolicy, unique [sha256.Size]byte) tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type:             tpm2.TPMAlgSymCipher,
		NameAlg:          tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{Decrypt: true, NoDA: true},
		AuthPolicy:       tpm2.TPM2BDigest{Buffer: authPolicy[:]},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgSymCipher, &tpm2.TPMSSymCipherParms{
			Sym: tpm2.TPMTSymDefObject{
				Algorithm: tpm2.TPMAlgAES,
				KeyBits:   tpm2.NewTPMUSymKeyBits(tpm2.TPMAlgAES, tpm2.TPMKeyBits(8*keySize)),
				Mode:      tpm2.NewTPMUSymMode(tpm2.TPMAlgAES, tpm2.TPMAlgCFB),
			},
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgSymCipher, &tpm2.TPM2BDigest{Buffer: unique[:]}),
	}
}

// sealBody encrypts the body to the DEK, bound to the header.
func (t *Target) sealBody(b *body, header []byte, unbound *ecdh.PublicKey) ([]byte, error) {
	to := unbound
	if to == nil {
		var err error
		if to, err = ecdhPublic(t.DEK); err != nil {
			return nil, fmt.Errorf("%w: DEK: %w", ErrTarget, err)
		}
	}
	key, err := hpke.NewDHKEMPublicKey(to)
	if err != nil {
		return nil, fmt.Errorf("%w: DEK: %w", ErrTarget, err)
	}
	plain, err := encode(b)
	if err != nil {
		return nil, err
	}
	return hpke.Seal(key, hpke.HKDFSHA256(), hpke.AES256GCM(), header, plain)
}

// openBody is the reverse of sealBody.
func openBody(key ecdh.KeyExchanger, header, sealed []byte) (*body, error) {
	private, err := hpke.NewDHKEMPrivateKey(key)
	if err != nil {
		return nil, err
	}
	plain, err := hpke.Open(private, hpke.HKDFSHA256(), hpke.AES256GCM(), header, sealed)
	if err != nil {
		return nil, err
	}
	var b body
	if err := decode(plain, &b); err != nil {
		return nil, fmt.Errorf("%w: body not in deterministic encoding", ErrSubscription)
	}
	return &b, b.check()
}

// ecdhPublic is the P-256 point of a TPMT_PUBLIC.
func ecdhPublic(marshalled []byte) (*ecdh.PublicKey, error) {
	public, err := tpm.Decode[tpm2.TPMTPublic](marshalled)
	if err != nil {
		return nil, err
	}
	point, err := public.Unique.ECC()
	if err != nil {
		return nil, err
	}
	const size = 32
	if len(point.X.Buffer) > size || len(point.Y.Buffer) > size {
		return nil, errors.New("no point of P-256")
	}
	raw := make([]byte, 1+2*size)
	raw[0] = 4
	copy(raw[1+size-len(point.X.Buffer):], point.X.Buffer)
	copy(raw[1+2*size-len(point.Y.Buffer):], point.Y.Buffer)
	return ecdh.P256().NewPublicKey(raw)
}

func sign(signer crypto.Signer, c *payload) (*Package, error) {
	if key, ok := signer.Public().(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("sign package: the operator's key is not on P-256")
	}
	coseSigner, err := cose.NewSigner(cose.AlgorithmES256, signer)
	if err != nil {
		return nil, fmt.Errorf("sign package: %w", err)
	}
	signed, err := encode(c)
	if err != nil {
		return nil, err
	}
	m := &cose.Sign1Message{Headers: packageHeaders(), Payload: signed}
	if err := m.Sign(rand.Reader, nil, coseSigner); err != nil {
		return nil, fmt.Errorf("sign package: %w", err)
	}
	toLowS(m.Signature)
	p := &Package{payload: signed, message: m}
	if err := p.parse(); err != nil {
		return nil, err
	}
	if b, err := p.Bytes(); err != nil || len(b) > MaxPackage {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrPackage, MaxPackage)
	}
	return p, nil
}
