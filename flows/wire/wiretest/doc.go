// Package wiretest makes parties for tests: roles with certificates of one CA,
// that reach each other over real mutual TLS on loopback.
package wiretest
