// Package usim holds what TS 31.102 adds to a UICC: the commands AUTHENTICATE and
// GET IDENTITY and the files of the USIM application that identify a subscription
// and keep its state.
//
// AUTHENTICATE has a codec for the contexts 3G/EPS/5G, GSM, IMS (TS 31.103), GBA and
// local key, not for VGCS/VBS and MBMS.
//
// Each file has a type whose Encode gives its content, and a function DecodeX
// that is the strict inverse: what it accepts, Encode gives back byte by byte.
// The Default functions give the contents with which a subscription begins, so
// that nothing of the one before it stays on the card.
//
// The package is pure. CK, IK and Kc pass through it in the clear, as they do
// between a card and its terminal; who keeps them has to protect them.
//
// Clauses without another name are those of TS 31.102 v18.4.0.
package usim
