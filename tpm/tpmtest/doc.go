// Package tpmtest gives tests a TPM: a swtpm of their own, manufactured with EK
// certificates, with its EK pinned and its range of handles claimed.
//
// The TPM is manufactured once per process; each test works on a copy of the
// folder, so every test starts with the same keys and an empty range. It needs
// the Debian packages swtpm and swtpm-tools.
package tpmtest
