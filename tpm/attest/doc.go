// Package attest lets a machine show its state and a verifier judge it.
//
// The machine calls Measure and Quoted: the TPM signs the PCRs over a challenge,
// and the event log that explains them goes with it. The verifier calls
// Verifier.Appraise, which trusts nothing in the evidence but what the AK
// signed, or what hashes to it (RFC 9334 names the roles).
//
// The challenge binds the quote to the verifier's nonce, to the TLS session in
// which it travels (so that it cannot be relayed from another machine) and to
// the purpose it was asked for.
//
// # What it does not protect
//
// A quote tells what was measured, not that the measured software is free of
// holes, and nothing about what happened after it. The TPM of a machine that
// somebody opened can be fed with measurements of another one.
package attest
