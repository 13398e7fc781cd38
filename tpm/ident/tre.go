package ident

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/google/go-tpm/tpm2"

	"mcim/tpm"
)

// Places of the keys in the persistent range; 0 is the EK's (tpm.Range.EK).
const (
	placeAK = 1 + iota
	placeSRK
	placeTRE
	placeDEK
)

// ErrIncomplete means that not all keys of the TRE are in the TPM; CreateTRE
// makes them.
var ErrIncomplete = errors.New("the TPM does not hold all keys of the TRE: supply the machine first")

// Key is a persistent key of the TRE.
type Key struct {
	Handle tpm2.TPMHandle
	Name   tpm2.TPM2BName
	Public tpm2.TPMTPublic
}

// Auth is the key with the session that authorizes its use.
func (k Key) Auth(s tpm2.Session) tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: k.Handle, Name: k.Name, Auth: s}
}

// Bytes is the encoded TPMT_PUBLIC: what crosses the wire.
func (k Key) Bytes() []byte { return tpm2.Marshal(k.Public) }

// Options of CreateTRE and OpenTRE. The zero value gives a DEK without policy.
type Options struct {
	// DEKPolicy is the SHA-256 policy digest of the DEK, and DEKRun runs it. Both
	// or neither.
	DEKPolicy []byte
	DEKRun    tpm.PolicyRun
}

// TRE are the keys of the trusted environment. Its methods and those of its
// keys may be called from several goroutines.
type TRE struct {
	AK  Key // restricted signing, endorsement hierarchy
	SRK Key // storage, parent of all that follows and of every K
	Key Key // signing: Signer
	DEK Key // ECDH: Exchanger

	tpm  *tpm.TPM
	opts Options
	mu   sync.Mutex // one operation at a time: a TPM holds three sessions
}

// CreateTRE makes the keys that are not there yet; it can be called again after
// any interruption. The range of the TPM must be claimed and its EK pinned.
func CreateTRE(t *tpm.TPM, opts Options) (*TRE, error) {
	tre := &TRE{tpm: t, opts: opts}
	for _, step := range []struct {
		key    *Key
		place  int
		want   tpm2.TPMTPublic
		create func(tpm2.TPMTPublic) (tpm2.NamedHandle, error)
	}{
		{&tre.AK, placeAK, akTemplate(), tre.primary(tpm.InOut, t.Endorsement)},
		{&tre.SRK, placeSRK, tpm2.ECCSRKTemplate, tre.primary(tpm.InOut, t.Owner)},
		{&tre.Key, placeTRE, signTemplate(), tre.child},
		{&tre.DEK, placeDEK, dekTemplate(opts.DEKPolicy), tre.child},
	} {
		var err error
		if *step.key, err = tre.find(step.place, step.want); err == nil {
			continue
		}
		if !errors.Is(err, ErrIncomplete) {
			return nil, err
		}
		if *step.key, err = tre.place(step.place, step.want, step.create); err != nil {
			return nil, fmt.Errorf("%s: %w", placeName(step.place), err)
		}
	}
	return tre, nil
}

// OpenTRE finds the keys; ErrIncomplete if one is missing.
func OpenTRE(t *tpm.TPM, opts Options) (*TRE, error) {
	tre := &TRE{tpm: t, opts: opts}
	var err [4]error
	tre.AK, err[0] = tre.find(placeAK, akTemplate())
	tre.SRK, err[1] = tre.find(placeSRK, tpm2.ECCSRKTemplate)
	tre.Key, err[2] = tre.find(placeTRE, signTemplate())
	tre.DEK, err[3] = tre.find(placeDEK, dekTemplate(opts.DEKPolicy))
	if err := errors.Join(err[:]...); err != nil {
		return nil, err
	}
	return tre, nil
}

// TPM is the TPM that holds the keys.
func (tre *TRE) TPM() *tpm.TPM { return tre.tpm }

func placeName(place int) string {
	return [...]string{"EK", "AK", "SRK", "TRE key", "DEK"}[place]
}

// find reads the key at its place; ErrIncomplete if there is none, or another.
func (tre *TRE) find(place int, want tpm2.TPMTPublic) (Key, error) {
	h, err := tre.tpm.Persistent(place)
	if err != nil {
		return Key{}, err
	}
	pub, name, err := tre.tpm.ReadPublic(h)
	if errors.Is(err, tpm.ErrNoObject) {
		return Key{}, fmt.Errorf("%s: %w", placeName(place), ErrIncomplete)
	}
	if err != nil {
		return Key{}, fmt.Errorf("%s: %w", placeName(place), err)
	}
	if !sameTemplate(pub, want) {
		return Key{}, fmt.Errorf("%s has other attributes: %w", placeName(place), ErrIncomplete)
	}
	return Key{Handle: h, Name: name, Public: pub}, nil
}

// place creates a key and makes it persistent, instead of what is there.
func (tre *TRE) place(place int, want tpm2.TPMTPublic, create func(tpm2.TPMTPublic) (tpm2.NamedHandle, error)) (Key, error) {
	h, err := tre.tpm.Persistent(place)
	if err != nil {
		return Key{}, err
	}
	if _, name, err := tre.tpm.ReadPublic(h); err == nil {
		if err := tre.tpm.Evict(h, name); err != nil {
			return Key{}, err
		}
	}
	made, err := create(want)
	if err != nil {
		return Key{}, err
	}
	err = tre.tpm.Persist(made.Handle, made.Name, h)
	if err := errors.Join(err, tre.tpm.Flush(made.Handle)); err != nil {
		return Key{}, err
	}
	return tre.find(place, want)
}

// primary creates primary keys of a hierarchy: the same key every time.
func (tre *TRE) primary(d tpm.Direction, hierarchy func(tpm.Direction) tpm2.AuthHandle) func(tpm2.TPMTPublic) (tpm2.NamedHandle, error) {
	return func(template tpm2.TPMTPublic) (tpm2.NamedHandle, error) {
		rsp, err := tpm2.CreatePrimary{PrimaryHandle: hierarchy(d), InPublic: tpm2.New2B(template)}.Execute(tre.tpm)
		if err != nil {
			return tpm2.NamedHandle{}, err
		}
		return tpm2.NamedHandle{Handle: rsp.ObjectHandle, Name: rsp.Name}, nil
	}
}

// child creates a new key under the SRK and loads it.
func (tre *TRE) child(template tpm2.TPMTPublic) (tpm2.NamedHandle, error) {
	made, err := tpm2.Create{ParentHandle: tre.SRK.Auth(tre.tpm.Session(tpm.InOut)), InPublic: tpm2.New2B(template)}.Execute(tre.tpm)
	if err != nil {
		return tpm2.NamedHandle{}, err
	}
	rsp, err := tpm2.Load{ParentHandle: tre.SRK.Auth(tre.tpm.Session(tpm.InOut)), InPrivate: made.OutPrivate, InPublic: made.OutPublic}.Execute(tre.tpm)
	if err != nil {
		return tpm2.NamedHandle{}, err
	}
	return tpm2.NamedHandle{Handle: rsp.ObjectHandle, Name: rsp.Name}, nil
}

// sameTemplate tells whether an ECC key was made from a template.
func sameTemplate(pub, template tpm2.TPMTPublic) bool {
	if pub.Type != tpm2.TPMAlgECC {
		return false
	}
	blank := tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{})
	pub.Unique, template.Unique = blank, blank
	return bytes.Equal(tpm2.Marshal(pub), tpm2.Marshal(template))
}

func eccP256(a tpm2.TPMAObject, policy []byte, scheme tpm2.TPMTECCScheme) tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type: tpm2.TPMAlgECC, NameAlg: tpm2.TPMAlgSHA256, ObjectAttributes: a,
		AuthPolicy: tpm2.TPM2BDigest{Buffer: policy},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			Symmetric: tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull},
			Scheme:    scheme,
			CurveID:   tpm2.TPMECCNistP256,
			KDF:       tpm2.TPMTKDFScheme{Scheme: tpm2.TPMAlgNull},
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: make([]byte, 32)}, Y: tpm2.TPM2BECCParameter{Buffer: make([]byte, 32)}}),
	}
}

func ecdsaSHA256() tpm2.TPMTECCScheme {
	return tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgECDSA,
		Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256})}
}

// resident are the attributes of a key that was born in the TPM and stays there,
// is used with an empty auth value and cannot lock the TPM out.
func resident() tpm2.TPMAObject {
	return tpm2.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, NoDA: true}
}

func akTemplate() tpm2.TPMTPublic {
	a := resident()
	a.Restricted, a.SignEncrypt = true, true
	return eccP256(a, nil, ecdsaSHA256())
}

func signTemplate() tpm2.TPMTPublic {
	a := resident()
	a.SignEncrypt = true
	return eccP256(a, nil, ecdsaSHA256())
}

func dekTemplate(policy []byte) tpm2.TPMTPublic {
	a := resident()
	a.Decrypt, a.UserWithAuth = true, policy == nil
	return eccP256(a, policy, tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgECDH,
		Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDH, &tpm2.TPMSKeySchemeECDH{HashAlg: tpm2.TPMAlgSHA256})})
}
