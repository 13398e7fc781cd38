// Package emul is the software UICC: a card.Card with the file system of
// TS 102 221, a USIM (TS 31.102) and an ISIM (TS 31.103), PIN1 and ADM1, access
// rules that are enforced, AUTHENTICATE over MILENAGE, TUAK or XOR in the contexts
// 3G, IMS, GSM and GBA, four logical channels, and the key files of a card model,
// so that a change of subscription can be played through. Which files and services
// there are is data: the cards of package model. It behaves as cards in the field do where the standard leaves a
// choice: EF.IMSI lies behind PIN1, a case 4 command without Le is answered by
// 61xx, a wrong Le by 6Cxx. Class A0 is there for old tools: selection, reading,
// updating and VERIFY CHV.
//
// New makes a card that is forgotten with the process, Open one whose state
// lies in an image on disk and survives kill -9. What the card is born with
// comes from a Profile.
//
// The image protects against loss, not against an attacker who can write the
// files: somebody who puts an older image back has put the card back. K, OPc,
// PINs and codes lie in it only sealed, under a key in a file beside it.
package emul
