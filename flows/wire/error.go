package wire

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// Code says what kind of failure an Error is: what the caller can do about it.
type Code string

// The codes that cross the wire.
const (
	CodeRefused     Code = "refused"     // the other role says no; asking again does not help
	CodeNotFound    Code = "not-found"   // the thing asked about does not exist there
	CodeConflict    Code = "conflict"    // it contradicts what the other role already holds
	CodeInvalid     Code = "invalid"     // the message itself is wrong: malformed, too large, wrong path
	CodeUnavailable Code = "unavailable" // not reached, or it cannot answer now; asking again may help
	CodeInternal    Code = "internal"    // the other role has a fault
)

// Sentinels for errors.Is: an Error is the one of its Code.
var (
	ErrRefused     = errors.New("refused")
	ErrNotFound    = errors.New("not found")
	ErrConflict    = errors.New("conflict")
	ErrInvalid     = errors.New("invalid message")
	ErrUnavailable = errors.New("unavailable")
	ErrInternal    = errors.New("internal error")
)

func (c Code) sentinel() error {
	switch c {
	case CodeRefused:
		return ErrRefused
	case CodeNotFound:
		return ErrNotFound
	case CodeConflict:
		return ErrConflict
	case CodeInvalid:
		return ErrInvalid
	case CodeUnavailable:
		return ErrUnavailable
	case CodeInternal:
		return ErrInternal
	}
	return nil
}

// Error is a failure that keeps its meaning across the wire and in the store of
// a durable procedure. errors.Is finds the sentinel of its Code and, until it is
// encoded, the cause that was formatted into Text with %w.
type Error struct {
	Code Code
	// Role is who said it first; filled in by its server.
	Role string
	// Step is the arrow of the procedure that failed, as in "P6.8"; may be empty.
	Step string
	// Text says what happened, in one line without control characters.
	Text string

	cause error
}

// maxErrorText is how many bytes of a text cross the wire.
const maxErrorText = 1024

// Errorf makes an Error; format and args as of fmt.Errorf.
func Errorf(code Code, step, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Step: step, Text: oneLine(err.Error()), cause: err}
}

// Refuse makes an Error with CodeRefused; format and args as of fmt.Errorf.
func Refuse(step, format string, args ...any) *Error {
	return Errorf(CodeRefused, step, format, args...)
}

// Error is "ro refused at P6.8: text", without the parts that are empty.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Role != "" {
		b.WriteString(e.Role + " ")
	}
	if s := e.Code.sentinel(); s != nil {
		b.WriteString(s.Error())
	} else {
		b.WriteString(string(e.Code))
	}
	if e.Step != "" {
		b.WriteString(" at " + e.Step)
	}
	if e.Text != "" {
		b.WriteString(": " + e.Text)
	}
	return b.String()
}

// Is reports whether target is the sentinel of the error's code.
func (e *Error) Is(target error) bool { return target != nil && target == e.Code.sentinel() }

// Unwrap returns what Text was formatted from; nil after a trip over the wire.
func (e *Error) Unwrap() error { return e.cause }

// AsError turns any error into one that can be encoded: an Error in its chain as
// it is, a context that ended into CodeUnavailable, everything else into
// CodeInternal. step is taken where the Error has none.
func AsError(err error, step string) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		c := *e
		if c.Step == "" {
			c.Step = step
		}
		return &c
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Errorf(CodeUnavailable, step, "%w", err)
	}
	return Errorf(CodeInternal, step, "%w", err)
}

// errorForm is an Error as a message.
type errorForm struct {
	Code Code   `cbor:"code"`
	Role string `cbor:"role"`
	Step string `cbor:"step"`
	Text string `cbor:"text"`
}

// MarshalCBOR encodes what crosses the wire: all but the cause.
func (e *Error) MarshalCBOR() ([]byte, error) {
	return Marshal(errorForm{e.Code, e.Role, e.Step, oneLine(e.Text)})
}

// UnmarshalCBOR decodes an Error of another role, which is not trusted: the code
// must be known and the texts printable.
func (e *Error) UnmarshalCBOR(b []byte) error {
	f, err := Unmarshal[errorForm](b)
	if err != nil {
		return err
	}
	for _, s := range []string{f.Role, f.Step, f.Text} {
		if s != oneLine(s) {
			return fmt.Errorf("%w: an error's text is not one printable line of %d bytes", ErrMalformed, maxErrorText)
		}
	}
	if f.Code.sentinel() == nil {
		return fmt.Errorf("%w: unknown error code", ErrMalformed)
	}
	*e = Error{Code: f.Code, Role: f.Role, Step: f.Step, Text: f.Text}
	return nil
}

// oneLine makes s printable on one line and short enough for the wire.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > maxErrorText {
		s = strings.ToValidUTF8(s[:maxErrorText], "")
	}
	return s
}
