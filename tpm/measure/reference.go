package measure

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/fxamacker/cbor/v2"
)

// Reference are the reference values of one build of a machine: which digests
// each PCR must have taken, in order. Who supplies the machine signs them.
type Reference struct {
	Build string         `cbor:"1,keyasint"` // name of the build
	PCRs  []PCRReference `cbor:"2,keyasint"` // ascending by PCR
}

// PCRReference are the reference values of one PCR.
type PCRReference struct {
	PCR     int      `cbor:"1,keyasint"`
	Digests []Digest `cbor:"2,keyasint"` // SHA-256, as extended from the start value
	// Locality is the one from which the TPM is started; 0 for any PCR but 0.
	Locality byte `cbor:"3,keyasint,omitempty"`
}

// ErrReference is for bytes that are no reference values.
var ErrReference = errors.New("not reference values")

// Derive takes the reference values of the given PCRs from the log of a machine
// of that build. A PCR without event in the log gets none: it must stay zero.
func Derive(build string, l Log, pcrs ...int) Reference {
	ref := Reference{Build: build}
	for _, pcr := range slices.Compact(slices.Sorted(slices.Values(pcrs))) {
		p := PCRReference{PCR: pcr, Digests: []Digest{}}
		if pcr == 0 {
			p.Locality = l.locality()
		}
		for _, e := range l.Events {
			if e.PCR == pcr && e.Type != EVNoAction {
				p.Digests = append(p.Digests, e.Digest)
			}
		}
		ref.PCRs = append(ref.PCRs, p)
	}
	return ref
}

// Values are the PCR values of the reference.
func (r Reference) Values() map[int]Digest {
	values := map[int]Digest{}
	for _, p := range r.PCRs {
		v := startValue(p.PCR, p.Locality)
		for _, d := range p.Digests {
			v = Extended(v, d)
		}
		values[p.PCR] = v
	}
	return values
}

// Selected are the PCRs of the reference, ascending.
func (r Reference) Selected() []int { return slices.Sorted(maps.Keys(r.Values())) }

// Bytes is the deterministic CBOR encoding (RFC 8949, 4.2.1).
func (r Reference) Bytes() ([]byte, error) {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		return nil, err
	}
	return mode.Marshal(r)
}

// ParseReference reads reference values; ErrReference.
func ParseReference(b []byte) (Reference, error) {
	mode, err := cbor.DecOptions{DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField, MaxArrayElements: maxEvents}.DecMode()
	if err != nil {
		return Reference{}, err
	}
	var r Reference
	if err := mode.Unmarshal(b, &r); err != nil {
		return Reference{}, fmt.Errorf("%w: %w", ErrReference, err)
	}
	again, err := r.Bytes()
	if err != nil || string(again) != string(b) {
		return Reference{}, fmt.Errorf("%w: not in canonical form", ErrReference)
	}
	for i, p := range r.PCRs {
		if p.PCR < 0 || p.PCR >= PCRCount || i > 0 && r.PCRs[i-1].PCR >= p.PCR {
			return Reference{}, fmt.Errorf("%w: PCR %d", ErrReference, p.PCR)
		}
	}
	return r, nil
}
