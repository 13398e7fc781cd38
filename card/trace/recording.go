package trace

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// Causes of a *FileError.
var (
	// ErrForeign: the file is no trace of mcim.
	ErrForeign = errors.New("not a trace of mcim")
	// ErrVersion: a version of mcim with another format wrote the file.
	ErrVersion = errors.New("trace of another version")
	// ErrDamaged: the file is truncated or changed.
	ErrDamaged = errors.New("damaged trace")
)

// FileError says what is wrong with a file, and where.
type FileError struct {
	Line  int    // from 1
	Why   string // what was found
	Cause error  // one of those above
}

// Error gives all three.
func (e *FileError) Error() string { return fmt.Sprintf("line %d: %v: %s", e.Line, e.Cause, e.Why) }

// Unwrap gives the cause.
func (e *FileError) Unwrap() error { return e.Cause }

const (
	maxLine   = 1 << 20    // bytes; the longest command and response take a quarter
	maxRounds = 10_000_000 // what a file may ask of PBKDF2: seconds for each hash
)

// Line is a line of a recording.
type Line struct {
	Number    int    // in the file, from 1
	Kind      string // "apdu", "reset" or "tpm"
	N         int
	Procedure string
	Step      string
	Name      string
	// Exchange has Time and Duration of every line, and of an APDU the rest.
	// Secret bytes are 00 in it.
	Exchange
	Hashes [][]byte // of the ranges of Exchange.InCommand; nil where none was kept
	ATR    []byte   // of a reset; empty where none came, then Err says why
	RC     string   // of a TPM command, as hexadecimal digits
	// RequestBytes and ResponseBytes are the lengths of a TPM command.
	RequestBytes, ResponseBytes int
}

// Recording is a trace that was read.
type Recording struct {
	Lines  []Line
	hasher hasher
}

// Hidden tells whether a line is a command of which bytes are not in the file.
func (l Line) Hidden() bool { return len(l.InCommand) > 0 }

// ReadFile reads a trace. Errors are a *FileError, with the path, and those of the
// file system.
func ReadFile(path string) (*Recording, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	r, err := Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// Read reads a trace to its end. It is strict: a line that Writer would not have
// written is a *FileError. That a file lacks lines at its end does not show.
func Read(r io.Reader) (*Recording, error) {
	b := bufio.NewReader(r)
	first, err := nextLine(b, 1)
	if errors.Is(err, io.EOF) {
		return nil, &FileError{1, "the file is empty", ErrForeign}
	}
	if err != nil {
		return nil, err
	}
	rec := &Recording{}
	if err := rec.begin(first); err != nil {
		return nil, err
	}
	for number := 2; ; number++ {
		text, err := nextLine(b, number)
		if errors.Is(err, io.EOF) {
			return rec, nil
		}
		if err != nil {
			return nil, err
		}
		l, err := parseLine(text)
		if err == nil && l.N != number-1 {
			err = fmt.Errorf("n is %d, want %d: a line is missing or was put in", l.N, number-1)
		}
		if err != nil {
			return nil, &FileError{number, err.Error(), ErrDamaged}
		}
		l.Number = number
		rec.Lines = append(rec.Lines, l)
	}
}

// nextLine gives a line without its end, io.EOF behind the last one.
func nextLine(r *bufio.Reader, number int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxLine:
			return nil, &FileError{number, fmt.Sprintf("it has more than %d bytes", maxLine), ErrForeign}
		case err == nil:
			return line[:len(line)-1], nil
		case errors.Is(err, io.EOF) && len(line) == 0:
			return nil, io.EOF
		case errors.Is(err, io.EOF) && number == 1:
			return nil, &FileError{number, "it is no complete line", ErrForeign}
		case errors.Is(err, io.EOF):
			return nil, &FileError{number, "it is cut off; take the whole file, or remove this line", ErrDamaged}
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// begin takes the first line.
func (rec *Recording) begin(text []byte) error {
	var f firstLine
	err := json.Unmarshal(text, &f)
	switch {
	case err != nil || f.Kind != "trace" || f.Version < 1:
		return &FileError{1, `it does not say {"kind":"trace","version":1}`, ErrForeign}
	case f.Version != version:
		return &FileError{1, fmt.Sprintf("version %d, this mcim reads version %d; use the mcim that wrote it", f.Version, version), ErrVersion}
	case strict(text, &f) != nil:
		return &FileError{1, strict(text, &f).Error(), ErrDamaged}
	case f.Rounds < 0 || f.Rounds > maxRounds || (f.Salt == "") != (f.Rounds == 0):
		return &FileError{1, fmt.Sprintf("%d rounds of hashing, want 1 to %d with a salt", f.Rounds, maxRounds), ErrDamaged}
	}
	salt, err := hex.DecodeString(f.Salt)
	if err != nil {
		return &FileError{1, "the salt is not hexadecimal", ErrDamaged}
	}
	rec.hasher = hasher{salt: salt, rounds: f.Rounds}
	return nil
}

// strict decodes one JSON document that has nothing that v has not.
func strict(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	if d.More() {
		return errors.New("more than one JSON object")
	}
	return nil
}

func parseLine(text []byte) (Line, error) {
	var h struct{ Kind string }
	if err := json.Unmarshal(text, &h); err != nil {
		return Line{}, fmt.Errorf("no JSON object: %w", err)
	}
	switch h.Kind {
	case "apdu":
		var l apduLine
		if err := strict(text, &l); err != nil {
			return Line{}, err
		}
		return l.line()
	case "reset":
		var l resetLine
		if err := strict(text, &l); err != nil {
			return Line{}, err
		}
		return l.line()
	case "tpm":
		var l tpmLine
		if err := strict(text, &l); err != nil {
			return Line{}, err
		}
		return l.line(), nil
	default:
		return Line{}, fmt.Errorf("kind %.20q, want apdu, reset or tpm", h.Kind)
	}
}

// line is a line with what all have.
func (h head) line(micros int64) Line {
	return Line{
		Kind: h.Kind, N: h.N, Procedure: h.Procedure, Step: h.Step, Name: h.Name,
		Exchange: Exchange{Time: h.Time, Duration: time.Duration(micros) * time.Microsecond},
	}
}

func (l tpmLine) line() Line {
	x := l.head.line(l.Micros)
	x.RC, x.RequestBytes, x.ResponseBytes = l.RC, l.RequestBytes, l.ResponseBytes
	return x
}

func (l resetLine) line() (Line, error) {
	x := l.head.line(l.Micros)
	var err error
	if x.ATR, err = hex.DecodeString(l.ATR); err != nil {
		return x, errors.New("the ATR is not hexadecimal")
	}
	if x.Err, err = recordedError(l.Error, l.Cause); err != nil {
		return x, err
	}
	if (len(x.ATR) == 0) == (x.Err == nil) {
		return x, errors.New("a reset has either an ATR or an error")
	}
	return x, nil
}

func (l apduLine) line() (Line, error) {
	x := l.head.line(l.Micros)
	var err, errResponse error
	x.Command, err = hex.DecodeString(l.Command)
	x.Response, errResponse = hex.DecodeString(l.Response)
	if err != nil || errResponse != nil {
		return x, errors.New("command or response is not hexadecimal")
	}
	if x.Err, err = recordedError(l.Error, l.Cause); err != nil {
		return x, err
	}
	if sw, ok := statusOf(x.Response); ok && sw.String() != l.SW || !ok && l.SW != "" {
		return x, fmt.Errorf("sw is %.10q, the response ends otherwise", l.SW)
	}
	if (len(x.Response) == 0) == (x.Err == nil) {
		return x, errors.New("an APDU has either a response or an error")
	}
	return x, x.hide(l.Redacted)
}

// hide takes the ranges that were taken out, and checks them.
func (l *Line) hide(ranges []rangeLine) error {
	for _, r := range ranges {
		message := l.Command
		if r.In == "response" {
			message = l.Response
		}
		hash, err := hex.DecodeString(r.Hash)
		switch {
		case r.In != "command" && r.In != "response" || r.In == "response" && r.Hash != "" || err != nil:
			return errors.New("redacted is not as mcim writes it")
		case r.From < 0 || r.From >= r.To || r.To > len(message):
			return fmt.Errorf("redacted bytes %d to %d of %d", r.From, r.To, len(message))
		case !zero(message[r.From:r.To]):
			return fmt.Errorf("redacted bytes %d to %d are not 00", r.From, r.To)
		case r.In == "response":
			l.InResponse = append(l.InResponse, r.Range)
		default:
			l.InCommand, l.Hashes = append(l.InCommand, r.Range), append(l.Hashes, hash)
		}
	}
	for _, in := range [][]Range{l.InCommand, l.InResponse} {
		if !slices.Equal(merge(slices.Clone(in)), in) {
			return errors.New("redacted ranges are not in order")
		}
	}
	return nil
}

func zero(b []byte) bool { return !slices.ContainsFunc(b, func(v byte) bool { return v != 0 }) }

// recordedError makes the error that was recorded, with the one of card.Card in it.
func recordedError(text, cause string) (recorded, err error) {
	known, ok := causes[cause]
	switch {
	case cause != "" && !ok:
		return nil, fmt.Errorf("cause %.20q is none of a card", cause)
	case text == "" && cause == "":
		return nil, nil
	case ok:
		return fmt.Errorf("%w, as recorded: %s", known, text), nil
	default:
		return fmt.Errorf("as recorded: %s", text), nil
	}
}
