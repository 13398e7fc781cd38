// Package dump reads a whole card into one document, and compares two of them.
//
//	doc, err := dump.Read(ctx, c, dump.Options{PIN1: pin})
//	d := dump.Compare(doc, other)
//
// Read tries every file of the table in apdu/ef: those of the MF, then DF by DF
// below it, then each application of EF.DIR with its DFs. Each SELECT goes on
// from where the last one left off and asks for the file's parameters, which say
// how to read it, so that nothing is selected or read twice. Where the access
// rule of a file asks for a PIN or key that is not verified, no READ is sent and
// the file says which right is missing.
//
// Nothing is written. A try is spent only for a PIN that the caller gives, by
// card.Guard. Contents that are keys are "[redacted]"; the key files of a card
// model are not read at all.
package dump
