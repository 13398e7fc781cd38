package uicc

import (
	"encoding/hex"
	"errors"
	"testing"
)

func TestSeek(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]Seek{
		"a0a2000001aa":   {Pattern: []byte{0xAA}},
		"a0a2001202aabb": {From: SeekNext, Tell: true, Pattern: []byte{0xAA, 0xBB}},
		"a0a2001301aa":   {From: SeekPrevious, Tell: true, Pattern: []byte{0xAA}},
	} {
		if b, err := s.Command().Bytes(); err != nil || hex.EncodeToString(b) != want {
			t.Errorf("%+v: %x %v, want %s", s, b, err, want)
		}
	}
	for _, s := range []Seek{{}, {Pattern: make([]byte, 17)}, {From: 4, Pattern: []byte{1}}} {
		if c := s.Command(); !errors.Is(c.Err, ErrField) {
			t.Errorf("%+v: %v, want ErrField", s, c.Err)
		}
	}
}
