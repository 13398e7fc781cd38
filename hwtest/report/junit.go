package report

import (
	"encoding/xml"
	"fmt"
	"io"
)

type junitSuites struct {
	XMLName xml.Name     `xml:"testsuites"`
	Suites  []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitMessage `xml:"failure,omitempty"`
	Out     string        `xml:"system-out,omitempty"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
}

// WriteJUnit writes the report as JUnit XML: a suite of the procedures and one
// of the negative proofs. What was not run is a failure too, since a run that
// stopped early has not passed.
func (r *Report) WriteJUnit(w io.Writer) error {
	procedures := junitSuite{Name: "mcim procedures"}
	var seconds float64
	for _, p := range r.Procedures {
		seconds += p.Seconds
		out := fmt.Sprintf("%d APDUs, %d bytes, %d TPM commands, %d messages", p.APDUs, p.LinkBytes, p.TPMCommands, p.Messages)
		if p.Finished {
			out += "; begun by an earlier run that was cut"
		}
		procedures.add(junitCase{Class: "mcim." + p.Placement, Name: p.ID + " " + p.Title, Time: fmt.Sprintf("%.3f", p.Seconds), Out: out},
			p.Verdict, p.Reason)
	}
	procedures.Time = fmt.Sprintf("%.3f", seconds)
	negatives := junitSuite{Name: "mcim negative proofs", Time: "0.000"}
	for _, n := range r.Negatives {
		negatives.add(junitCase{Class: "mcim." + n.Procedure, Name: n.Name, Time: "0.000", Out: n.Detail}, n.Verdict, n.Detail)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(junitSuites{Suites: []junitSuite{procedures, negatives}}); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (s *junitSuite) add(c junitCase, v Verdict, reason string) {
	s.Tests++
	switch v {
	case Pass:
	case NotRun:
		s.Failures++
		c.Failure = &junitMessage{"not run: " + reason}
	default:
		s.Failures++
		c.Failure = &junitMessage{reason}
	}
	s.Cases = append(s.Cases, c)
}
