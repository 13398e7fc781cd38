// Package change changes files of a card as a document says: first the plan, then
// the undo document, then the writes, each read back.
//
//	d, err := change.Parse(document)
//	plan, err := change.Make(ctx, c, d, change.Options{PIN1: pin})
//	result, err := change.Apply(ctx, c, d, change.Options{PIN1: pin, ADM: adm, Allow: iccids, Journal: keep})
//
// A document has the shape of one of package dump, whole or only with the files that
// are meant: a dump that was edited. A file is named by its path; "decoded", "raw"
// or "records" say what it shall have. Beyond a dump, a file may have "record", the
// number of the one record that is meant, or "offset", where the bytes of "raw"
// begin. What the card has already is no change; of "decoded" and "raw" the one
// that differs from the card was edited, and two that both differ, and not in the
// same way, are refused. "[redacted]" leaves a value as it is, and so does "" for a
// record. A file with an "error" is left alone.
//
// The undo document, which Journal keeps before the first write, has for each change
// the bytes before ("raw") and after ("new"). It undoes as any other document does, by
// Apply; Document.Resumed makes of it the one that completes what was broken off.
// Both go on only where each byte is the one before or the one after, as a write
// that was cut leaves them.
//
// Not changed are EF.ICCID, by which cards are told apart, EF.ARR, after which an undo
// may not be allowed, cyclic files, whose oldest record a write pushes out, and the
// key files of a card model, which cannot be read to be put back.
package change
