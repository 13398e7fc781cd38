// Package proctest is for tests that start programs of their own making.
package proctest
