package emul

import (
	"testing"

	"mcim/card/model"
)

// cyclicCard is a card with EF.ACM, cyclic, of 3 records, in ADF.USIM and under SFI 1C;
// PIN1 does all with it.
func cyclicCard(t *testing.T) *Card {
	t.Helper()
	l, err := model.ParseCard("cyclic.toml", []byte(`
name = "cyclic"
title = "with EF.ACM"
extends = "usim"
files = [
  { path = "ADF.USIM/EF.ACM", record_length = 3, records = 3, read = "pin1", update = "pin1", hex = "000003000002000001" },
  { path = "ADF.USIM/EF.X", fid = "6F70", structure = "linear fixed", record_length = 4, records = 4, read = "pin1", update = "pin1", hex = "00AABBCC01AABBCC02BBCCAAAABBCCDD" },
]
`))
	if err != nil {
		t.Fatal(err)
	}
	c, err := build(l, testProfile(t))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCyclic: record 1 is the newest, UPDATE knows PREVIOUS only, and reading goes round.
func TestCyclic(t *testing.T) {
	t.Parallel()
	run(t, cyclicCard(t), selectUSIM,
		"00A40004 02 6F39 00 = 62~8205462100030~9000",
		"00DC0003 03 000004 = 6982",
		verifyPIN1,
		"00DC0104 03 000004 = 6981", "00DC0002 03 000004 = 6981", "00DC0103 03 000004 = 6981",
		"00DC0003 02 0004 = 6700",
		"00B20104 03 = 0000039000",
		"00DC0003 03 000004 = 9000",
		"00B20004 03 = 0000049000", // the current record is record 1
		"00B20002 03 = 0000039000", "00B20002 03 = 0000029000", "00B20002 03 = 0000049000",
		"00B20003 03 = 0000029000",
		"00B20404 03 = 6A83",
		"00DC00E3 03 000005 = 9000", // by SFI
		"00B201E4 03 = 0000059000", "00B203E4 03 = 0000039000",
	)
}

// TestIncrease in both classes.
func TestIncrease(t *testing.T) {
	t.Parallel()
	run(t, cyclicCard(t), selectUSIM,
		"8032000003 000001 06 = 6986",
		"8032008003 000001 06 = 6A86", "8032010003 000001 06 = 6A86",
		"80329C0003 000001 06 = 6982",
		verifyPIN1,
		"80329C0003 000001 06 = 0000040000019000",
		"8032000001 FF = 6104", "00C0000004 = 000103FF9000",
		"8032000004 00000001 = 6700", "80320000 = 6700",
		"8032000003 FFFFFF = 9850",
		"00B20104 03 = 0001039000", "00B20204 03 = 0000049000", "00B20304 03 = 0000039000",
		"00A4000C 02 6F07 = 9000", "8032000003 000001 06 = 6981",
		"0032000003 000001 = 6E00", "00A4000C 02 3F00 = 9000", "8032930003 000001 06 = 6A82",
	)
	run(t, cyclicCard(t), selectUSIM, verifyPIN1,
		"A0A40000 02 6F39 = 9F0F", "A0C00000 0F = 000000096F3904 40 11 1F FF 01 02 03 03 9000",
		"A032000002 0001 = 6700", "A032000003 000001 = 9F06", "A0C0000006 = 0000040000019000",
		"A032000003 FFFFFF = 9850",
		"A0DC0003 03 000009 = 9000", "A0DC0104 03 000009 = 9408", "A0B20104 03 = 0000099000",
	)
}

// TestSearch is SEARCH RECORD simple and enhanced, and SEEK.
func TestSearch(t *testing.T) {
	t.Parallel()
	run(t, cyclicCard(t), selectUSIM, "00A4000C 02 6F70 = 9000",
		"00A20104 02 AABB 00 = 6982", verifyPIN1,
		"00A20104 02 AABB 00 = 0102049000",
		"00A20105 02 AABB = 6101", "00A20405 02 AABB 03 = 0402019000",
		"00A20004 02 BBCC 04 = 049000", // from the current record, which was found first
		"00A20004 01 DD 01 = 049000",
		"00B20004 04 = AABBCCDD9000",
		"00A20003 01 DD 01 = 6A86", "00A20504 01 DD 01 = 6A83",
		"00A20104 02 EEEE 04 = 6282", "00A20104 05 AABBCCDDEE 04 = 6700", "00A20104 = 6700",
		"00A20106 04 0400AABB 04 = 0102049000", // offset 0
		"00A20106 04 0401AABB 04 = 01029000",   // offset 1
		"00A20106 04 0601AABB 04 = 029000",     // from the next
		"00A20406 04 0700AABB 04 = 02019000",   // from the previous, backward
		"00A20106 04 0CAABBCC 04 = 0102049000", // behind the first AA,
	)
}
