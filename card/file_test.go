package card_test

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"mcim/apdu"
	"mcim/card"
)

// FCPs from the shared vectors (osmocom/pysim tests), the sizes shortened.
const (
	fcpDIR   = "621a 8205422100 1c 01 8302 2f00 8a0105 8b032f0601 8002001c 8801f0"
	fcpADF   = "623d8202782183027fd0840ca0000000871002ff49ff0589a50c80017183040003a7388701018a01058b032f0601c60f90017083010183018183010a83010b"
	fcpIMSI  = "62178202412183026f078a01058b036f060a80020009880138"
	fcpICCID = "6217 82024121 8302 2fe2 8a0105 8b032f0601 8002000a 880110"
	aidUSIM  = "a0000000871002ff49ff0589"
)

// dirScript is reading EF.DIR with one application.
func dirScript() []string {
	record := compact("6116 4f0c" + aidUSIM + "50065553494d2d31")
	record += strings.Repeat("ff", 28-len(record)/2)
	return []string{
		"00a40804022f0000", compact(fcpDIR) + "9000",
		"00b201041c", record + "9000",
	}
}

func compact(s string) string { return strings.ReplaceAll(s, " ", "") }

var usimAID = []byte{0xA0, 0, 0, 0, 0x87, 0x10, 0x02}

func TestSelectInApp(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	script := append(dirScript(),
		"00a404040c"+aidUSIM+"00", fcpADF+"9000",
		"00a40004026f0700", fcpIMSI+"9000",
		"00b0000009", "0829261011608457409000",
		"00a40004026f0700", fcpIMSI+"9000", // the ADF is still current
		"00a40004026f0700", "6a82",
		"00a404040c"+aidUSIM+"00", fcpADF+"9000", // after a failed SELECT nothing is sure
		"00a40004026f0700", fcpIMSI+"9000",
		"00a404040c"+aidUSIM+"00", fcpADF+"9000",
	)
	s := card.NewSession(newScript(t, script...), card.Options{})
	imsi := card.InApp(usimAID, 0x6F07)
	data, err := s.ReadFile(ctx, imsi)
	if err != nil || hex.EncodeToString(data) != "082926101160845740" {
		t.Fatalf("%x %v", data, err)
	}
	fcp, err := s.Select(ctx, imsi)
	if err != nil || fcp.FID != 0x6F07 {
		t.Fatal(fcp, err)
	}
	_, err = s.Select(ctx, imsi)
	var refused *card.CommandError
	if !errors.As(err, &refused) || refused.File != "A0000000871002/6F07" || !errors.Is(err, apdu.ErrNotFound) {
		t.Errorf("got %v, want a *CommandError that names the file", err)
	}
	if _, err = s.Select(ctx, imsi); err != nil {
		t.Error(err)
	}
	if fcp, err = s.Select(ctx, card.InApp(usimAID)); err != nil || hex.EncodeToString(fcp.AID) != aidUSIM {
		t.Error(fcp, err)
	}
}

func TestNoApplication(t *testing.T) {
	t.Parallel()
	s := card.NewSession(newScript(t, dirScript()...), card.Options{})
	for range 2 { // EF.DIR is read once
		_, err := s.Select(context.Background(), card.InApp([]byte{0xA0, 0, 0, 0, 0x87, 0x10, 0x04}))
		if !errors.Is(err, card.ErrNoApplication) || !strings.Contains(err.Error(), "a0000000871004") {
			t.Errorf("got %v, want ErrNoApplication with the AID", err)
		}
	}
}

func TestResetForgets(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	adf := []string{"00a404040c" + aidUSIM + "00", fcpADF + "9000"}
	script := append(append(append(dirScript(), adf...), dirScript()...), adf...)
	s := card.NewSession(newScript(t, script...), card.Options{})
	for range 2 {
		if _, err := s.Select(ctx, card.InApp(usimAID)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Reset(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadFileInParts(t *testing.T) {
	t.Parallel()
	first, second := strings.Repeat("11", 255), strings.Repeat("22", 45)
	s := card.NewSession(newScript(t,
		"00a4080404 7f105f3a00", "6217 82024121 8302 4f01 8a0105 8b032f0601 8002012c 880110 9000",
		"00b00000ff", first+"9000",
		"00b000ff2d", second+"9000"), card.Options{})
	data, err := s.ReadFile(context.Background(), card.InMF(0x7F10, 0x5F3A))
	if err != nil || hex.EncodeToString(data) != first+second {
		t.Errorf("%x %v", data, err)
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := card.NewSession(newScript(t,
		"00a40804022fe200", fcpICCID+"9000",
		"00b000000a", "9000", // nothing
		"00a40804022fe200", fcpICCID+"9000",
		"00a40804022f0000", fcpDIR+"9000",
		"00a40804022f0000", fcpDIR+"9000",
		"00b201041c", "61009000", // short record
		"00a40804022fe200", "620a9000", // damaged FCP
		"00a40804022fe200", fcpICCID+"9000",
		"00b000000a", "6982",
		"00a40004023f0000", fcpADF+"9000",
	), card.Options{})
	iccid, dir := card.InMF(0x2FE2), card.InMF(0x2F00)
	if _, err := s.ReadFile(ctx, iccid); !errors.Is(err, card.ErrShortRead) {
		t.Errorf("no data: %v", err)
	}
	if _, err := s.ReadRecords(ctx, iccid); !errors.Is(err, card.ErrFileKind) {
		t.Errorf("records of a transparent file: %v", err)
	}
	if _, err := s.ReadFile(ctx, dir); !errors.Is(err, card.ErrFileKind) {
		t.Errorf("bytes of a file of records: %v", err)
	}
	if _, err := s.ReadRecords(ctx, dir); !errors.Is(err, card.ErrShortRead) {
		t.Errorf("short record: %v", err)
	}
	if _, err := s.ReadFile(ctx, iccid); err == nil || !strings.Contains(err.Error(), "3F00/2FE2") {
		t.Errorf("damaged FCP: %v", err)
	}
	_, err := s.ReadFile(ctx, iccid)
	var refused *card.CommandError
	if !errors.As(err, &refused) || refused.Command != "READ BINARY" || refused.File != "3F00/2FE2" {
		t.Errorf("read refused: %v", err)
	}
	if _, err := s.Select(ctx, card.InMF()); err != nil {
		t.Errorf("MF: %v", err)
	}
}

// TestSeekEnds: a card whose SEEK never gets on is not asked for ever.
func TestSeekEnds(t *testing.T) {
	t.Parallel()
	selected := []string{
		"a0a40000023f00", "9000", "a0a40000027f10", "9000",
		"a0a40000026f3a", "9f0f", "a0c000000f", "000000546f3a040011ffff0102011c9000",
	}
	for name, answers := range map[string][]string{"the same record": {"9f01", "029000", "9f01", "029000"}, "nothing": {"9000"}, "two": {"9f02", "01029000"}} {
		lines := slices.Clone(selected)
		for i, answer := range answers {
			command := []string{"a0a2001001aa", "a0c0000001", "a0a2001201aa", "a0c0000001"}[i]
			if answer == "01029000" {
				command = "a0c0000002"
			}
			lines = append(lines, command, answer)
		}
		s := card.NewSession(newScript(t, lines...), card.Options{})
		if found, err := s.SeekRecords(context.Background(), card.InGSM(0x7F10, 0x6F3A), []byte{0xAA}); !errors.Is(err, card.ErrResponseLoop) {
			t.Errorf("%s: %v %v, want ErrResponseLoop", name, found, err)
		}
	}
}
