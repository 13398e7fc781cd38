// Package suci conceals and deconceals the permanent identity of 5G (TS 33.501, annex
// C): the null scheme, and ECIES over X25519 (Profile A) and P-256 (Profile B). Conceal
// is the USIM's or the terminal's side, Home the home network's.
//
// The package is pure: the ephemeral private key is an argument and must be fresh and
// random for each SUCI, or all of them can be linked. The texts of the errors repeat
// no digit of an identity.
package suci
