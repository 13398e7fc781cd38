package emul

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card/aka"
	"mcim/card/aka/kdf"
	"mcim/card/model"
)

const selectISIM = "00A4040C 07 A0000000871004 = 9000"

// TestCOMP128: a key of COMP128 answers in the GSM context, of both classes, and in no
// other.
func TestCOMP128(t *testing.T) {
	t.Parallel()
	for _, a := range []model.Algorithm{model.COMP128v1, model.COMP128v2, model.COMP128v3} {
		p := testProfile(t)
		p.Algorithm, p.OPc = a, secret.Bytes{}
		_, gsm, err := p.Functions()
		if err != nil {
			t.Fatal(err)
		}
		rand := [16]byte(random(16).Reveal())
		sres, kc, err := gsm.Triplet(rand)
		if err != nil {
			t.Fatal(err)
		}
		triplet := fmt.Sprintf("%x%x", sres, kc)
		c := openCard(t, filepath.Join(t.TempDir(), "card"), &p)
		run(t, c, selectUSIM, verifyPIN1,
			fmt.Sprintf("00880080 11 10%x = 610E", rand), fmt.Sprintf("00C00000 0E = 04%x08%x 9000", sres, kc),
			fmt.Sprintf("00880081 22 10%x10%x = 9864", rand, rand),
			fmt.Sprintf("00880084 23 DD10%x10%x = 9864", rand, rand),
			"A0A40000 02 7F20 = 9F~", fmt.Sprintf("A0880000 10 %x = 9F0C", rand), "A0C00000 0C = "+triplet+"9000")
	}
}

// TestRunGSM is RUN GSM ALGORITHM beside the GSM context of a USIM.
func TestRunGSM(t *testing.T) {
	t.Parallel()
	p := testProfile(t)
	_, gsm, err := p.Functions()
	if err != nil {
		t.Fatal(err)
	}
	sres, kc, err := gsm.Triplet([16]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	c := newCard(t, p)
	command := fmt.Sprintf("A0880000 10 %x", [16]byte{1})
	run(t, c, command+" = 6985", "A0A40000 02 7F20 = 9F~", command+" = 9804", "A0200001 08 31323334FFFFFFFF = 9000",
		"A0880001 10 00000000000000000000000000000000 = 6B00", "A0880000 02 0000 = 6700",
		command+" = 9F0C", fmt.Sprintf("A0C00000 0C = %x%x 9000", sres, kc))
	p.Model = "strict"
	run(t, newCard(t, p), "A0A40000 02 7F20 = 9F~", "A0200001 08 31323334FFFFFFFF = 9000", command+" = 6D00")
}

// TestAuthLimit: the limit outlives the process, holds in all contexts, and no answer
// is given past it.
func TestAuthLimit(t *testing.T) {
	t.Parallel()
	p, path := testProfile(t), filepath.Join(t.TempDir(), "card")
	p.AuthLimit = 5
	c, home := openCard(t, path, &p), homeOf(t, p)
	v := nextVector(t, home)
	forged := v
	forged.AUTN[15] ^= 1
	run(t, c, selectUSIM, authenticate(v)+" = 6982", verifyPIN1,
		authenticate(v)+"00 = DB~9000", authenticate(forged)+"00 = 9862", authenticate(v)+"00 = DC~9000")
	closeCard(t, c)
	c = openCard(t, path, nil)
	last := nextVector(t, home)
	run(t, c, selectUSIM, verifyPIN1, fmt.Sprintf("00880080 11 10%x 00 = 04~9000", v.RAND), authenticate(last)+"00 = DB~9000",
		authenticate(last)+"00 = 6984", fmt.Sprintf("00880080 11 10%x 00 = 6984", v.RAND),
		fmt.Sprintf("00880084 23 DD10%x10%x 00 = 6984", v.RAND, v.AUTN),
		"A0A40000 02 7F20 = 9F~", fmt.Sprintf("A0880000 10 %x = 9808", v.RAND))
	closeCard(t, c)
	run(t, openCard(t, path, nil), selectUSIM, verifyPIN1, authenticate(last)+"00 = 6984")
}

// TestSQNEntries: with fewer values of IND a card takes fewer challenges out of their
// order, with one none, and follows a home operator that counts on in both.
func TestSQNEntries(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		entries int
		want    string // first bytes of the answers to SQN 1000, 1003, 1001, 1008, 1007, 1007
	}{
		{1, "DB DB DC DB DC DC"}, {2, "DB DB DC DB DB DC"}, {8, "DB DB DB DB DB DC"}, {32, "DB DB DB DB DB DC"},
	} {
		p := testProfile(t)
		p.SQN, p.SQNEntries = 992, tt.entries // every IND of up to 5 bits has seen its SEQ
		if tt.entries < aka.ArraySize {
			p.SQN = 999 &^ aka.SQN(tt.entries-1)
		}
		path := filepath.Join(t.TempDir(), "card.img")
		c := openCard(t, path, &p)
		a, _, err := p.Functions()
		if err != nil {
			t.Fatal(err)
		}
		run(t, c, selectUSIM, verifyPIN1)
		base := aka.SQN(1000)
		if tt.entries == aka.ArraySize {
			base = 1024
		}
		var last aka.Vector
		for i, want := range strings.Fields(tt.want) {
			v, err := aka.NewVector(a, [16]byte(random(16).Reveal()), base+[]aka.SQN{0, 3, 1, 8, 7, 7}[i], p.AMF)
			if err != nil {
				t.Fatal(err)
			}
			run(t, c, authenticate(v)+"00 = "+want+"~9000")
			last = v
		}
		closeCard(t, c)
		c = openCard(t, path, nil) // the array is in the image
		run(t, c, selectUSIM, verifyPIN1, authenticate(last)+"00 = DC~9000")
		home := aka.NewSubscriber(a, base, p.AMF, nil)
		for range 3 { // one resynchronisation at most, then each in order
			v := nextVector(t, home)
			if answer := unhex(t, send(t, c, authenticate(v)+"00")); answer[0] == 0xDC {
				if err := home.Resync(v.RAND, [14]byte(answer[2:])); err != nil {
					t.Fatal(err)
				}
			}
			run(t, c, authenticate(nextVector(t, home))+"00 = DB~9000")
		}
	}
}

// TestSQNScheme: what the profile says of delta and age is what the card does, and the
// home operator finds its way back by AUTS.
func TestSQNScheme(t *testing.T) {
	t.Parallel()
	p := testProfile(t)
	p.SQN, p.Delta, p.AgeLimit = aka.SQN(1000<<aka.INDBits), 100, 10
	c := newCard(t, p)
	a, _, err := p.Functions()
	if err != nil {
		t.Fatal(err)
	}
	run(t, c, selectUSIM, verifyPIN1)
	for _, s := range []struct {
		seq  uint64
		ind  int
		want string // first byte of the answer
	}{
		{1101, 1, "DC"}, {1100, 1, "DB"}, {1101, 1, "DB"}, {1090, 2, "DC"}, {1091, 2, "DC"}, {1092, 2, "DB"}, {1092, 2, "DC"}, {1202, 3, "DC"}, {1201, 3, "DB"},
	} {
		sqn, err := aka.NewSQN(s.seq, s.ind)
		if err != nil {
			t.Fatal(err)
		}
		v, err := aka.NewVector(a, [16]byte(random(16).Reveal()), sqn, p.AMF)
		if err != nil {
			t.Fatal(err)
		}
		run(t, c, authenticate(v)+"00 = "+s.want+"~9000")
	}
	far := aka.NewSubscriber(a, aka.SQN(5000<<aka.INDBits), p.AMF, nil)
	far.Delta = p.Delta
	ahead := nextVector(t, far)
	answer := unhex(t, send(t, c, authenticate(ahead)+"00"))
	if err := far.Resync(ahead.RAND, [14]byte(answer[2:])); err != nil || far.SQN().SEQ() != 1201 {
		t.Fatalf("SQN_HE %d, %v", far.SQN().SEQ(), err)
	}
	v := nextVector(t, far)
	run(t, c, authenticate(v)+"00 = "+success(v))
}

// TestSQNExhausted: at the end of all sequence numbers both ends say so.
func TestSQNExhausted(t *testing.T) {
	t.Parallel()
	p := testProfile(t)
	p.SQN = aka.SQN((aka.MaxSEQ - 1) << aka.INDBits)
	c, home := newCard(t, p), homeOf(t, p)
	v := nextVector(t, home)
	run(t, c, selectUSIM, verifyPIN1, authenticate(v)+"00 = "+success(v))
	if _, err := home.Next([16]byte{}); !errors.Is(err, aka.ErrSQNExhausted) {
		t.Errorf("got %v, want ErrSQNExhausted", err)
	}
	run(t, c, authenticate(v)+"00 = DC~9000")
}

// localOf is a request for the local key of the server in derivation, with the key that
// the home operator has.
func localOf(t *testing.T, p Profile, ks kdf.Bootstrap) (usim.LocalKeyDerive, [kdf.KeySize]byte) {
	t.Helper()
	id := kdf.NAFID(testNAF, [5]byte{1, 0, 0, 0, 2})
	internal, err := ks.InternalKey(testIMPI, id)
	if err != nil {
		t.Fatal(err)
	}
	iccid, err := uicc.EncodeICCID(p.ICCID)
	if err != nil {
		t.Fatal(err)
	}
	k := kdf.LocalKey{
		BTID: []byte(testBTID), TerminalID: []byte{0x35, 0x16}, ICCID: iccid[:], TerminalApplication: []byte(kdf.PlatformApplication),
		UICCApplication: []byte(kdf.PlatformApplication), RANDx: [16]byte{9}, CounterLimit: []byte{0, 100},
	}
	key, err := k.Derive(internal)
	if err != nil {
		t.Fatal(err)
	}
	return usim.LocalKeyDerive{
		NAFID: id, TerminalID: k.TerminalID, TerminalApplication: k.TerminalApplication, UICCApplication: k.UICCApplication,
		RANDx: k.RANDx, CounterLimit: k.CounterLimit, MAC: k.RequestMAC(key),
	}, key
}

// TestLocalKey: the key is there after a NAF derivation and with the right MAC only, and
// outlives the process; neither it nor Ks_int_NAF lies in the image in the clear.
func TestLocalKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "card")
	p, c, ks := bootstrapped(t, path)
	request, key := localOf(t, p, ks)
	wrong := request
	wrong.MAC[0] ^= 1
	mac := kdf.ResponseMAC(key)
	check := hexOf(t, usim.LocalKeyCheck{KeyIdentifier: request.MAC[:]}.Command())
	fetch := "0089A08600"
	run(t, c, hexOf(t, request.Command())+" = 6A88", check+" = 6A88", fetch+" = 6985",
		hexOf(t, derivation())+" = DB20~9000",
		hexOf(t, wrong.Command())+" = 9862", fetch+" = 6985",
		"00898086 02 7300 = 6A80", "00898186 02 7300 = 6A86", "00898081 02 7300 = 9864", "00890086 02 7300 = 6A86",
		hexOf(t, request.Command())+" = 62F3", fetch+" = 6C14",
		fmt.Sprintf("0089A08614 = 73128910%x 9000", mac), fetch+" = 6985",
		hexOf(t, request.Command())+" = 62F3", "00C0000014 = 6985", fetch+" = 6985", // another command in between
		check+" = 9000")
	closeCard(t, c)
	internal, err := ks.InternalKey(testIMPI, request.NAFID)
	if err != nil {
		t.Fatal(err)
	}
	if b := mustRead(t, path); bytes.Contains(b, key[:]) || bytes.Contains(b, internal[:]) {
		t.Error("a key lies in the image in the clear")
	}
	c = openCard(t, path, nil)
	run(t, c, selectUSIM, check+" = 6982", verifyPIN1, check+" = 9000", hexOf(t, request.Command())+" = 62F3",
		selectISIM, check+" = 6A88", hexOf(t, request.Command())+" = 6A88")
}

// TestGBAOfISIM: the ISIM bootstraps into its own files, and the keys of the two
// applications are apart.
func TestGBAOfISIM(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "card")
	p := testProfile(t)
	c, home := openCard(t, path, &p), homeOf(t, p)
	v := nextVector(t, home)
	b := v.GBA()
	run(t, c, selectISIM, verifyPIN1,
		hexOf(t, usim.GBABootstrap{RAND: b.RAND, AUTN: b.AUTN}.Command())+fmt.Sprintf(" = DB08%x9000", v.XRES.Bytes()),
		"00A4000C 02 6FD5 = 9000", fmt.Sprintf("00B00000 13 = 10%x 00 00 9000", v.RAND),
		fmt.Sprintf("00D60011 %02X %02X%x043132333a = 9000", len(testBTID)+6, len(testBTID), testBTID),
		selectUSIM, hexOf(t, derivation())+" = 6985")
	closeCard(t, c)
	ks := kdf.Bootstrap{RAND: v.RAND, CK: v.CK, IK: v.IK}
	want, err := ks.ExternalKey(testIMPI, kdf.NAFID(testNAF, [5]byte{1, 0, 0, 0, 2}))
	if err != nil {
		t.Fatal(err)
	}
	request, key := localOf(t, p, ks)
	c = openCard(t, path, nil)
	run(t, c, selectISIM, verifyPIN1, hexOf(t, derivation())+fmt.Sprintf(" = DB20%x9000", want),
		"00A4000C 02 6FD7 = 9000", fmt.Sprintf("00B20104 A0 = 80%02x%x~9000", len(request.NAFID), request.NAFID),
		hexOf(t, request.Command())+" = 62F3", fmt.Sprintf("0089A08614 = 73128910%x 9000", kdf.ResponseMAC(key)))
}
