// Package hwtest judges hardware.
//
// InspectCard tells what a card says of itself, Diagnose whether the machine has
// what the procedures need. Neither writes to a card or a TPM, verifies a PIN or
// authenticates.
//
// A Runner runs the Suite: the procedures of TR 33.812 on a lab, each followed by
// the proofs that what must not work does not. It runs in software, or on the
// hardware that the caller names. Every Case declares what it spends, does not begin
// past a budget, and is stopped before a command that it has not declared; a card that is not allowed by its ICCID, of which no model or
// no keys are known, is not touched; Plan tells what a run would do. What a run has
// used of named hardware it gives back, where its lab is a temporary one: the card
// has its subscription of before, the TPM its handles.
//
// The suite as a test, on hardware:
//
//	go test ./hwtest -count=1 -timeout 0 -args -card pcsc:0 -tpm device:/dev/tpmrm0 \
//	    -allow ICCID -profile card.toml -ek-roots maker.pem
package hwtest
