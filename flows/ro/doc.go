// Package ro is the registration operator of TR 33.812 with its four functions,
// each in a file of its own: CCIF (ccif.go) makes provisional identities, ICF
// (icf.go) is their home network, DRF (drf.go) keeps the orders and hears from
// machines, DPF (dpf.go) gets packages made and delivers them.
//
// An order is a durable procedure on flows/engine; first.go and change.go read
// like the message charts of TR 33.812 digest, 4.4. The operator sees no key of a
// subscription: packages pass through it closed.
package ro
