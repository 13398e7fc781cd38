package secret

import (
	"errors"
	"fmt"
	"log/slog"
)

const redacted = "[redacted]"

// Bytes is a secret of any length. The zero value is empty. The content lies
// behind a function, so that fmt prints an address even where Bytes is an
// unexported field, on which it calls no method (through a pointer it would
// print the content for a verb that does not fit, as in %s).
type Bytes struct{ reveal func() []byte }

// New takes a copy of b.
func New(b []byte) Bytes {
	c := append([]byte(nil), b...)
	return Bytes{func() []byte { return c }}
}

// Reveal gives the secret itself, not a copy. The caller must not print, log or
// store it in clear, nor change it.
func (s Bytes) Reveal() []byte {
	if s.reveal == nil {
		return nil
	}
	return s.reveal()
}

// Len is the length in bytes.
func (s Bytes) Len() int { return len(s.Reveal()) }

// String implements fmt.Stringer by redaction.
func (s Bytes) String() string { return redacted }

// GoString implements fmt.GoStringer by redaction.
func (s Bytes) GoString() string { return redacted }

// Format implements fmt.Formatter by redaction, for every verb.
func (s Bytes) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue implements slog.LogValuer by redaction.
func (s Bytes) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler by redaction.
func (s Bytes) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalCBOR refuses: a secret has to be sealed or wrapped before it is
// encoded, so an encoder that meets one has met a mistake.
func (s Bytes) MarshalCBOR() ([]byte, error) {
	return nil, errors.New("a secret must not be encoded: seal it first")
}
