package trace

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"mcim/card"
)

// Writer writes one JSON object a line, each with a field kind: "trace" for the
// first line, which tells the version; "apdu" for an exchange with a card, "reset"
// for a reset of it, "tpm" for a command to a TPM. It may be used from any
// goroutine. After an error it writes nothing more, so that a file ends with at
// most one broken line.
type Writer struct {
	mu     sync.Mutex
	w      io.Writer
	label  func() (procedure, step string)
	hasher *hasher // nil: hashes are not kept
	n      int
	err    error
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

// NewCassette is NewWriter for a file that OpenCassette makes a card of: secret
// bytes of commands are kept as hashes, salted with salt, which must be random.
// The package comment says what they are worth.
func NewCassette(w io.Writer, label func() (procedure, step string), salt [16]byte) *Writer {
	c := NewWriter(w, label)
	c.hasher = &hasher{salt: salt[:], rounds: hashRounds}
	return c
}

// version is that of the format. Whatever changes the meaning of a line changes it.
const version = 1

// firstLine says what the file is.
type firstLine struct {
	Kind    string `json:"kind"` // "trace"
	Version int    `json:"version"`
	Salt    string `json:"salt,omitempty"`   // of the hashes, hexadecimal digits
	Rounds  int    `json:"rounds,omitempty"` // of PBKDF2
}

// head is what all other lines begin with.
type head struct {
	Kind      string    `json:"kind"`
	N         int       `json:"n"` // counts the lines but the first, from 1
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
	Cause    string      `json:"cause,omitempty"`   // of Error, where it has a name
	Micros   int64       `json:"us"`
	Redacted []rangeLine `json:"redacted,omitempty"`
}

// rangeLine says which bytes of command or response are 00 for what they were.
type rangeLine struct {
	In string `json:"in"` // "command" or "response"
	Range
	Hash string `json:"hash,omitempty"` // of what they were, hexadecimal digits
}

type resetLine struct {
	head
	ATR    string `json:"atr,omitempty"`
	Error  string `json:"error,omitempty"` // why none came
	Cause  string `json:"cause,omitempty"`
	Micros int64  `json:"us"`
}

// causes are the errors of card.Card by the names that they have in a file.
var causes = map[string]error{
	"removed": card.ErrRemoved, "timeout": card.ErrTimeout, "command": card.ErrCommand, "budget": card.ErrBudget,
}

func causeOf(err error) string {
	for _, name := range []string{"removed", "timeout", "command", "budget"} {
		if errors.Is(err, causes[name]) {
			return name
		}
	}
	return ""
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
		line.Error, line.Cause = e.Err.Error(), causeOf(e.Err)
	}
	for i, r := range e.InCommand {
		hidden := rangeLine{In: "command", Range: r}
		if w.hasher != nil && i < len(e.Secrets) {
			hidden.Hash = hex.EncodeToString(w.hasher.sum(e.Secrets[i].Reveal()))
		}
		line.Redacted = append(line.Redacted, hidden)
	}
	for _, r := range e.InResponse {
		line.Redacted = append(line.Redacted, rangeLine{In: "response", Range: r})
	}
	return w.write(&line.head, &line)
}

// WriteReset writes a reset of a card; it implements ResetSink.
func (w *Writer) WriteReset(r Reset) error {
	line := resetLine{
		head: head{Kind: "reset", Time: r.Time, Name: "RESET"},
		ATR:  hex.EncodeToString(r.ATR), Micros: r.Duration.Microseconds(),
	}
	if r.Err != nil {
		line.Error, line.Cause = r.Err.Error(), causeOf(r.Err)
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
	if w.n == 0 {
		w.err = w.put(w.first())
	}
	w.n++
	h.N = w.n
	if w.err == nil {
		w.err = w.put(line)
	}
	if w.err != nil {
		w.err = fmt.Errorf("trace is incomplete from line %d on: %w", w.n, w.err)
	}
	return w.err
}

func (w *Writer) first() firstLine {
	f := firstLine{Kind: "trace", Version: version}
	if w.hasher != nil {
		f.Salt, f.Rounds = hex.EncodeToString(w.hasher.salt), w.hasher.rounds
	}
	return f
}

func (w *Writer) put(line any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(line); err != nil {
		return err
	}
	_, err := w.w.Write(b.Bytes())
	return err
}

// Err is the first error of writing, if there was one.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}
