package report

import (
	"encoding/json"
	"io"
)

// Verdict is the outcome of a step, a procedure, a negative proof or a run.
type Verdict string

// The verdicts. A run passes when nothing in it is anything but Pass.
const (
	Pass   Verdict = "pass"
	Fail   Verdict = "fail"
	NotRun Verdict = "not run" // an earlier case failed, or the budget was too small
)

// Report is the outcome of one run.
type Report struct {
	Verdict     Verdict     `json:"verdict"`
	Procedures  []Procedure `json:"procedures"`
	Negatives   []Negative  `json:"negatives"`
	Environment Environment `json:"environment"`
}

// Procedure is one procedure of TR 33.812 as it ran, with what it cost.
type Procedure struct {
	ID        string  `json:"id"` // "P8a": this project's numbering
	Title     string  `json:"title"`
	Placement string  `json:"placement"` // "tre" or "uicc"
	Verdict   Verdict `json:"verdict"`
	Reason    string  `json:"reason,omitempty"` // why it is not Pass
	Steps     []Step  `json:"steps"`
	// Finished: an earlier run was cut in it; this is what was left of it.
	Finished    bool    `json:"finished,omitempty"`
	APDUs       uint64  `json:"apdus"`
	LinkBytes   uint64  `json:"link_bytes"` // command and response bytes on the card link
	TPMCommands uint64  `json:"tpm_commands"`
	Messages    uint64  `json:"messages"` // requests between roles
	Seconds     float64 `json:"seconds"`
}

// Step is one arrow of a procedure.
type Step struct {
	Name    string  `json:"name"` // "P5c.4"
	Path    string  `json:"path"` // with the steps around it: "P8a.8/P5c.4"
	From    string  `json:"from"`
	To      string  `json:"to"`
	Text    string  `json:"text"`
	Verdict Verdict `json:"verdict"`
	Reason  string  `json:"reason,omitempty"`
}

// Negative is the proof that something that must not work does not.
type Negative struct {
	Procedure string  `json:"procedure"`
	Name      string  `json:"name"`
	Verdict   Verdict `json:"verdict"`
	Detail    string  `json:"detail"` // the refusal that was seen, or why it is not Pass
}

// Environment is what the run stood on.
type Environment struct {
	Before      []string `json:"before,omitempty"`        // cases that the lab had behind it
	Restored    bool     `json:"card_restored,omitempty"` // the card has its subscription of before
	GivenBack   int      `json:"given_back,omitempty"`    // NV indices and handles that the TPM has back
	MCIM        string   `json:"mcim"`
	Reader      string   `json:"reader"`
	ATR         string   `json:"atr"`
	Card        string   `json:"card"`
	PCSCD       string   `json:"pcscd"`
	Driver      string   `json:"driver"`
	TPM         string   `json:"tpm"`
	TPMMaker    string   `json:"tpm_maker"`
	TPMFirmware string   `json:"tpm_firmware"`
	Machine     string   `json:"machine"` // "linux/amd64, 2 cores"
	NotProven   []string `json:"not_proven"`
}

// Conclude sets the verdict of the run from its parts. A run without any proves
// nothing and does not pass.
func (r *Report) Conclude() {
	r.Verdict = Pass
	if len(r.Procedures)+len(r.Negatives) == 0 {
		r.Verdict = NotRun
	}
	for _, p := range r.Procedures {
		r.Verdict = worse(r.Verdict, p.Verdict)
	}
	for _, n := range r.Negatives {
		r.Verdict = worse(r.Verdict, n.Verdict)
	}
}

func worse(a, b Verdict) Verdict {
	switch {
	case a == Fail || b == Fail:
		return Fail
	case a != Pass:
		return a
	default:
		return b
	}
}

// WriteJSON writes the report as one indented JSON document.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
