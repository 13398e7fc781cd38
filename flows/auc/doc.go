// Package auc is the authentication centre that a home operator and the initial
// connectivity function of the registration operator have in common: the keys
// of identities, their sequence numbers, authentication vectors and
// resynchronisation (TS 33.102, 6.3), on card/aka over the role's store.
//
// Whether an identity may be authenticated at all is the role's business. K and
// OPc lie in the store only sealed; the sequence number is stored before a
// vector leaves.
package auc
