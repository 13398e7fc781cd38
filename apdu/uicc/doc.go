// Package uicc holds the commands of TS 102 221 that reach files and PINs of a
// UICC, the data that a card answers to SELECT, and the files that every UICC
// has.
//
// A command of the specification is a struct of the same name; its Command
// method gives the APDU for the basic channel, and card.Session puts the
// channel into the class byte. A field out of its bounds is an error of the
// APDU (apdu.Command.Err), so that nothing is sent. FCP, GSMResponse, AccessRule
// and DirRecord are codecs both ways, for terminals and for the software UICC.
// They are strict: what they accept they encode to the same bytes again.
//
// The package is pure and keeps no state. It does not look after retry
// counters: the guard of package card does that.
//
// Clauses without another name are those of TS 102 221 v18.4.0.
package uicc
