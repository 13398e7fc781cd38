package pcsc

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// pick finds the reader that name means: its whole name, its index in names, or
// a part of its name that no other has.
func pick(names []string, name string) (string, error) {
	if slices.Contains(names, name) {
		return name, nil
	}
	if len(names) == 0 {
		return "", noReader("pcscd knows no reader: plug one in, and look whether it needs a driver (libccid)")
	}
	if i, err := strconv.Atoi(name); err == nil {
		if i < 0 || i >= len(names) {
			return "", noReader("no reader %d, there are %s", i, quoted(names))
		}
		return names[i], nil
	}
	var found []string
	for _, n := range names {
		if strings.Contains(n, name) {
			found = append(found, n)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", noReader("no reader %q, there are %s", name, quoted(names))
	default:
		return "", noReader("%q can be %s: give more of the name, or the index", name, quoted(found))
	}
}

func noReader(format string, args ...any) error {
	return &problem{is: []error{ErrNoReader}, text: fmt.Sprintf(format, args...)}
}

func quoted(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = strconv.Quote(n)
	}
	return strings.Join(q, ", ")
}
