// Package trace writes down what goes between the program and a card: Tap puts
// itself before any card.Card and gives each exchange to sinks. There are two, the
// JSON lines of Writer and the packets of Pcap, which Wireshark opens.
//
// Secrets are taken out before an exchange reaches a sink: bytes become 00, their
// number stays, and the JSON line names the ranges. That holds for
//
//   - what PIN commands carry (VERIFY, CHANGE, DISABLE, ENABLE, UNBLOCK PIN);
//   - what is written to and read from files that the caller names, followed
//     through SELECT on each logical channel; where the current file is not known,
//     it counts as one of them;
//   - RES, CK, IK and Kc in the answer to AUTHENTICATE, in GET RESPONSE too;
//   - every value that the caller adds to a Redactor, wherever it occurs.
//
// # Recordings
//
// Read reads a trace again, and OpenCassette makes a card of it, which answers as
// recorded to the same commands in the same order; Replay sends it to another card.
// The file tells what a card is asked and answers, its resets and ATR included. A
// secret in a command is matched by its hash, which only NewCassette keeps: salted
// for the file, and slow (PBKDF2). Keys in answers are 00 for who replays a
// recording, unless Options.KeepTestKeys left them in.
//
// The hash of a PIN protects it for no longer than it takes to try them all: the
// salt is in the file, a PIN of four digits is found in minutes. Take a cassette of
// a card whose PIN matters for as secret as the PIN, and give away a plain trace
// (NewWriter) instead, which has no hashes. Keys of 16 bytes cannot be tried.
//
// # What it does not protect
//
// A secret that is none of these is written as it is: a key in a file that nobody
// named, the commands of card management, a value of a Redactor that is split over
// two commands. IMSI and ICCID are not secrets here; treat traces of people's
// cards accordingly.
package trace
