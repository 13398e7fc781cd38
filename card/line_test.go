package card

import (
	"testing"
	"time"
)

// TestFloor compares with times that were computed by hand: 12 etu a character, 4 more
// for each turn, 3.2 us an etu.
func TestFloor(t *testing.T) {
	t.Parallel()
	const etu = 3200 * time.Nanosecond
	for _, tt := range []struct {
		name            string
		command, answer []byte
		want            time.Duration
	}{
		{"case 1", []byte{0, 4, 0, 0}, make([]byte, 2), (12*7 + 4*2) * etu},
		{"READ BINARY of 9 bytes", []byte{0, 0xB0, 0, 0, 9}, make([]byte, 11), (12*17 + 4*2) * etu},
		{"READ BINARY refused", []byte{0, 0xB0, 0, 0, 9}, make([]byte, 2), (12*7 + 4*2) * etu},
		{"READ BINARY of 255 bytes", []byte{0, 0xB0, 0, 0, 255}, make([]byte, 257), (12*263 + 4*2) * etu},
		{"UPDATE BINARY of 9 bytes", append([]byte{0, 0xD6, 0, 0, 9}, make([]byte, 9)...), make([]byte, 2), (12*17 + 4*4) * etu},
		{"SELECT with 30 bytes", []byte{0, 0xA4, 0, 4, 2, 0x3F, 0, 0}, make([]byte, 32), (12*48 + 4*6) * etu},
		{"AUTHENTICATE", append(append([]byte{0, 0x88, 0, 0x81, 34}, make([]byte, 34)...), 0), make([]byte, 55), (12*103 + 4*6) * etu},
		{"no command", []byte{0}, nil, 0},
	} {
		if got := FastLine().Floor(tt.command, tt.answer); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	slow := Line{Fi: 372, Di: 1, Clock: 3_571_200}
	if got := slow.Floor([]byte{0, 0xB0, 0, 0, 9}, make([]byte, 11)).Round(100 * time.Microsecond); got != 22100*time.Microsecond {
		t.Errorf("READ BINARY of 9 bytes by default: %v", got)
	}
}
