// Package measure reads and writes the log of a measured boot and computes the
// PCR values that it explains (TCG PC Client Platform Firmware Profile, 10).
//
// A log proves nothing by itself: anybody can write one. It is worth as much as
// the quote that its replay equals. And even then the replay covers only digest
// and PCR of an event, never its type, nor its data. So whoever reads meaning
// from the data of an event calls Log.Check first: it hashes the data of every
// event type that is defined as the hash of its data, and refuses types that it
// does not know in the PCRs that count.
//
// CannedBoot is the boot of an emulated machine; Extend plays a log into a TPM.
package measure
