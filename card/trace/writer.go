package trace

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Writer writes one JSON object a line, each with a field kind: "apdu" for an
// exchange with a card, "tpm" for a command to a TPM. It may be used from any
// goroutine. After an error it writes nothing more, so that a file ends with at
// most one broken line.
type Writer struct {
	mu    sync.Mutex
	w     io.Writer
	label func() (procedure, step string)
	n     int
	err   error
}

// NewWriter writes to w, one Write for each line. label gives the procedure and
// the step that a line belongs to, each of which may be empty; nil for neither. It
// is called from the goroutine that uses the card or the TPM.
func NewWriter(w io.Writer, label func() (procedure, step string)) *Writer {
	if label == nil {
		label = func() (string, string) { return "", "" }
	}
	return &Writer{w: w, label: label}
}

// head is what all lines begin with.
type head struct {
	Kind      string    `json:"kind"`
	N         int       `json:"n"` // counts the lines, from 1
	Time      time.Time `json:"time"`
	Procedure string    `json:"procedure,omitempty"`
	Step      string    `json:"step,omitempty"`
	Name      string    `json:"name"`
}

type apduLine struct {
	head
	Command  string      `json:"command"`            // hexadecimal digits
	Response string      `json:"response,omitempty"` // with the status word
	SW       string      `json:"sw,omitempty"`
	Meaning  string      `json:"meaning,omitempty"` // of the status word
	Error    string      `json:"error,omitempty"`   // why no response came
	Micros   int64       `json:"us"`
	Redacted []rangeLine `json:"redacted,omitempty"`
}

// rangeLine says which bytes of command or response are 00 for what they were.
type rangeLine struct {
	In string `json:"in"` // "command" or "response"
	Range
}

// WriteAPDU writes an exchange with a card; it implements Sink.
func (w *Writer) WriteAPDU(e Exchange) error {
	line := apduLine{
		head:    head{Kind: "apdu", Time: e.Time, Name: name(e.Command)},
		Command: hex.EncodeToString(e.Command), Response: hex.EncodeToString(e.Response),
		Micros: e.Duration.Microseconds(),
	}
	if sw, ok := statusOf(e.Response); ok {
		line.SW, line.Meaning = sw.String(), sw.Meaning()
	}
	if e.Err != nil {
		line.Error = e.Err.Error()
	}
	for _, r := range e.InCommand {
		line.Redacted = append(line.Redacted, rangeLine{"command", r})
	}
	for _, r := range e.InResponse {
		line.Redacted = append(line.Redacted, rangeLine{"response", r})
	}
	return w.write(&line.head, &line)
}

// TPMExchange is a command to a TPM and its response, without what they carry.
type TPMExchange struct {
	Time          time.Time
	Name          string // of the command in the TPM 2.0 Library, Part 3
	RequestBytes  int
	ResponseBytes int
	RC            uint32 // response code
	Duration      time.Duration
}

type tpmLine struct {
	head
	RequestBytes  int    `json:"request_bytes"`
	ResponseBytes int    `json:"response_bytes"`
	RC            string `json:"rc"` // eight hexadecimal digits
	Micros        int64  `json:"us"`
}

// WriteTPM writes an exchange with a TPM.
func (w *Writer) WriteTPM(e TPMExchange) error {
	line := tpmLine{
		head:         head{Kind: "tpm", Time: e.Time, Name: e.Name},
		RequestBytes: e.RequestBytes, ResponseBytes: e.ResponseBytes,
		RC: fmt.Sprintf("%08x", e.RC), Micros: e.Duration.Microseconds(),
	}
	return w.write(&line.head, &line)
}

// write completes the head, which is part of line, and writes the line.
func (w *Writer) write(h *head, line any) error {
	h.Procedure, h.Step = w.label()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	w.n++
	h.N = w.n
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if w.err = enc.Encode(line); w.err == nil {
		_, w.err = w.w.Write(b.Bytes())
	}
	if w.err != nil {
		w.err = fmt.Errorf("trace is incomplete from line %d on: %w", w.n, w.err)
	}
	return w.err
}

// Err is the first error of writing, if there was one.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}
