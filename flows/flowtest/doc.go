// Package flowtest plays parties of TR 33.812 for tests of the roles that meet
// them: a TRE in software, which signs what a TPM would sign, a machine around
// it, and a PVA that believes it. They speak real HTTPS with mutual TLS.
package flowtest
