// Package pcsc reaches cards in PC/SC readers through pcscd. It is the only
// package that imports github.com/ebfe/scard, and what that needs of C is why a
// program built without cgo has the same functions, which all answer ErrNoPCSC.
//
// Readers lists what is there, Watch reports what comes and goes, Open gives a
// card. An open card is a card.Card: exclusive unless asked otherwise, and powered
// for as long as it is open (pcscd powers a card down 400 ms after its last handle
// is closed, with all selections and PIN states, so keep one).
//
// # Deadlines
//
// No call waits longer than Options.Deadline or its ctx. PC/SC has no such thing:
// a card that says nothing blocks SCardTransmit for ever. So each session has a
// PC/SC context of its own, which is one connection to pcscd, and when the time
// is up that connection is shut down (shutdown(2)); the call then returns with an
// error. This costs nothing while cards answer. Afterwards the session is dead,
// the state of the card unknown, and Reset builds both up again.
//
// Transmit itself calls the library directly and not through scard, which makes a
// buffer of 64 KiB for each command; with that, a command through pcscd takes as
// long as in a C program (BenchmarkTransmitAgainstC).
//
// # Which pcscd
//
// The PC/SC library takes the socket of pcscd from PCSCLITE_CSOCK_NAME at the
// first call of the process and keeps it: call UseSocket before anything else in
// this package to reach a private pcscd (package vpcd starts one). One process
// reaches one pcscd.
//
// # What it does not protect
//
// Exclusive access keeps other programs out while a card is open, not before and
// not after. Close powers an exclusive card down, so that no PIN stays verified.
package pcsc
