package explain

import (
	"fmt"
	"strings"

	"mcim/apdu"
	"mcim/apdu/cat"
)

// ofToolkit is a command of the card application toolkit (TS 102 221, 11.2); false for
// another. Bytes that do not decode stay bytes.
func ofToolkit(c apdu.Command) (text string, sent []string, read answer, ok bool) {
	switch c.INS {
	case cat.INSTerminalProfile:
		return "TERMINAL PROFILE: what the terminal can do", facilities(c.Data), raw, true
	case cat.INSFetch:
		return fmt.Sprintf("FETCH: the proactive command of %d bytes", c.Ne), nil, proactive, true
	case cat.INSTerminalResponse:
		r, err := cat.DecodeResponse(c.Data)
		if err != nil {
			return "TERMINAL RESPONSE", raw(c.Data), raw, true
		}
		return "TERMINAL RESPONSE to " + r.Details().Name(), r.Words(), raw, true
	case cat.INSEnvelope:
		e, err := cat.DecodeEnvelope(c.Data)
		if err != nil {
			return "ENVELOPE", raw(c.Data), raw, true
		}
		return "ENVELOPE: " + e.Name(), e.Words(), raw, true
	}
	return "", nil, nil, false
}

// facilities are those of a terminal profile, in one line.
func facilities(profile []byte) []string {
	words := cat.Profile(profile).Words()
	if len(words) == 0 {
		return []string{"nothing"}
	}
	return []string{strings.Join(words, ", ")}
}

// proactive reads what FETCH gives.
func proactive(data []byte) []string {
	p, err := cat.DecodeProactive(data)
	if err != nil {
		return raw(data)
	}
	return append([]string{p.Name()}, p.Words()...)
}
