package mcim

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"mcim/tpm/ident"
	"mcim/tpm/policy"
)

// ErrReceipt is returned for a receipt or proof that does not prove it.
var ErrReceipt = errors.New("receipt proves nothing")

// Receipt proves that a package is installed. For an MCIM in the TRE it is
// TPM2_Certify of K by the AK: that very key object is in that very TPM. For one
// in a UICC, where K is no key of the TPM, it is TPM2_NV_Certify of the slot's
// epoch counter, in which only the AK's word stands behind the package id.
type Receipt struct {
	PackageID string `cbor:"1,keyasint"`
	Attest    []byte `cbor:"2,keyasint"` // TPMS_ATTEST
	Signature []byte `cbor:"3,keyasint"` // TPMT_SIGNATURE by the AK
}

// EpochProof proves the value of an epoch counter: TPM2_NV_Certify by the AK.
type EpochProof struct {
	Attest    []byte `cbor:"1,keyasint"` // TPMS_ATTEST
	Signature []byte `cbor:"2,keyasint"` // TPMT_SIGNATURE by the AK
}

// Receipt gives the receipt for what is in slot n once more, over a new nonce
// (P6.10, receipt lost). A slot without MCIM is ErrState.
func (s *Store) Receipt(n int, nonce []byte) (*Receipt, error) {
	sl, err := s.slot(n)
	if err != nil {
		return nil, err
	}
	if sl.MCIM == nil {
		return nil, fmt.Errorf("%w: slot %d is %s, there is nothing to certify", ErrState, n, sl.State)
	}
	return s.receipt(n, sl.MCIM, nonce)
}

func (s *Store) receipt(n int, c *content, nonce []byte) (r *Receipt, err error) {
	r = &Receipt{PackageID: c.ID}
	over := receiptData(c.ID, nonce)
	if c.Placement == InUICC {
		r.Attest, r.Signature, err = s.m.certifyCounter(s.epoch[n], over)
		return r, err
	}
	key, err := s.m.load(c.KeyPublic, c.KeyPrivate)
	if err != nil {
		return nil, err
	}
	r.Attest, r.Signature, err = s.m.certifyKey(key, over)
	return r, errors.Join(err, s.m.tpm.Flush(key.Handle))
}

// ProveEpoch proves the value of slot n's epoch counter over the caller's nonce.
func (s *Store) ProveEpoch(n int, nonce []byte) (p *EpochProof, err error) {
	if err := slotNumber(n); err != nil {
		return nil, err
	}
	p = &EpochProof{}
	p.Attest, p.Signature, err = s.m.certifyCounter(s.epoch[n], epochData(nonce))
	return p, err
}

// VerifyReceipt checks a receipt for the package over the verifier's nonce. The
// AK, as encoded TPMT_PUBLIC, is that of a TRE that was enrolled. Everything that is wrong is ErrReceipt.
func VerifyReceipt(akPublic []byte, p *Package, nonce []byte, r *Receipt) error {
	if r.PackageID != p.Header.ID {
		return fmt.Errorf("%w: it is for another package", ErrReceipt)
	}
	over := receiptData(r.PackageID, nonce)
	if p.Header.Placement == InUICC {
		value, err := counterValue(akPublic, over, p.Header.EpochIndex, r.Attest, r.Signature)
		if err == nil && value != p.Header.Epoch {
			err = fmt.Errorf("%w: the epoch has moved on", ErrReceipt)
		}
		return err
	}
	attest, err := ident.VerifyAttest(akPublic, tpm2.TPMSTAttestCertify, over, r.Attest, r.Signature)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	info, err := attest.Attested.Certify()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	name, err := p.KeyName()
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(info.Name.Buffer, name.Buffer) != 1 {
		return fmt.Errorf("%w: it certifies another key", ErrReceipt)
	}
	return nil
}

// VerifyEpoch checks a proof over the verifier's nonce and gives the value of
// the counter at index: before Build it must be Target.Epoch, after Erase more
// than the epoch of what was erased. Everything that is wrong is ErrReceipt.
func VerifyEpoch(akPublic []byte, index tpm2.TPMHandle, nonce []byte, p *EpochProof) (uint64, error) {
	return counterValue(akPublic, epochData(nonce), index, p.Attest, p.Signature)
}

func counterValue(akPublic, over []byte, index tpm2.TPMHandle, attest, signature []byte) (uint64, error) {
	a, err := ident.VerifyAttest(akPublic, tpm2.TPMSTAttestNV, over, attest, signature)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	info, err := a.Attested.NV()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	name, err := policy.CounterName(index)
	if err != nil {
		return 0, err
	}
	if subtle.ConstantTimeCompare(info.IndexName.Buffer, name.Buffer) != 1 || info.Offset != 0 || len(info.NVContents.Buffer) != 8 {
		return 0, fmt.Errorf("%w: it certifies another index", ErrReceipt)
	}
	return binary.BigEndian.Uint64(info.NVContents.Buffer), nil
}

// receiptData is what the AK signs besides the key: the package and the nonce.
func receiptData(id string, nonce []byte) []byte {
	return hashed("mcim-receipt/1", []byte(id), nonce)
}

func epochData(nonce []byte) []byte { return hashed("mcim-epoch/1", nonce) }

func hashed(label string, parts ...[]byte) []byte {
	h := sha256.New()
	h.Write([]byte(label))
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		h.Write(p)
	}
	return h.Sum(nil)
}
