package explain

import (
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcim/card/trace"
)

func TestToolkit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		command, response string
		want              Explanation
	}{
		{"80f2000c", "910b", Explanation{Command: "STATUS: is the card there", Status: "910B: success, proactive command of 11 bytes pending"}},
		{"8010000003090180", "910b", Explanation{Command: "TERMINAL PROFILE: what the terminal can do", Sent: []string{"profile download, menu selection, command result, REFRESH"}}},
		{"801000000100", "9000", Explanation{Command: "TERMINAL PROFILE: what the terminal can do", Sent: []string{"nothing"}}},
		{"801200000d", "d00b8103010300820281828402011e9000", Explanation{Command: "FETCH: the proactive command of 13 bytes", Answer: []string{"d00b8103010300820281828402011e"}}},
		{"801200000f", "d00d8103010300820281828402011e9000", Explanation{Command: "FETCH: the proactive command of 15 bytes", Answer: []string{"POLL INTERVAL", "duration: 30 seconds"}}},
		{"801400000c810301030002028281830130", "9000", Explanation{Command: "TERMINAL RESPONSE to POLL INTERVAL", Sent: []string{"result: beyond the terminal's capabilities"}}},
		{"801400000181", "6a80", Explanation{Command: "TERMINAL RESPONSE", Sent: []string{"81"}}},
		{"80c2000009d3078202018190010100", "9300", Explanation{Command: "ENVELOPE: menu selection", Sent: []string{"device identities: source keypad, destination UICC", "item identifier: 1"}}},
		{"80c20000010100", "6a80", Explanation{Command: "ENVELOPE", Sent: []string{"01"}}},
	} {
		command, err := hex.DecodeString(tt.command)
		if err != nil {
			t.Fatal(err)
		}
		response, err := hex.DecodeString(tt.response)
		if err != nil {
			t.Fatal(err)
		}
		var r Reader
		got := r.Explain(trace.Exchange{Command: command, Response: response})
		if tt.want.Status == "" {
			tt.want.Status = got.Status
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.command, diff)
		}
	}
}
