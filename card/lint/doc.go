// Package lint answers why a card does not register: it judges what is on a card
// by the rules of a table.
//
//	subject, err := lint.Read(ctx, c, lint.Options{PIN1: pin})
//	report := lint.Judge(subject, lint.Rules())
//
// Read takes a dump of the card (package card/dump), and what a dump does not
// tell: which applications can be selected, and the tries of PIN1. Nothing is
// written. A rule that needs a file which cannot be read is not judged, and says
// what is missing. A document alone can be judged, too.
//
// The rules know what 3GPP and ETSI ask of a card, not what a network asks of a
// subscriber: a card without findings may be unknown to its home operator.
package lint
