package emul

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"testing"

	"mcim/apdu"
)

// FuzzCard sends sequences of commands, each behind a byte with its length, to a
// card that knows PIN1 and ADM1: no panic, no error for what is long enough,
// always a status word, and a state that survives its own image. The same bytes
// are taken for a profile and for an image too.
func FuzzCard(f *testing.F) {
	p := testProfile(f)
	f.Add([]byte(profileFile(p)))
	f.Add(imageBytes(f, newCard(f, p)))
	frame := func(commands ...string) (b []byte) {
		for _, c := range commands {
			d := unhex(f, c)
			b = append(append(b, byte(len(d))), d...)
		}
		return b
	}
	f.Add(frame("00A4040C07A0000000871002", "00B0870009", "00C0000010", "80F2000000"))
	f.Add(frame("00A4000C022F00", "00B2010400", "00B2000226", "00DC010426"))
	f.Add(frame("0070000001", "01A40004023F00", "01C0000000", "00708001"))
	f.Add(frame("A0A40000023F00", "A0C0000016", "A0B0000000", "A020000108", "A0D600000101"))
	f.Add(frame("0024000110", "002C000110", "00260001083132333400000000"))
	f.Add(frame("00A4040C07A0000000871002", "00DC06BC18800101", "00A4000C02AF20", "00D600000100",
		"0088008122100000000000000000000000000000000010"))
	f.Add(frame("00A4040C07A0000000871002", "00E000002B6229820646210003000383026F708A0105AB1680017FA40683010A9501088401D4A40683010A950108800200098800",
		"00DC000303000001", "80320000030000010A", "00A2010401AA00", "80D400000A620883026F7080020006", "00040000", "00440000", "00E80000", "00E40000026F70"))
	f.Fuzz(func(t *testing.T, script []byte) {
		fuzzProfile(t, script)
		fuzzImage(t, script)
		c := newCard(t, p)
		for _, pin := range c.pins {
			pin.verified = true
		}
		for len(script) > 0 {
			n := min(int(script[0]), len(script)-1)
			command := script[1 : 1+n]
			script = script[1+n:]
			r, err := c.Transmit(context.Background(), command)
			if len(command) < 4 {
				if err == nil {
					t.Fatalf("%x: no error", command)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%x: %v", command, err)
			}
			answer, err := apdu.ParseResponse(r)
			if err != nil || len(answer.Data) > apdu.MaxShortNe || answer.SW.SW1() < 0x61 {
				t.Fatalf("%x: answer %x", command, r)
			}
		}
		image := c.snapshot()
		again, err := restore(image, imageVersion)
		if err != nil {
			t.Fatalf("the state does not survive its image: %v", err)
		}
		for i, ch := range again.snapshot() {
			if ch.object != image[i].object || !bytes.Equal(ch.data, image[i].data) {
				t.Fatalf("object %08X is not what it was", uint32(ch.object))
			}
		}
	})
}

func fuzzProfile(t *testing.T, b []byte) {
	p, err := ParseProfile("fuzz", b)
	if err != nil {
		return
	}
	again, err := ParseProfile("again", []byte(profileFile(p)))
	if err != nil || profileFile(again) != profileFile(p) {
		t.Fatalf("a profile that was read cannot be written: %v", err)
	}
}

// fuzzCodec has a fixed key, and no random numbers.
func fuzzCodec(t testing.TB) codec {
	t.Helper()
	block, err := aes.NewCipher(make([]byte, keyLen))
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return codec{aead: aead, random: func(b []byte) { clear(b) }}
}

// imageBytes is the image of a card, all in the snapshot.
func imageBytes(t testing.TB, c *Card) []byte {
	t.Helper()
	k := fuzzCodec(t)
	b := make([]byte, headerLen)
	for i, ch := range c.snapshot() {
		var err error
		if b, err = k.append(b, uint32(i), ch); err != nil {
			t.Fatal(err)
		}
	}
	copy(b, header{len(b) - headerLen, k.id, imageVersion}.bytes())
	return b
}

// fuzzImage decodes an image and encodes its public records again. The header
// and checksums are made right where there is room, or nothing would get by them.
func fuzzImage(t *testing.T, b []byte) {
	if h, err := parseHeader(b); err == nil && !bytes.Equal(h.bytes(), b[:headerLen]) {
		t.Fatal("a header that was read is written in another way")
	}
	k := fuzzCodec(t)
	if changes, _, _, err := k.read(header{}, b); err == nil {
		_, _ = restore(changes, imageVersion)
	}
	list, err := k.changes(b)
	if err != nil {
		return
	}
	_, _ = restore(list, oldVersion)
	for _, ch := range list {
		if ch.object&secretObject != 0 {
			return // has its own nonce
		}
	}
	again, err := k.append(nil, 0, list...)
	if err != nil || !bytes.Equal(again[recordHeadLen:], b) {
		t.Fatalf("a record that was read is written in another way: %v", err)
	}
}
