package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"testing"
)

func sample() *Report {
	return &Report{
		Procedures: []Procedure{{ID: "P2", Title: "initial connectivity", Placement: "tre", Verdict: Pass, Seconds: 0.25, TPMCommands: 13, Messages: 4}},
		Negatives:  []Negative{{Procedure: "P2", Name: "PCID bearer reaches the RO only", Verdict: Pass, Detail: "refused: 403"}},
	}
}

func TestConclude(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Report)
		want   Verdict
	}{
		{"all pass", func(*Report) {}, Pass},
		{"nothing run", func(r *Report) { *r = Report{} }, NotRun},
		{"procedure fails", func(r *Report) { r.Procedures[0].Verdict = Fail }, Fail},
		{"negative fails", func(r *Report) { r.Negatives[0].Verdict = Fail }, Fail},
		{"negative not run", func(r *Report) { r.Negatives[0].Verdict = NotRun }, NotRun},
		{"fail beats not run", func(r *Report) { r.Procedures[0].Verdict = NotRun; r.Negatives[0].Verdict = Fail }, Fail},
		{"no verdict is no pass", func(r *Report) { r.Procedures[0].Verdict = "" }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := sample()
			tt.change(r)
			if r.Conclude(); r.Verdict != tt.want {
				t.Errorf("verdict %q, want %q", r.Verdict, tt.want)
			}
		})
	}
}

func TestWriteJSON(t *testing.T) {
	r := sample()
	r.Conclude()
	var out bytes.Buffer
	if err := r.WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	var back map[string]any
	if err := json.Unmarshal(out.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	p := back["procedures"].([]any)[0].(map[string]any)
	for _, field := range []string{"id", "placement", "verdict", "steps", "apdus", "link_bytes", "tpm_commands", "messages", "seconds"} {
		if _, ok := p[field]; !ok {
			t.Errorf("procedure has no field %q: %s", field, out.String())
		}
	}
	if back["verdict"] != "pass" {
		t.Errorf("verdict %v", back["verdict"])
	}
}

func TestWriteJUnit(t *testing.T) {
	r := sample()
	r.Negatives = append(r.Negatives,
		Negative{Procedure: "P6", Name: "old package <again>", Verdict: Fail, Detail: "it was \"accepted\""},
		Negative{Procedure: "P7", Name: "old K", Verdict: NotRun, Detail: "P6 failed"})
	var out bytes.Buffer
	if err := r.WriteJUnit(&out); err != nil {
		t.Fatal(err)
	}
	var back junitSuites
	if err := xml.Unmarshal(out.Bytes(), &back); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	n := back.Suites[1]
	if n.Tests != 3 || n.Failures != 2 || n.Cases[1].Failure.Message != `it was "accepted"` {
		t.Errorf("got %+v", n)
	}
}
