package emul

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestCreate makes a DF and EFs in it, and takes them away.
func TestCreate(t *testing.T) {
	t.Parallel()
	p, path := testProfile(t), filepath.Join(t.TempDir(), "card")
	c := openCard(t, path, &p)
	df := apduOf("00E00000", "62", "82027821 83025F70 8A0105 "+nest("AB", "80017F A40683010A950108"))
	rules := nest("AB", "800101 9000 80017A A40683010A950108 8401D4 A40683010A950108")
	ef := func(fid, rest string) string {
		return apduOf("00E00000", "62", "82024121 8302"+fid+" 8A0105 "+rules+rest)
	}
	run(t, c, selectUSIM, df+" = 6982", verifyADM(p), df+" = 9000",
		ef("6F01", "80020004 8800 "+nest("A5", "C101AA"))+" = 9000", "00B0000004 = AAAAAAAA9000",
		ef("6F01", "80020004")+" = 6A89", ef("6F02", "80020004 8801 00")+" = 6A80", ef("6F02", "")+" = 6A80",
		ef("6F02", "80020003 880110 "+nest("A5", "C2020102"))+" = 9000", "00B0000003 = 0102019000", "00B0820003 = 0102019000",
		apduOf("00E00000", "62", "82044221 0004 83026F03 8A0105 "+rules+"80020008 8800 "+nest("A5", "C10201FF"))+" = 9000",
		"00B2020404 = 01FFFFFF9000", "00DC0204 04 AABBCCDD = 9000",
		apduOf("80D40000", "62", "83026F03 8002000C")+" = 9000", "00B2020404 = AABBCCDD9000", "00B2030404 = FFFFFFFF9000",
		apduOf("80D40000", "62", "83026F03 8002000B")+" = 6A80",
		apduOf("80D40000", "62", "83026F03 80020004")+" = 9000", "00B2010404 = 01FFFFFF9000", "00B2020404 = 6A83",
		"00D60000 04 01020304 = 6981", "00A4000C 02 6F01 = 9000", "00D60000 04 01020304 = 9000",
	)
	again := func(lines ...string) {
		t.Helper()
		closeCard(t, c)
		c = openCard(t, path, nil)
		run(t, c, append([]string{selectUSIM, "00A4000C 02 5F70 = 9000"}, lines...)...)
	}
	again("00A4000C 02 6F01 = 9000", "00B0000004 = 010203049000", "00A40004 02 6F03 00 = 62~8205422100040 1~9000", "00E40000 02 6F03 = 6982",
		verifyADM(p), "00E40000 02 6F03 = 9000", "00A4000C 02 6F03 = 6A82", "00E40000 02 6F03 = 6A82",
		"00A4000C 02 6F01 = 9000", "00040000 = 9000", "00B0000004 = 6984", "00D60000 01 00 = 6984",
		"00A40004 02 6F01 00 = 62~8A0104~6283", "00A40004 02 6F01 = 6283", "00C00000 28 = 6~")
	again("00A4000C 02 6F01 = 6283", "00B0000004 = 6984", "00440000 = 6982", verifyADM(p), "00440000 = 9000", "00B0000004 = 010203049000",
		"00E80000 = 9000", "00A40004 02 6F01 00 = 62~8A010C~6285", "00B0000004 = 6985", "00440000 = 6985", "00E80000 02 6F02 = 9000")
	again("00A4000C 02 6F01 = 6285", verifyADM(p), "00E40000 02 6F01 = 9000", "00E40000 02 5F70 = 9000", "00B0000001 = 6986", "00A4000C 02 5F70 = 6A82")
	closeCard(t, c)
	c = openCard(t, path, nil)
	run(t, c, selectUSIM, "00A4000C 02 5F70 = 6A82")
	if len(c.made) != 0 {
		t.Error("something is left")
	}
}

// nest is a data object, its value in hexadecimal digits.
func nest(tag, value string) string {
	value = strings.ReplaceAll(value, " ", "")
	return tag + hexByte(byte(len(value)/2)) + value
}

// apduOf is a command with a template.
func apduOf(header, tag, value string) string {
	return header + nest("", nest(tag, value))
}

// TestAdminRefusals: what is malformed, not allowed or past the memory changes nothing.
func TestAdminRefusals(t *testing.T) {
	t.Parallel()
	p := testProfile(t)
	c := newCard(t, p)
	l := *c.layout
	l.Memory = c.used() + fileExpense + 40 + 20
	c.layout = &l
	byADM := nest("AB", "80017F A40683010A950108 8401D4 A40683010A950108")
	ef := func(fid, rest string) string { return apduOf("00E00000", "62", "82024121 8302"+fid+" 8A0105 "+rest) }
	run(t, c, selectUSIM, verifyADM(p),
		"00E00100 02 6200 = 6A86", "00E00000 02 6200 = 6A80", "00E00000 02 6201 = 6A80", "00E00000 = 6A80",
		ef("3F00", "80020001"+byADM)+" = 6A80", ef("6F07", "80020001"+byADM)+" = 6A89", ef("7FD0", "80020001"+byADM)+" = 6A89",
		ef("6F70", "80020000"+byADM)+" = 6A80", ef("6F70", "8002F001"+byADM)+" = 6A80", ef("6F70", "80020100"+byADM)+" = 6A84",
		apduOf("00E00000", "62", "82024121 83026F70 8A010C 80020001 "+byADM)+" = 6A80", // terminated
		apduOf("00E00000", "62", "82044221 0003 83026F70 8A0105 80020004 "+byADM)+" = 6A80",
		apduOf("00E00000", "62", "82027821 83025F70 8407A0000000871002 8A0105 "+byADM)+" = 6A80", // an ADF below an ADF
		ef("6F70", "80020028 8C020100")+" = 9000", "00B0000001 = FF9000", "00E40000 02 6F70 = 6982", "00040000 = 6982", "00E80000 = 6982",
		apduOf("80D40000", "62", "83026F70 80020001")+" = 6982", apduOf("80D40000", "62", "83026F77 80020001")+" = 6A82",
		apduOf("80D40000", "62", "83026F70")+" = 6A80", "80D40001 02 6200 = 6A86",
		ef("6F71", "80020001"+byADM)+" = 6A84",
		"00E40000 02 6F07 = 6982", "00E40001 02 6F07 = 6A86", "00E40000 01 6F = 6700",
		"00440000 01 6F = 6700", "00440001 = 6A86", "00440000 02 6F99 = 6A82",
		"00E60000 02 6F70 = 6981", "00E60000 02 7FD0 = 6982", "00FE0000 = 6982", "00FE0000 01 00 = 6700", "00FE0001 = 6A86",
		"00A4000C 02 3F00 = 9000", "00E80000 = 6986", "00E60000 = 6981",
		apduOf("00E00000", "62", "82027821 83025F70 840AA0000000871002FF49FF 8A0105 "+byADM)+" = 6A84",
	)
}

// TestTerminateCard: by a rule that allows it, which the card's own EF.ARR does not; then
// only the selection tells why nothing else goes.
func TestTerminateCard(t *testing.T) {
	t.Parallel()
	p, path := testProfile(t), filepath.Join(t.TempDir(), "card")
	c := openCard(t, path, &p)
	record := hexByte(byte(c.mf.arr.record))
	run(t, c, verifyADM(p), "00A4000C 02 2F06 = 9000",
		"00DC"+record+"04 18 80017F A40683010A950108 FFFFFFFFFFFFFFFFFFFFFFFFFF = 9000",
		"00FE0000 = 9000", "00B20104 18 = 6985", "00A40004 02 3F00 00 = 62~8A010C~6285", "A0B0000001 = 6985",
		"0020000A = 6985")
	closeCard(t, c)
	run(t, openCard(t, path, nil), "00200001 = 6985", "00A4000C 02 3F00 = 6285")
}

// TestClassA0States: INVALIDATE, REHABILITATE and what class A0 says of the file.
func TestClassA0States(t *testing.T) {
	t.Parallel()
	p := testProfile(t)
	c := newCard(t, p)
	run(t, c, selectUSIM, verifyPIN1, verifyADM(p), "A0A40000 02 6F07 = 9F0F", "A0040000 01 00 = 6700", "A0040000 = 9000",
		"A0B0000001 = 9810", "A0A40000 02 6F07 = 9F0F", "A0C000000F = 000000096F070400 14FF44 00 020000 9000",
		"00A40004 02 6F07 00 = 62~8A0104~6283", "A0440000 = 9000", "A0B0000001 = 089000",
		"00A4000C 02 3F00 = 9000", "A0040000 = 9400")
}

// TestKilledWhileAdministering: an image cut at any byte behind a CREATE, RESIZE or DELETE
// has the file as it was before or after it.
func TestKilledWhileAdministering(t *testing.T) {
	t.Parallel()
	p, path := testProfile(t), filepath.Join(t.TempDir(), "card")
	c := openCard(t, path, &p)
	im := c.storage.(*image)
	byADM := nest("AB", "800101 9000 80017E A40683010A950108 8401D4 A40683010A950108")
	states := []string{"6a82", "aabb9000", "aa9000", "6283", "6a82"}
	ends := []int64{im.end}
	for _, command := range []string{
		apduOf("00E00000", "62", "82024121 83026F70 8A0105 80020002 "+byADM+nest("A5", "C102AABB")),
		apduOf("80D40000", "62", "83026F70 80020001"), "00040000", "00E40000 02 6F70",
	} {
		if len(ends) == 1 {
			run(t, c, selectUSIM, verifyADM(p))
			ends[0] = im.end
		}
		run(t, c, command+" = 9000")
		ends = append(ends, im.end)
	}
	closeCard(t, c)
	whole, key := mustRead(t, path), mustRead(t, path+keySuffix)
	for n := ends[0]; n <= ends[len(ends)-1]; n++ {
		cut := path + "-cut"
		mustWrite(t, cut, whole[:n])
		mustWrite(t, cut+keySuffix, key)
		c := openCard(t, cut, nil)
		run(t, c, selectUSIM)
		got := send(t, c, "00A4000C 02 6F70")
		if got == "9000" {
			got = send(t, c, "00B0000000")
			got = send(t, c, "00B00000"+got[2:])
		}
		state := 0
		for state+1 < len(ends) && n >= ends[state+1] {
			state++
		}
		if got != states[state] {
			t.Fatalf("cut at %d: %s, want %s", n, got, states[state])
		}
		closeCard(t, c)
	}
}
