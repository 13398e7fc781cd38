package emul

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcim/apdu"
	"mcim/apdu/ef"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/aka"
	"mcim/card/model"
)

var _ card.Card = (*Card)(nil)

func TestScripts(t *testing.T) {
	t.Parallel()
	iccid := iccidHex(t)
	for _, script := range []struct {
		name  string
		lines []string
	}{
		{"select by file identifier", []string{
			"00A4000C 02 3F00 = 9000",
			"00A4000C 02 2FE2 = 9000",
			"00B00000 0A = " + iccid + "9000",
			"00A4000C 02 6F07 = 6A82", // in the ADF
			"00B00000 0A = " + iccid + "9000",
			"00A4000C 02 7F10 = 9000",
			"00A4000C 02 7F20 = 9000", // a DF beside the current one
			"00A4000C 02 2FE2 = 6A82",
			"00A4000C 02 7F20 = 9000", // the current one
			"00A4000C 02 3F00 = 9000",
			"00A4000C 02 7FD0 = 6A82", // an ADF has no identifier to select by
			"00A4000C 01 3F = 6700",
			"00A4000C 03 3F0000 = 6700",
			"00A4000C = 9000", // no data: the MF
		}},
		{"select by child, parent and path", []string{
			"00A4010C 02 7F10 = 9000",
			"00A4010C 02 7F20 = 6A82",
			"00A4030C = 9000",
			"00A4030C = 6A82", // the MF has no parent
			"00A4010C 02 2FE2 = 6A82",
			"00A4010C 01 2F = 6700",
			"00A4030C 02 3F00 = 6700",
			"00A4080C 04 7F206FAD = 9000",
			"00B00000 04 = 000000029000",
			"00A4080C 02 2FE2 = 9000",
			"00A4090C 04 7F206FAD = 9000",
			"00A4090C 02 2FE2 = 6A82",
			"00A4080C 04 7F202FE2 = 6A82",
			"00A4080C 04 2FE27F20 = 6A82", // an EF in the middle
			"00A4080C 00 = 6700",
			"00A4080C 03 7F2000 = 6700",
			"00A4080C 04 7FFF6F07 = 6A82", // no application yet
			selectUSIM,
			"00A4080C 04 7FFF6F07 = 9000",
			"00A4090C 02 7FFF = 9000",
			"00A4090C 06 7FFF7FFF6F07 = 6A82",
		}},
		{"select an application", []string{
			"00A4000C 02 7FFF = 6A82",
			"00A4040C 0C A0000000871002FF49FF0589 = 9000",
			"00A4040C 05 A000000087 = 9000",
			"00A4040C 07 A0000000871004 = 9000", // the ISIM
			"80F20001 0E = 840C A0000000871004FF49FF0589 9000",
			"00A4040E 07 A0000000871004 = 6A82", // next occurrence: there is none
			"00A4040F 05 A000000087 = 9000",     // previous: the USIM
			"80F20001 0E = 840C A0000000871002FF49FF0589 9000",
			"00A4040F 05 A000000087 = 6A82",
			"00A4040E 05 A000000087 = 9000",
			"80F20001 0E = 840C A0000000871004FF49FF0589 9000",
			"00A4040E 05 A000000087 = 6A82",
			"00A4040C 05 A000000087 = 9000", // first
			"80F20001 0E = 840C A0000000871002FF49FF0589 9000",
			"00A4040D 05 A000000087 = 9000", // last
			"80F20001 0E = 840C A0000000871004FF49FF0589 9000",
			"00A4040C 07 A0000000871002 = 9000",
			"00A4040E 07 A0000000871002 = 6A82", // next occurrence: there is none
			"00A4040C 0D A0000000871002FF49FF058901 = 6A82",
			"00A4040C 11 A0000000871002FF49FF058901010101ff = 6700",
			"00A4000C 02 3F00 = 9000",
			"00A4000C 02 7FFF = 9000",
			"00A4000C 02 6FAD = 9000",
			"00A4044C 07 A0000000871002 = 9000", // termination
			"00A4000C 02 7FFF = 6A82",
			"00A4044C 07 A0000000871002 = 6985",
		}},
		{"P1 and P2 of SELECT", []string{
			"00A40200 02 3F00 = 6A86",
			"00A4020C 02 3F00 = 6A86",
			"00A40A0C 02 3F00 = 6A86",
			"00A40000 02 3F00 = 6A86",
			"00A4000D 02 3F00 = 6A86",
			"00A40008 02 3F00 = 6A86",
			"00A4042C 07 A0000000871002 = 6A86",
		}},
		{"case 4 with and without Le", []string{
			"00A40004 02 3F00 = 61..",
			"00C00000 02 = 62..61..",
			"00C00000 FF = 6C..",
			"00C00000 02 = 8202 61..",
			"00A40004 02 3F00 00 = 62~9000",
			"00C00000 02 = 6985", // nothing waits
			"00A40004 02 3F00 = 61..",
			"00A4000C 02 3F00 = 9000",
			"00C00000 02 = 6985",         // another command came between
			"00A40004 02 3F00 10 = 61..", // Le too small
			"00C00100 02 = 6A86",
			"00C00000 02 0102 = 6700",
		}},
		{"STATUS", []string{
			"80F2000C = 9000",
			"80F20000 00 = 6C..",
			"80F20000 = 6C..",
			"80F20001 10 = 6A86", // no application
			selectUSIM,
			"80F20001 0E = 840C A0000000871002FF49FF0589 9000",
			"80F20001 00 = 6C0E",
			"80F20300 00 = 6A86",
			"80F20002 00 = 6A86",
			"80F2000C 01 00 = 6700",
		}},
		{"class and instruction", []string{ // trap 7
			"00F20000 00 = 6E00", // STATUS is of class 8X
			"80A4000C 02 3F00 = 6E00",
			"00FF0000 = 6D00",
			"80FF0000 = 6D00",
			"30A4000C 02 3F00 = 6E00",
			"FFA4000C 02 3F00 = 6E00",
			"20A4000C 02 3F00 = 6E00",
			"B0A4000C 02 3F00 = 6E00",
			"04A4000C 02 3F00 = 6882",
			"0CA4000C 02 3F00 = 6882",
			"40A4000C 02 3F00 = 6881",
			"01A4000C 02 3F00 = 6881",
			"80100000 03 010203 = 9000", // TERMINAL PROFILE
			"80AA0000 02 A900 = 9000",   // TERMINAL CAPABILITY
		}},
		{"lengths that do not fit", []string{
			"00A4000C 03 3F00 = 6700",
			"00A4000C 00 0002 3F00 = 6700", // extended
			"00B00000 00 0000 = 6700",
			"00FF0000 03 3F00 = 6D00", // the header comes first
			"30A40000 03 3F00 = 6E00",
			"A0A40000 03 3F00 = 6700",
		}},
		{"READ BINARY", []string{
			"00B00000 01 = 6986",
			"00A4000C 02 2FE2 = 9000",
			"00B00000 00 = 6C0A",
			"00B00000 = 6C0A",
			"00B00000 0B = 6C0A", // trap 8
			"00B00009 01 = " + iccid[18:] + "9000",
			"00B00009 02 = 6C01",
			"00B0000A 01 = 6B00",
			"00B07FFF 01 = 6B00",
			"00B00000 01 00 = 6700",
			"00A4000C 02 2F00 = 9000",
			"00B00000 01 = 6981", // has records
			"00A4000C 02 3F00 = 9000",
			"00B00000 01 = 6986",
		}},
		{"SFI", []string{ // trap 4
			"00B08200 0A = " + iccid + "9000",
			"00B00000 0A = " + iccid + "9000", // it is the current EF now
			"00B08A00 01 = 6A82",
			"00B08000 01 = 6A82", // SFI 0 is none
			"00B0E200 01 = 6A86",
			"00B0820A 01 = 6B00",
			"00B20105 26 = 6981", // SFI 0 is the current EF
			"00B201F4 26 = 61~9000",
			"00B201F4 00 = 6C26",
			"00B20114 26 = 6981", // EF.ICCID has none
			"00B2010C 26 = 6A82",
			selectUSIM,
			"00B08300 04 = 000000029000", // EF.AD
			"00B08600 02 = 6982",
			verifyPIN1,
			"00B08600 02 = 02009000",     // EF.ACC, class 9
			"00B09E00 01 = FF9000",       // EF.EPSLOCI
			"00B08700 09 = ~9000",        // EF.IMSI
			"00B08B0A 01 = 019000",       // EF.LOCI, not updated
			"00D68B00 04 01020304= 9000", // by SFI
			"00B08B00 04 = 010203049000",
		}},
		{"records", []string{
			"00B20104 26 = 6986",
			"00A4000C 02 2F00 = 9000",
			"00B20004 26 = 6A83", // the pointer is not set
			"00B20104 26 = 61~9000",
			"00B20004 26 = 6A83", // an absolute number does not set it
			"00B20104 00 = 6C26",
			"00B20104 25 = 6C26",
			"00B20104 = 6C26",
			"00B20204 26 = 61~9000",
			"00B20304 26 = 6A83",
			"00B20002 26 = 61~9000", // next: the first
			"00B20004 26 = 61~9000", // current
			"00B20002 26 = 61~9000",
			"00B20002 26 = 6A83",
			"00B20003 26 = 61~9000", // previous
			"00B20003 26 = 6A83",
			"00A4000C 02 2F00 = 9000",
			"00B20003 26 = 61~9000", // previous: the last
			"00B20100 26 = 6A86",
			"00B20107 26 = 6A86",
			"00B20104 01 00 = 6700",
			"00DC0104 26 " + strings.Repeat("00", 38) + " = 6982",
			"00A4000C 02 2FE2 = 9000",
			"00B20104 0A = 6981",
		}},
		{"VERIFY", []string{
			"00200001 = 63C3",
			"00200001 00 = 63C3", // over T=0
			wrongPIN1 + "63C2",
			"00200001 = 63C2",
			verifyPIN1,
			"00200001 = 63C3",
			wrongPIN1 + "63C2",
			wrongPIN1 + "63C1",
			wrongPIN1 + "63C0",
			wrongPIN1 + "6983",
			"00200001 08 31323334FFFFFFFF = 6983", // the right one too
			"00200001 = 6983",
			"RESET =",
			"00200001 = 6983",
			"00200001 04 31323334 = 6700",
			"00200101 08 31323334FFFFFFFF = 6A86",
			"00200011 = 63C3",
			"00200081 = 6A88", // no application is selected
			"0020000A = 63C3",
			"0020000C = 6A88", // ADM3
		}},
		{"a wrong PIN takes the right back", []string{
			selectUSIM, verifyPIN1,
			"00B08700 09 = ~9000",
			wrongPIN1 + "63C2",
			"00B08700 09 = 6982",
		}},
		{"CHANGE PIN", []string{ // trap 6
			wrongPIN1 + "63C2",
			"002C0001 10 3030303030303030 35363738FFFFFFFF = 63C9",
			"00240001 10 31323334FFFFFFFF 35363738FFFFFFFF = 9000",
			"00200001 = 63C3",
			"002C0001 = 63C9", // the PUK's counter stays
			"00200001 08 31323334FFFFFFFF = 63C2",
			"00200001 08 35363738FFFFFFFF = 9000",
			"00240001 10 30303030FFFFFFFF 35363738FFFFFFFF = 63C2",
			"00240001 10 35363738FFFFFFFF 3536FFFFFFFFFFFF = 6A80",
			"00240001 10 35363738FFFFFFFF 35363738FF30FFFF = 6A80",
			"00240001 = 6700",
			"00240101 10 35363738FFFFFFFF 35363738FFFFFFFF = 6A86",
			"00200001 = 63C2",
		}},
		{"DISABLE and ENABLE PIN", []string{
			selectUSIM,
			"00280001 08 31323334FFFFFFFF = 6984", // enabled already
			"00260001 08 30303030FFFFFFFF = 63C2",
			"00260001 08 31323334FFFFFFFF = 9000",
			"RESET =", selectUSIM,
			"00B08700 09 = ~9000",
			verifyPIN1[:len(verifyPIN1)-4] + "6984",
			"00200001 = 9000", // none is needed
			"00240001 10 31323334FFFFFFFF 35363738FFFFFFFF = 6984",
			"00260001 08 31323334FFFFFFFF = 6984",
			"00280001 08 30303030FFFFFFFF = 63C2",
			"00280001 08 31323334FFFFFFFF = 9000",
			"RESET =", selectUSIM,
			"00B08700 09 = 6982",
			"00260001 = 6700",
			"0026000A 08 31323334FFFFFFFF = 6A88",
			"00268101 08 31323334FFFFFFFF = 6A86", // replacement by what is no universal PIN
			"00260081 08 31323334FFFFFFFF = 6A88",
			"00280081 08 31323334FFFFFFFF = 6A88",
			"00269111 08 33343536FFFFFFFF = 6A88", // by itself
		}},
		{"PIN2 is the application's own", []string{
			"00200081 = 6A88",
			selectUSIM,
			"00200081 = 63C3",
			"00200081 08 31323334FFFFFFFF = 63C2", // PIN1
			"00200081 08 32333435FFFFFFFF = 9000",
			"00240081 10 32333435FFFFFFFF 39393939FFFFFFFF = 9000",
			"00200081 08 32333435FFFFFFFF = 63C2",
			"002C0081 = 63CA",
			"002C0081 10 3132333435363738 30303030FFFFFFFF = 63C9",
			"002C0081 10 3233343536373839 30303030FFFFFFFF = 9000",
			"00200081 08 30303030FFFFFFFF = 9000",
			"00A4040C 07 A0000000871004 = 9000",
			"00200081 = 6A88", // the ISIM has none
			"0020000A = 63C3",
		}},
		{"administrative codes", []string{
			"0020000B 08 4144323241443232 = 9000",
			"0020000B 08 3030303030303030 = 63C2",
			"0024000B 10 4144323241443232 0001020304050607 = 9000",
			"0020000B 08 0001020304050607 = 9000",
			"002C000B = 6A88", // has no PUK
			"0026000B 08 0001020304050607 = 6A88",
			"0020000A = 63C3",
		}},
		{"the universal PIN stands in for PIN1", []string{
			selectUSIM,
			"00200011 08 33343536FFFFFFFF = 9000",
			"00B08700 09 = 6982", // only where it stands in
			"RESET =",
			"00269101 08 30303030FFFFFFFF = 63C2",
			"00269101 08 31323334FFFFFFFF = 9000",
			"RESET =", selectUSIM,
			"00B08700 09 = 6982",
			"00200001 = 9000", // PIN1 itself is not asked for
			verifyPIN1[:len(verifyPIN1)-4] + "6984",
			"00A40004 02 3F00 00 = ~C612 900170 830101 83010A 950108830111 83010B 9000",
			"00200011 08 33343536FFFFFFFF = 9000",
			selectUSIM,
			"00B08700 09 = ~9000",
			"RESET =",
			"00260011 08 33343536FFFFFFFF = 9000", // both off: nothing is asked for
			selectUSIM,
			"00B08700 09 = ~9000",
			"00280011 08 33343536FFFFFFFF = 9000",
			"00280001 08 31323334FFFFFFFF = 9000",
			"RESET =", selectUSIM,
			"00200011 08 33343536FFFFFFFF = 9000",
			"00B08700 09 = 6982",
			"00269101 08 31323334FFFFFFFF = 9000",
			"002C0001 10 3132333435363738 31323334FFFFFFFF = 9000", // enables PIN1 itself
			"RESET =", selectUSIM,
			"00200011 08 33343536FFFFFFFF = 9000",
			"00B08700 09 = 6982",
		}},
		{"UNBLOCK PIN", []string{
			"002C0001 = 63CA",
			"002C0001 10 3030303030303030 35363738FFFFFFFF = 63C9",
			"002C0001 = 63C9",
			wrongPIN1 + "63C2", wrongPIN1 + "63C1", wrongPIN1 + "63C0",
			"002C0001 10 3132333435363738 35363738 = 6700",
			"002C0001 10 3132333435363738 35363738FFFFFFFF = 9000",
			"002C0001 = 63CA",
			"00200001 = 63C3",
			"00200001 08 35363738FFFFFFFF = 9000",
			"002C000A = 6A88",
			"002C0001 10 3132333435363738 FFFFFFFFFFFFFFFF = 6A80",
		}},
		{"a PUK that is blocked", append(repeat(9, "002C0001 10 3030303030303030 35363738FFFFFFFF = 63C."),
			"002C0001 10 3030303030303030 35363738FFFFFFFF = 63C0",
			"002C0001 10 3132333435363738 35363738FFFFFFFF = 6983",
			"002C0001 = 6983",
			verifyPIN1,
		)},
		{"UNBLOCK enables a disabled PIN", []string{
			"00260001 08 31323334FFFFFFFF = 9000",
			"002C0001 10 3132333435363738 35363738FFFFFFFF = 9000",
			"RESET =", selectUSIM,
			"00B08700 09 = 6982",
			"00200001 08 35363738FFFFFFFF = 9000",
		}},
		{"logical channels", []string{
			"00700000 01 = 019000",
			"00700000 01 = 029000",
			"00700000 00 = 6C01",
			"00700000 01 = 039000",
			"01A4040C 07 A0000000871002 = 9000",
			"01B08300 04 = 000000029000",
			"00B08300 04 = 6A82", // own selection
			"00200001 08 31323334FFFFFFFF = 9000",
			"01B08700 09 = ~9000", // one PIN state
			"00708002 = 9000",
			"02A4000C 02 3F00 = 6881",
			"00708002 = 6985",
			"01700000 01 = 029000", // from channel 1: where that one is
			"02B08300 04 = 000000029000",
			"02A4000C 02 7FFF = 9000",
			"00708003 = 9000",
			"00700003 = 9000", // by number
			"00700003 = 6985",
			"00700014 = 6A86",
			"00708000 = 6A86", // the basic channel
			"00708014 = 6A86",
			"00708013 = 6985",
			"00704000 = 6A86",
			"00708001 01 00 = 6700",
			"81F2000C = 9000",
			"RESET =",
			"01A4000C 02 3F00 = 6881",
		}},
		{"channels 4 to 19", append(repeat(19, "00700000 01 = ~9000"),
			"00700000 01 = 6A81", // no more
			"4FA4040C 07 A0000000871002 = 9000",
			"4FB08300 04 = 000000029000",
			"4EB08300 04 = 6A82",
			"CFF20001 00 = 6C0E",
			"40A40004 02 2FE2 = 6119",
			"40C00000 19 = ~9000",
			"41C00000 19 = 6985", // of another channel
			"4F708004 = 9000",    // closes channel 4
			"40A4000C 02 3F00 = 6881",
			"4F700000 01 = 049000", // from channel 19: where that one is
			"40B08300 04 = 000000029000",
			"60A4000C 02 3F00 = 6882", // secure messaging
			"50A4000C 02 3F00 = 6E00", // chaining
			"20A4000C 02 3F00 = 6E00", // reserved
			"4F880081 00 = 6982",
			"RESET =",
			"4FA4000C 02 3F00 = 6881",
		)},
		{"AUTHENTICATE without an AKA", []string{ // trap 3
			"00880081 22 10" + strings.Repeat("00", 16) + "10" + strings.Repeat("00", 16) + " = 6985", // no application
			selectUSIM,
			"00880081 22 10" + strings.Repeat("00", 16) + "10" + strings.Repeat("00", 16) + " = 6982",
			"00880080 11 10" + strings.Repeat("00", 16) + " = 6982",
			verifyPIN1,
			"00880082 11 10" + strings.Repeat("00", 16) + " = 9864",
			"00880086 11 10" + strings.Repeat("00", 16) + " = 9864",
			"00880084 11 10" + strings.Repeat("00", 16) + " = 6A80",
			"00880080 10 10" + strings.Repeat("00", 15) + " = 6700",
			"00880080 11 0F" + strings.Repeat("00", 16) + " = 6A80",
			"00880081 22 10" + strings.Repeat("00", 16) + "10" + strings.Repeat("00", 16) + " = 9862",
			"00880081 11 10" + strings.Repeat("00", 16) + " = 6700",
			"00880081 = 6700",
			"00880081 22 0F" + strings.Repeat("00", 16) + "10" + strings.Repeat("00", 16) + " = 6A80",
			"00880081 22 10" + strings.Repeat("00", 16) + "11" + strings.Repeat("00", 16) + " = 6A80",
			"00880100 00 = 6A86",
			"00880000 00 = 6A86",
			"00880087 00 = 6A86",
			"00A4000C 02 3F00 = 9000",
			"00880081 22 10" + strings.Repeat("00", 16) + "10" + strings.Repeat("00", 16) + " = 6985",
		}},
		{"class A0", []string{
			"A0A40000 02 3F00 = 9F16",
			"A0C00000 16 = 0000 0000 3F00 01 0000000000 09 31 02 05 06 00 83 8A 83 8A 9000",
			"A0F20000 16 = 00000000 3F00 01~9000",
			"A0F20000 04 = 00000000 9000",
			"A0A40000 02 7F20 = 9F16",
			"A0C00000 16 = ~7F2002~9000",
			"A0A40000 02 6F07 = 9F0F",
			"A0C00000 0F = 0000 0009 6F07 04 00 14FF44 01 02 00 00 9000",
			"A0B00000 09 = 9804",
			"A0200001 08 30303030FFFFFFFF = 9804",
			"A0A40000 02 3F00 = 9F16",
			"A0C00000 16 = ~82 8A 83 8A 9000",
			"A0200001 08 31323334FFFFFFFF = 9000",
			"A0200001 00 = 6700",
			"A0200002 08 31323334FFFFFFFF = 9804",
			"A0200002 08 32333435FFFFFFFF = 9000",
			"A0200003 08 32333435FFFFFFFF = 9404",
			"A0A40000 02 7F20 = 9F16",
			"A0A40000 02 6F07 = 9F0F",
			"A0B00000 09 = ~9000",
			"A0B00000 0A = 6709",
			"A0B00009 01 = 6B00",
			"A0B08700 09 = 6B00",
			"A0D60000 01 08 = 9804",
			"A0A40000 02 6F7E = 9F0F",
			"A0D60000 04 01020304 = 9000", // trap 12
			"A0B00000 04 = 010203049000",
			"A0A40000 02 6FFF = 9404",
			"A0A40100 02 3F00 = 6B00",
			"A0A40000 01 3F = 6700",
			"A0A40000 02 3F00 = 9F16",
			"A0B00000 01 = 9400",
			"A0A40000 02 2F00 = 9F0F",
			"A0C00000 0F = 0000 004C 2F00 04 00 04FF44 01 02 01 26 9000",
			"A0B00000 01 = 9408",
			"A0B20104 26 = 61~9000",
			"A0B20304 26 = 9402",
			"A0B20104 00 = 6726",
			"A0B2010C 26 = 6B00",
			"A0DC0104 26 " + strings.Repeat("00", 38) + " = 9804",
			"A0F20100 16 = 6B00",
			"A0F20000 01 00 = 6700",
			"A0880000 10 " + strings.Repeat("00", 16) + " = 6985", // outside of DF.GSM
			"A0100000 01 00 = 9000",
		}},
		{"class A0, blocked CHV1", []string{
			"A0200001 08 30303030FFFFFFFF = 9804",
			"A0200001 08 30303030FFFFFFFF = 9804",
			"A0200001 08 30303030FFFFFFFF = 9840",
			"A0200001 08 31323334FFFFFFFF = 9840",
			"A0A40000 02 3F00 = 9F16",
			"A0C00000 16 = ~80 8A 83 8A 9000",
		}},
		{"class A0, CHV1 disabled", []string{
			"00260001 08 31323334FFFFFFFF = 9000",
			"A0200001 08 31323334FFFFFFFF = 9808",
			"A0A40000 02 3F00 = 9F16",
			"A0C00000 16 = 0000 0000 3F00 01 0000000000 09 B1~9000",
		}},
		{"class A0, CHANGE, DISABLE, ENABLE and UNBLOCK CHV", []string{
			"A0240001 10 30303030FFFFFFFF 35363738FFFFFFFF = 9804",
			"A0240001 10 31323334FFFFFFFF 35363738FFFFFFFF = 9000",
			"00200001 = 63C3",
			"A0240002 10 31323334FFFFFFFF 35363738FFFFFFFF = 9804",
			"A0240002 10 32333435FFFFFFFF 35363738FFFFFFFF = 9000",
			"A0200002 08 35363738FFFFFFFF = 9000",
			"A0260002 08 35363738FFFFFFFF = 9404",
			"A02C0002 10 3233343536373839 32333435FFFFFFFF = 9000",
			"A0200002 08 32333435FFFFFFFF = 9000",
			"A0260001 08 35363738FFFFFFFF = 9000",
			"A0260001 08 35363738FFFFFFFF = 9808",
			"A0280001 08 31323334FFFFFFFF = 9804",
			"A0280001 08 35363738FFFFFFFF = 9000",
			"A0280001 08 35363738FFFFFFFF = 9808",
			"A0240001 08 35363738FFFFFFFF = 6700",
			"A02C0000 10 3030303030303030 31323334FFFFFFFF = 9804",
			"002C0001 = 63C9",
			"A02C0001 10 3132333435363738 31323334FFFFFFFF = 9404",
			"A02C0000 = 6700",
			"A02C0000 10 3132333435363738 31323334FFFFFFFF = 9000",
			"002C0001 = 63CA",
			"A0200001 08 31323334FFFFFFFF = 9000",
		}},
		{"class A0, UNBLOCK CHV1 blocked", append(repeat(9, "A02C0000 10 3030303030303030 35363738FFFFFFFF = 9804"),
			"A02C0000 10 3030303030303030 35363738FFFFFFFF = 9840",
			"A02C0000 10 3132333435363738 35363738FFFFFFFF = 9840",
		)},
	} {
		t.Run(script.name, func(t *testing.T) {
			t.Parallel()
			run(t, newCard(t, testProfile(t)), script.lines...)
		})
	}
}

func repeat(n int, line string) (lines []string) {
	for range n {
		lines = append(lines, line)
	}
	return lines
}

// TestFCP decodes what SELECT says by the decoder of the terminal's side.
func TestFCP(t *testing.T) {
	t.Parallel()
	c := newCard(t, testProfile(t))
	for _, s := range []struct {
		command string
		want    func(uicc.FCP) bool
	}{
		{"00A40004 02 3F00 00", func(f uicc.FCP) bool {
			on, known := f.PINs.Enabled(uicc.RefPIN1)
			_, local := f.PINs.Enabled(uicc.RefPIN2)
			return f.FID == 0x3F00 && f.AID == nil && on && known && !local && !f.PINs.Replaced() // trap 10
		}},
		{"00A40404 07 A0000000871002 00", func(f uicc.FCP) bool {
			on, known := f.PINs.Enabled(uicc.RefADM1)
			_, local := f.PINs.Enabled(uicc.RefPIN2)
			return len(f.AID) == 12 && on && known && local && f.Proprietary[0].Value[0]&0x70 == 0x70 // trap 11
		}},
		{"00A40004 02 6F07 00", func(f uicc.FCP) bool {
			sfi, ok := f.ShortID()
			return f.FID == 0x6F07 && f.Size.N == 9 && ok && sfi == 7 && f.ARR.FID == 0x6F06 && f.ARR.Record == pinADMRecord
		}},
		{"00A40004 02 6F46 00", func(f uicc.FCP) bool {
			_, ok := f.ShortID()
			return f.FID == 0x6F46 && !ok
		}},
		{"00A40004 02 6F06 00", func(f uicc.FCP) bool {
			return f.Descriptor.Type == uicc.LinearFixed && f.Descriptor.RecordLength == arrRecordLen && f.Descriptor.Records == 11
		}},
	} {
		r, err := c.Transmit(context.Background(), unhex(t, s.command))
		if err != nil {
			t.Fatal(err)
		}
		f, err := uicc.ParseFCP(r[:len(r)-2])
		if err != nil || !s.want(f) {
			t.Errorf("%s: %v, %+v", s.command, err, f)
		}
	}
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	p := testProfile(t)
	c, home := newCard(t, p), homeOf(t, p)
	run(t, c, selectUSIM, verifyPIN1)
	first := nextVector(t, home)
	run(t, c,
		authenticate(first)+" = 6135",
		"00C00000 35 = "+success(first),
		authenticate(first)+"00 = DC0E~9000", // used: AUTS
	)
	second := nextVector(t, home)
	response, err := usim.ParseAuthenticate(answerOf(t, c, authenticate(second)+"00"))
	if err != nil || !cmp.Equal(response.RES, second.XRES.Bytes()) || response.CK != second.CK || response.IK != second.IK || response.Kc == nil || *response.Kc != aka.Kc(second.CK, second.IK) {
		t.Errorf("the terminal decodes another answer: %v", err)
	}
	for _, v := range []aka.Vector{first, nextVector(t, home)} { // trap 1: old SQN and fresh SQN
		v.AUTN[15] ^= 1
		run(t, c, authenticate(v)+"00 = 9862")
	}
	// Traps 2 and 14: the AUTS is taken by the home operator and leads back.
	lost := aka.NewSubscriber(milenageOf(t, p), 0, p.AMF, nil)
	behind := nextVector(t, lost)
	answer := send(t, c, authenticate(behind)+"00")
	if !strings.HasPrefix(answer, "dc0e") {
		t.Fatalf("SQN behind: %s", answer)
	}
	if err := lost.Resync(behind.RAND, [14]byte(unhex(t, answer)[2:])); err != nil {
		t.Fatal(err)
	}
	next := nextVector(t, lost)
	run(t, c, authenticate(next)+"00 = "+success(next))
	// It works in another channel, and not where the application is not.
	last := nextVector(t, lost)
	run(t, c,
		"00700000 01 = 019000",
		"01"+authenticate(last)[2:]+" = 6985",
		"01"+selectUSIM[2:],
		"01"+authenticate(last)[2:]+"00 = "+success(last),
	)
}

func milenageOf(t testing.TB, p Profile) *aka.Milenage {
	t.Helper()
	b, err := aka.NewAES(p.K)
	if err != nil {
		t.Fatal(err)
	}
	m, err := aka.NewMilenage(b, p.OPc)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestDefenceOff(t *testing.T) {
	t.Parallel()
	c := newCard(t, testProfile(t))
	forged := "00880081 22 10" + strings.Repeat("00", 16) + "10" + strings.Repeat("00", 16) + "00"
	run(t, c, selectUSIM, verifyPIN1, forged+" = 9862")
	c.AcceptForgedAUTN = true
	run(t, c, forged+" = DB08~9000")
	c.AcceptForgedAUTN = false
	run(t, c, forged+" = 9862")
}

// TestKeyFiles changes the subscription as a card's issuer does.
func TestKeyFiles(t *testing.T) {
	t.Parallel()
	p, q := testProfile(t), testProfile(t)
	c := newCard(t, p)
	m, err := model.ByName("usim")
	if err != nil {
		t.Fatal(err)
	}
	key, err := m.EncodeKey(model.Key{Algorithm: model.Milenage, K: q.K, OPc: q.OPc})
	if err != nil {
		t.Fatal(err)
	}
	sqn, err := m.EncodeSQN(model.NewSQN(uint64(q.SQN)))
	if err != nil {
		t.Fatal(err)
	}
	old := nextVector(t, homeOf(t, p))
	run(t, c, selectUSIM, verifyPIN1,
		authenticate(old)+"00 = "+success(old),
		"00A4000C 02 AF20 = 9000",
		fmt.Sprintf("00D60000 21 %x = 6982", key.Reveal()),
		"00A4000C 02 AF30 = 9000",
		fmt.Sprintf("00D60000 CE %x = 6982", sqn),
		"00B00000 CE = 6982",
		verifyADM(p),
		"00D60000 02 0505 = 9000", // a check of no USIM
		authenticate(old)+"00 = 6985",
		fmt.Sprintf("00D60000 CE %x = 9000", sqn),
		fmt.Sprintf("00B00000 CE = %x9000", sqn),
		"00A4000C 02 AF20 = 9000",
		"00B00000 21 = 6982", // never
		"00D60000 01 FF = 9000",
		authenticate(old)+"00 = 6985",
		fmt.Sprintf("00D60000 21 %x = 9000", key.Reveal()),
		"00D60001 21 "+strings.Repeat("00", 33)+" = 6700",
		"00D60021 01 00 = 6B00",
		"00D60000 = 6700",
		authenticate(nextVector(t, homeOf(t, p)))+"00 = 9862", // the old key
	)
	fresh := nextVector(t, homeOf(t, q))
	run(t, c, authenticate(fresh)+"00 = "+success(fresh))
}

// pinADMRecord is the record of EF.ARR for what PIN1 reads and ADM1 updates.
const pinADMRecord = 5

// TestAccessRules: EF.ARR decides, and a change of it takes effect at once.
func TestAccessRules(t *testing.T) {
	t.Parallel()
	p := testProfile(t)
	c := newCard(t, p)
	record := func(rules ...uicc.AccessRule) string {
		b, err := uicc.EncodeARRRecord(rules, arrRecordLen)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("00DC%02XBC %02X %x = 9000", pinADMRecord, arrRecordLen, b) // SFI 17
	}
	run(t, c, selectUSIM,
		"00B08700 09 = 6982",
		verifyADM(p),
		"00B08700 09 = 6982", // PIN1, not ADM1
		"00D68700 01 08 = 9000",
		record(uicc.AccessRule{Access: uicc.AccessRead, Conditions: []uicc.Condition{uicc.AnyKey(uicc.RefPIN1, uicc.RefADM1)}}),
		"00B08700 09 = ~9000",
		"00D68700 01 08 = 6982",
		"00DC"+fmt.Sprintf("%02X", pinADMRecord)+"BC 18 "+strings.Repeat("80", arrRecordLen)+" = 9000", // no rule: nobody
		"00B08700 09 = 6982",
		record(uicc.AccessRule{Access: uicc.AccessRead | uicc.AccessUpdate, Conditions: []uicc.Condition{{Kind: uicc.Always}}}),
		"RESET =", selectUSIM,
		"00B08700 09 = ~9000",
		"00DC"+fmt.Sprintf("%02X", pinADMRecord)+"BC 01 FF = 6982",
		verifyADM(p),
		"00DC"+fmt.Sprintf("%02X", pinADMRecord)+"BC 01 FF = 6700",
	)
}

func TestIdentityFiles(t *testing.T) {
	t.Parallel()
	p := testProfile(t)
	p.MNCLength = 3
	c := newCard(t, p)
	run(t, c, selectUSIM, verifyPIN1)
	imsi, err := usim.DecodeIMSI(answerOf(t, c, "00B08700 09"))
	if err != nil || string(imsi) != testIMSI {
		t.Errorf("IMSI %s, %v", imsi, err)
	}
	ad, err := ef.As[ef.AdministrativeData](ef.DirUSIM, usim.EFAD, answerOf(t, c, "00B08300 04"))
	if err != nil || ad.MNCLength != 3 {
		t.Errorf("AD %v, %v", ad, err)
	}
	if acc := answerOf(t, c, "00B08600 02"); !bytes.Equal(acc, []byte{0x02, 0x00}) { // class 9
		t.Errorf("ACC %04X", acc)
	}
	if d := cmp.Diff(usim.DefaultLOCI(), answerOf(t, c, "00B08B00 0B")); d != "" {
		t.Errorf("LOCI:\n%s", d)
	}
	run(t, c, "00A4000C 02 3F00 = 9000")
	dir, err := uicc.DecodeDirRecord(answerOf(t, c, "00B201F4 26"))
	if err != nil || !bytes.HasPrefix(dir.AID, usim.AIDPrefix()) {
		t.Errorf("EF.DIR %v, %v", dir, err)
	}
	m, err := model.Find(mustReset(t, c))
	if err != nil || m.Name != "usim" {
		t.Errorf("model %v, %v", m, err)
	}
}

// answerOf is the data of the answer to a command.
func answerOf(t testing.TB, c *Card, command string) []byte {
	t.Helper()
	b := unhex(t, send(t, c, command))
	r, err := apdu.ParseResponse(b)
	if err != nil || r.SW != apdu.SWOK {
		t.Fatalf("%s: %v %v", command, r.SW, err)
	}
	return r.Data
}

func mustReset(t testing.TB, c *Card) []byte {
	t.Helper()
	atr, err := c.Reset(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return atr
}

func TestTransportErrors(t *testing.T) {
	t.Parallel()
	c := newCard(t, testProfile(t))
	if _, err := c.Transmit(context.Background(), []byte{0, 0xA4, 0}); !errors.Is(err, card.ErrCommand) {
		t.Errorf("three bytes: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Transmit(ctx, []byte{0, 0xA4, 0, 0x0C}); !errors.Is(err, card.ErrTimeout) {
		t.Errorf("ended context: %v", err)
	}
	if _, err := c.Reset(ctx); !errors.Is(err, card.ErrTimeout) {
		t.Errorf("ended context: %v", err)
	}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Transmit(context.Background(), []byte{0, 0xA4, 0, 0x0C}); !errors.Is(err, card.ErrRemoved) {
		t.Errorf("closed: %v", err)
	}
	if _, err := c.Reset(context.Background()); !errors.Is(err, card.ErrRemoved) {
		t.Errorf("closed: %v", err)
	}
}

// TestStorageFails: what cannot be kept is not done, and not answered.
func TestStorageFails(t *testing.T) {
	t.Parallel()
	p := testProfile(t)
	c, v := newCard(t, p), nextVector(t, homeOf(t, p))
	run(t, c, selectUSIM, verifyPIN1)
	c.storage = full{}
	run(t, c,
		authenticate(v)+"00 = 6581",
		"00D68B00 01 00 = 6581",
		wrongPIN1+"6581",
		"00200001 08 31323334FFFFFFFF = 6581",
		"00240001 10 31323334FFFFFFFF 35363738FFFFFFFF = 6581",
		"A0200001 08 31323334FFFFFFFF = 9240",
		"00B08B00 01 = FF9000",
		"00200001 = 63C3",
	)
	c.storage = nil
	run(t, c, authenticate(v)+"00 = "+success(v))
}

type full struct{}

func (full) write(...change) error { return errors.New("no space left on device") }
func (full) compact() error        { return errors.New("no space left") }
func (full) close() error          { return nil }
