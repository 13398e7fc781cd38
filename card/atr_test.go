package card_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcim/apdu"
	"mcim/card"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type atrVector struct {
	Name, ATR string
	Parsed    struct {
		Convention     string
		InterfaceBytes map[string]string `json:"interface_bytes"`
		Protocols      []int
		Historical     string
		TCK            *string
		Fi, Di         int
		FmaxMHz        float64 `json:"fmax_MHz"`
		ClocksPerETU   float64 `json:"clocks_per_etu"`
	}
}

func atrVectors(t testing.TB) []atrVector {
	t.Helper()
	b, err := os.ReadFile("testdata/atr.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Source string
		ATR    []atrVector
	}
	if err := json.Unmarshal(b, &file); err != nil || file.Source == "" || len(file.ATR) == 0 {
		t.Fatalf("vectors without source, or %v", err)
	}
	return file.ATR
}

func TestATRVectors(t *testing.T) {
	t.Parallel()
	for _, v := range atrVectors(t) {
		t.Run(v.Name+" "+v.ATR, func(t *testing.T) {
			t.Parallel()
			a, err := card.ParseATR(unhex(t, v.ATR))
			if err != nil {
				t.Fatal(err)
			}
			names := map[string]string{}
			for _, b := range a.Interface {
				names[b.Name()] = fmt.Sprintf("%02x", b.Value)
			}
			if d := cmp.Diff(v.Parsed.InterfaceBytes, names); d != "" {
				t.Error(d)
			}
			// The vectors list T=15, which is no protocol but marks global bytes.
			var protocols []int
			for _, p := range v.Parsed.Protocols {
				if p != 15 {
					protocols = append(protocols, p)
				}
			}
			if d := cmp.Diff(protocols, a.Protocols); d != "" {
				t.Error(d)
			}
			wantTCK := v.Parsed.TCK != nil
			s := a.Speed()
			if a.Inverse != (v.Parsed.Convention == "inverse") || hex.EncodeToString(a.Historical) != v.Parsed.Historical || a.HasTCK != wantTCK {
				t.Errorf("inverse %v, historical %x, TCK %v", a.Inverse, a.Historical, a.HasTCK)
			}
			if s.Fi != v.Parsed.Fi || s.Di != v.Parsed.Di || s.FmaxKHz != int(v.Parsed.FmaxMHz*1000) {
				t.Errorf("speed is %+v", s)
			}
			if rate := s.BitRate(4000); rate != int(4e6/v.Parsed.ClocksPerETU) {
				t.Errorf("bit rate at 4 MHz is %d", rate)
			}
		})
	}
}

func TestATRFacts(t *testing.T) {
	t.Parallel()
	a, err := card.ParseATR(unhex(t, "3b9f96801f878031e073fe211b674a357530350265f8"))
	if err != nil {
		t.Fatal(err)
	}
	if s := a.Supply(); !s.Known || s.ClassNames() != "ABC" || s.ClockStop != 2 {
		t.Errorf("supply is %+v", s)
	}
	if rate := a.Speed().BitRate(a.Speed().FmaxKHz); rate != 312500 {
		t.Errorf("bit rate is %d", rate)
	}
	want := card.Capabilities{BySFI: true, ByPartialAID: true, ByPath: true, ByFID: true, Channels: 4}
	c, ok := a.Capabilities()
	if d := cmp.Diff(want, c); d != "" || !ok {
		t.Error(ok, d)
	}
	list, err := a.HistoricalTLVs()
	if err != nil || len(list) != 3 || list[0].Tag != card.TagCardService {
		t.Errorf("historical bytes: %v %v", list, err)
	}
}

func TestATRWithoutFacts(t *testing.T) {
	t.Parallel()
	a, err := card.ParseATR([]byte{0x3F, 0x00})
	if err != nil {
		t.Fatal(err)
	}
	if s := a.Speed(); s != (card.Speed{Fi: 372, Di: 1, FmaxKHz: 5000}) {
		t.Errorf("speed is %+v", s)
	}
	if s := a.Supply(); s.Known || s.ClassNames() != "A" {
		t.Errorf("supply is %+v", s)
	}
	if _, ok := a.Capabilities(); ok || !a.Inverse || !cmp.Equal(a.Protocols, []int{0}) {
		t.Errorf("got %+v", a)
	}
	reserved, err := card.ParseATR(unhex(t, "3b107f"))
	if err != nil || reserved.Speed().BitRate(4000) != 0 {
		t.Errorf("reserved TA1: %+v %v", reserved.Speed(), err)
	}
}

func TestHistoricalTLVs(t *testing.T) {
	t.Parallel()
	for historical, want := range map[string]struct {
		objects int
		bad     bool
	}{
		"80":               {0, false},
		"8031e073fe211b":   {2, false},
		"0031e0079000":     {2, false},
		"00":               {0, true},
		"8031":             {0, true},
		"8031e073fe21":     {0, true},
		"1001":             {0, true},
		"5555530a74869300": {0, true},
	} {
		b := unhex(t, historical)
		a, err := card.ParseATR(append([]byte{0x3B, byte(len(b))}, b...))
		if err != nil {
			t.Fatal(historical, err)
		}
		list, err := a.HistoricalTLVs()
		if errors.Is(err, card.ErrHistorical) != want.bad || len(list) != want.objects {
			t.Errorf("%s: %v %v", historical, list, err)
		}
	}
}

func TestParseATRRefuses(t *testing.T) {
	t.Parallel()
	const good = "3b9f96801f878031e073fe211b674a357530350265f8"
	for _, c := range []struct {
		atr    string
		offset int
	}{
		{"", 0},
		{"3b", 1},
		{"3a00", 0},
		{"3b10", 2},
		{"3b8080", 3},
		{"3b0212", 3},
		{"3b0000", 2},
		{"3b0001", 2},
		{good[:42], 21},
		{good[:42] + "f9", 21},
		{good + "00", 22},
		{"3b" + hex.EncodeToString(make([]byte, 33)), 33},
	} {
		_, err := card.ParseATR(unhex(t, c.atr))
		var bad *card.ATRError
		if !errors.Is(err, card.ErrATR) || !errors.As(err, &bad) || bad.Offset != c.offset {
			t.Errorf("%q: %v, want an *ATRError at %d", c.atr, err, c.offset)
		}
	}
}

// babbler is a card that answers the bytes of a string, two or more at a time.
type babbler struct{ rest []byte }

func (b *babbler) Transmit(context.Context, []byte) ([]byte, error) {
	n := min(len(b.rest), 2)
	if n == 2 {
		n += min(len(b.rest)-2, int(b.rest[0]%4))
	}
	answer := b.rest[:n]
	b.rest = b.rest[n:]
	return answer, nil
}

func (b *babbler) Reset(context.Context) ([]byte, error) { return nil, nil }

func (b *babbler) Close() error { return nil }

// followsAnyCard lets a card say anything to a Session, which has to end.
func followsAnyCard(t *testing.T, b []byte) {
	s := card.NewSession(&babbler{b}, card.Options{})
	r, err := s.Send(t.Context(), apdu.Command{INS: 0xA4, Data: []byte{0x3F, 0x00}, Ne: 256})
	if err == nil && r.SW.SW1() == 0x61 {
		t.Errorf("61xx is no final status word: %v", r)
	}
	_, _ = s.ReadFile(t.Context(), card.InApp([]byte{0xA0, 0, 0, 0, 0x87}, 0x6F07))
	_, _ = card.NewGuard(s, card.GuardConfig{}).Tries(t.Context(), 1)
}

// FuzzCard feeds every decoder of the package, and what follows a card.
func FuzzCard(f *testing.F) {
	for _, v := range atrVectors(f) {
		f.Add(unhex(f, v.ATR))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		followsAnyCard(t, b)
		a, err := card.ParseATR(b)
		if err != nil {
			if !errors.Is(err, card.ErrATR) {
				t.Errorf("untyped error %v", err)
			}
			return
		}
		if !bytes.Equal(a.Raw, b) || len(a.Historical) != int(b[1]&0x0F) {
			t.Errorf("%x became %+v", b, a)
		}
		_, _ = a.HistoricalTLVs()
		_, _ = a.Capabilities()
		_ = a.Supply().ClassNames()
		_ = a.Speed().BitRate(4000)
	})
}
