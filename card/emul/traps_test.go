package emul

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mcim/apdu/ef"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/aka"
)

// The traps that other software cards fell into, each with the thread that tells of it.

// TestTrap01MACBeforeSQN: a wrong MAC gives 9862 and never AUTS, whether the SQN in it
// is new or old (onomondo/onomondo-uicc#103).
func TestTrap01MACBeforeSQN(t *testing.T) {
	t.Parallel()
	p := testProfile(t)
	c, home := newCard(t, p), homeOf(t, p)
	run(t, c, selectUSIM, verifyPIN1)
	old, fresh := nextVector(t, home), nextVector(t, home)
	run(t, c, authenticate(old)+"00 = "+success(old), authenticate(old)+"00 = DC0E~9000")
	for _, v := range []aka.Vector{old, fresh} {
		v.AUTN[15] ^= 1
		run(t, c, authenticate(v)+"00 = 9862")
	}
	run(t, c, authenticate(fresh)+"00 = "+success(fresh))
}

// TestTrap02SQNConcealed: the SQN under AK is uncovered before it is judged, and the AUTS
// covers its own again: the home operator finds its way back (tomasz-lisowski/swsim#18).
func TestTrap02SQNConcealed(t *testing.T) {
	t.Parallel()
	p := testProfile(t)
	c := newCard(t, p)
	run(t, c, selectUSIM, verifyPIN1)
	lost := aka.NewSubscriber(milenageOf(t, p), 0, p.AMF, nil)
	behind := nextVector(t, lost)
	answer := send(t, c, authenticate(behind)+"00")
	if !strings.HasPrefix(answer, "dc0e") {
		t.Fatalf("an old SQN: %s", answer)
	}
	if err := lost.Resync(behind.RAND, [14]byte(unhex(t, answer)[2:])); err != nil {
		t.Fatal(err)
	}
	if lost.SQN() < p.SQN {
		t.Errorf("resynchronised to %d, the card was at %d", lost.SQN(), p.SQN)
	}
	next := nextVector(t, lost)
	run(t, c, authenticate(next)+"00 = "+success(next))
}

// TestTrap03GSMContext: the GSM context answers where services 27 and 38 are there, and
// is refused with 9864 where they are not (onomondo/onomondo-uicc#82).
func TestTrap03GSMContext(t *testing.T) {
	t.Parallel()
	const gsm = "00880080 11 10 00112233445566778899AABBCCDDEEFF 00"
	p := testProfile(t)
	run(t, newCard(t, p), selectUSIM, verifyPIN1, gsm+" = 04........08................9000")
	p.Model = "strict"
	run(t, newCard(t, p), selectUSIM, verifyPIN1, gsm+" = 9864")
}

// TestTrap04SFI: an SFI finds the file of the current directory, makes it current, and
// counts 5 bits; one of a neighbour is not found (onomondo/onomondo-uicc#21 and #151).
func TestTrap04SFI(t *testing.T) {
	t.Parallel()
	run(t, newCard(t, testProfile(t)),
		"00B08200 0A = ~9000", // EF.ICCID of the MF
		selectUSIM, verifyPIN1,
		"00B08700 09 = ~9000", // EF.IMSI
		"00B00001 01 = ~9000", // it is current
		"00B2010C 0E = ~9000", // EF.ECC, record 1
		"00B20104 0E = ~9000",
		"00B09F00 01 = 6A82",
		"00B0C700 09 = 6A86", // bits 6 and 7 of P1 are 0
		"00A4000C 02 5FC0 = 9000",
		"00B08700 01 = 6982", // EF.SUCI_Calc_Info of DF.5GS, which is for ADM1
	)
}

// TestTrap05AllSQNsPersist: each of the 32 sequence numbers is in the image, not only
// the one that was used last (onomondo/onomondo-uicc#95).
func TestTrap05AllSQNsPersist(t *testing.T) {
	t.Parallel()
	p, path := testProfile(t), filepath.Join(t.TempDir(), "card")
	c, home := openCard(t, path, &p), homeOf(t, p)
	run(t, c, selectUSIM, verifyPIN1)
	var used []aka.Vector
	for range aka.ArraySize {
		used = append(used, nextVector(t, home))
		v := used[len(used)-1]
		run(t, c, authenticate(v)+"00 = "+success(v))
	}
	closeCard(t, c)
	c = openCard(t, path, nil)
	run(t, c, selectUSIM, verifyPIN1)
	for i, v := range used {
		if got := send(t, c, authenticate(v)+"00"); !strings.HasPrefix(got, "dc0e") {
			t.Errorf("vector %d is taken again: %s", i, got)
		}
	}
}

// TestTrap06ChangePIN: a CHANGE PIN that succeeds gives the tries back
// (onomondo/onomondo-uicc#150).
func TestTrap06ChangePIN(t *testing.T) {
	t.Parallel()
	run(t, newCard(t, testProfile(t)),
		"00240001 10 30303030FFFFFFFF 35363738FFFFFFFF = 63C2",
		wrongPIN1+"63C1",
		"00240001 10 31323334FFFFFFFF 35363738FFFFFFFF = 9000",
		"00200001 = 63C3",
		"00200001 08 35363738FFFFFFFF = 9000",
	)
}

// TestTrap07ClassOrInstruction: 6E00 for a class that the card has not got, 6D00 for an
// instruction (onomondo/onomondo-uicc#125).
func TestTrap07ClassOrInstruction(t *testing.T) {
	t.Parallel()
	run(t, newCard(t, testProfile(t)),
		"10A40004 02 3F00 = 6E00",
		"FFA40004 02 3F00 = 6E00",
		"00FA0000 = 6D00",
		"A0FE0000 = 6D00",
		"80A40004 02 3F00 = 6E00", // SELECT is of class 00
	)
}

// TestTrap08ReadPastEnd: READ BINARY past the end of a file is 6B00, more than it has is
// 6Cxx with what is left (onomondo/onomondo-uicc#128).
func TestTrap08ReadPastEnd(t *testing.T) {
	t.Parallel()
	run(t, newCard(t, testProfile(t)),
		"00A4000C 02 2FE2 = 9000",
		"00B00000 0B = 6C0A", "00B00008 03 = 6C02", "00B00008 02 = ~9000",
		"00B0000A 01 = 6B00", "00B07FFF 01 = 6B00",
	)
}

// TestTrap09AddressType: bit 8 of the type of an SMS address says that no byte of
// extension follows: it is 1 in what is written, and is not lost where a card has it 0
// (onomondo/onomondo-uicc#57).
func TestTrap09AddressType(t *testing.T) {
	t.Parallel()
	smsp, ok := ef.ByPath("ADF.USIM/EF.SMSP")
	if !ok {
		t.Fatal("no EF.SMSP")
	}
	doc := `{"name":"","present":["service_centre"],"service_centre":{"type":"international","plan":"isdn","digits":"491"},"protocol_identifier":0,"data_coding_scheme":0,"validity_period":0}`
	v, err := smsp.Parse([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	b, err := smsp.Encode(v, 28)
	if err != nil || b[13] != 3 || b[14] != 0x91 {
		t.Fatalf("%x, %v, want 03 91 as length and type", b, err)
	}
	b[14] = 0x11
	v, err = smsp.Decode(b)
	if err != nil || v.(*ef.SMSParameters).ServiceCentre.Type != "0x11" {
		t.Fatalf("%+v, %v", v, err)
	}
	if back, err := smsp.Encode(v, 28); err != nil || !slices.Equal(back, b) {
		t.Errorf("%x, %v, want %x", back, err, b)
	}
}

// TestTrap10PINStatus: the FCP of the MF and of each application has the PIN status
// template C6, with PIN1 in it (onomondo/softsim-quecopen#10).
func TestTrap10PINStatus(t *testing.T) {
	t.Parallel()
	c := newCard(t, testProfile(t))
	for _, selecting := range []string{"00A40004 02 3F00 00", "00A40404 07 A0000000871002 00", "00A40404 07 A0000000871004 00", "00A40004 02 7F20 00"} {
		f, err := uicc.ParseFCP(answerOf(t, c, selecting))
		if err != nil {
			t.Fatal(err)
		}
		if enabled, known := f.PINs.Enabled(uicc.RefPIN1); !known || !enabled {
			t.Errorf("%s: no PIN1 in %+v", selecting, f.PINs)
		}
	}
}

// TestTrap11Voltage: the characteristics do not ask for 5 V alone, in neither class, and
// the ATR says that 1.8 V will do (tomasz-lisowski/swsim#6).
func TestTrap11Voltage(t *testing.T) {
	t.Parallel()
	c := newCard(t, testProfile(t))
	f, err := uicc.ParseFCP(answerOf(t, c, "00A40004 02 3F00 00"))
	if err != nil {
		t.Fatal(err)
	}
	const v5, v3, v1v8 = 0x10, 0x20, 0x40 // TS 102 221, 11.1.1.4.6.1
	for _, p := range f.Proprietary {
		if p.Tag == uicc.TagUICCCharacteristics && p.Value[0]&(v5|v3|v1v8) != v5|v3|v1v8 {
			t.Errorf("characteristics %x", p.Value)
		}
	}
	run(t, c, "A0A40000 02 3F00 = 9F16", "A0C00000 16 = 00000000 3F00 01 0000000000 09 31 ~ 9000")
	atr, err := card.ParseATR(mustReset(t, c))
	if err != nil {
		t.Fatal(err)
	}
	if s := atr.Supply(); !s.Known || s.Classes&(card.ClassB|card.ClassC) == 0 {
		t.Errorf("the ATR offers 5 V alone: %s", s.ClassNames())
	}
}

// TestTrap12UpdateBinaryA0: class A0 writes, too, and both classes see it
// (tomasz-lisowski/swsim#8).
func TestTrap12UpdateBinaryA0(t *testing.T) {
	t.Parallel()
	p, path := testProfile(t), filepath.Join(t.TempDir(), "card")
	c := openCard(t, path, &p)
	run(t, c,
		"A0A40000 02 3F00 = 9F16", "A0A40000 02 7F20 = 9F16", "A0A40000 02 6F7E = 9F0F",
		"A0D60000 0B 0102030400F1100001FF00 = 9804",
		"A0200001 08 31323334FFFFFFFF = 9000",
		"A0D60000 0B 0102030400F1100001FF00 = 9000",
	)
	closeCard(t, c)
	run(t, openCard(t, path, nil), selectUSIM, verifyPIN1, "00B08B00 0B = 0102030400F1100001FF00 9000")
}

// TestTrap13Detected: what a reader or a modem does first succeeds: an ATR that is right
// to its check byte and offers T=0, the MF in both classes, EF.DIR, EF.ICCID, and the
// status of the directory (tomasz-lisowski/swsim#13).
func TestTrap13Detected(t *testing.T) {
	t.Parallel()
	c := newCard(t, testProfile(t))
	for range 2 { // cold and warm
		atr, err := card.ParseATR(mustReset(t, c))
		if err != nil || atr.Protocols[0] != 0 || !atr.HasTCK {
			t.Fatalf("%+v, %v", atr, err)
		}
		run(t, c,
			"A0A40000 02 3F00 = 9F16", "A0C00000 16 = ~9000", "A0F20000 16 = ~9000",
			"00A40004 02 3F00 = 61..", "00A40004 02 2F00 = 61..", "00B20104 26 = 61~9000",
			"00A40004 02 2FE2 = 61..", "00B00000 0A = ~9000",
			"80F2000C = 9000", "80100000 04 FFFFFFFF = 9000",
		)
	}
}

// TestTrap14EPS: a challenge of an MME, with the separation bit of the AMF, gives RES in
// full length and the CK and IK that the home operator derives K_ASME of; one without
// the bit gives them too, since it is the terminal that judges it (tomasz-lisowski/swsim#12).
func TestTrap14EPS(t *testing.T) {
	t.Parallel()
	for _, amf := range [][2]byte{{0x80, 0x00}, {0x00, 0x00}, {0xB9, 0xB9}} {
		p := testProfile(t)
		home := aka.NewSubscriber(milenageOf(t, p), p.SQN, amf, nil)
		c, v := newCard(t, p), nextVector(t, home)
		run(t, c, selectUSIM, verifyPIN1)
		got, err := usim.ParseAuthenticate(answerOf(t, c, authenticate(v)+"00"))
		if err != nil || !slices.Equal(got.RES, v.XRES.Bytes()) || len(got.RES) != 8 || got.CK != v.CK || got.IK != v.IK {
			t.Errorf("AMF %x: another answer than the home operator's: %v", amf, err)
		}
	}
}
