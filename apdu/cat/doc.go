// Package cat is the card application toolkit: what a UICC asks of its terminal by
// proactive commands, what the terminal answers and what it tells by ENVELOPE
// (TS 102 223; TS 31.111).
//
// DecodeProactive, DecodeResponse and DecodeEnvelope give a list of data objects with
// named fields. An object that this package does not know, or whose value does not fit
// its fields, stays as bytes (Raw), so that encoding gives back what was decoded. The
// same objects have a form as JSON documents, in which a card's toolkit is written.
//
// The package is pure: it opens no channel and runs no timer. Package card/toolkit
// does, and it is the place where a policy stands between a card and the terminal: what
// a card asks for is not to be trusted.
package cat
