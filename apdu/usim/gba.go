package usim

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"mcim/apdu"
	"mcim/apdu/uicc"
)

// ContextGBA is P2 of AUTHENTICATE in the GBA context (7.1.2).
const ContextGBA byte = 0x84

// First bytes of the command in the GBA context (7.1.2.3).
const (
	tagBootstrap = 0xDD
	tagDerive    = 0xDE
)

const (
	ksNAFBytes = 32
	maxShort   = 255 // what a short command and one byte of length have room for
)

// ErrGBA is returned for bytes that are no answer in the GBA context; the text does
// not repeat them.
var ErrGBA = errors.New("malformed answer to AUTHENTICATE in the GBA context")

// GBABootstrap is AUTHENTICATE in the GBA context, bootstrapping mode (7.1.2.3). AUTN
// carries MAC* (TS 33.220, 5.3.2).
type GBABootstrap struct{ RAND, AUTN [16]byte }

// Command encodes the command.
func (g GBABootstrap) Command() apdu.Command {
	data := append([]byte{tagBootstrap, keyBytes}, g.RAND[:]...)
	return gbaCommand(append(append(data, keyBytes), g.AUTN[:]...))
}

// GBADerive is AUTHENTICATE in the GBA context, NAF derivation mode (7.1.2.3), with
// the keys of the last bootstrapping.
type GBADerive struct {
	NAFID []byte // FQDN and Ua protocol (TS 33.220, 4.4), at least 1 byte
	IMPI  string // private identity, UTF-8, at least 1 byte
}

// Command encodes the command; an empty value, and more than 252 bytes of both, is
// uicc.ErrField in its Err.
func (g GBADerive) Command() apdu.Command {
	if problem := g.check(); problem != "" {
		return apdu.Command{Err: fmt.Errorf("AUTHENTICATE: %w: %s", uicc.ErrField, problem)}
	}
	data := append([]byte{tagDerive, byte(len(g.NAFID))}, g.NAFID...)
	return gbaCommand(append(append(data, byte(len(g.IMPI))), g.IMPI...))
}

func (g GBADerive) check() string {
	switch {
	case len(g.NAFID) == 0 || g.IMPI == "":
		return "NAF_ID and IMPI must not be empty"
	case len(g.NAFID)+len(g.IMPI) > maxShort-3:
		return fmt.Sprintf("NAF_ID and IMPI have %d bytes, at most %d fit", len(g.NAFID)+len(g.IMPI), maxShort-3)
	case !utf8.ValidString(g.IMPI):
		return "IMPI is not UTF-8"
	}
	return ""
}

func gbaCommand(data []byte) apdu.Command {
	return apdu.Command{INS: uicc.INSAuthenticate, P2: ContextGBA, Data: data, Ne: apdu.MaxShortNe}
}

// DecodeGBA decodes the data of the command, as a card gets it: one of the two
// results is not nil. It is strict: Command of the result has the same data. The
// error wraps uicc.ErrField.
func DecodeGBA(data []byte) (*GBABootstrap, *GBADerive, error) {
	if len(data) == 0 {
		return nil, nil, fmt.Errorf("AUTHENTICATE: %w: no data", uicc.ErrField)
	}
	parts, ok := split(data[1:])
	if !ok || len(parts) != 2 {
		return nil, nil, fmt.Errorf("AUTHENTICATE: %w: want two values behind the tag", uicc.ErrField)
	}
	switch data[0] {
	case tagBootstrap:
		if len(parts[0]) != keyBytes || len(parts[1]) != keyBytes {
			return nil, nil, fmt.Errorf("AUTHENTICATE: %w: RAND and AUTN of %d and %d bytes, want 16", uicc.ErrField, len(parts[0]), len(parts[1]))
		}
		return &GBABootstrap{[keyBytes]byte(parts[0]), [keyBytes]byte(parts[1])}, nil, nil
	case tagDerive:
		g := &GBADerive{NAFID: append([]byte{}, parts[0]...), IMPI: string(parts[1])}
		if problem := g.check(); problem != "" {
			return nil, nil, fmt.Errorf("AUTHENTICATE: %w: %s", uicc.ErrField, problem)
		}
		return nil, g, nil
	}
	return nil, nil, fmt.Errorf("AUTHENTICATE: %w: tag %02X, want DD or DE", uicc.ErrField, data[0])
}

// GBABootstrapResponse is the answer in bootstrapping mode (7.1.2.3).
type GBABootstrapResponse struct {
	RES []byte // 4 to 16 bytes
	// AUTS is the answer of a card that finds SQN out of range; RES is not there
	// then.
	AUTS *[14]byte
}

// Encode encodes the answer.
func (r GBABootstrapResponse) Encode() []byte {
	if r.AUTS != nil {
		return append([]byte{tagSyncFailure, autsBytes}, r.AUTS[:]...)
	}
	return append([]byte{tagSuccess, byte(len(r.RES))}, r.RES...)
}

// ParseGBABootstrap decodes the answer in bootstrapping mode. It is strict: Encode of
// the result is data. The error wraps ErrGBA.
func ParseGBABootstrap(data []byte) (GBABootstrapResponse, error) {
	tag, value, err := oneValue(data)
	switch {
	case err != nil:
		return GBABootstrapResponse{}, err
	case tag == tagSyncFailure && len(value) == autsBytes:
		return GBABootstrapResponse{AUTS: (*[autsBytes]byte)(value)}, nil
	case tag == tagSuccess && len(value) >= minRES && len(value) <= maxRES:
		return GBABootstrapResponse{RES: value}, nil
	}
	return GBABootstrapResponse{}, fmt.Errorf("%w: tag %02X with %d bytes", ErrGBA, tag, len(value))
}

// GBADeriveResponse is the answer in NAF derivation mode (7.1.2.3). Ks_int_NAF stays
// in the card.
type GBADeriveResponse struct{ KsExtNAF [32]byte }

// Encode encodes the answer.
func (r GBADeriveResponse) Encode() []byte {
	return append([]byte{tagSuccess, ksNAFBytes}, r.KsExtNAF[:]...)
}

// ParseGBADerive decodes the answer in NAF derivation mode. It is strict: Encode of
// the result is data. The error wraps ErrGBA.
func ParseGBADerive(data []byte) (GBADeriveResponse, error) {
	tag, value, err := oneValue(data)
	if err != nil {
		return GBADeriveResponse{}, err
	}
	if tag != tagSuccess || len(value) != ksNAFBytes {
		return GBADeriveResponse{}, fmt.Errorf("%w: tag %02X with %d bytes, want DB with 32", ErrGBA, tag, len(value))
	}
	return GBADeriveResponse{[ksNAFBytes]byte(value)}, nil
}

// oneValue cuts a tag, a length and a copy of the value with that length.
func oneValue(data []byte) (tag byte, value []byte, err error) {
	if len(data) < 2 || len(data) != 2+int(data[1]) {
		return 0, nil, fmt.Errorf("%w: %d bytes are no tag with one value", ErrGBA, len(data))
	}
	return data[0], append([]byte{}, data[2:]...), nil
}
