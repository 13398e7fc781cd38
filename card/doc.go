// Package card is everything between a command APDU and a card: the Card
// interface that every card is reached by, the Session that drives one by the
// transport rules of TS 102 221, the decoder of the answer to reset, and the
// guard that keeps a real card from harm.
//
// Start with a Card (card/pcsc for a reader, card/emul for the software UICC),
// put a Session on it, and send the commands of apdu/uicc and apdu/usim through
// it. What writes or spends a try goes through a Guard.
package card
