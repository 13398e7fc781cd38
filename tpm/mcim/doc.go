// Package mcim is the MCIM in the Trusted Environment: the package in which an
// operator sends a subscription, its installation in one of the slots of a TPM,
// its life there, and AKA with it.
//
// # A package
//
// Build (operator, no TPM) makes a COSE_Sign1 with a header that everybody may
// read, K wrapped for TPM2_Import under the SRK of one TRE, and a body by HPKE
// to the DEK of the same TRE: IMSI, OPc and the rest. K obeys policy.MCIM: one
// platform state, one value of the slot's epoch counter, one command. For an
// MCIM in a UICC (InUICC) K travels in the body, since the card must get it.
//
// # The store
//
// Store (machine) has three slots. Provision makes it; Install checks a package
// (a refusal is a RejectError that names the check), imports K and writes the
// state; Activate switches; Open gives the MCIM, whose Authenticate is a USIM;
// Erase ends it. Each of them can be cut at any moment: what comes back is the
// old state or the new one.
//
// What lies on disk is encrypted under a state key that the TPM unseals in the
// approved platform state only, and carries the value of an NV counter: an old
// copy is ErrRollback. The counters are, from the first NV index of our range
// on: epoch of the TRE (sealed secrets), version of the state file, then epoch
// and SQN counter of each slot. Per accepted challenge the array of sequence
// numbers is written for the next counter value, synced and counted before RES
// leaves.
//
// # What it does not protect
//
// K never leaves the TPM, but OPc and the results of AKA are in the memory of
// this process, and whoever controls the approved platform can have the TPM
// encrypt any block under K. A file lost is a subscription lost: ErrRollback
// cannot tell a thief from a broken disk.
package mcim
