package measure

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// ErrState means that a PCR holds something which the log does not explain. Only
// a restart of the TPM brings it back.
var ErrState = errors.New("the PCR holds measurements that are not in the log")

// ErrBank means that the TPM has no SHA-256 bank for a PCR.
var ErrBank = errors.New("the TPM has no SHA-256 bank")

// Extend plays the events of the given PCRs (none given: all of the log) into
// the TPM. What an earlier run has extended since the start of the TPM is left
// as it is, so it can be called again after any interruption. It fails with
// ErrState and ErrBank; on a TPM of somebody else with *tpm.TakeOverError for
// any PCR but our register.
func Extend(t transport.TPM, l Log, pcrs ...int) error {
	if len(pcrs) == 0 {
		pcrs = slices.Sorted(maps.Keys(l.Replay()))
	}
	values, err := Read(t, pcrs...)
	if err != nil {
		return err
	}
	for _, pcr := range pcrs {
		missing, err := l.missing(pcr, values[pcr])
		if err != nil {
			return err
		}
		for _, e := range missing {
			_, err := tpm2.PCRExtend{
				PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)},
				Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: e.Digest[:]}}},
			}.Execute(t)
			if err != nil {
				return fmt.Errorf("extend PCR %d: %w", pcr, err)
			}
		}
	}
	return nil
}

// missing are the events of a PCR that lead from its value to the end of the log.
func (l Log) missing(pcr int, value Digest) ([]Event, error) {
	v := startValue(pcr, l.locality())
	var events []Event
	for _, e := range l.Events {
		if e.PCR == pcr && e.Type != EVNoAction {
			events = append(events, e)
		}
	}
	for i, e := range events {
		if v == value {
			return events[i:], nil
		}
		v = Extended(v, e.Digest)
	}
	if v != value {
		return nil, fmt.Errorf("PCR %d: %w", pcr, ErrState)
	}
	return nil, nil
}

// Read reads PCR values of the SHA-256 bank. Nothing protects the answer: a
// quote does. It fails with ErrBank.
func Read(t transport.TPM, pcrs ...int) (map[int]Digest, error) {
	values := map[int]Digest{}
	for part := range slices.Chunk(pcrs, 8) { // the TPM gives eight at once
		if slices.ContainsFunc(part, func(p int) bool { return p < 0 || p >= PCRCount }) {
			return nil, fmt.Errorf("there are PCRs 0 to %d", PCRCount-1)
		}
		part = slices.Compact(slices.Sorted(slices.Values(part)))
		rsp, err := tpm2.PCRRead{PCRSelectionIn: Selection(part...)}.Execute(t)
		if err != nil {
			return nil, fmt.Errorf("read PCRs: %w", err)
		}
		if len(rsp.PCRValues.Digests) != len(part) {
			return nil, fmt.Errorf("read PCRs %v: %w", part, ErrBank)
		}
		for i, d := range rsp.PCRValues.Digests {
			if len(d.Buffer) != len(Digest{}) {
				return nil, fmt.Errorf("read PCR %d: %w", part[i], ErrBank)
			}
			values[part[i]] = Digest(d.Buffer)
		}
	}
	return values, nil
}

// Selection selects PCRs of the SHA-256 bank.
func Selection(pcrs ...int) tpm2.TPMLPCRSelection {
	list := make([]uint, len(pcrs))
	for i, p := range pcrs {
		list[i] = uint(p)
	}
	return tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
		{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(list...)}}}
}
