package usim

import (
	"errors"
	"fmt"

	"mcim/apdu"
	"mcim/apdu/uicc"
)

// Contexts of AUTHENTICATE, P2 (TS 31.102, 7.1.2), beside ContextGBA and
// ContextLocalKey. VGCS/VBS (82) and MBMS (85) have no codec.
const (
	ContextGSM byte = 0x80
	Context3G  byte = 0x81 // EPS and 5G too
	ContextIMS byte = 0x81 // of an ISIM (TS 31.103, 7.1.2): the same bytes, without Kc
)

// Sizes in bytes (TS 33.102, 6.3.7; TS 31.102, 7.1.2.1).
const (
	minRES, maxRES = 4, 16
	keyBytes       = 16
	sresBytes      = 4
	kcBytes        = 8
	autsBytes      = 14
)

// Tags of the answer in the 3G context (TS 31.102, 7.1.2.1).
const (
	tagSuccess     = 0xDB
	tagSyncFailure = 0xDC
)

// ErrAuthenticate is returned for bytes that are no answer to AUTHENTICATE; the
// text does not repeat them.
var ErrAuthenticate = errors.New("malformed answer to AUTHENTICATE")

// Authenticate is AUTHENTICATE (TS 31.102, 7.1.2).
type Authenticate struct {
	RAND [16]byte
	AUTN [16]byte // not sent in the GSM context
	// Context is P2: Context3G, which 0 stands for too, or ContextGSM.
	Context byte
}

// Command encodes the command.
func (a Authenticate) Command() apdu.Command {
	c := apdu.Command{INS: uicc.INSAuthenticate, P2: a.Context, Ne: apdu.MaxShortNe}
	c.Data = append([]byte{keyBytes}, a.RAND[:]...)
	switch a.Context {
	case ContextGSM:
	case Context3G, 0:
		c.P2 = Context3G
		c.Data = append(append(c.Data, keyBytes), a.AUTN[:]...)
	default:
		return apdu.Command{Err: fmt.Errorf("AUTHENTICATE: %w: context %02X, want 80 or 81", uicc.ErrField, a.Context)}
	}
	return c
}

// DecodeAuthenticate decodes P2 and the data of the command, as a card gets it.
// It is strict: Command of the result gives the same. The error wraps
// uicc.ErrField.
func DecodeAuthenticate(p2 byte, data []byte) (Authenticate, error) {
	a := Authenticate{Context: p2}
	parts, ok := split(data)
	if !ok {
		return Authenticate{}, fmt.Errorf("AUTHENTICATE: %w: a value is cut", uicc.ErrField)
	}
	want := 1
	if p2 == Context3G {
		want = 2
	} else if p2 != ContextGSM {
		return Authenticate{}, fmt.Errorf("AUTHENTICATE: %w: context %02X, want 80 or 81", uicc.ErrField, p2)
	}
	if len(parts) != want {
		return Authenticate{}, fmt.Errorf("AUTHENTICATE: %w: %d values, want %d", uicc.ErrField, len(parts), want)
	}
	for _, p := range parts {
		if len(p) != keyBytes {
			return Authenticate{}, fmt.Errorf("AUTHENTICATE: %w: value of %d bytes, want 16", uicc.ErrField, len(p))
		}
	}
	a.RAND = [16]byte(parts[0])
	if want == 2 {
		a.AUTN = [16]byte(parts[1])
	}
	return a, nil
}

// AuthenticateResponse is the answer in the 3G context (TS 31.102, 7.1.2.1).
type AuthenticateResponse struct {
	RES    []byte // 4 to 16 bytes
	CK, IK [16]byte
	Kc     *[8]byte // with service 27, GSM access, only
	// AUTS is the answer of a card that finds SQN out of range; the other fields
	// are not there then.
	AUTS *[14]byte
}

// Encode encodes the answer.
func (r AuthenticateResponse) Encode() []byte {
	if r.AUTS != nil {
		return append([]byte{tagSyncFailure, autsBytes}, r.AUTS[:]...)
	}
	b := append([]byte{tagSuccess, byte(len(r.RES))}, r.RES...)
	b = append(append(b, keyBytes), r.CK[:]...)
	b = append(append(b, keyBytes), r.IK[:]...)
	if r.Kc != nil {
		b = append(append(b, kcBytes), r.Kc[:]...)
	}
	return b
}

// ParseAuthenticate decodes the answer in the 3G context. It is strict: Encode of
// the result is data. The error wraps ErrAuthenticate.
func ParseAuthenticate(data []byte) (AuthenticateResponse, error) {
	if len(data) == 0 {
		return AuthenticateResponse{}, fmt.Errorf("%w: no data", ErrAuthenticate)
	}
	parts, ok := split(data[1:])
	if !ok {
		return AuthenticateResponse{}, fmt.Errorf("%w: a value is cut", ErrAuthenticate)
	}
	switch {
	case data[0] == tagSyncFailure && len(parts) == 1:
		return parseSyncFailure(parts[0])
	case data[0] == tagSuccess && (len(parts) == 3 || len(parts) == 4):
		return parseSuccess(parts)
	}
	return AuthenticateResponse{}, fmt.Errorf("%w: tag %02X with %d values", ErrAuthenticate, data[0], len(parts))
}

func parseSyncFailure(auts []byte) (AuthenticateResponse, error) {
	if len(auts) != autsBytes {
		return AuthenticateResponse{}, fmt.Errorf("%w: AUTS of %d bytes, want %d", ErrAuthenticate, len(auts), autsBytes)
	}
	return AuthenticateResponse{AUTS: (*[autsBytes]byte)(append([]byte{}, auts...))}, nil
}

func parseSuccess(parts [][]byte) (AuthenticateResponse, error) {
	res, ck, ik := parts[0], parts[1], parts[2]
	if len(res) < minRES || len(res) > maxRES {
		return AuthenticateResponse{}, fmt.Errorf("%w: RES of %d bytes, want 4 to 16", ErrAuthenticate, len(res))
	}
	if len(ck) != keyBytes || len(ik) != keyBytes {
		return AuthenticateResponse{}, fmt.Errorf("%w: CK of %d and IK of %d bytes, want 16 each", ErrAuthenticate, len(ck), len(ik))
	}
	r := AuthenticateResponse{RES: append([]byte{}, res...), CK: [16]byte(ck), IK: [16]byte(ik)}
	if len(parts) == 4 {
		if len(parts[3]) != kcBytes {
			return AuthenticateResponse{}, fmt.Errorf("%w: Kc of %d bytes, want 8", ErrAuthenticate, len(parts[3]))
		}
		r.Kc = (*[kcBytes]byte)(append([]byte{}, parts[3]...))
	}
	return r, nil
}

// AuthenticateGSMResponse is the answer in the GSM context (TS 31.102, 7.1.2.1).
type AuthenticateGSMResponse struct {
	SRES [4]byte
	Kc   [8]byte
}

// Encode encodes the answer.
func (r AuthenticateGSMResponse) Encode() []byte {
	return append(append(append([]byte{sresBytes}, r.SRES[:]...), kcBytes), r.Kc[:]...)
}

// ParseAuthenticateGSM decodes the answer in the GSM context. It is strict: Encode of
// the result is data. The error wraps ErrAuthenticate.
func ParseAuthenticateGSM(data []byte) (AuthenticateGSMResponse, error) {
	parts, ok := split(data)
	if !ok || len(parts) != 2 || len(parts[0]) != sresBytes || len(parts[1]) != kcBytes {
		return AuthenticateGSMResponse{}, fmt.Errorf("%w: want SRES of 4 bytes and Kc of 8", ErrAuthenticate)
	}
	return AuthenticateGSMResponse{[sresBytes]byte(parts[0]), [kcBytes]byte(parts[1])}, nil
}

// RunGSM is RUN GSM ALGORITHM of class A0 (TS 51.011, 9.2.16), with DF.GSM selected in that
// class. On success the card answers 9F0C, and 12 bytes to GET RESPONSE.
type RunGSM struct{ RAND [16]byte }

// Command encodes the command.
func (r RunGSM) Command() apdu.Command {
	return apdu.Command{CLA: 0xA0, INS: uicc.INSAuthenticate, Data: r.RAND[:], Ne: sresBytes + kcBytes}
}

// ParseRunGSM decodes the answer to RunGSM: SRES, then Kc. The error wraps
// ErrAuthenticate.
func ParseRunGSM(data []byte) (AuthenticateGSMResponse, error) {
	if len(data) != sresBytes+kcBytes {
		return AuthenticateGSMResponse{}, fmt.Errorf("%w: %d bytes, want SRES of 4 and Kc of 8", ErrAuthenticate, len(data))
	}
	return AuthenticateGSMResponse{[sresBytes]byte(data), [kcBytes]byte(data[sresBytes:])}, nil
}

// ParseAuthenticateIMS decodes the answer of an ISIM (TS 31.103, 7.1.2.1): that in the
// 3G context, in which a Kc is refused. The error wraps ErrAuthenticate.
func ParseAuthenticateIMS(data []byte) (AuthenticateResponse, error) {
	r, err := ParseAuthenticate(data)
	if err == nil && r.Kc != nil {
		return AuthenticateResponse{}, fmt.Errorf("%w: Kc in the answer of an ISIM", ErrAuthenticate)
	}
	return r, err
}

// split cuts values that each follow a byte with their length; ok is false where
// the last one is shorter than its length.
func split(b []byte) (parts [][]byte, ok bool) {
	for len(b) > 0 {
		n := int(b[0])
		if n > len(b)-1 {
			return nil, false
		}
		parts = append(parts, b[1:1+n])
		b = b[1+n:]
	}
	return parts, true
}
