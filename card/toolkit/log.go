package toolkit

import (
	"mcim/apdu/cat"
	"mcim/apdu/ef"
)

// Entry is one thing in the log of a Terminal: a proactive command and its answer, or an
// envelope and its status word.
type Entry struct {
	Command  string   `json:"command,omitempty"`  // as in "REFRESH, UICC reset"
	Envelope string   `json:"envelope,omitempty"` // as in "event download, data available"
	Fields   []string `json:"fields,omitempty"`   // data objects in words
	Bytes    ef.Hex   `json:"bytes,omitempty"`    // of the proactive command
	Answered []string `json:"answered,omitempty"` // result and data objects in words
	Refused  bool     `json:"refused,omitempty"`  // the terminal did not do it
	Why      string   `json:"why,omitempty"`      // what the card is not told
	Status   string   `json:"status,omitempty"`   // of an envelope
	Data     ef.Hex   `json:"data,omitempty"`     // that the card answered to an envelope
}

// describe says what was asked and what came of it.
func (e *Entry) describe(p cat.Proactive, a Answer) {
	e.Command = "command that is malformed"
	if len(p.Objects) >= 2 {
		e.Command, e.Fields = p.Name(), p.Words()
	}
	const performed = 0x20 // results below it (TS 102 223, 8.12)
	e.Refused, e.Why = a.Result.General >= performed, a.Why
}

// note adds to the log. Behind an envelope that is under way an entry waits for it.
func (t *Terminal) note(e Entry) {
	t.log = append(t.log, e)
	if t.told == len(t.log)-1 {
		t.tell(t.told)
	}
}

// tell gives the log from an entry on to who wants to hear of it at once.
func (t *Terminal) tell(from int) {
	for _, e := range t.log[from:] {
		if t.config.Heard != nil {
			t.config.Heard(e)
		}
	}
	t.told = len(t.log)
}
