package uicc

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// FuzzUICC runs all decoders of the package, chosen by the first byte: what they
// accept must encode to the same bytes again.
func FuzzUICC(f *testing.F) {
	e := readExamples(f)
	for _, s := range e.FCP {
		f.Add(append([]byte{0}, fromHex(f, s.FCP)...))
	}
	for _, s := range e.GSM {
		f.Add(append([]byte{1}, fromHex(f, s.Response)...))
	}
	for _, s := range []string{
		"00" + "62128202412183026F078A0105AB058001019000", "00" + "62138202412183026F078A01058B066F0600010102",
		"02" + "988812010000400310f0", "03" + "61194f10a0000000871004ffffffff890709000050054953696d31ffff",
		"04" + "800101A010A406830101950108A40683010A950108FF", "04" + "8401D4A40683010A9501088001029700",
		"05" + "31323334", "06" + "3132333435363738", "07" + "61646d2d636f6465", "08" + "02010102030405060708", "09" + "30303131616142424343646445456666",
	} {
		f.Add(fromHex(f, s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 {
			return
		}
		b := in[1:]
		if back, err := recode(in[0]%codecs, b); err == nil && !bytes.Equal(back, b) {
			t.Errorf("codec %d: %X became %X", in[0]%codecs, b, back)
		}
	})
}

// codecs is the number of those that recode knows.
const codecs = 10

// recode decodes and encodes with one of the codecs; the error is that of the
// decoder, an encoder that refuses what was decoded gives nil.
func recode(codec byte, b []byte) ([]byte, error) {
	switch codec {
	case 0:
		f, err := ParseFCP(b)
		if err != nil {
			return nil, err
		}
		f.ShortID()
		f.PINs.Enabled(RefPIN1)
		return f.Bytes(), nil
	case 1:
		g, err := ParseGSMResponse(b)
		g.FCP().Bytes()
		return g.Bytes(), err
	case 2:
		digits, err := DecodeICCID(b)
		if err != nil {
			return nil, err
		}
		back, _ := EncodeICCID(digits)
		return back, nil
	case 3:
		d, err := DecodeDirRecord(b)
		if err != nil {
			return nil, err
		}
		back, _ := d.Encode(len(b))
		return back, nil
	case 4:
		rules, err := DecodeARRRecord(b)
		if err != nil {
			return nil, err
		}
		Allowed(rules, AccessRead, func(byte) bool { return true })
		back, _ := EncodeARRRecord(rules, len(b))
		return back, nil
	case 5:
		pin, err := PadPIN(string(b))
		return bytes.TrimRight(pin.Reveal(), "\xff"), err
	case 6:
		puk, err := PUK(string(b))
		return puk.Reveal(), err
	case 7:
		adm, err := ADMText(string(b))
		return adm.Reveal(), err
	case 8:
		p, err := ParseSuspension(b)
		if err != nil {
			return nil, err
		}
		back, _ := EncodeDuration(p.Max, false) // there are several forms of one duration
		if d, err := DecodeDuration(back); err != nil || d != p.Max {
			return nil, nil
		}
		return append(b[:durationBytes:durationBytes], p.Token.Reveal()...), nil
	default:
		adm, err := ADMHex(string(b))
		if err != nil {
			return nil, err
		}
		back := []byte(hex.EncodeToString(adm.Reveal()))
		if bytes.EqualFold(back, b) {
			return b, nil // either case
		}
		return back, nil
	}
}
