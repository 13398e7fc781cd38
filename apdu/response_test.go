package apdu

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestResponse(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"9000", "6A82", "0102039000", "6C05"} {
		b := fromHex(t, s)
		r, err := ParseResponse(b)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(r.Bytes(), b) || len(r.Data) != len(b)-2 {
			t.Errorf("%s came back as %X", s, r.Bytes())
		}
		if !bytes.Equal(r.Append([]byte{7}), append([]byte{7}, b...)) {
			t.Errorf("%s: Append", s)
		}
	}
	for _, s := range []string{"", "90"} {
		if r, err := ParseResponse(fromHex(t, s)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %+v, %v", s, r, err)
		}
	}
}

func TestStatusWord(t *testing.T) {
	t.Parallel()
	tests := []struct {
		sw      StatusWord
		ok      bool
		tries   int // -1: not told
		meaning string
	}{
		{0x9000, true, -1, "success"},
		{0x910F, true, -1, "proactive command of 15 bytes"},
		{0x6100, false, -1, "256 bytes of response wait"},
		{0x611C, false, -1, "28 bytes of response wait"},
		{0x6C09, false, -1, "right one is 9"},
		{0x9F16, false, -1, "22 bytes of response wait"},
		{0x9200, false, -1, "class A0"},
		{0x63C3, false, 3, "3 tries left"},
		{0x63C1, false, 1, ", 1 try left"},
		{0x63C0, false, 0, "0 tries left"},
		{0x63CF, false, 15, "15 tries left"},
		{0x6983, false, 0, "no tries left"},
		{0x63D0, false, -1, "warning"},
		{0x6402, false, -1, "execution error"},
		{0x6A82, false, -1, "file not found"},
		{0x6AFF, false, -1, "refused by the card"},
		{0x9862, false, -1, "incorrect MAC"},
		{0x0000, false, -1, "unknown"},
	}
	for _, tt := range tests {
		if tt.sw.OK() != tt.ok || (tt.sw.Err() == nil) != tt.ok {
			t.Errorf("%s: OK %v, Err %v", tt.sw, tt.sw.OK(), tt.sw.Err())
		}
		tries, told := tt.sw.Retries()
		if told != (tt.tries >= 0) || told && tries != tt.tries {
			t.Errorf("%s: %d tries, %v", tt.sw, tries, told)
		}
		if got := tt.sw.Error(); !strings.HasPrefix(got, tt.sw.String()+": ") || !strings.Contains(got, tt.meaning) {
			t.Errorf("%s: %q does not tell %q", tt.sw, got, tt.meaning)
		}
	}
	if got := StatusWord(0x6A82).String(); got != "6A82" {
		t.Errorf("String gives %q", got)
	}
}

func TestStatusWordIs(t *testing.T) {
	t.Parallel()
	families := []error{ErrNotFound, ErrAccess, ErrBlocked, ErrUnsupported}
	tests := []struct {
		sw   StatusWord
		want error // nil: none of them
	}{
		{SWFileNotFound, ErrNotFound}, {SWRecordNotFound, ErrNotFound}, {SWReferencedDataNotFound, ErrNotFound},
		{SWSecurityStatus, ErrAccess},
		{SWBlocked, ErrBlocked},
		{SWInstructionNotSupported, ErrUnsupported}, {SWClassNotSupported, ErrUnsupported},
		{SWFunctionNotSupported, ErrUnsupported}, {SWChannelNotSupported, ErrUnsupported},
		{SWOK, nil}, {0x63C2, nil}, {SWWrongLength, nil},
	}
	for _, tt := range tests {
		wrapped := fmt.Errorf("select EF.IMSI: %w", tt.sw)
		for _, family := range families {
			if errors.Is(wrapped, family) != errors.Is(tt.want, family) {
				t.Errorf("%s and %q", tt.sw, family)
			}
		}
		if !errors.Is(wrapped, tt.sw) || errors.Is(wrapped, StatusWord(0x6FFF)) {
			t.Errorf("%s is not found by its value alone", tt.sw)
		}
		var sw StatusWord
		if !errors.As(wrapped, &sw) || sw != tt.sw {
			t.Errorf("errors.As gave %s for %s", sw, tt.sw)
		}
	}
}
