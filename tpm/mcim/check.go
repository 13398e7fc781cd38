package mcim

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/subtle"
	"fmt"
	"time"

	"github.com/google/go-tpm/tpm2"

	"mcim/tpm/policy"
)

// Check names one of the checks of TR 33.812 P6.8.
type Check string

// The checks, in the order in which they are made.
const (
	CheckSignature Check = "signature" // also: the bytes are no package
	CheckAuthority Check = "authority" // the issuer is none of Config.Issuers
	CheckRecipient Check = "recipient" // SRK and AK certificate are those of this TRE
	CheckFreshness Check = "freshness" // sequence number, epoch, validity
	CheckVersion   Check = "version"   // of the format, and the RIM build
	CheckPolicy    Check = "policy"    // K has the one policy and the attributes it must have
	CheckSpace     Check = "space"     // the slot does not hold the active MCIM
	CheckPlatform  Check = "platform"  // the platform is in the state that the package is for
)

// RejectError says which check refused a package, and why. The state of the TRE
// has not changed, but for the sequence number: it is consumed as soon as the
// package has passed freshness.
type RejectError struct {
	Check  Check
	Reason error
}

// Error names the check.
func (e *RejectError) Error() string {
	return fmt.Sprintf("package refused, check of %s: %v", e.Check, e.Reason)
}

// Unwrap is the reason.
func (e *RejectError) Unwrap() error { return e.Reason }

func reject(c Check, format string, args ...any) error {
	return &RejectError{Check: c, Reason: fmt.Errorf(format, args...)}
}

// authenticate makes the checks that need no state: signature, authority and
// recipient. What fails here leaves no trace.
func (s *Store) authenticate(raw []byte) (*Package, error) {
	p, err := ParsePackage(raw)
	if err != nil {
		return nil, &RejectError{Check: CheckSignature, Reason: err}
	}
	key, known := s.cfg.Issuers[p.Header.Issuer]
	if !known {
		return nil, reject(CheckAuthority, "nobody has authorised %q to issue packages for this TRE", p.Header.Issuer)
	}
	if err := verifyIssuer(p, key); err != nil {
		return nil, err
	}
	if s.cfg.Weak.NoRecipient {
		return p, nil
	}
	own, h := s.m.recipient(), p.Header.Recipient
	if !bytes.Equal(h.SRKName, own.SRKName) || h.AKCert != own.AKCert {
		return nil, reject(CheckRecipient, "it is for another TRE")
	}
	return p, nil
}

func verifyIssuer(p *Package, key *ecdsa.PublicKey) error {
	if err := p.verify(key); err != nil {
		return reject(CheckSignature, "it was not signed by %q, or was changed since: %w", p.Header.Issuer, err)
	}
	return nil
}

// fresh is the check of freshness. A package whose installation was broken off
// is known by its digest and may come again.
func (s *Store) fresh(p *Package, now time.Time) error {
	if s.cfg.Weak.NoFreshness {
		return nil
	}
	h, sl := &p.Header, s.state.Slots[p.Header.Slot]
	resumed := sl.Pending != nil && *sl.Pending == p.Digest()
	switch {
	case h.Sequence <= sl.Sequence && !resumed:
		return reject(CheckFreshness, "sequence number %d was used: the last one is %d", h.Sequence, sl.Sequence)
	case h.Epoch != s.epochs[h.Slot]:
		return reject(CheckFreshness, "it is for epoch %d of slot %d, which is in epoch %d", h.Epoch, h.Slot, s.epochs[h.Slot])
	case !h.validAt(now):
		return reject(CheckFreshness, "it is valid from %s to %s", stamp(h.NotBefore), stamp(h.NotAfter))
	}
	return nil
}

func stamp(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.RFC3339) }

// suits makes the checks after freshness: version, policy, space, platform.
func (s *Store) suits(p *Package) error {
	h := &p.Header
	if h.Version != packageVersion {
		return reject(CheckVersion, "format version %d, this TRE knows %d", h.Version, packageVersion)
	}
	if h.Build != s.cfg.Build {
		return reject(CheckVersion, "it is for build %q, this is %q", h.Build, s.cfg.Build)
	}
	if err := s.checkPolicy(p); err != nil {
		return err
	}
	if s.state.Slots[h.Slot].State == Active {
		return reject(CheckSpace, "slot %d holds the active MCIM", h.Slot)
	}
	return s.checkPlatform(h.Platform)
}

// checkPolicy compares K's public area with the only one that is right for the
// header, so that K obeys the policy and no other.
func (s *Store) checkPolicy(p *Package) error {
	h := &p.Header
	if h.EpochIndex != s.epoch[h.Slot].index {
		return reject(CheckPolicy, "the epoch counter of slot %d is not index %#x", h.Slot, uint32(h.EpochIndex))
	}
	if p.Key == nil {
		return nil
	}
	return checkKey(p.Key, policy.MCIM{
		Platform: h.Platform, EpochIndex: h.EpochIndex, Epoch: h.Epoch, Command: tpm2.TPMCCEncryptDecrypt2,
	})
}

func checkKey(key *KeyPart, want policy.MCIM) error {
	digest, err := want.Digest()
	if err != nil {
		return &RejectError{Check: CheckPolicy, Reason: err}
	}
	public, err := key.public()
	if err != nil {
		return &RejectError{Check: CheckPolicy, Reason: err}
	}
	unique, err := public.Unique.SymCipher()
	if err != nil || len(unique.Buffer) != len(digest) {
		return reject(CheckPolicy, "K is no symmetric key of SHA-256 name")
	}
	right := tpm2.Marshal(keyPublic(digest, [32]byte(unique.Buffer)))
	if subtle.ConstantTimeCompare(right, key.Public) != 1 {
		return reject(CheckPolicy, "K may be used otherwise than in the given platform state, epoch and command")
	}
	return nil
}

// checkPlatform compares with the PCRs as they are now. The TPM compares again
// with each use of K.
func (s *Store) checkPlatform(want policy.Platform) error {
	now, err := policy.ReadPlatform(s.m.tpm, want.List()...)
	if err != nil {
		return err
	}
	if now != want {
		return reject(CheckPlatform, "the platform is not in the state of the build over PCRs %v", want.List())
	}
	return nil
}
