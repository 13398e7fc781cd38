// Package kdf derives the keys that stand on CK and IK of an AKA run: those of
// EPS (TS 33.401), of 5G (TS 33.501), of GBA (TS 33.220) and of the local key
// between a UICC and a terminal (TS 33.110), which all use one function, KDF; and those
// of EAP-AKA and EAP-AKA' (RFC 4187, RFC 9048).
//
// The package is pure. It does not protect the keys that it gets and returns.
//
// No vectors of GBA and of the local key are published. The values in testdata were
// frozen after two implementations agreed on them. Where TS 33.110 leaves the bytes
// of an input open, the order is that of its parameter list (LocalKey).
package kdf
