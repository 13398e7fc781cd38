// Package explain says in words what a command asks of a card and what the card
// answers: which file is meant, what its FCP says, what is in it, what the status
// word means.
//
// A Reader follows one card from its reset, since a READ BINARY does not say which
// file it reads. It takes exchanges from package trace, in which secret bytes are
// 00, and says of those only how many there are. Where the selected file is not
// known, or its content is not as its clause says, the bytes stand for themselves.
package explain
