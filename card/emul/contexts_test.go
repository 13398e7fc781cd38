package emul

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"mcim/apdu"
	"mcim/apdu/secret"
	"mcim/apdu/usim"
	"mcim/card/aka"
	"mcim/card/aka/kdf"
	"mcim/card/model"
)

// profileOf is a profile with fresh keys for the algorithm; long is a K of 32 bytes.
func profileOf(t testing.TB, a model.Algorithm, long bool) Profile {
	t.Helper()
	p := testProfile(t)
	p.Algorithm = a
	switch a {
	case model.TUAK:
		p.OPc, p.TOPc = secret.Bytes{}, random(32)
		if long {
			p.K = random(32)
		}
	case model.XOR:
		p.OPc = secret.Bytes{}
	}
	return p
}

// centre is the authentication centre of the profile, for any algorithm.
func centre(t testing.TB, p Profile, sqn aka.SQN) (aka.Algorithm, *aka.Subscriber) {
	t.Helper()
	a, _, err := p.Functions()
	if err != nil {
		t.Fatal(err)
	}
	return a, aka.NewSubscriber(a, sqn, p.AMF, nil)
}

// TestContexts compares the card with the authentication centre, for each
// algorithm in each context.
func TestContexts(t *testing.T) {
	t.Parallel()
	for _, s := range []struct {
		a    model.Algorithm
		long bool
	}{{"", false}, {model.Milenage, false}, {model.TUAK, false}, {model.TUAK, true}, {model.XOR, false}} {
		t.Run(fmt.Sprintf("%s, long %v", s.a, s.long), func(t *testing.T) {
			t.Parallel()
			p := profileOf(t, s.a, s.long)
			a, home := centre(t, p, p.SQN)
			c := newCard(t, p)
			run(t, c, selectUSIM, verifyPIN1)
			v := nextVector(t, home)
			run(t, c, authenticate(v)+"00 = "+success(v))

			sres, kc, err := aka.NewGSM(a).Triplet(v.RAND)
			if err != nil {
				t.Fatal(err)
			}
			run(t, c, fmt.Sprintf("00880080 11 10%x 00 = 04%x 08%x 9000", v.RAND, sres, kc))

			// Resynchronisation, in the 3G context and in that of GBA.
			for _, gba := range []bool{false, true} {
				_, lost := centre(t, p, 0)
				behind := nextVector(t, lost)
				command := authenticate(behind) + "00"
				if gba {
					b := behind.GBA()
					command = "00" + hexOf(t, usim.GBABootstrap{RAND: b.RAND, AUTN: b.AUTN}.Command())[2:]
				}
				answer := unhex(t, send(t, c, command))
				if answer[0] != tagSync {
					t.Fatalf("SQN behind: %x", answer)
				}
				if err := lost.Resync(behind.RAND, [14]byte(answer[2:])); err != nil {
					t.Fatal(err)
				}
				next := nextVector(t, lost)
				run(t, c, authenticate(next)+"00 = "+success(next))
			}
			// The ISIM has the same keys, and no Kc.
			var ims aka.Vector
			for range 4 { // past what the resynchronised one has used
				ims = nextVector(t, home)
			}
			run(t, c, "00A4040C 07 A0000000871004 = 9000",
				fmt.Sprintf("00880080 11 10%x = 9864", v.RAND),
				"00880084 01 DD = 6A80",
				authenticate(ims)+"00 = "+strings.Replace(success(ims), fmt.Sprintf("08%x9000", aka.Kc(ims.CK, ims.IK)), "9000", 1))
		})
	}
}

func hexOf(t testing.TB, c apdu.Command) string {
	t.Helper()
	b, err := c.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b)
}

// TestStrict: without services 27 and 38 there is no GSM context and no Kc.
func TestStrict(t *testing.T) {
	t.Parallel()
	p := testProfile(t)
	p.Model = "strict"
	c, home := newCard(t, p), homeOf(t, p)
	v := nextVector(t, home)
	run(t, c, selectUSIM, verifyPIN1,
		fmt.Sprintf("00880080 11 10%x = 9864", v.RAND),
		authenticate(v)+" = 612C")
}

const (
	testNAF  = "naf.example"
	testIMPI = "user@example"
	testBTID = "cmFuZA==@bsf.example"
)

// bootstrapped is a card after a bootstrapping, with what the home operator has.
func bootstrapped(t *testing.T, path string) (Profile, *Card, kdf.Bootstrap) {
	t.Helper()
	p := testProfile(t)
	c, home := openCard(t, path, &p), homeOf(t, p)
	v := nextVector(t, home)
	b := v.GBA()
	run(t, c, selectUSIM,
		"00880084 02 DD00 = 6982",
		verifyPIN1,
		hexOf(t, derivation())+" = 6985", // no Ks
		"00880084 02 DD00 = 6A80",
		// Not made for GBA: CK and IK would have left the card.
		hexOf(t, usim.GBABootstrap{RAND: v.RAND, AUTN: v.AUTN}.Command())+" = 9862",
		fmt.Sprintf("%s = DB08%x9000", hexOf(t, usim.GBABootstrap{RAND: b.RAND, AUTN: b.AUTN}.Command()), v.XRES.Bytes()),
		hexOf(t, derivation())+" = 6985", // no B-TID
		"00A4000C 02 6FD6 = 9000",
		fmt.Sprintf("00B00000 13 = 10%x 00 00 9000", v.RAND),
		fmt.Sprintf("00D60011 %02X %02X%x 043132333a = 9000", len(testBTID)+6, len(testBTID), testBTID),
	)
	return p, c, kdf.Bootstrap{RAND: v.RAND, CK: v.CK, IK: v.IK}
}

func derivation() apdu.Command {
	return usim.GBADerive{NAFID: kdf.NAFID(testNAF, [5]byte{1, 0, 0, 0, 2}), IMPI: testIMPI}.Command()
}

// TestGBA compares Ks_ext_NAF with the home operator's, before and after the card
// was closed.
func TestGBA(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "card")
	_, c, ks := bootstrapped(t, path)
	id := kdf.NAFID(testNAF, [5]byte{1, 0, 0, 0, 2})
	want, err := ks.ExternalKey(testIMPI, id)
	if err != nil {
		t.Fatal(err)
	}
	answer := fmt.Sprintf(" = DB20%x9000", want)
	run(t, c, hexOf(t, derivation())+answer)
	closeCard(t, c)
	if b := mustRead(t, path); bytes.Contains(b, ks.CK[:]) || bytes.Contains(b, ks.IK[:]) {
		t.Error("Ks lies in the image in the clear")
	}
	c = openCard(t, path, nil)
	entry := fmt.Sprintf("80%02x%x81%02x%x", len(id), id, len(testBTID), testBTID)
	run(t, c, selectUSIM, verifyPIN1, hexOf(t, derivation())+answer,
		"00A4000C 02 6FDA = 9000",
		"00B20104 A0 = "+entry+"ff~9000",
		"00B20204 A0 = ff~9000", // the same server has one record
	)
	for i := range 3 {
		other := usim.GBADerive{NAFID: kdf.NAFID(fmt.Sprint(i)+testNAF, [5]byte{}), IMPI: testIMPI}.Command()
		run(t, c, hexOf(t, other)+" = DB20~9000")
	}
	run(t, c, fmt.Sprintf("00B20104 A0 = 80%02x%x~9000", len(testNAF)+6, "2"+testNAF)) // the list was full
}

// TestOldImage: an image of version 1 is the card that it was, and becomes one of
// this version.
func TestOldImage(t *testing.T) {
	t.Parallel()
	p, path := testProfile(t), filepath.Join(t.TempDir(), "card")
	p.Model, p.Codes = model.Version1, Codes{}
	c := openCard(t, path, &p)
	im := c.storage.(*image)
	// As version 1 wrote it: the name in the place of the text.
	all := c.snapshot()
	all[0].data = []byte("usim")
	write := func(all []change) {
		t.Helper()
		b := make([]byte, headerLen)
		for i, ch := range all {
			var err error
			if b, err = im.codec.append(b, uint32(i), ch); err != nil {
				t.Fatal(err)
			}
		}
		copy(b, header{len(b) - headerLen, im.codec.id, oldVersion}.bytes())
		mustWrite(t, path, b)
	}
	closeCard(t, c)
	write(all)
	home := homeOf(t, p)
	for range 2 {
		c = openCard(t, path, nil)
		v := nextVector(t, home)
		run(t, c, selectUSIM, verifyPIN1, authenticate(v)+"00 = DB08~9000",
			fmt.Sprintf("00880080 11 10%x = 9864", v.RAND), "00A4040C 07 A0000000871004 = 6A82")
		closeCard(t, c)
		if h, err := parseHeader(mustRead(t, path)); err != nil || h.version != imageVersion {
			t.Errorf("the image has version %d, %v", h.version, err)
		}
	}
	all[0].data = []byte("isim")
	write(all)
	if _, err := Open(path, nil); !errors.Is(err, ErrImageDamaged) || !strings.Contains(err.Error(), `"isim"`) {
		t.Errorf("another model: %v", err)
	}
}
