package emul

import (
	"strings"
	"testing"

	"mcim/card/model"
)

// ownCard is a card of the user's: the text extends "usim".
func ownCard(t *testing.T, text string) *Card {
	t.Helper()
	l, err := model.ParseCard("own.toml", []byte("name = \"own\"\ntitle = \"x\"\nextends = \"usim\"\n"+text))
	if err != nil {
		t.Fatal(err)
	}
	c, err := build(l, testProfile(t))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestRulesNameCodes: a file can ask for each code of the card, in EF.ARR as in its FCP.
func TestRulesNameCodes(t *testing.T) {
	t.Parallel()
	const files = `files = [
  { path = "ADF.USIM/EF.A", fid = "6f99", sfi = 22, structure = "transparent", size = 1, read = "pin2", update = "adm2", hex = "00" },
  { path = "ADF.USIM/EF.B", fid = "6f98", sfi = 14, structure = "transparent", size = 1, read = "universal", update = "pin2", hex = "01" },
  { path = "DF.TELECOM/EF.C", fid = "6f97", structure = "transparent", size = 1, read = "pin1", update = "pin2", hex = "02" },
]
`
	for _, rules := range []string{"", "rules = \"expanded\"\n"} {
		c := ownCard(t, rules+files)
		run(t, c, selectUSIM,
			"00B09600 01 = 6982",
			"00B08E00 01 = 6982",
			"00200081 08 32333435FFFFFFFF = 9000",
			"00B09600 01 = 009000",
			"00D69600 01 07 = 6982",
			"0020000B 08 4144323241443232 = 9000",
			"00D69600 01 07 = 9000",
			"00D68E00 01 08 = 9000",
			"00B08E00 01 = 6982",
			"00200011 08 33343536FFFFFFFF = 9000",
			"00B08E00 01 = 089000",
			"RESET =",
			"00A4080C 04 7F10 6F97 = 9000", // without an application: PIN2 is the USIM's
			verifyPIN1,
			"00B00000 01 = 029000",
			"00D60000 01 03 = 6982",
			"A0200002 08 32333435FFFFFFFF = 9000", // CHV2
			"A0A40000 02 3F00 = 9F16",
			"A0A40000 02 7F10 = 9F16",
			"A0A40000 02 6F97 = 9F0F",
			"A0C00000 0F = 0000 0001 6F97 04 00 12FFFF 01 02 00 00 9000",
			"A0D60000 01 03 = 9000",
		)
		again, err := restore(c.snapshot(), imageVersion)
		if err != nil {
			t.Fatal(err)
		}
		run(t, again, selectUSIM, "00200081 08 32333435FFFFFFFF = 9000", "00B09600 01 = 079000")
	}
}

// TestOwnCodesOfTwoApplications: two applications have each a PIN2, with counters of
// their own.
func TestOwnCodesOfTwoApplications(t *testing.T) {
	t.Parallel()
	c := ownCard(t, `pin = [
  { ref = "pin1", tries = 5, puk_tries = 7 }, { ref = "adm1" }, { ref = "pin2" }, { ref = "pin2", dir = "ADF.ISIM" }, { ref = "adm6", dir = "ADF.ISIM" },
]
`)
	run(t, c, "00200001 = 63C5", "002C0001 = 63C7", "00200011 = 6A88",
		selectUSIM, "00200081 08 3030303030303030 = 63C2", "0020008A = 6A88",
		"00A4040C 07 A0000000871004 = 9000", "00200081 = 63C3", "0020008A = 63C3",
		"00240081 10 32333435FFFFFFFF 39393939FFFFFFFF = 9000",
		"00269101 08 31323334FFFFFFFF = 6A88", // no universal PIN
	)
	again, err := restore(c.snapshot(), imageVersion)
	if err != nil {
		t.Fatal(err)
	}
	run(t, again, "00A4040C 07 A0000000871004 = 9000", "00200081 08 39393939FFFFFFFF = 9000",
		selectUSIM, "00200081 = 63C2", "00200081 08 32333435FFFFFFFF = 9000")
}

// TestImageWithoutCodes: the image of a card whose text knows no table of codes is the
// card with PIN1 and ADM1 and four channels that it was.
func TestImageWithoutCodes(t *testing.T) {
	t.Parallel()
	today, err := model.CardByName("usim")
	if err != nil {
		t.Fatal(err)
	}
	text := string(today.Texts[0])
	before, rest, _ := strings.Cut(text, "channels = ")
	_, files, found := strings.Cut(rest, "\nfiles = [")
	if !found {
		t.Fatal("the text of the card is not as it was")
	}
	files = strings.ReplaceAll(files, `update = "pin2"`, `update = "adm"`) // before there was one
	l, err := model.RestoreCard([][]byte{[]byte(before + "\nfiles = [" + files)})
	if err != nil {
		t.Fatal(err)
	}
	old, err := build(l, testProfile(t))
	if err != nil {
		t.Fatal(err)
	}
	c, err := restore(old.snapshot(), imageVersion)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.pins) != 2 {
		t.Errorf("%d codes", len(c.pins))
	}
	run(t, c, selectUSIM, verifyPIN1, "0020000A = 63C3", "00200081 = 6A88", "00200011 = 6A88",
		"00700000 01 = 019000", "00700000 01 = 029000", "00700000 01 = 039000",
		"00700000 01 = 6A81", // no more
		"00700004 = 6A86",
		"00708004 = 6A86",
		"40A4000C 02 3F00 = 6881",
		"80760000 04 0001 0102 = 6D00",
	)
}
