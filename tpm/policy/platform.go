package policy

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// pcrCount is the number of PCRs of a PC Client TPM.
const pcrCount = 24

// resettable are the PCRs that any software can reset (debug and application,
// PC Client profile 4.7): a policy over one of them proves nothing.
var resettable = [...]int{16, 23}

// Platform is a platform state: PCRs of the SHA-256 bank and the digest over
// their values. It is comparable.
type Platform struct {
	PCRs   uint32            // bit n is set for PCR n
	Digest [sha256.Size]byte // SHA-256 over the values in ascending order of n
}

// NewPlatform is the state in which the PCRs have these values, by number.
// An empty set, a number above 23 or a resettable PCR is ErrPCRs.
func NewPlatform(values map[int][sha256.Size]byte) (Platform, error) {
	var p Platform
	h := sha256.New()
	for _, n := range slices.Sorted(maps.Keys(values)) {
		if n < 0 || n >= pcrCount {
			return Platform{}, fmt.Errorf("%w: there is no PCR %d", ErrPCRs, n)
		}
		p.PCRs |= 1 << n
		v := values[n]
		h.Write(v[:])
	}
	h.Sum(p.Digest[:0])
	return p, p.check()
}

// ReadPlatform reads the state that the TPM is in now, over the given PCRs.
// The answer is not authenticated: the TPM compares again when it runs a policy.
func ReadPlatform(t transport.TPM, pcrs ...int) (Platform, error) {
	var left uint32
	for _, n := range pcrs {
		if n < 0 || n >= pcrCount {
			return Platform{}, fmt.Errorf("%w: there is no PCR %d", ErrPCRs, n)
		}
		left |= 1 << n
	}
	values := make(map[int][sha256.Size]byte, len(pcrs))
	for left != 0 { // a TPM gives eight at once
		read, err := readPCRs(t, left, values)
		if err != nil {
			return Platform{}, err
		}
		left &^= read
	}
	return NewPlatform(values)
}

// readPCRs reads some of the wanted PCRs into values and says which.
func readPCRs(t transport.TPM, wanted uint32, values map[int][sha256.Size]byte) (read uint32, err error) {
	rsp, err := tpm2.PCRRead{PCRSelectionIn: selection(wanted)}.Execute(t)
	if err != nil {
		return 0, fmt.Errorf("read PCRs: %w", err)
	}
	for _, s := range rsp.PCRSelectionOut.PCRSelections {
		if s.Hash == tpm2.TPMAlgSHA256 && len(s.PCRSelect) == pcrCount/8 {
			read = uint32(s.PCRSelect[0]) | uint32(s.PCRSelect[1])<<8 | uint32(s.PCRSelect[2])<<16
		}
	}
	list := (Platform{PCRs: read}).List()
	if read == 0 || read&^wanted != 0 || len(rsp.PCRValues.Digests) != len(list) {
		return 0, fmt.Errorf("%w: the TPM does not give the SHA-256 bank of PCRs %v", ErrPCRs, (Platform{PCRs: wanted}).List())
	}
	for i, n := range list {
		if len(rsp.PCRValues.Digests[i].Buffer) != sha256.Size {
			return 0, fmt.Errorf("%w: value of %d bytes for PCR %d", ErrPCRs, len(rsp.PCRValues.Digests[i].Buffer), n)
		}
		values[n] = [sha256.Size]byte(rsp.PCRValues.Digests[i].Buffer)
	}
	return read, nil
}

// List is the numbers of the PCRs, ascending.
func (p Platform) List() []int {
	var list []int
	for n := range 32 {
		if p.PCRs&(1<<n) != 0 {
			list = append(list, n)
		}
	}
	return list
}

func (p Platform) check() error {
	if p.PCRs == 0 {
		return fmt.Errorf("%w: it is empty, so every platform would do", ErrPCRs)
	}
	if p.PCRs>>pcrCount != 0 {
		return fmt.Errorf("%w: there are only %d", ErrPCRs, pcrCount)
	}
	for _, n := range resettable {
		if p.PCRs&(1<<n) != 0 {
			return fmt.Errorf("%w: any software can reset PCR %d", ErrPCRs, n)
		}
	}
	return nil
}

func (p Platform) selection() tpm2.TPMLPCRSelection { return selection(p.PCRs) }

func selection(pcrs uint32) tpm2.TPMLPCRSelection {
	return tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{
		Hash:      tpm2.TPMAlgSHA256,
		PCRSelect: []byte{byte(pcrs), byte(pcrs >> 8), byte(pcrs >> 16)},
	}}}
}
