// Package vpcd puts any card.Card into a PC/SC reader: it is the card's end of
// the virtual reader driver vpcd (Debian: vsmartcard-vpcd), and it starts a
// private pcscd that has such readers and nothing else to do with the pcscd of
// the machine.
//
// StartPCSCD gives readers, Serve puts a card into one. The card behind the
// reader is then reached as any other, through card/pcsc or any PC/SC program.
//
// # What it does not protect
//
// The driver listens on all addresses of the machine (0.0.0.0), not on loopback
// alone: who reaches the port can put a card into the reader where none is, but
// can neither see nor use the card that is in it. The socket of a private pcscd
// lies in a folder that only its owner can enter.
//
// A private pcscd takes its virtual readers from its own folder, but USB readers
// from the machine: where a driver for them is installed, use one pcscd at a
// time for a USB reader. One that root starts also writes and removes
// /run/pcscd/pcscd.pid, which nothing needs but pcscd --hotplug.
//
// pcscd looks for cards every 400 ms. A card that is exchanged in less than that
// passes for the one before, and after a command that broke off the reader can
// count as empty for as long as the new card is in it.
package vpcd
