// Package policy is the authorisation policy of the keys and sealed secrets of
// an MCIM: the platform is in one state, the epoch counter has one value, and
// the command is one command.
//
//	PolicyPCR(SHA-256 bank) & PolicyNV(counter == epoch) & PolicyCommandCode
//
// One value of MCIM serves both sides: the operator, who has no TPM, takes its
// Digest into the public area of the key; the TRE lets a policy session Run it.
// Both are made from the same three commands, so they cannot differ.
//
// The policy says in which state a key may be used, not by whom: whoever
// controls the approved platform can use the key, though not read it. A platform
// update needs new packages, since there is no PolicyAuthorize in it.
package policy
