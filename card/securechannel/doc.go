// Package securechannel is the secure channel between terminal and UICC (ETSI TS 102 484)
// on the APDU interface: Open gives a card.Card in front of another, through which every
// command and every answer travels enciphered, authenticated and numbered. A Session, a
// Guard and all that is built on them work over it unchanged; who listens on the contacts
// sees lengths and counters, but neither CK, IK and RES nor a PIN, and who changes or
// repeats something is found out.
//
// Terminal and card share a key beforehand ("strong pre-shared keys, proprietary
// pre-agreed keys"). Open runs the procedures of MANAGE SECURE CHANNEL (TS 102 221,
// 11.1.20): the endpoints of the card, a master security association, a connection
// security association with a nonce of each side, and the start of the channel, in which
// both prove that they know the key. Then each command goes by TRANSACT DATA (11.1.21).
//
// The commands, blocks, status words and most tags are those of TS 102 221. What stands in
// TS 102 484 alone was not to be had for this program: the derivation of keys (here HKDF
// with SHA-256, RFC 5869), what the MACs are over, and the form of a protected message
// (here counter, ciphertext, MAC). They are this project's reading, as are the tags marked
// in apdu/uicc and the bits of status word 92xx. Both ends in this repository agree; a card
// of another maker may not, and then Open says so before anything is sent that is secret.
//
// It does not protect: the lengths of commands and answers, that a command was sent, the
// answer to reset, and what is sent past it. It has no forward secrecy: who learns the key
// later reads what was recorded. The other ways of TS 102 484 (TLS, IPsec, GBA, weak keys,
// certificates, application endpoints) are not here.
package securechannel
