package uicc

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"mcim/apdu/secret"
)

func TestDurations(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, c := range []struct {
		d    time.Duration
		up   bool
		want []byte
	}{
		{time.Second, false, []byte{0, 1}}, {255 * time.Second, false, []byte{0, 255}}, {256 * time.Second, false, []byte{1, 4}},
		{256 * time.Second, true, []byte{1, 5}}, {time.Hour, true, []byte{1, 60}}, {day, true, []byte{2, 24}},
		{30 * day, false, []byte{3, 30}}, {2550 * day, true, []byte{4, 255}}, {1500 * time.Millisecond, true, []byte{0, 2}},
	} {
		b, err := EncodeDuration(c.d, c.up)
		if err != nil || !bytes.Equal(b, c.want) {
			t.Errorf("%v: %x %v, want %x", c.d, b, err, c.want)
		}
	}
	for _, d := range []time.Duration{0, -time.Second, time.Second / 2, 2560 * day} {
		if b, err := EncodeDuration(d, false); !errors.Is(err, ErrDuration) {
			t.Errorf("%v: %x %v", d, b, err)
		}
	}
	for _, b := range [][]byte{nil, {1}, {5, 1}, {0, 0}, {0, 1, 2}} {
		if d, err := DecodeDuration(b); !errors.Is(err, ErrDuration) {
			t.Errorf("%x: %v %v", b, d, err)
		}
	}
}

func TestSuspend(t *testing.T) {
	t.Parallel()
	b, err := Suspend{Min: time.Minute, Max: 12 * time.Hour}.Command().Bytes()
	if err != nil || !bytes.Equal(b, []byte{0x80, 0x76, 0, 0, 4, 0, 60, 2, 12, 10}) {
		t.Errorf("%x %v", b, err)
	}
	token := secret.New([]byte{1, 2, 3, 4, 5, 6, 7, 8})
	b, err = Resume{token}.Command().Bytes()
	if err != nil || !bytes.Equal(b, []byte{0x80, 0x76, 1, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8}) {
		t.Errorf("%x %v", b, err)
	}
	s, err := ParseSuspension([]byte{2, 12, 1, 2, 3, 4, 5, 6, 7, 8})
	if err != nil || s.Max != 12*time.Hour || !bytes.Equal(s.Token.Reveal(), token.Reveal()) {
		t.Errorf("%v %v", s, err)
	}
	for _, b := range [][]byte{nil, make([]byte, 10), {2, 12, 1, 2, 3, 4, 5, 6, 7}} {
		if s, err := ParseSuspension(b); !errors.Is(err, ErrDuration) {
			t.Errorf("%x: %v %v", b, s, err)
		}
	}
	for _, c := range []interface{ Bytes() ([]byte, error) }{
		Suspend{Max: time.Hour}.Command(), Suspend{Min: time.Hour}.Command(), Suspend{2 * time.Hour, time.Hour}.Command(), Resume{}.Command(),
	} {
		if b, err := c.Bytes(); !errors.Is(err, ErrField) {
			t.Errorf("%x %v", b, err)
		}
	}
}
