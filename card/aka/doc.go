// Package aka is authentication and key agreement of TS 33.102: MILENAGE
// (TS 35.205, TS 35.206), the array of sequence numbers of TS 33.102, annex C,
// and both ends that use them: USIM and Subscriber.
//
// The algorithms take a block, not a key: Block is E_K of one or several
// 16-byte blocks. The authentication centre and the software UICC give it
// software AES (NewAES), the Trusted Environment gives it an AES key that never
// leaves its TPM. So the USIM side asks for as few Encrypt calls as it can:
// three, resynchronisation included.
//
// The package is pure: RAND comes from the caller, state goes out through a
// Store function. It does not protect CK, IK and RES once it has returned them.
package aka
