// Package sho is the selected home operator of TR 33.812: it has contracts with
// subscribers, orders their machines' subscriptions from the registration
// operator, and is the home of the identities that it gives out.
//
// K and OPc of a subscription leave the operator only inside a package that one
// TRE can open (SR-4, SR-7), and only after the platform validation authority's
// verdict on that TRE (SR-11). A subscription is pending until the TRE has signed
// for it; a leaving one is closing, with service, until the new one lives; a
// closed one has no keys any more.
package sho
