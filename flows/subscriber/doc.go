// Package subscriber is the M2ME subscriber of TR 33.812: it owns machines,
// contracts home operators for them, and signs the mandates without which no
// operator gets a subscription into a machine or out of it (SR-16).
package subscriber
