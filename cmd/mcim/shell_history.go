package main

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"

	"mcim/card"
	"mcim/hwtest"
)

// historyLines is how many lines of earlier shells come back.
const historyLines = 500

// history implements term.History: the lines of this shell and of earlier ones.
type history struct {
	lines []string // oldest first
	file  *os.File // nil where there is no place to keep them
}

// openHistory reads the lines of earlier shells. Where they cannot be kept that is said,
// and the shell goes on.
func openHistory(con console) *history {
	h := &history{}
	path, err := historyFile()
	if err != nil {
		con.say("mcim: lines are not kept: %v", err)
		return h
	}
	if b, err := os.ReadFile(path); err == nil {
		h.lines = strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
		h.lines = h.lines[max(0, len(h.lines)-historyLines):]
	}
	if h.file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		con.say("mcim: lines are not kept: %v", err)
	}
	return h
}

// historyFile is the file in the user's state folder, which is made if it is not there.
func historyFile() (string, error) {
	state, err := hwtest.StateDir()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(state, 0o700); err != nil {
		return "", err
	}
	return filepath.Join(state, "mcim-history"), nil
}

// keep adds a line, to the file only if it was a command: a code that was typed at the
// wrong prompt is none. One with an APDU that may hold a code or key is added to neither.
func (h *history) keep(line string, command bool) {
	line = strings.TrimSpace(line)
	if line == "" || confidential(line) {
		return
	}
	h.lines = append(h.lines, line)
	if command && h.file != nil {
		_, _ = h.file.WriteString(line + "\n") // no history is no reason to end
	}
}

// confidential tells that there is an APDU in the line that does more than read, in one
// word or byte by byte.
func confidential(line string) bool {
	const header = 8 // digits
	run := ""
	for _, word := range strings.Fields(strings.NewReplacer(":", "", "'", " ", `"`, " ").Replace(line)) {
		switch {
		case strings.Trim(word, "0123456789abcdefABCDEF") != "":
			run = ""
		case len(word) >= header && spends(word):
			return true
		case len(word) >= header:
			run = ""
		default:
			if run += word; spends(run) {
				return true
			}
		}
	}
	return false
}

// spends tells that an APDU in hexadecimal, perhaps with a digit missing at its end, does
// more than read.
func spends(digits string) bool {
	b, err := hex.DecodeString(digits[:len(digits)&^1])
	return err == nil && card.Spends(b)
}

func (h *history) close() {
	if h.file != nil {
		_ = h.file.Close()
	}
}

// Add implements term.History. Lines are added by keep, once it is known what they were.
func (h *history) Add(string) {}

// Len implements term.History.
func (h *history) Len() int { return len(h.lines) }

// At implements term.History: 0 is the newest line.
func (h *history) At(i int) string { return h.lines[len(h.lines)-1-i] }
