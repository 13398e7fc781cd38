package tpm

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// Errors about the endorsement key.
var (
	// ErrNotPinned: no EK is pinned, or the TPM has none with the pinned hash (it
	// is another TPM, or somebody sits on the bus).
	ErrNotPinned = errors.New("no verified endorsement key: the TPM is not the one that was pinned, or none was pinned yet")
	// ErrNoEK: the TPM holds no EK certificate in NV. Its maker may offer it for
	// download, which is not supported.
	ErrNoEK = errors.New("the TPM has no endorsement key with a certificate")
)

// EK is an endorsement key of the TPM that has a certificate.
type EK struct {
	Type        string // "ECC P-256", "ECC P-384", "RSA-2048"
	Handle      tpm2.TPMHandle
	Name        tpm2.TPM2BName
	Public      tpm2.TPMTPublic
	Certificate []byte // DER as in NV, not verified
	profile     ekProfile
}

// Pin names the key: the SHA-256 of its public area.
func (e EK) Pin() []byte {
	h := sha256.Sum256(tpm2.Marshal(e.Public))
	return h[:]
}

// ekProfile is where the maker puts one kind of EK (TCG EK Credential Profile,
// 2.2.1.4 and 2.2.1.5).
type ekProfile struct {
	name        string
	certificate tpm2.TPMHandle
	persistent  tpm2.TPMHandle
	template    tpm2.TPMTPublic
}

// ekProfiles in order of preference: the salt of a session costs the TPM one
// operation with this key, and ECC is the faster one on chips.
func ekProfiles() []ekProfile {
	return []ekProfile{
		{"ECC P-256", 0x01C0000A, 0x81010002, tpm2.ECCEKTemplate},
		{"ECC P-256", 0x01C00014, 0x81010014, highRange(tpm2.TPMECCNistP256, tpm2.TPMAlgSHA256, 128, policyB256)},
		{"ECC P-384", 0x01C00016, 0x81010016, highRange(tpm2.TPMECCNistP384, tpm2.TPMAlgSHA384, 256, policyB384)},
		{"RSA-2048", 0x01C00002, 0x81010001, tpm2.RSAEKTemplate},
	}
}

// Policies of the high range EK templates (TCG EK Credential Profile, B.6.3).
const (
	policyB256 = "\xca\x3d\x0a\x99\xa2\xb9\x39\x06\xf7\xa3\x34\x24\x14\xef\xcf\xb3\xa3\x85\xd4\x4c\xd1\xfd\x45\x90\x89\xd1\x9b\x50\x71\xc0\xb7\xa0"
	policyB384 = "\xb2\x6e\x7d\x28\xd1\x1a\x50\xbc\x53\xd8\x82\xbc\xf5\xfd\x3a\x1a\x07\x41\x48\xbb\x35\xd3\xb4\xe4\xcb\x1c\x0a\xd9\xbd\xe4\x19\xca" +
		"\xcb\x47\xba\x09\x69\x96\x46\x15\x0f\x9f\xc0\x00\xf3\xf8\x0e\x12"
)

// alternativesB are the two branches of policyB, of which the first is PolicySecret over
// the endorsement hierarchy (TCG EK Credential Profile, B.6.2).
func alternativesB(hash tpm2.TPMAlgID) []tpm2.TPM2BDigest {
	a := "\x83\x71\x97\x67\x44\x84\xb3\xf8\x1a\x90\xcc\x8d\x46\xa5\xd7\x24\xfd\x52\xd7\x6e\x06\x52\x0b\x64\xf2\xa1\xda\x1b\x33\x14\x69\xaa"
	c := "\x37\x67\xe2\xed\xd4\x3f\xf4\x5a\x3a\x7e\x1e\xae\xfc\xef\x78\x64\x3d\xca\x96\x46\x32\xe7\xaa\xd8\x2c\x67\x3a\x30\xd8\x63\x3f\xde"
	if hash == tpm2.TPMAlgSHA384 {
		a = "\x8b\xbf\x22\x66\x53\x7c\x17\x1c\xb5\x6e\x40\x3c\x4d\xc1\xd4\xb6\x4f\x43\x26\x11\xdc\x38\x6e\x6f\x53\x20\x50\xc3\x27\x8c\x93\x0e" +
			"\x14\x3e\x8b\xb1\x13\x38\x24\xcc\xb4\x31\x05\x38\x71\xc6\xdb\x53"
		c = "\xd6\x03\x2c\xe6\x1f\x2f\xb3\xc2\x40\xeb\x3c\xf6\xa3\x32\x37\xef\x2b\x6a\x16\xf4\x29\x3c\x22\xb4\x55\xe2\x61\xcf\xfd\x21\x7a\xd5" +
			"\xb4\x94\x7c\x2d\x73\xe6\x30\x05\xee\xd2\xdc\x2b\x35\x93\xd1\x65"
	}
	return []tpm2.TPM2BDigest{{Buffer: []byte(a)}, {Buffer: []byte(c)}}
}

// AuthEK is a session that authorizes the use of ek by its policy: PolicySecret
// over the endorsement hierarchy. A high range EK takes its empty auth value too,
// but it is not exempt from the protection against dictionary attacks: a TPM that
// is stopped out of order after that use counts a failed authorization.
func (t *TPM) AuthEK(ek EK) tpm2.Session {
	hash := ek.Public.NameAlg
	return t.policy(hash, Integrity, func(tpm transport.TPM, session tpm2.TPMISHPolicy, nonce tpm2.TPM2BNonce) error {
		_, err := tpm2.PolicySecret{AuthHandle: t.Endorsement(Integrity), PolicySession: session, NonceTPM: nonce}.Execute(tpm)
		if err != nil || !ek.Public.ObjectAttributes.UserWithAuth {
			return err
		}
		_, err = tpm2.PolicyOr{PolicySession: session, PHashList: tpm2.TPMLDigest{Digests: alternativesB(hash)}}.Execute(tpm)
		return err
	})
}

func highRange(curve tpm2.TPMECCCurve, hash tpm2.TPMAlgID, aesBits tpm2.TPMKeyBits, policy string) tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type: tpm2.TPMAlgECC, NameAlg: hash,
		ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true,
			UserWithAuth: true, AdminWithPolicy: true, Restricted: true, Decrypt: true},
		AuthPolicy: tpm2.TPM2BDigest{Buffer: []byte(policy)},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{CurveID: curve,
			Symmetric: tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgAES, KeyBits: tpm2.NewTPMUSymKeyBits(tpm2.TPMAlgAES, aesBits),
				Mode: tpm2.NewTPMUSymMode(tpm2.TPMAlgAES, tpm2.TPMAlgCFB)}}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{}),
	}
}

// EKs lists the endorsement keys that have a certificate in NV, best first. It
// fails with ErrNoEK. A key that the maker did not make persistent has Handle 0:
// LoadEK creates it.
func (t *TPM) EKs() ([]EK, error) {
	var list []EK
	for _, p := range ekProfiles() {
		cert, err := t.ReadNV(p.certificate)
		if errors.Is(err, ErrNoIndex) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("EK certificate (%s): %w", p.name, err)
		}
		ek, err := t.residentEK(p)
		if err != nil {
			return nil, fmt.Errorf("EK (%s): %w", p.name, err)
		}
		ek.Certificate = cert
		list = append(list, ek)
	}
	if len(list) == 0 {
		return nil, ErrNoEK
	}
	return list, nil
}

// residentEK finds the key at the handle of the maker or at ours; Handle 0 if it
// is at neither.
func (t *TPM) residentEK(p ekProfile) (EK, error) {
	for _, h := range []tpm2.TPMHandle{p.persistent, t.opts.Range.EK()} {
		pub, name, err := t.ReadPublic(h)
		if err == nil && sameTemplate(pub, p.template) {
			return EK{Type: p.name, Handle: h, Name: name, Public: pub, profile: p}, nil
		}
		if err != nil && !errors.Is(err, ErrNoObject) {
			return EK{}, err
		}
	}
	return EK{Type: p.name, profile: p}, nil
}

// LoadEK gives ek a handle. A key that is not persistent is created from its
// template and kept at Range.EK, instead of another that was tried there; the
// range must be claimed. The session is a password one: there is no EK yet to
// salt another to.
func (t *TPM) LoadEK(ek EK) (EK, error) {
	if ek.Handle != 0 {
		return ek, nil
	}
	h, err := t.Persistent(0)
	if err != nil {
		return EK{}, err
	}
	if _, name, err := t.ReadPublic(h); err == nil {
		if err := t.dropEK(h, name); err != nil {
			return EK{}, err
		}
	}
	hierarchy := tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(t.opts.EndorsementAuth.Reveal())}
	rsp, err := tpm2.CreatePrimary{PrimaryHandle: hierarchy, InPublic: tpm2.New2B(ek.profile.template)}.Execute(t)
	if err != nil {
		return EK{}, fmt.Errorf("create EK (%s): %w", ek.Type, err)
	}
	_, err = tpm2.EvictControl{Auth: t.ownerByPassword(), ObjectHandle: tpm2.NamedHandle{Handle: rsp.ObjectHandle, Name: rsp.Name}, PersistentHandle: h}.Execute(t)
	if err := errors.Join(err, t.Flush(rsp.ObjectHandle)); err != nil {
		return EK{}, fmt.Errorf("keep EK (%s): %w", ek.Type, err)
	}
	ek.Public, ek.Name, err = t.ReadPublic(h)
	ek.Handle = h
	return ek, err
}

// ownerByPassword is the owner hierarchy while there is no EK to salt a session to.
func (t *TPM) ownerByPassword() tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(t.opts.OwnerAuth.Reveal())}
}

// dropEK removes an EK that LoadEK has put into our range and nobody has pinned.
func (t *TPM) dropEK(h tpm2.TPMHandle, name tpm2.TPM2BName) error {
	_, err := tpm2.EvictControl{Auth: t.ownerByPassword(), ObjectHandle: tpm2.NamedHandle{Handle: h, Name: name}, PersistentHandle: h}.Execute(t)
	return err
}

// sameTemplate tells whether a key was made from a template: all is equal but
// the unique field.
func sameTemplate(pub, template tpm2.TPMTPublic) bool {
	pub.Unique, template.Unique = tpm2.TPMUPublicID{}, tpm2.TPMUPublicID{}
	switch template.Type {
	case tpm2.TPMAlgRSA:
		pub.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{})
	case tpm2.TPMAlgECC:
		pub.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{})
	}
	template.Unique = pub.Unique
	return pub.Type == template.Type && bytes.Equal(tpm2.Marshal(pub), tpm2.Marshal(template))
}

// findEK finds the key with a pin, without its certificate.
func (t *TPM) findEK(pin []byte) (EK, error) {
	for _, p := range ekProfiles() {
		for _, h := range []tpm2.TPMHandle{p.persistent, t.opts.Range.EK()} {
			pub, name, err := t.ReadPublic(h)
			if errors.Is(err, ErrNoObject) {
				continue
			}
			if err != nil {
				return EK{}, err
			}
			if ek := (EK{Type: p.name, Handle: h, Name: name, Public: pub}); bytes.Equal(ek.Pin(), pin) {
				return ek, nil
			}
		}
	}
	return EK{}, ErrNotPinned
}

// PinEK makes ek (of LoadEK) the key to which every session is salted. Call it only with a
// key whose certificate was verified; store ek.Pin() for Options.EKPin.
func (t *TPM) PinEK(ek EK) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ek = &ek
}

// EK is the pinned endorsement key; ErrNotPinned without one.
func (t *TPM) EK() (EK, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ek == nil {
		return EK{}, ErrNotPinned
	}
	return *t.ek, nil
}
