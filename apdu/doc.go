// Package apdu holds the two messages of a smart card: the command APDU and
// the response APDU of ISO/IEC 7816-3, 12.1, and the status word that ends
// every response (TS 102 221, 10.2).
//
// The package is pure: bytes in, bytes out. It opens no device, reads no clock
// and logs nothing. Higher layers put meaning on top of it: package uicc the
// commands of TS 102 221, package usim those of TS 31.102, package tlv the data
// objects that both carry.
//
// It does not protect anything: the data of a command may be a secret, and who
// prints a Command prints it. The tap in card/trace is the one place that does
// so, with redaction.
package apdu
