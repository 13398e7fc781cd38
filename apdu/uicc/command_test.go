package uicc

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"mcim/apdu"
	"mcim/apdu/secret"
)

func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// commander is what every command of the package is.
type commander interface{ Command() apdu.Command }

// gsm is a command in class A0.
type gsm struct {
	c interface{ GSM() apdu.Command }
}

func (g gsm) Command() apdu.Command { return g.c.GSM() }

func TestCommands(t *testing.T) {
	t.Parallel()
	pin, err := PadPIN("1234")
	if err != nil {
		t.Fatal(err)
	}
	puk, err := PadPIN("12345678")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		c    commander
		want string
	}{
		{"MF", SelectFID(FIDMF), "00A40004023F0000"},
		{"MF without FCP", Select{ID: []byte{0x3F, 0}, NoData: true}, "00A4000C023F00"},
		{"child DF", Select{By: ByChild, ID: []byte{0x7F, 0x20}}, "00A40104027F2000"},
		{"parent", Select{By: ParentDF}, "00A4030400"},
		{"AID", SelectAID(fromHex(t, "A0000000871002")), "00A4040407A000000087100200"},
		{"AID, next", Select{By: ByAID, ID: fromHex(t, "A000000087"), Occurrence: NextOne}, "00A4040605A00000008700"},
		{"AID, end of session", Select{By: ByAID, ID: fromHex(t, "A000000087"), NoData: true, Terminate: true}, "00A4044C05A000000087"},
		{"path from MF", SelectPath(FIDCurrentADF, 0x6F07), "00A40804047FFF6F0700"},
		{"path from here", Select{By: ByPathFromCurrent, ID: fromHex(t, "5F3B4F20")}, "00A40904045F3B4F2000"},
		{"read", ReadBinary{Ne: 9}, "00B0000009"},
		{"read, highest offset", ReadBinary{Offset: MaxOffset, Ne: 256}, "00B07FFF00"},
		{"read by SFI", ReadBinary{SFI: 7, Offset: 1, Ne: 8}, "00B0870108"},
		{"write", UpdateBinary{Offset: 0x0102, Data: []byte{1, 2}}, "00D60102020102"},
		{"write by SFI", UpdateBinary{SFI: 30, Offset: 255, Data: []byte{1}}, "00D69EFF0101"},
		{"record", ReadRecord{Record: 1, Ne: 38}, "00B2010426"},
		{"current record", ReadRecord{Ne: 38}, "00B2000426"},
		{"record by SFI", ReadRecord{SFI: 0x1E, Record: 254, Ne: 256}, "00B2FEF400"},
		{"next record", ReadRecord{Mode: Next, Ne: 5}, "00B2000205"},
		{"write record", UpdateRecord{Record: 2, Data: []byte{9}}, "00DC02040109"},
		{"write record by SFI", UpdateRecord{SFI: 1, Record: 2, Data: []byte{9}}, "00DC020C0109"},
		{"write previous record", UpdateRecord{Mode: Previous, Data: []byte{9}}, "00DC00030109"},
		{"status", Status{}, "80F2000000"},
		{"status, initialized", Status{Application: 1, Data: StatusNothing}, "80F2010C"},
		{"status, AID", Status{Data: StatusAID}, "80F2000100"},
		{"rest of an answer", GetResponse{Ne: 256}, "00C0000000"},
		{"open a channel", ManageChannel{}, "0070000001"},
		{"open a certain channel", ManageChannel{Channel: 19}, "00700013"},
		{"close a channel", ManageChannel{Close: true, Channel: 1}, "00708001"},
		{"tries of PIN1", Verify{Ref: RefPIN1}, "00200001"},
		{"PIN1", Verify{Ref: RefPIN1, PIN: pin}, "002000010831323334FFFFFFFF"},
		{"universal PIN", Verify{Ref: RefUniversalPIN, PIN: pin}, "002000110831323334FFFFFFFF"},
		{"another PIN", ChangePIN{Ref: RefPIN2, Old: pin, New: puk}, "002400811031323334FFFFFFFF3132333435363738"},
		{"no PIN", DisablePIN{Ref: RefPIN1, PIN: pin}, "002600010831323334FFFFFFFF"},
		{"the universal PIN instead", DisablePIN{Replacement: RefUniversalPIN, Ref: RefPIN1, PIN: pin}, "002691010831323334FFFFFFFF"},
		{"PIN again", EnablePIN{Ref: RefPIN1, PIN: pin}, "002800010831323334FFFFFFFF"},
		{"CHV1", gsm{Verify{Ref: RefPIN1, PIN: pin}}, "A02000010831323334FFFFFFFF"},
		{"CHV2", gsm{Verify{Ref: RefPIN2, PIN: pin}}, "A02000020831323334FFFFFFFF"},
		{"another CHV2", gsm{ChangePIN{Ref: RefPIN2, Old: pin, New: puk}}, "A02400021031323334FFFFFFFF3132333435363738"},
		{"no CHV1", gsm{DisablePIN{Ref: RefPIN1, PIN: pin}}, "A02600010831323334FFFFFFFF"},
		{"CHV1 again", gsm{EnablePIN{Ref: RefPIN1, PIN: pin}}, "A02800010831323334FFFFFFFF"},
		{"UNBLOCK CHV1", gsm{UnblockPIN{Ref: RefPIN1, PUK: puk, NewPIN: pin}}, "A02C000010313233343536373831323334FFFFFFFF"},
		{"UNBLOCK CHV2", gsm{UnblockPIN{Ref: RefPIN2, PUK: puk, NewPIN: pin}}, "A02C000210313233343536373831323334FFFFFFFF"},
		{"tries of the PUK", UnblockPIN{Ref: RefPIN1}, "002C0001"},
		{"PUK", UnblockPIN{Ref: RefPIN1, PUK: puk, NewPIN: pin}, "002C00011031323334353637383132333" + "4FFFFFFFF"},
	}
	for _, tt := range tests {
		got, err := tt.c.Command().Bytes()
		if err != nil || !bytes.Equal(got, fromHex(t, tt.want)) {
			t.Errorf("%s: %X, %v; want %s", tt.name, got, err, tt.want)
		}
	}
}

func TestCommandsRefuse(t *testing.T) {
	t.Parallel()
	long, short := secret.New(make([]byte, 9)), secret.New([]byte("1234"))
	eight := secret.New(make([]byte, 8))
	for name, c := range map[string]commander{
		"FID of one byte":              Select{ID: []byte{0x3F}},
		"FID of three bytes":           Select{ID: []byte{0x3F, 0, 0}},
		"child without FID":            Select{By: ByChild},
		"parent with FID":              Select{By: ParentDF, ID: []byte{0x3F, 0}},
		"no AID":                       Select{By: ByAID},
		"AID of 17 bytes":              SelectAID(make([]byte, 17)),
		"empty path":                   SelectPath(),
		"path of odd length":           Select{By: ByPathFromMF, ID: []byte{1, 2, 3}},
		"path too long":                Select{By: ByPathFromCurrent, ID: make([]byte, 256)},
		"P1 that does not exist":       Select{By: 2, ID: []byte{0x3F, 0}},
		"termination of a file":        Select{ID: []byte{0x3F, 0}, Terminate: true},
		"next file":                    Select{ID: []byte{0x3F, 0}, Occurrence: NextOne},
		"fourth occurrence":            Select{By: ByAID, ID: []byte{0xA0}, Occurrence: 4},
		"read nothing":                 ReadBinary{},
		"read 257":                     ReadBinary{Ne: 257},
		"offset takes the bit of SFI":  ReadBinary{Offset: 0x8000, Ne: 1},
		"SFI 31":                       ReadBinary{SFI: 31, Ne: 1},
		"SFI and offset of two bytes":  ReadBinary{SFI: 1, Offset: 256, Ne: 1},
		"write nothing":                UpdateBinary{},
		"write 256":                    UpdateBinary{Data: make([]byte, 256)},
		"write, SFI, offset too large": UpdateBinary{SFI: 1, Offset: 256, Data: []byte{1}},
		"record 255":                   ReadRecord{Record: 255, Ne: 1},
		"record of SFI 31":             ReadRecord{SFI: 31, Record: 1, Ne: 1},
		"next record with a number":    ReadRecord{Record: 1, Mode: Next, Ne: 1},
		"record mode 1":                ReadRecord{Record: 1, Mode: 1, Ne: 1},
		"record of no length":          ReadRecord{Record: 1},
		"write record 255":             UpdateRecord{Record: 255, Data: []byte{1}},
		"write empty record":           UpdateRecord{Record: 1},
		"status 3":                     Status{Application: 3},
		"status, answer 2":             Status{Data: 2},
		"response of 0":                GetResponse{},
		"response of 257":              GetResponse{Ne: 257},
		"channel 20":                   ManageChannel{Channel: 20},
		"close the basic channel":      ManageChannel{Close: true},
		"PIN not padded":               Verify{Ref: RefPIN1, PIN: short},
		"PIN of 9 bytes":               Verify{Ref: RefPIN1, PIN: long},
		"PUK without PIN":              UnblockPIN{Ref: RefPIN1, PUK: eight},
		"PIN without PUK":              UnblockPIN{Ref: RefPIN1, NewPIN: eight},
		"no old PIN":                   ChangePIN{Ref: RefPIN1, New: eight},
		"new PIN not padded":           ChangePIN{Ref: RefPIN1, Old: eight, New: short},
		"disable without PIN":          DisablePIN{Ref: RefPIN1},
		"replaced by PIN2":             DisablePIN{Ref: RefPIN1, Replacement: RefPIN2, PIN: eight},
		"enable without PIN":           EnablePIN{Ref: RefPIN1},
		"tries of CHV1 by VERIFY":      gsm{Verify{Ref: RefPIN1}},
		"tries of UNBLOCK CHV1":        gsm{UnblockPIN{Ref: RefPIN1}},
		"ADM1 in class A0":             gsm{Verify{Ref: RefADM1, PIN: eight}},
		"universal PIN in class A0":    gsm{DisablePIN{Ref: RefPIN1, Replacement: RefUniversalPIN, PIN: eight}},
		"disable CHV2":                 gsm{DisablePIN{Ref: RefPIN2, PIN: eight}},
		"enable CHV2":                  gsm{EnablePIN{Ref: RefPIN2, PIN: eight}},
		"CHV1 not padded":              gsm{ChangePIN{Ref: RefPIN1, Old: short, New: eight}},
	} {
		if b, err := c.Command().Bytes(); !errors.Is(err, ErrField) || b != nil {
			t.Errorf("%s: %X, %v", name, b, err)
		}
	}
}

func TestPadPINRefuses(t *testing.T) {
	t.Parallel()
	for _, digits := range []string{"", "123", "123456789", "12a4", "12 4", "１２３４", "-123"} {
		pin, err := PadPIN(digits)
		if !errors.Is(err, ErrPIN) || pin.Len() != 0 {
			t.Errorf("%q: %d bytes, %v", digits, pin.Len(), err)
		}
	}
}

// TestCodes: what a file says is taken as it is, or refused.
func TestCodes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		encode func(string) (secret.Bytes, error)
		right  map[string]string
		wrong  []string
		err    error
	}{
		{"PIN", PadPIN, map[string]string{"1234": "31323334ffffffff", "12345678": "3132333435363738"}, []string{"123", "123456789", "12a4"}, ErrPIN},
		{"PUK", PUK, map[string]string{"12345678": "3132333435363738"}, []string{"", "1234567", "123456789", "1234567x"}, ErrPUK},
		{"ADM in text", ADMText, map[string]string{"adm-c0de": "61646d2d63306465", "12345678": "3132333435363738"},
			[]string{"", "1234567", "123456789", "adm\xffcode", "1234567\n", "ümlaut7", "3132333435363738"}, ErrADMText},
		{"ADM in hexadecimal", ADMHex, map[string]string{"0011aAbBcCdDeEfF": "0011aabbccddeeff"},
			[]string{"", "12345678", "0011aabbccddeef", "0011aabbccddeeff00", "0x11aabbccddeeff", "00 11aabbccddeef"}, ErrADMHex},
	} {
		for in, want := range tt.right {
			if got, err := tt.encode(in); err != nil || hex.EncodeToString(got.Reveal()) != want {
				t.Errorf("%s %q: %x %v, want %s", tt.name, in, got.Reveal(), err, want)
			}
		}
		for _, in := range tt.wrong {
			if got, err := tt.encode(in); !errors.Is(err, tt.err) || got.Len() != 0 {
				t.Errorf("%s %q: %d bytes, %v", tt.name, in, got.Len(), err)
			}
		}
	}
}

func TestCommandsDoNotPrintSecrets(t *testing.T) {
	t.Parallel()
	pin, err := PadPIN("7359")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []commander{Verify{PIN: pin}, UnblockPIN{PUK: pin, NewPIN: pin}, ChangePIN{Old: pin, New: pin}, DisablePIN{PIN: pin}, EnablePIN{PIN: pin}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			out := fmt.Sprintf(verb, c)
			if bytes.Contains([]byte(out), []byte("7359")) || bytes.Contains([]byte(out), []byte("55 51 53 57")) {
				t.Errorf("%s prints the PIN: %s", verb, out)
			}
		}
	}
}
