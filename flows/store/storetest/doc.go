// Package storetest is the suite that every store of the roles must pass, in
// whatever database it keeps its tables.
package storetest
