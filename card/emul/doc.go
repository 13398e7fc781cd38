// Package emul is the software UICC: a card.Card with the file system of TS 102 221
// and its administration (TS 102 222), USIM (TS 31.102) and ISIM (TS 31.103) or the
// SIM of TS 51.011, PINs and administrative codes, access rules that are enforced,
// AUTHENTICATE in all contexts over MILENAGE, TUAK, XOR and COMP128, logical channels,
// the toolkit (TS 102 223), suspension, the secure channel of TS 102 484, and the key
// files of a card model, so that a change of subscription can be played through. Which
// files, codes and services there are is data: the cards of package model. It behaves
// as cards in the field do where the standard leaves a choice: EF.IMSI lies behind
// PIN1, a case 4 command without Le is answered by 61xx, a wrong Le by 6Cxx. Class A0 is
// there for old tools.
//
// New makes a card that is forgotten with the process, Open one whose state
// lies in an image on disk and survives kill -9. What the card is born with
// comes from a Profile.
//
// The image protects against loss, not against an attacker who can write the
// files: somebody who puts an older image back has put the card back. K, OPc,
// PINs and codes lie in it only sealed, under a key in a file beside it.
package emul
