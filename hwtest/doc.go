// Package hwtest judges hardware: it tells what a card says of itself
// (InspectCard) and whether the machine has what the procedures need (Diagnose).
//
// Neither of them writes to a card or a TPM, verifies a PIN or authenticates.
package hwtest
