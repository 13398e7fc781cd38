package usim

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// decoders are all codecs of the package.
var decoders = []func([]byte) (content, error){
	wrap(DecodeIMSI), wrap(DecodeACC), wrap(DecodeUST),
	func(b []byte) (content, error) {
		r, err := ParseAuthenticate(b)
		return encoded(r.Encode), err
	},
	func(b []byte) (content, error) {
		if len(b) == 0 {
			return nil, ErrContent
		}
		a, err := DecodeAuthenticate(b[0], b[1:])
		c := a.Command()
		return encoded(func() []byte { return append([]byte{c.P2}, c.Data...) }), err
	},
	inverse(answer(ParseAuthenticateGSM)), inverse(answer(ParseAuthenticateIMS)), inverse(answer(ParseGBABootstrap)),
	inverse(answer(ParseGBADerive)), inverse(answer(ParseLocalKey)), inverse(identityAnswer),
	func(b []byte) (content, error) {
		boot, derive, err := DecodeGBA(b)
		return encoded(func() []byte {
			if boot != nil {
				return boot.Command().Data
			}
			return derive.Command().Data
		}), err
	},
	func(b []byte) (content, error) {
		derive, check, err := DecodeLocalKey(b)
		return encoded(func() []byte {
			if derive != nil {
				return derive.Command().Data
			}
			return check.Command().Data
		}), err
	},
	func(b []byte) (content, error) {
		s, err := ParseSUCI(string(b))
		return encoded(func() []byte { return []byte(s.String()) }), err
	},
	func(b []byte) (content, error) {
		if len(b) != 3 {
			return nil, ErrContent
		}
		p, err := DecodePLMN([3]byte(b))
		return encoded(func() []byte { e, _ := p.Encode(); return e[:] }), err
	},
}

// inverse is a codec whose inverse gives the bytes themselves.
func inverse(f func([]byte) ([]byte, error)) func([]byte) (content, error) {
	return func(b []byte) (content, error) {
		back, err := f(b)
		return encoded(func() []byte { return back }), err
	}
}

// encoded is a codec without errors as content.
type encoded func() []byte

func (e encoded) Encode() ([]byte, error) { return e(), nil }

// FuzzUSIM runs all decoders of the package, chosen by the first byte: what they
// accept must encode to the same bytes again.
func FuzzUSIM(f *testing.F) {
	for i, s := range []string{
		"080910101032547698", "8001020207", "8201", "01000004", "0102030400F1100506FF03", "0102030405060713001408090A02",
		"0000000000000000000000AA62F210080900", "DC0E0102030405060708090A0B0C0D0E",
		"80100102030405060708090A0B0C0D0E0F10",
		"0401020304080102030405060708", "DC0E0102030405060708090A0B0C0D0E", "DB080102030405060708", "DC0E0102030405060708090A0B0C0D0E",
		"73128910000102030405060708090A0B0C0D0E0F", "A10C0100F110F0FF000000000010", "DE0161026162", "7306800102880101",
		hex.EncodeToString([]byte("suci-0-001-01-0-0-0-1")), "62F210",
	} {
		f.Add(append([]byte{byte(i)}, fromHex(f, s)...))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 {
			return
		}
		codec, b := int(in[0])%len(decoders), in[1:]
		c, err := decoders[codec](b)
		if err != nil {
			return
		}
		if back, err := c.Encode(); err != nil || !bytes.Equal(back, b) {
			t.Errorf("codec %d: %X became %X, %v", codec, b, back, err)
		}
	})
}
