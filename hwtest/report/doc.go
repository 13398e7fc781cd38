// Package report holds the outcome of a run and writes it for machines: one JSON
// document, and JUnit XML for CI.
//
// A report says what was proven and, in Environment.NotProven, what the devices
// of the run cannot prove. It holds no secret: what goes in are names, verdicts
// and counts.
package report
