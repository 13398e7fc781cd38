// Package tpm opens the TPM 2.0 that plays the Trusted Environment of the
// machine: a swtpm that the package manufactures, starts and stops itself
// (swtpm:DIR), a TPM emulator behind a unix socket (unix:PATH), or the TPM of
// the machine (device:PATH).
//
// # Default path
//
// Open, read and verify the EK certificate (package ident), PinEK, Claim, and
// from then on open with Options.EKPin, Options.Range and Options.Claimed as
// the caller stored them. Every command goes through Send, which counts it and
// reports it to Options.Tap.
//
// # Sessions
//
// Every session is salted to the pinned EK, so that who sits on the bus neither
// reads the encrypted parameters nor changes an answer unseen. Before an EK is
// pinned no session starts; unsalted sessions are not offered.
//
// # What is left alone
//
// On a TPM of somebody else (every device: TPM) Send passes only commands that
// take nothing over: no Clear, no hierarchy or lockout settings, no PCR but our
// own register, no NV index or persistent handle outside the claimed Range. The
// one way past is Options.TakeOwnership with the hash of that TPM's EK.
//
// # What it does not protect
//
// A swtpm is a program and its state a file: whoever reads the folder has the
// keys. Root on a running machine can use every key that the TPM would let this
// program use. A reset of the TPM without one of the machine is seen in quotes
// (resetCount), not prevented.
package tpm
