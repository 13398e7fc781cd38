// Package rehearse tries a card's authentication in all of its contexts, and compares each
// answer with what an authentication centre of our own expects: what a network would
// find, before there is one. It begins with a challenge that spends no sequence number
// (card.Guard.ProveKeys); where the keys do not fit, it looks for the mix-up that
// explains the card's answers.
//
// Default path: rehearse.Run with a guard, a session and the functions of a profile
// (emul.Profile.Functions). It spends a sequence number in each of the contexts 3G, IMS
// and GBA, and overwrites the key of an earlier bootstrapping. No report holds RES, a key
// or anything that they can be computed from.
//
// The local key context is compared with this project's own reading of TS 31.102,
// 7.1.2.6 and TS 33.110: no example of it is published, and no card was found to compare
// with. A card that refuses it may have read the clause otherwise.
package rehearse
