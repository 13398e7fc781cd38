package explain

import (
	"encoding/hex"
	"testing"

	"mcim/card/trace"
)

// TestPlace follows what is selected, and a clone does not follow.
func TestPlace(t *testing.T) {
	t.Parallel()
	r := &Reader{}
	var before *Reader
	for _, tt := range []struct{ command, answer, place string }{
		{"00a40004022fe2", "9000", "MF/EF.ICCID"},
		{"00a40004026f99", "6a82", "MF/EF.ICCID"},
		{"00a40004022f99", "9000", "MF/EF 2F99"},
		{"00a4040407a0000000871002", "6120", "ADF.USIM"},
		{"00a40804045fc04f0a", "6a82", "ADF.USIM"},
		{"00a40804067fff5fc04f07", "9000", "ADF.USIM/DF.5GS/EF.SUCI_Calc_Info"},
		{"00a40304", "9000", "ADF.USIM"},
		{"00a40304", "9000", "MF"},
		{"00a40304", "9000", "MF"},
		{"00a40004027f99", "9000", "a directory that the table does not have"},
		{"00a40004026f07", "9000", "a directory that the table does not have/EF 6F07"},
		{"00a40304", "9000", "a directory that the table does not have"},
	} {
		before = r.Clone()
		was := before.Place()
		command, err := hex.DecodeString(tt.command)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := hex.DecodeString(tt.answer)
		if err != nil {
			t.Fatal(err)
		}
		r.Explain(trace.Exchange{Command: command, Response: answer})
		if got := r.Place().String(); got != tt.place {
			t.Errorf("%s: %s, want %s", tt.command, got, tt.place)
		}
		if before.Place() != was {
			t.Errorf("%s moved the clone from %s to %s", tt.command, was, before.Place())
		}
	}
	if r.Reset(); r.Place().String() != "MF" {
		t.Errorf("after a reset: %s", r.Place())
	}
}
