package attest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/fxamacker/cbor/v2"

	"mcim/tpm/ident"
	"mcim/tpm/measure"
)

// Errors of Quoted and Parse.
var (
	// ErrRequest: a nonce or exporter that is not 32 bytes long.
	ErrRequest = errors.New("nonce and TLS exporter must have 32 bytes each")
	// ErrEvidence: the bytes are no evidence.
	ErrEvidence = errors.New("not evidence of a TRE")
)

// DefaultPCRs are the PCRs that count when nobody says otherwise.
func DefaultPCRs() []int { return measure.PolicyPCRs() }

// Request is what evidence is asked with. Both sides must know all of it.
type Request struct {
	Nonce    []byte // 32 bytes, of the verifier
	Exporter []byte // 32 bytes, keying material exported from the TLS session
	Purpose  string // what the verdict is for
	// PCRs that must be covered; nil: DefaultPCRs.
	PCRs []int
}

func (r Request) pcrs() []int {
	if r.PCRs == nil {
		return DefaultPCRs()
	}
	return slices.Compact(slices.Sorted(slices.Values(r.PCRs)))
}

// challenge is the extraData of the quote. The fixed lengths keep one request
// from reading as another.
func (r Request) challenge() ([]byte, error) {
	if len(r.Nonce) != 32 || len(r.Exporter) != 32 {
		return nil, ErrRequest
	}
	h := sha256.New()
	for _, part := range [][]byte{[]byte("tre-attest/1"), r.Nonce, r.Exporter, []byte(r.Purpose)} {
		h.Write(part)
	}
	return h.Sum(nil), nil
}

// Evidence is what a TRE shows of its state. Nothing in it is believed but what
// the AK signed.
type Evidence struct {
	AK        []byte     `cbor:"1,keyasint"` // Name of the AK that signed
	Quote     []byte     `cbor:"2,keyasint"` // encoded TPMS_ATTEST
	Signature []byte     `cbor:"3,keyasint"` // encoded TPMT_SIGNATURE
	PCRs      []PCRValue `cbor:"4,keyasint"` // ascending
	Log       []byte     `cbor:"5,keyasint"` // event log, TCG crypto-agile format
}

// PCRValue is the value of one PCR, SHA-256 bank.
type PCRValue struct {
	PCR   int            `cbor:"1,keyasint"`
	Value measure.Digest `cbor:"2,keyasint"`
}

// Measure begins evidence: it reads the PCRs (nil: DefaultPCRs), to which log is
// to lead. That nobody believes before Quote.
func Measure(tre *ident.TRE, pcrs []int, log []byte) (Evidence, error) {
	pcrs = Request{PCRs: pcrs}.pcrs()
	values, err := measure.Read(tre.TPM(), pcrs...)
	if err != nil {
		return Evidence{}, err
	}
	e := Evidence{AK: tre.AK.Name.Buffer, Log: log}
	for _, pcr := range pcrs {
		e.PCRs = append(e.PCRs, PCRValue{pcr, values[pcr]})
	}
	return e, nil
}

// Quoted is the evidence with the AK's signature over the PCRs that were measured
// and the request: one TPM command and a session. It fails with ErrRequest.
func (e Evidence) Quoted(tre *ident.TRE, r Request) (Evidence, error) {
	challenge, err := r.challenge()
	if err != nil {
		return Evidence{}, err
	}
	var pcrs []int
	for _, v := range e.PCRs {
		pcrs = append(pcrs, v.PCR)
	}
	e.Quote, e.Signature, err = tre.Quote(challenge, measure.Selection(pcrs...))
	return e, err
}

// Marshal is the deterministic CBOR encoding (RFC 8949, 4.2.1).
func (e Evidence) Marshal() ([]byte, error) {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		return nil, err
	}
	return mode.Marshal(e)
}

// Parse reads evidence. It is strict: Marshal gives the same bytes again. It
// fails with ErrEvidence.
func Parse(b []byte) (Evidence, error) {
	mode, err := cbor.DecOptions{DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField}.DecMode()
	if err != nil {
		return Evidence{}, err
	}
	var e Evidence
	if err := mode.Unmarshal(b, &e); err != nil {
		return Evidence{}, fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	again, err := e.Marshal()
	if err != nil || !bytes.Equal(again, b) {
		return Evidence{}, fmt.Errorf("%w: not in canonical form", ErrEvidence)
	}
	return e, nil
}
