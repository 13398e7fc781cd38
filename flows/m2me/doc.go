// Package m2me is the machine of TR 33.812 (M2ME): the TRE in its TPM with the
// MCIMs, the UICC in its reader, and what it says to the visited network and to
// the registration operator.
//
// The machine is supplied once (Supply, P1), and is powered on with PowerOn: it
// finishes what was cut, attaches by the subscription that it has (P7) or by its
// provisional identity (P2), and contacts the RO (P4). The rest it does on
// request, over a TLS connection whose key is in the TPM: it proves its state
// (P5c), takes packages (P6), and changes its subscription (P8a, P8c).
//
// What it does not protect: the TPM keeps K, but MILENAGE, SQN and the checks of
// packages run in this process, on the measured host. A UICC runs them itself.
package m2me
