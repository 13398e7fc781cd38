// Package aka is authentication and key agreement of TS 33.102: the algorithm sets
// MILENAGE (TS 35.205, TS 35.206), TUAK (TS 35.231) and XOR (TS 34.108, 8.1.2), the
// array of sequence numbers of TS 33.102, annex C, and both ends that use them: USIM
// and Subscriber. Both do GBA_U (TS 33.220, 5) too. COMP128 and XOR2G are what a SIM of
// GSM has instead. The keys that stand on CK and IK are in package kdf.
//
// MILENAGE takes a block, not a key: Block is E_K of one or several 16-byte blocks.
// The authentication centre and the software UICC give it software AES (NewAES),
// the Trusted Environment gives it an AES key that never leaves its TPM. So the USIM
// side asks for as few Encrypt calls as it can: three, resynchronisation included.
// TUAK, XOR and COMP128 have no block cipher in them and take the key itself.
//
// The package is pure: RAND comes from the caller, state goes out through a
// Store function. It does not protect CK, IK and RES once it has returned them.
package aka
