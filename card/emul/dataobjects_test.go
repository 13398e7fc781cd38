package emul

import (
	"path/filepath"
	"strings"
	"testing"
)

// byteString is n bytes in hexadecimal digits.
func byteString(b string, n int) string { return strings.Repeat(b, n) }

// createObjects is CREATE FILE of an EF of BER-TLV structure, 6F70, for anyone to read.
func createObjects(rest string) string {
	rules := nest("AB", "800101 9000 80017E A40683010A950108 8401D4 A40683010A950108")
	return apduOf("00E00000", "62", "82027921 83026F70 8A0105 "+rules+rest)
}

// TestDataObjects sets, reads and deletes data objects, which the image keeps.
func TestDataObjects(t *testing.T) {
	t.Parallel()
	p, path := testProfile(t), filepath.Join(t.TempDir(), "card")
	c := openCard(t, path, &p)
	run(t, c, selectUSIM, verifyADM(p), createObjects("80020200 8801B0")+" = 9000", "80CB0080015C 00 = 5C009000",
		"80DB0080 03 8001AA = 9000", "80DB0080 02 8100 = 9000", "80DB0096 06 5F2003010203 = 9000", "80DB0080 05 BF810101AA = 9000",
		"80CB0080018000 = 8001AA9000", "80CB0080018100 = 81009000", "80CB0080025F2000 = 5F20030102039000",
		"80CB0080015C00 = 5C0780815F20BF81019000", "80CB0080015C = 6109", "00C0000009 = 5C0780815F20BF81019000",
		"80DB0080 FF 8082012C"+byteString("11", 251)+" = 63F1", "80CB0080018000 = 6A88", // what a longer object replaces goes first
		"80CB0080018100 = 81009000", "80DB0000 31 "+byteString("22", 49)+" = 6985", // the tag is another now
	)
	closeCard(t, c)
	c = openCard(t, path, nil)
	run(t, c, selectUSIM, "00A4000C 02 6F70 = 9000", "80DB0080 03 8001AA = 6982", "80CB0080015C00 = 5C06815F20BF81019000", verifyADM(p),
		"80DB0080 FF 8082012C"+byteString("11", 251)+" = 63F1", "80DB0000 10 "+byteString("22", 16)+" = 63F1",
		"80DB0000 21 "+byteString("33", 33)+" = 9000", "80DB0000 01 33 = 6985",
		"80CB00800180 = 62F1", "00C0000000 = 8082012C"+byteString("11", 251)+"229000",
		"80CB000000 = 6C30", "80CB000020 = "+byteString("22", 15)+byteString("33", 17)+"62F1", "80CB004030 = "+byteString("22", 15)+byteString("33", 33)+"9000",
		"80CB000001 = 6985", "80CB004010 = "+byteString("22", 15)+"3362F1",
		"80DB0080 01 81 = 9000", "80DB0080 01 81 = 6A88", "80DB0080 02 5F20 = 9000")
	closeCard(t, c)
	c = openCard(t, path, nil)
	run(t, c, selectUSIM, "00A40004 02 6F70 00 = 62~82027921~8002020~9000", "80CB0080015C00 = 5C04BF8101809000",
		"80CB0080018004 = 8082012C62F1", verifyADM(p),
		apduOf("80D40000", "62", "83026F70 80020010")+" = 6A80", apduOf("80D40000", "62", "83026F70 8002013E")+" = 9000",
		"80DB0080 0A 8208"+byteString("44", 8)+" = 6A84", "80DB0080 03 8201AA = 9000", "80CB0080018200 = 8201AA9000")
	closeCard(t, c)
	c = openCard(t, path, nil)
	run(t, c, selectUSIM, "00A4000C 02 6F70 = 9000", "80CB0080015C00 = 5C05BF810180829000", verifyADM(p), "00E40000 02 6F70 = 9000")
	closeCard(t, c)
	run(t, openCard(t, path, nil), selectUSIM, "00A4000C 02 6F70 = 6A82")
}

// TestDataObjectRefusals: what is malformed, not allowed or too much changes nothing.
func TestDataObjectRefusals(t *testing.T) {
	t.Parallel()
	p := testProfile(t)
	c := newCard(t, p)
	run(t, c, selectUSIM, verifyADM(p), "80CB0080015C00 = 6986", "80DB0080 03 8001AA = 6986", "80CB0096015C00 = 6A82",
		createObjects("80020010"+nest("A5", "850111 860110"))+" = 6A80", createObjects("80020000")+" = 6A80", createObjects("8003010000")+" = 6A80",
		createObjects("80020010 8800"+nest("A5", "850108 860110"))+" = 9000",
		"80CB0180015C00 = 6A86", "80CB00C0015C00 = 6A86", "80CB00A0015C00 = 6A86", "80CB009F015C00 = 6A86", "80CB000100 = 6A86",
		"80CB008000 = 6700", "80CB0000018000 = 6700", "80CB0080020080 00 = 6A80", "80CB0080015F00 = 6A80", "80CB0080018000 = 6A88", "80CB000000 = 6985", "80CB004000 = 6985",
		"80DB0080 = 6700", "80DB0100 01 80 = 6A86", "80DB0040 01 80 = 6A86", "80DB0000 01 80 = 6985", "80DB0080 01 00 = 6A80", "80DB0080 02 5C00 = 6A80", "80DB0080 01 80 = 6A88",
		"80DB0080 04 80018000 = 6A80", "80DB0080 03 808101 = 6A80", "80DB0080 02 8082 = 6A80", "80DB0080 02 5F1E = 6A80", "80DB0080 02 8080 = 6A80",
		"80DB0080 02 8010 = 6A84", "80DB0080 03 800EAA = 63F1", "80DB0000 0E "+byteString("BB", 14)+" = 6A80", "80DB0000 0D "+byteString("BB", 13)+" = 6985",
		"80DB0080 10 800E"+byteString("CC", 14)+" = 9000", "80DB0080 02 8100 = 6A84", "80DB0080 10 800E"+byteString("DD", 14)+" = 9000",
		"00B0000001 = 6981", "00D60000 01 00 = 6981", "00B2010401 = 6981", "00A2010401AA00 = 6981", "8032000001AA00 = 6981",
		"00040000 = 9000", "80CB0080018000 = 6984", "80DB0080 02 8100 = 6984", "00440000 = 9000", "80CB0080018000 = 800E"+byteString("DD", 14)+"9000",
		"00A4000C 02 6F07 = 9000", "80CB0080018000 = 6981", "80DB0080 02 8100 = 6981", "00CB0080018000 = 6E00")
}

// TestDataObjectMemory: objects grow into the memory of the card, past what is reserved.
func TestDataObjectMemory(t *testing.T) {
	t.Parallel()
	p := testProfile(t)
	c := newCard(t, p)
	l := *c.layout
	l.Memory = c.used() + fileExpense + 40
	c.layout = &l
	run(t, c, selectUSIM, verifyADM(p), createObjects("80020010"+nest("A5", "860164"))+" = 9000",
		"00A40004 02 6F70 00 = 62~A50B8401018502001086020064~9000",
		"80DB0080 2A 8028"+byteString("AA", 40)+" = 6A84", "80DB0080 28 8026"+byteString("AA", 38)+" = 9000")
	if c.free() != 0 {
		t.Errorf("%d bytes are free, want none", c.free())
	}
	run(t, c, "80DB0080 02 8100 = 6A84", "80DB0080 01 80 = 9000", "80DB0080 02 8100 = 9000")
	if c.free() != 24 {
		t.Errorf("%d bytes are free, want 24", c.free())
	}
}

// TestDataObjectsForked: a snapshot keeps its objects whatever its card does.
func TestDataObjectsForked(t *testing.T) {
	t.Parallel()
	p := testProfile(t)
	c := newCard(t, p)
	run(t, c, selectUSIM, verifyADM(p), createObjects("80020010")+" = 9000", "80DB0080 03 8001AA = 9000")
	s := c.Snapshot()
	run(t, c, "80DB0080 03 8001BB = 9000", "80CB0080018000 = 8001BB9000")
	run(t, s.Fork(), selectUSIM, "00A4000C 02 6F70 = 9000", "80CB0080018000 = 8001AA9000", verifyADM(p), "80DB0080 01 80 = 9000")
	run(t, c, "80CB0080018000 = 8001BB9000")
	if err := c.Restore(s); err != nil {
		t.Fatal(err)
	}
	run(t, c, selectUSIM, "00A4000C 02 6F70 = 9000", "80CB0080018000 = 8001AA9000")
}

// TestKilledWhileSetting: wherever the image ends, it has the objects of one moment.
func TestKilledWhileSetting(t *testing.T) {
	t.Parallel()
	p, path := testProfile(t), filepath.Join(t.TempDir(), "card")
	c := openCard(t, path, &p)
	im := c.storage.(*image)
	run(t, c, selectUSIM, verifyADM(p), createObjects("80020200")+" = 9000")
	states, ends := []string{"5c009000", "5c01809000", "5c009000", "5c01809000", "5c009000"}, []int64{im.end}
	for _, commands := range [][]string{
		{"80DB0080 03 8001AA = 9000"}, {"80DB0080 FF 80820100" + byteString("11", 251) + " = 63F1"},
		{"80DB0000 05 1111111111 = 9000"}, {"80DB0080 01 80 = 9000"},
	} {
		run(t, c, commands...)
		ends = append(ends, im.end)
	}
	closeCard(t, c)
	whole, key := mustRead(t, path), mustRead(t, path+keySuffix)
	for n := ends[0]; n <= ends[len(ends)-1]; n += 7 {
		cut := path + "-cut"
		mustWrite(t, cut, whole[:n])
		mustWrite(t, cut+keySuffix, key)
		c := openCard(t, cut, nil)
		run(t, c, selectUSIM, "00A4000C 02 6F70 = 9000")
		state := 0
		for state+1 < len(ends) && n >= ends[state+1] {
			state++
		}
		if got := send(t, c, "80CB0080015C00"); got != states[state] {
			t.Fatalf("cut at %d: %s, want %s", n, got, states[state])
		}
		closeCard(t, c)
	}
}
