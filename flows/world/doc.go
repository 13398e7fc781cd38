// Package world builds a lab: one folder with every role of TR 33.812, its keys
// and its store, two home operators, one machine with its TPM and its UICC. All
// roles run in this process, and still speak only HTTPS with mutual TLS on
// loopback, each with its own certificate.
//
// Create makes a lab, Open opens it again; either holds it until Close. What
// hardware it uses, Config says: by default a swtpm and a software UICC behind a
// private pcscd, whose states lie in the folder.
//
// A Meter sees every step, APDU, TPM command and message from the outside.
package world
