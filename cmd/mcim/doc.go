// Command mcim runs the remote provisioning and change of subscription of
// 3GPP TR 33.812 on hardware: UICCs in PC/SC readers, a TPM 2.0 as the Trusted
// Environment, and a software UICC and swtpm where there is none.
//
// Rules of its interface: results go to standard output, talk and errors to
// standard error; an error is one lower-case line `mcim: error: ...` that says
// what happened and what to try; --json turns every result into one JSON
// document, and an error into {"error": TEXT, "exit": CODE}, with what there is of a
// result in "result" (emulate, which goes on, prints its result at once); keys come from files only. Exit codes: 0 pass, 1 a check failed,
// 2 usage (bad flag or file), 3 environment (reader, card, pcscd, TPM, lab).
package main
