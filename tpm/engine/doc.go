// Package engine runs AES-128 under a key that stays in the TPM, as the block
// function of card/aka.
//
// CFB is the one engine of now. TPM2_EncryptDecrypt2 with mode CFB is all that
// the hardware can be expected to have, and one *decryption* of chosen blocks
// X1, X2, ... Xn, 0 under a zero IV gives X2 xor E_K(X1), X3 xor E_K(X2), ...: n
// block encryptions in one command. In a salted session that encrypts
// parameters, all blocks lie in the first parameter of the command and of the
// response, and both IVs are constant zero, so the bus shows none of them. (The
// other way, one zero block under IV = X, sends X and E_K(X) in clear as ivIn
// and ivOut; it must never be used.)
//
// The engine protects K, not its use: whoever controls the approved platform
// can have any block encrypted.
package engine
