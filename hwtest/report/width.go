package report

import (
	"strings"
	"unicode/utf8"
)

// Width is the most that a line for people has, in characters.
const Width = 100

// Hang is prefix and text on lines of at most Width characters; those after the
// first are indented to where the text begins. A word that is longer stays whole, so
// that a path can be copied. The last line has its end.
func Hang(prefix, text string) string {
	indent := utf8.RuneCountInString(prefix)
	if indent+utf8.RuneCountInString(text) <= Width && !strings.Contains(text, "\n") {
		return prefix + text + "\n"
	}
	lines := wrap(text, max(Width-indent, 20))
	return prefix + strings.Join(lines, "\n"+strings.Repeat(" ", indent)) + "\n"
}

// wrap cuts text into lines of at most width characters, at spaces where it can.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
