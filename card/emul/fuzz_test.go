package emul

import (
	"bytes"
	"context"
	"testing"

	"mcim/apdu"
)

// FuzzCard sends sequences of commands, each behind a byte with its length, to a
// card that knows PIN1 and ADM1: no panic, no error for what is long enough,
// always a status word, and a state that survives its own image.
func FuzzCard(f *testing.F) {
	p := testProfile(f)
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
	f.Fuzz(func(t *testing.T, script []byte) {
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
		again, err := restore(image)
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
