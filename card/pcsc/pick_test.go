package pcsc

import (
	"errors"
	"testing"
)

func TestPick(t *testing.T) {
	t.Parallel()
	names := []string{"ACS ACR39U ICC Reader 00 00", "Alcor \"x\" \xff 01 00", "Virtual PCD 00 00", "Virtual PCD 00 01", "7"}
	for name, want := range map[string]string{
		"0":                           names[0],
		"3":                           names[3],
		"7":                           "7", // a name comes before an index
		"ACS ACR39U":                  names[0],
		"ACS ACR39U ICC Reader 00 00": names[0],
		"00 01":                       names[3],
		"\xff":                        names[1],
	} {
		if got, err := pick(names, name); got != want || err != nil {
			t.Errorf("%q is %q, %v, want %q", name, got, err, want)
		}
	}
	for name, want := range map[string]string{
		"5":       `no reader 5, there are "ACS ACR39U ICC Reader 00 00", "Alcor \"x\" \xff 01 00", "Virtual PCD 00 00", "Virtual PCD 00 01", "7"`,
		"-1":      `no reader -1, there are "ACS ACR39U ICC Reader 00 00", "Alcor \"x\" \xff 01 00", "Virtual PCD 00 00", "Virtual PCD 00 01", "7"`,
		"Gemalto": `no reader "Gemalto", there are "ACS ACR39U ICC Reader 00 00", "Alcor \"x\" \xff 01 00", "Virtual PCD 00 00", "Virtual PCD 00 01", "7"`,
		"Virtual": `"Virtual" can be "Virtual PCD 00 00", "Virtual PCD 00 01": give more of the name, or the index`,
	} {
		if got, err := pick(names, name); !errors.Is(err, ErrNoReader) || err.Error() != want {
			t.Errorf("%q: got %q, %v\nwant %s", name, got, err, want)
		}
	}
	if _, err := pick(nil, "0"); !errors.Is(err, ErrNoReader) {
		t.Errorf("no readers at all: %v", err)
	}
	if got, err := pick(names[:1], ""); got != names[0] || err != nil {
		t.Errorf("the only reader: %q, %v", got, err)
	}
}

func TestEventNames(t *testing.T) {
	t.Parallel()
	if s := CardInserted.String(); s != "card inserted" {
		t.Error(s)
	}
	for _, k := range []EventKind{0, -1, 99} {
		if k.String() == "" {
			t.Errorf("%d has no name", int(k))
		}
	}
}
