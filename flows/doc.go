// Package flows runs the procedures of TR 33.812 on a lab (flows/world), as one
// calls them: supply, initial connectivity, first provisioning, change of
// subscription with the MCIM in the TRE and in the UICC; and, for each, the
// proofs that what must not work does not, and the attacks that a defence has to
// stop.
//
// The roles and their messages are the packages below; no role imports this one.
// Procedure and step numbers are this project's reading of the TR.
package flows
