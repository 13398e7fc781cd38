// Package pva is the platform validation authority of TR 33.812: it knows the
// TREs that suppliers have certified, with their reference values, and judges the
// evidence that a machine gives of its state (P5c, remote validation).
//
// Who asks is the home operator; the evidence comes through the registration
// operator, which can change neither it nor the verdict: the quote is bound to the
// authority's nonce and to the TLS session that the evidence came over, and the
// verdict is signed, for one requester and one purpose.
//
// The authority knows machines and orders, and no subscription: no IMSI reaches
// it (TH-44).
package pva
