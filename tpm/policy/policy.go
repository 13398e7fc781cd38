package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// Reasons for which a policy is not accepted.
var (
	// ErrPCRs: the set of PCRs is empty or has one that proves nothing.
	ErrPCRs = errors.New("PCR set unfit for a policy")
	// ErrEpoch: the epoch index is no NV handle, or the epoch is 0, which no
	// counter ever has.
	ErrEpoch = errors.New("epoch unfit for a policy")
	// ErrRefused: the TPM found that a term of the policy does not hold. It comes
	// as a RefusedError.
	ErrRefused = errors.New("policy refused by the TPM")
)

// Term is a part of the policy.
type Term string

// The terms, in the order in which the TPM checks them.
const (
	TermPlatform Term = "platform state" // PolicyPCR
	TermEpoch    Term = "epoch"          // PolicyNV
	TermCommand  Term = "command"        // PolicyCommandCode, or the use of the key
)

// RefusedError says which term does not hold; it is an ErrRefused and wraps the
// TPM's answer.
type RefusedError struct {
	Term Term
	Err  error
}

// Error names the term.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("policy refused by the TPM: the %s is not the approved one: %v", e.Term, e.Err)
}

// Unwrap gives ErrRefused and the TPM's answer.
func (e *RefusedError) Unwrap() []error { return []error{ErrRefused, e.Err} }

// Refused wraps the TPM's answer err as a refusal of term, and leaves an error
// that is no answer of the TPM (a broken transport) as it is.
func Refused(term Term, err error) error {
	var rc tpm2.TPMRC
	if !errors.As(err, &rc) || rc.IsWarning() {
		return err
	}
	return &RefusedError{Term: term, Err: err}
}

// MCIM is the policy of one key or sealed secret.
type MCIM struct {
	Platform   Platform       // PolicyPCR: the approved platform state
	EpochIndex tpm2.TPMHandle // PolicyNV: an NV counter as CounterPublic defines it
	Epoch      uint64         // its value
	Command    tpm2.TPMCC     // the only command: TPM2_EncryptDecrypt2 or TPM2_Unseal
}

// terms are the commands of the policy, in the order of execution.
type terms struct {
	pcr     tpm2.PolicyPCR
	nv      tpm2.PolicyNV
	command tpm2.PolicyCommandCode
}

// terms makes the commands for a policy session; ErrPCRs, ErrEpoch. name is that
// of the epoch counter, which only the digest needs: it is not sent, and the TPM
// knows it.
func (p MCIM) terms(session tpm2.TPMHandle, name tpm2.TPM2BName) (*terms, error) {
	if err := p.Platform.check(); err != nil {
		return nil, err
	}
	if p.EpochIndex>>24 != nvHandle || p.Epoch == 0 {
		return nil, fmt.Errorf("%w: index %#x, value %d", ErrEpoch, uint32(p.EpochIndex), p.Epoch)
	}
	index := tpm2.NamedHandle{Handle: p.EpochIndex, Name: name}
	return &terms{
		pcr: tpm2.PolicyPCR{
			PolicySession: session,
			PcrDigest:     tpm2.TPM2BDigest{Buffer: p.Platform.Digest[:]},
			Pcrs:          p.Platform.selection(),
		},
		nv: tpm2.PolicyNV{
			AuthHandle:    index,
			NVIndex:       index,
			PolicySession: session,
			OperandB:      tpm2.TPM2BOperand{Buffer: binary.BigEndian.AppendUint64(nil, p.Epoch)},
			Operation:     tpm2.TPMEOEq,
		},
		command: tpm2.PolicyCommandCode{PolicySession: session, Code: p.Command},
	}, nil
}

// Digest is the authPolicy, computed without a TPM; ErrPCRs, ErrEpoch.
func (p MCIM) Digest() ([sha256.Size]byte, error) {
	var digest [sha256.Size]byte
	name, err := CounterName(p.EpochIndex)
	if err != nil {
		return digest, err
	}
	c, err := p.terms(tpm2.TPMRHNull, name)
	if err != nil {
		return digest, err
	}
	calc, err := tpm2.NewPolicyCalculator(tpm2.TPMAlgSHA256)
	if err != nil {
		return digest, err
	}
	for _, term := range []tpm2.PolicyCommand{c.pcr, c.nv, c.command} {
		if err := term.Update(calc); err != nil {
			return digest, fmt.Errorf("compute policy digest: %w", err)
		}
	}
	return [sha256.Size]byte(calc.Hash().Digest), nil
}

// Run brings a fresh policy session (or one whose last use succeeded) into the
// state that allows the command once: three TPM commands. A term that does not
// hold is a RefusedError. After an error the session is of no use: flush it. Run
// is a tpm.PolicyRun; it does not use the nonce.
func (p MCIM) Run(t transport.TPM, session tpm2.TPMISHPolicy, _ tpm2.TPM2BNonce) error {
	c, err := p.terms(session, tpm2.TPM2BName{})
	if err != nil {
		return err
	}
	if _, err := c.pcr.Execute(t); err != nil {
		return Refused(TermPlatform, err)
	}
	if _, err := c.nv.Execute(t); err != nil {
		return Refused(TermEpoch, err)
	}
	if _, err := c.command.Execute(t); err != nil {
		return Refused(TermCommand, err)
	}
	return nil
}

// nvHandle is the first octet of the handle of an NV index (TPM 2.0 library,
// part 2, 7.2).
const nvHandle = 0x01

// CounterPublic is the public area of our NV counters, as the TPM has it once
// the counter was incremented: that sets the attribute written, and only then
// has the index the Name that PolicyNV takes into the digest. The counter is
// plain, not orderly, so that it neither jumps nor goes back at a power loss.
func CounterPublic(index tpm2.TPMHandle) tpm2.TPMSNVPublic {
	return tpm2.TPMSNVPublic{
		NVIndex: index,
		NameAlg: tpm2.TPMAlgSHA256,
		Attributes: tpm2.TPMANV{
			AuthWrite: true,
			NT:        tpm2.TPMNTCounter,
			AuthRead:  true,
			NoDA:      true,
			Written:   true,
		},
		DataSize: 8,
	}
}

// CounterName is the Name of CounterPublic(index).
func CounterName(index tpm2.TPMHandle) (tpm2.TPM2BName, error) {
	public := CounterPublic(index)
	name, err := tpm2.NVName(&public)
	if err != nil {
		return tpm2.TPM2BName{}, fmt.Errorf("name of NV index %#x: %w", uint32(index), err)
	}
	return *name, nil
}
