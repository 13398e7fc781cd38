// Package ef turns the contents of a card's elementary files into documents that
// people read and edit, and back: a table of files (Files), each with its place,
// structure, clause and codec.
//
//	f, _ := ef.Find(ef.DirUSIM, 0x6F42)
//	v, err := f.Decode(record)       // *ef.SMSP, or nil for a record without use
//	doc, err := json.Marshal(v)
//	v, err = f.Parse(doc)            // strict: a field that is not known is an error
//	record, err = f.Encode(v, size)  // FF behind what the value fills
//
// A codec is strict: what Decode accepts, Encode gives back byte by byte, and so
// does the JSON document between them. Reserved bits and bytes are kept; what a
// value cannot say, Decode refuses. Files that are not in the table are to be
// handled as bytes.
//
// In documents a network is "262-01" or "none", bytes without further meaning are
// hexadecimal, a code that the clause gives no name is "0x1e", a flag without
// name "bit_7". Content that is all FF is null: not in use.
//
// Keys (Key) print and marshal as "[redacted]", unless they were decoded by
// DecodeClear. The bytes of a file with Secret set need the same care.
//
// The package is pure: bytes in, bytes out. Clauses are those of TS 31.102
// v18.4.0, TS 31.103 v18 and TS 102 221 v17, as each type says.
package ef
