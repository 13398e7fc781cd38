// Package ident is the identity of the TRE: the endorsement key that the maker
// certified, the attestation key (AK) that is proved to live beside it, and the
// keys that the AK certifies in turn.
//
// # Enrolment
//
// The machine calls VerifyEK (which pins the EK for all sessions) and CreateTRE
// and sends EK certificate and AK. The validation authority calls Trust.Check
// and CheckAK, then MakeCredential; the TRE answers with Activate, which proves
// possession: only the TPM with that EK and that AK can. Last the TRE certifies
// SRK, TRE key and DEK with the AK (Certify), which proves residency, and the
// authority checks each with VerifyCertification.
//
// # What it does not protect
//
// An EK certificate names a TPM, not the machine around it: the binding to a
// serial number is made by who signs the platform certificate. Whoever trusts
// the local CA of a swtpm trusts a program, not a chip.
package ident
