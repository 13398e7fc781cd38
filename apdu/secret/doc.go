// Package secret holds the one type in which keys, PINs and ADM codes travel
// through the program: every way of printing or encoding it gives "[redacted]".
//
// It guards against leaks by accident (a log line, an error text, a JSON
// document), not against code that asks for the value.
package secret
