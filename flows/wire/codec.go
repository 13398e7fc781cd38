package wire

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// ErrMalformed is for bytes that are not the one encoding of a message of the
// wanted type: broken CBOR, a field that is unknown, missing or twice, an indefinite
// length, a tag, or an order of keys other than that of RFC 8949, 4.2.1.
var ErrMalformed = errors.New("malformed message")

// The limits that a message may reach.
const (
	maxNesting  = 16
	maxElements = 1 << 16
)

var (
	encMode = must(encOptions().EncMode())
	decMode = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:   maxNesting,
		MaxArrayElements:  maxElements,
		MaxMapPairs:       maxElements,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		UTF8:              cbor.UTF8RejectInvalid,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
	}.DecMode())
)

func encOptions() cbor.EncOptions {
	o := cbor.CoreDetEncOptions()
	o.Time = cbor.TimeRFC3339NanoUTC
	o.TagsMd = cbor.TagsForbidden
	return o
}

// must is for values that are fixed at compile time.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Marshal encodes v as CBOR in the core deterministic form (RFC 8949, 4.2.1),
// times as UTC text with nanoseconds. A secret.Bytes anywhere in v is an error.
func Marshal(v any) ([]byte, error) {
	b, err := encMode.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%T has no message form: %w", v, err)
	}
	return b, nil
}

// Unmarshal decodes b, which must be exactly what Marshal gives for the value:
// every other encoding of the same value is refused with ErrMalformed, so that a
// message has one form only.
func Unmarshal[T any](b []byte) (T, error) {
	var v T
	if err := decMode.Unmarshal(b, &v); err != nil {
		var zero T
		return zero, fmt.Errorf("%w: %T: %w", ErrMalformed, v, err)
	}
	again, err := encMode.Marshal(&v)
	if err != nil || !bytes.Equal(again, b) {
		var zero T
		return zero, fmt.Errorf("%w: %T: a field is missing or the encoding is not the deterministic one", ErrMalformed, v)
	}
	return v, nil
}
